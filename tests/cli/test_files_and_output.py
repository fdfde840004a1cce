"""What the commands read and write: every kind of file, what is refused, tables for spreadsheets and programs."""

import csv
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from ase_comformer.cli.application import application as app
from ase_comformer.cli.output import write_csv
from ase_comformer.crystals.structure_sources import iter_sources, structure_paths
from ase_comformer.models.registry import load_model
from ase_comformer.records import read_records
from ase_comformer.workflows.predict_sources import Row


@pytest.fixture
def run(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # which processes of pytest-xdist have set, and lines break there
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path, quartz, rocksalt, monkeypatch):
    """A folder with one crystal in each of several formats, and what is wrong with files in practice."""
    structures = pytest.importorskip("pymatgen.io.ase").AseAtomsAdaptor
    ase.io.write(tmp_path / "POSCAR", rocksalt)
    ase.io.write(tmp_path / "quartz.cif", quartz)
    ase.io.write(tmp_path / "two.extxyz", [rocksalt, quartz])
    with ase.db.connect(tmp_path / "all.db") as database:
        for a in (4.1, 4.2, 4.3):
            database.write(bulk("MgO", "rocksalt", a=a))
    (tmp_path / "mgo.json").write_text(json.dumps(structures.get_structure(rocksalt).as_dict()))
    (tmp_path / "notes.txt").write_text("no structure")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(result):
    return json.loads(result.stdout)["results"]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (["POSCAR"], 1), (["quartz.cif"], 1), (["two.extxyz"], 2), (["all.db"], 3), (["all.db@0:2"], 2),
        (["mgo.json"], 1), (["*.cif", "POSCAR"], 2), (["."], 8), (["two.extxyz@1", "two.extxyz@0"], 2),
    ],
)  # fmt: skip
def test_files_patterns_folders_and_indices(run, folder, tiny_model, names, count):
    result = run("predict", *names, "--model", tiny_model, "-p", "formation_energy", "--json")
    assert result.exit_code == 0, result.output
    assert len(rows_of(result)) == count


def test_sources_are_names_that_read_the_same_structure_again(folder):
    for source in iter_sources(structure_paths(["all.db@1:3", "two.extxyz", "POSCAR"])):
        (again,) = iter_sources([source.name])
        np.testing.assert_allclose(again.atoms.positions, source.atoms.positions, atol=1e-12)
    assert [source.name for source in iter_sources(["all.db@1:3"])] == ["all.db@1", "all.db@2"]


def test_json_says_unit_functional_and_space_group(run, folder, tiny_model):
    content = json.loads(run("predict", "quartz.cif", "--model", tiny_model, "--json").stdout)
    assert content["fingerprint"] == load_model(tiny_model).fingerprint
    assert content["properties"]["elastic_tensor"]["unit"] == "GPa"
    assert content["properties"]["dielectric_tensor"]["functional"] == "PBEsol"
    (row,) = content["results"]
    assert (row["space_group"], row["space_group_number"]) == ("P3_221", 154)
    assert row["source"] == "quartz.cif"


def disordered(text):
    return text.replace("  1.0000", "  0.5000")


