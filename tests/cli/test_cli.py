"""The command line only calls the library: what it prints is what the library returns."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from typer.main import get_command
from typer.testing import CliRunner

from ase_comformer import __version__, predict
from ase_comformer.cli import commands
from ase_comformer.cli.application import application as app

COMMANDS = [
    "predict", "respond", "symmetry", "relax", "elastic", "models", "bundle", "convert", "train", "export", "evaluate",
    "calibrate", "compare", "demo", "phonons", "spectra", "screen", "report",
]  # fmt: skip


@pytest.fixture
def run():
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path, quartz, rocksalt):
    path = tmp_path / "crystals.extxyz"
    ase.io.write(path, [quartz, rocksalt], columns=["symbols", "positions"])
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_every_module_of_the_folder_is_a_command():
    assert {path.stem for path in Path(commands.__path__[0]).glob("[a-z]*.py")} == set(COMMANDS)


def test_version_is_printed(run):
    assert run("--version").stdout.strip() == f"ase-comformer {__version__}"


def test_help_texts_are_ascii():
    for command in get_command(app).commands.values():
        texts = [command.help, *(getattr(parameter, "help", None) for parameter in command.params)]
        assert all(text.isascii() for text in texts if text), command.name


@pytest.mark.parametrize("command", [[], ["predict"]])
def test_help_fits_terminals_that_know_only_ascii(command):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    code = "from ase_comformer.cli import app; app()"
    done = subprocess.run([sys.executable, "-c", code, *command, "--help"], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"Usage" in done.stdout
    assert b"?" not in done.stdout


def test_errors_are_spelled_out_where_the_terminal_knows_only_ascii(tmp_path):
    ase.io.write(tmp_path / "a.extxyz", Atoms("Cu2", [[0, 0, 0], [0, 0, 0.01]], cell=[4, 4, 4], pbc=True))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    code = "from ase_comformer.cli import app; app()"
    arguments = ["predict", str(tmp_path / "a.extxyz"), "--symprec", "-1"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("ValueError: symprec must be a positive length in A, got -1.0")


def test_faults_of_the_program_are_one_line_and_a_status_of_their_own(run, files, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("cannot reshape")

    monkeypatch.setattr("ase_comformer.inference.predictor.Predictor.__init__", fail)
    result = run("predict", files)
    assert result.exit_code == 3
    assert "RuntimeError: cannot reshape" in result.stderr
    assert "ASE_COMFORMER_DEBUG=1" in result.stderr
    monkeypatch.setenv("ASE_COMFORMER_DEBUG", "1")
    assert isinstance(run("predict", files).exception, RuntimeError)


def test_warnings_are_lines_without_a_place_in_the_code(run, files, monkeypatch):
    def warn(*_, **__):
        warnings.warn("watch out", UserWarning, stacklevel=1)
        return iter([])

    monkeypatch.setattr("ase_comformer.crystals.structure_sources.iter_sources", warn)
    assert run("symmetry", files).stderr.strip() == "UserWarning: watch out"


def test_predict_prints_json_of_what_the_library_returns(run, files, tiny_model):
    result = run("predict", files, "--model", tiny_model, "-p", "elastic_tensor", "-p", "formation_energy", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)["results"]
    expected = predict(ase.io.read(files, ":"), ["elastic_tensor", "formation_energy"], model=tiny_model)
    assert [row["formula"] for row in printed] == ["O6Si3", "MgO"]
    for row, values in zip(printed, expected, strict=True):
        np.testing.assert_allclose(row["elastic_tensor"], values["elastic_tensor"], atol=1e-4)
        assert row["formation_energy"] == pytest.approx(values["formation_energy"], abs=1e-5)


def test_predict_prints_units_and_functional_of_every_property(run, files, tiny_model):
    result = run("predict", files, "--model", tiny_model, "--index", "0")
    assert result.exit_code == 0, result.output
    for text in ("O6Si3", "dielectric_tensor", "GPa", "C/m^2", "PBEsol"):
        assert text in result.stdout


def test_failed_crystal_is_shown_and_sets_the_exit_status(run, tmp_path, rocksalt, tiny_model):
    path = tmp_path / "mixed.extxyz"
    ase.io.write(path, [Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]]), rocksalt])
    result = run("predict", path, "--model", tiny_model, "-p", "dielectric_tensor")
    assert result.exit_code == 1
    assert "no periodic boundary conditions" in result.stdout
    assert "dielectric_tensor" in result.stdout


def test_symmetry_prints_the_report(run, files, tiny_model):
    result = run("symmetry", files, "--model", tiny_model, "-p", "elastic_tensor")
    assert result.exit_code == 0, result.output
    assert "P3_221 (No. 154)" in result.stdout
    as_json = json.loads(run("symmetry", files, "--model", tiny_model, "--json").stdout)
    assert as_json[0]["number"] == 154


def test_models_lists_what_is_shipped(run, model_directory, monkeypatch):
    monkeypatch.setattr("ase_comformer.models.registry.weights_folder", lambda: Path(model_directory))
    result = run("models")
    assert result.exit_code == 0, result.output
    assert "tiny2" in result.stdout
    assert json.loads(run("models", "--json").stdout)["tiny"]["architecture"] == "TensorNetwork"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "nowhere.cif"], "no file 'nowhere.cif'"),
        (["predict", "FILE", "--model", "nonsense"], "Unknown model 'nonsense'"),
        (["predict", "FILE", "-p", "colour"], "no property 'colour'"),
        (["predict", "FILE", "--dtype", "float16"], "float32, float64"),
        (["predict", "NOTES"], "does not know the format"),
        (["symmetry", "FILE", "-p", "colour"], "no property 'colour'"),
        (["predict", "FILE", "--index", "99"], "has 2 structures"),
        (["predict", "FILE@7"], "has 2 structures"),
        (["symmetry", "nowhere.cif"], "no file 'nowhere.cif'"),
        (["convert", "nowhere.pt", "out"], "nowhere.pt does not exist"),
    ],
)
def test_refusals_are_one_line_not_a_traceback(run, files, tmp_path, tiny_model, arguments, message):
    (tmp_path / "notes.unknown").write_text("hello")
    places = {"FILE": files, "NOTES": tmp_path / "notes.unknown"}
    if arguments[0] in ("predict", "symmetry") and "--model" not in arguments:
        arguments = [*arguments, "--model", tiny_model]
    given = [places.get(argument, argument) for argument in arguments]
    given = [f"{files}@7" if argument == "FILE@7" else argument for argument in given]
    result = run(*given)
    assert result.exit_code == 1
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output


@pytest.mark.skipif("ASE_COMFORMER_REFERENCE" not in os.environ, reason="needs $ASE_COMFORMER_REFERENCE")
def test_converted_checkpoint_predicts(run, tmp_path, rocksalt):
    checkpoint = Path(os.environ["ASE_COMFORMER_REFERENCE"]) / "gmtnet_dielectric_official.pt"
    result = run("convert", checkpoint, tmp_path / "gmtnet.json")
    assert result.exit_code == 0, result.output
    (value,) = predict([rocksalt], model=tmp_path / "gmtnet.json", on_error="raise")
    assert 1 < value["dielectric_tensor"][0, 0] < 10


def test_phonons_and_spectra_write_what_others_read(run, tmp_path):
    ase.io.write(tmp_path / "mgo.cif", bulk("MgO", "rocksalt", a=4.25))
    files, figure = tmp_path / "files", tmp_path / "bands.png"
    done = run("phonons", tmp_path / "mgo.cif", "--supercell", "5", "--write", files, "--plot", figure)
    assert done.exit_code == 0, done.output
    assert "imaginary modes" in done.output
    assert figure.stat().st_size > 10_000
    assert {path.name for path in files.iterdir()} == {"phonopy_params.yaml", "FORCE_SETS", "BORN"}
    spectrum = run("spectra", tmp_path / "mgo.cif", "--json", "--plot", tmp_path / "spectra.png")
    (row,) = json.loads(spectrum.stdout)["results"]
    assert len(row["wave_numbers"]) == 1
    assert row["raman"] == [0.0]