def wrong_sum(text):
    return text.replace('"Si3 O6"', '"Si2 O6"')


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.cif", "", "has no atoms"),
        ("empty.extxyz", "", "empty.extxyz"),
        ("disordered.cif", disordered, "OrderDisorderedStructureTransformation"),
        ("wrong.cif", wrong_sum, "states the formula"),
        ("POSCAR.broken", "one\n1.0\nnot a cell\n", "cannot be read"),
        ("nonsense.json", "{", "cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "relax", "elastic", "respond", "symmetry", "report"])
def test_bad_files_are_refused_in_one_line(run, folder, command, name, content, message):
    text = content((folder / "quartz.cif").read_text()) if callable(content) else content
    (folder / name).write_text(text)
    result = run(command, name)
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_one_bad_file_among_others_is_a_row_with_an_error(run, folder, tiny_model):
    (folder / "empty.cif").write_text("")
    result = run("predict", ".", "--model", tiny_model, "-p", "formation_energy", "--json")
    assert result.exit_code == 1
    failed = [row for row in rows_of(result) if "error" in row]
    assert [row["source"] for row in failed] == ["empty.cif"]
    assert len(rows_of(result)) == 9
    shown = run("predict", ".", "--model", tiny_model, "-p", "formation_energy").stdout
    assert "failed" in shown
    assert "empty.cif has no atoms" in shown


@pytest.mark.parametrize("command", ["symmetry", "elastic --route head"])
def test_a_missing_file_among_others_loses_no_result(run, folder, command):
    done = run(*command.split(), "POSCAR", "nowhere.cif", "quartz.cif", "--json")
    assert done.exit_code == 1
    assert "nowhere.cif: FileNotFoundError: There is no file 'nowhere.cif'" in " ".join(done.stderr.split())
    content = json.loads(done.stdout)
    rows = content if command == "symmetry" else content["results"]
    assert [row["source"] for row in rows] == ["POSCAR", "quartz.cif"]


def test_csv_has_a_column_per_component_with_its_unit(run, folder, tiny_model):
    result = run("predict", "two.extxyz", "--model", tiny_model, "--output", "out/table.csv")
    assert result.exit_code == 0, result.output
    with (folder / "out/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = rows_of(run("predict", "two.extxyz", "--model", tiny_model, "--json"))
    assert [row["formula"] for row in rows] == ["MgO", "O6Si3"]
    for row, expected in zip(rows, values, strict=True):
        assert float(row["elastic_tensor xx_yz (GPa)"]) == pytest.approx(expected["elastic_tensor"][0][3], abs=1e-3)
        assert float(row["piezoelectric_tensor y_zz (C/m^2)"]) == pytest.approx(
            expected["piezoelectric_tensor"][1][2], abs=1e-4
        )
        charges = json.loads(row["born_effective_charges (e)"])
        np.testing.assert_allclose(charges, expected["born_effective_charges"], atol=1e-3)


def test_text_that_a_spreadsheet_would_run_is_quoted_in_csv(tmp_path):
    names = ["=HYPERLINK(1)", "+1", "-2.cif", "@sum", "good.cif"]
    path = tmp_path / "table.csv"
    write_csv(path, [Row(source=name, error="broken").as_dict() for name in names], {})
    with path.open(newline="") as file:
        cells = [row["source"] for row in csv.DictReader(file)]
    assert cells == ["'=HYPERLINK(1)", "'+1", "'-2.cif", "'@sum", "good.cif"]


@pytest.mark.parametrize("ending", ["jsonl", "extxyz", "db", "parquet"])
def test_records_keep_units_fingerprint_and_source(run, folder, tiny_model, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    done = run("predict", "two.extxyz", "--model", tiny_model, "-p", "elastic_tensor", "-o", f"out.{ending}")
    assert done.exit_code == 0, done.output
    records = list(read_records(folder / f"out.{ending}"))
    assert [record.metadata["source"] for record in records] == ["two.extxyz@0", "two.extxyz@1"]
    for record in records:
        assert record.values["elastic_tensor"].unit == "GPa"
        assert record.fingerprint == load_model(tiny_model).fingerprint
        assert np.shape(record.values["elastic_tensor"].value) == (6, 6)


def test_unknown_ending_is_refused_before_anything_is_computed(run, folder):
    result = run("predict", "POSCAR", "-o", "table.parq")
    assert result.exit_code == 2
    assert ".csv" in result.output


def test_tables_fit_terminals_that_know_only_ascii(folder, tiny_model):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "COLUMNS": "80"}
    script = "from ase_comformer.cli import app; app()"
    arguments = ["predict", ".", "--model", tiny_model]
    done = subprocess.run([sys.executable, "-c", script, *arguments], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"+--" in done.stdout
    assert b"?" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_text_from_files_is_no_markup_and_no_control_sequence(run, folder, rocksalt, tiny_model):
    path = folder / "[red]x.cif"
    ase.io.write(path, rocksalt)
    result = run("predict", path, "--model", tiny_model, "-p", "formation_energy")
    assert "[red]x.cif" in result.stdout


def test_relax_writes_structures_and_says_how_it_went(run, folder):
    result = run("relax", "two.extxyz", "--fmax", "0.05", "--output", "relaxed.extxyz", "--json")
    assert result.exit_code == 0, result.output
    written = ase.io.read(folder / "relaxed.extxyz", ":")
    for atoms, row in zip(written, rows_of(result), strict=True):
        np.testing.assert_allclose(atoms.cell.array, row["cell"], atol=1e-6)
        assert row["converged"]
        assert np.abs(atoms.get_forces()).max() < 0.05
    refused = run("relax", "two.extxyz", "--steps", "1", "--output", "two.cube")
    assert refused.exit_code == 1
    assert "cannot be written" in refused.stderr
    assert "not at rest" in refused.stdout


def test_what_cannot_be_written_is_shown_all_the_same(run, folder, tiny_model):
    (folder / "taken").write_text("a file, no folder")
    done = run("predict", "POSCAR", "--model", tiny_model, "-p", "formation_energy", "--output", "taken/out.csv")
    assert done.exit_code == 1
    assert "taken" in done.stderr
    assert "formation_energy" in done.stdout


def test_elastic_and_respond_print_numbers_of_the_library(run, folder):
    (row,) = rows_of(run("elastic", "POSCAR", "--route", "head", "--json"))
    assert row["is_stable"]
    assert 100 < row["bulk_modulus"]["hill"] < 220
    (row,) = rows_of(run("respond", "POSCAR", "--json"))
    assert np.shape(row["static_dielectric_tensor"]) == (3, 3)
    assert len(row["frequencies"]) == 6
    shown = run("elastic", "POSCAR", "--route", "head")
    assert "Debye temperature" in shown.stdout


def test_respond_shows_every_mode_and_cuts_charges_of_many_atoms(run, folder, monkeypatch):
    result = SimpleNamespace(
        space_group="P1", frequencies=np.arange(60.0) + 0.25, born_effective_charges=np.ones((20, 3, 3)), status=("ok",)
    )
    monkeypatch.setattr("ase_comformer.workflows.response.respond", lambda *_, **__: result)
    shown = run("respond", "POSCAR").stdout
    assert all(f"{mode}.25" in shown for mode in range(60))
    assert shown.count("more atoms") == 1
    assert "8 more atoms: --json" in shown


def test_bundle_puts_networks_together(run, model_directory, tmp_path):
    import shutil

    weights = tmp_path / "weights"
    shutil.copytree(model_directory, weights)
    done = run("bundle", weights, "both", "elastic_tensor=tiny,tiny2", "dielectric_tensor=tiny")
    assert done.exit_code == 0, done.output
    model = load_model(weights / "both.json")
    assert model.properties == ("elastic_tensor", "dielectric_tensor")
    assert len(model.entries("elastic_tensor")) == 2
    assert "does not predict 'colour'" in run("bundle", weights, "bad", "colour=tiny").stderr
    assert run("bundle", weights, "bad", "elastic_tensor").exit_code == 2


def test_screen_fills_a_folder_and_writes_a_table(run, folder, tiny_model):
    pytest.importorskip("pyarrow")
    (folder / "empty.cif").write_text("")
    arguments = ["screen", ".", "--folder", "out", "-p", "elastic_tensor", "--model", tiny_model]
    done = run(*arguments, "--table", "all.csv")
    assert done.exit_code == 0, done.output
    assert "9 structures" in done.stdout
    assert "of which 1 failed" in done.stdout
    assert "empty.cif has no atoms" in done.stderr
    with (folder / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert sum(bool(row["elastic_tensor xx_xx (GPa)"]) for row in rows) == 8
    (folder / "all.csv").unlink()
    assert "0 structures" in run(*arguments).stdout  # the table itself would be no structure file
    assert run(*arguments, "--table", "all.db").exit_code == 2


@pytest.mark.parametrize("command", ["elastic", "relax"])
def test_a_terminal_of_80_columns_cuts_nothing_off(command, folder, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(command, "POSCAR").stdout
    assert "MgO" in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
