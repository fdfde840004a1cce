"""``evaluate.run`` with a tiny random model on a made-up data folder."""

import gzip
import json
import shutil

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from ase_comformer import predict
from ase_comformer.cli.application import application as app
from ase_comformer.errors import UnknownNameError, WeightsError
from ase_comformer.inference.loaded_model import _derived
from ase_comformer.models.cards import metrics_are_current, record_metrics
from ase_comformer.models.checksums import verify_folder
from ase_comformer.models.registry import load_model, model_card, save_bundle, save_weights
from ase_comformer.training.data.records import split_of
from ase_comformer.training.evaluation.evaluate import run
from tiny import tiny_card, tiny_network

FORMULAS = (
    *(
        "MgO",
        "CaO",
        "BaO",
        "KCl",
        "ZnS",
        "MgS",
        "CaS",
        "GaP",
        "AlP",
        "ZnO",
        "BaS",
        "NaCl",
        "GaAs",
        "AlAs",
        "AlN",
        "GaN",
    ),
    *("SiC", "TiN", "TiC", "KH", "NaH", "CaCl2", "MgCl2", "BaCl2", "SiO2", "TiO2", "CuCl", "Cu2O", "TiS2", "CaC2"),
)


def write(folder, dataset, make):
    """Structures are one motif with the two or three atoms of the formula; labels come from ``make(i, n)``."""
    from pymatgen.core import Composition

    rows = []
    for index, formula in enumerate(FORMULAS):
        side = split_of(formula)
        if side == "withheld":
            continue
        numbers = [e.Z for e, n in Composition(formula).items() for _ in range(int(n))]
        frac = [[0.0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]][: len(numbers)]
        length = 4.0 + 0.02 * index
        lattice = [[0, length, length / 4], [length, 0, length], [length, length, 0]]
        rows.append({
            "id": f"{dataset}-{index}", "formula": Composition(formula).reduced_formula, "split": side, "spg": 1,
            "lattice": lattice, "frac": frac, "numbers": numbers, "flags": [], **make(index, len(numbers)),
        })  # fmt: skip
    with gzip.open(folder / f"{dataset}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return rows


def born(index, count):
    charges = np.zeros((count, 3, 3))
    charges[0], charges[1] = np.eye(3) * (1 + index), -np.eye(3) * (1 + index)
    return {
        "pointgroup": "1", "eps_inf": (np.eye(3) * (2 + index)).tolist(),
        "eps_ion": None if index % 2 else np.eye(3).tolist(),
        "born": charges.tolist(), "K_vrh": None, "G_vrh": None, "gap": None, "e_form": None, "gamma_freq_thz": [],
    }  # fmt: skip


def elastic(index, count):
    stiffness = np.diag([100.0 + index] * 3 + [50.0] * 3)
    return {"C": stiffness.tolist(), "K_vrh": 50.0, "G_vrh": 50.0}


def piezo(index, count):
    tensor = np.full((3, 6), 0.1 * (1 + index))
    return {
        "pointgroup": "1", "e": tensor.tolist(), "e_norm": 1.0, "ambiguous": bool(index % 2), "resolved_by": None,
        "ionic_cos": None, "published_frame": "x", "alternatives": [(-tensor).tolist()] if index % 2 else [],
    }  # fmt: skip


def clamped(index, count):
    born = [(np.eye(3) * sign).tolist() for sign in (1, -1, *[0] * (count - 2))]
    return {
        "e_electronic": (np.eye(3) * 3).tolist(), "born": born, "e_ionic": np.eye(3).tolist(),
        "e_clamped": np.full((3, 6), 0.1).tolist(), "clamped_norm": 0.5, "ambiguous": False, "alternatives": [],
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    for dataset in ("dielectric_mpdfpt", "piezo_clamped_jarvis"):
        write(directory, dataset, clamped)
    for dataset, make in (("dielectric_born", born), ("elastic_mp", elastic), ("piezo_mp", piezo)):
        rows = write(directory, dataset, make)
        assert {"train", "test"} <= {row["split"] for row in rows}
    write(directory, "formation_energy", lambda i, n: {
        "e_form": -0.1 * i, "e_above_hull": 0.0, "gap": None, "source": "x", "structure_functional": "PBE",
    })  # fmt: skip
    return directory


PROPERTIES = ("dielectric_tensor", "born_effective_charges", "elastic_tensor", "piezoelectric_tensor")


@pytest.fixture(scope="module")
def without_mp(folder):
    """dielectric_mp is another source of dielectric labels; give it the same crystals."""
    write(folder, "dielectric_mp", lambda i, n: {
        "e_electronic": (np.eye(3) * 3.0).tolist(), "e_total": (np.eye(3) * 9.0).tolist(), "gap": 1.0,
        "pot_ferroelectric": False,
    })  # fmt: skip
    return folder


def test_evaluation_shows_models_beside_baselines(without_mp, tiny_model, model_directory, tmp_path):
    console = Console(record=True, width=220)
    other = str(model_directory / "tiny2.json")
    with console.capture() as capture:
        result = run(
            tiny_model, folder=without_mp, properties=PROPERTIES, comparisons=[other], console=console, progress=False,
            json_path=tmp_path / "sub" / "accuracy.json", log_path=tmp_path / "evaluate.log",
        )  # fmt: skip
    text = capture.get()
    for expected in ("constant median", "kernel ridge", "zero", "CEITNet", "K_VRH MAE", "Spearman", "max |sum Z|"):
        assert expected in text
    names = [name for name, _ in result.find("elastic_tensor").rows]
    assert names == ["tiny", "tiny2", "constant median", "kernel ridge"]
    saved = json.loads((tmp_path / "sub" / "accuracy.json").read_text())
    assert saved["split"] == "test"
    assert {section["property"] for section in saved["sections"]} == set(PROPERTIES)
    assert "evaluating" in (tmp_path / "evaluate.log").read_text()


def test_predictions_are_kept_for_figures(without_mp, tiny_model):
    result = run(tiny_model, folder=without_mp, properties=["born_effective_charges"], progress=False)
    pairs = result.predictions["dielectric_born"]["born_effective_charges"]
    assert pairs
    for record, predicted in pairs:
        assert predicted.shape == (len(record.atoms), 3, 3)


@pytest.fixture
def fresh_models():
    """Models whose covered elements are found anew, before and after a test that changes them."""
    _derived.cache_clear()
    yield
    _derived.cache_clear()


@pytest.mark.usefixtures("fresh_models")
def test_crystals_outside_the_model_are_reported_and_left_out(without_mp, tiny_model, monkeypatch):
    from ase_comformer.models.registry import Model

    covered = Model.elements
    monkeypatch.setattr(Model, "elements", lambda self, name: covered(self, name) - {"K", "Na", "Ba", "Ga", "Al", "Ti"})
    result = run(tiny_model, folder=without_mp, properties=["dielectric_tensor"], split="train", progress=False)
    failures = result.failures["tiny"]["dielectric_born"]
    assert failures
    total = result.find("dielectric_tensor", "all records").rows
    assert len({metrics.count for _, metrics in total}) == 1
    assert "UnknownElementError" in next(iter(failures.values()))


@pytest.mark.usefixtures("fresh_models")
def test_a_model_that_covers_less_is_also_compared_on_common_crystals(
    without_mp, tiny_model, model_directory, monkeypatch
):
    from ase_comformer.models.registry import Model

    covered = Model.elements
    missing = {"K", "Na", "Ba", "Ga"}
    monkeypatch.setattr(
        Model, "elements", lambda self, name: covered(self, name) - (missing if self.name == "tiny2" else set())
    )
    arguments = {"folder": without_mp, "properties": ["piezoelectric_tensor"], "split": "train", "progress": False}
    result = run(tiny_model, comparisons=[model_directory / "tiny2.json"], **arguments)
    counts = {section.subset: {name: metrics.count for name, metrics in section.rows} for section in result.sections}
    everything, common = counts["all records"], counts["all records, covered by all models"]
    assert everything["tiny"] == everything["zero"] > everything["tiny2"]
    assert set(common.values()) == {everything["tiny2"]}
    assert set(counts["all records, covered by all models, norm"]) == {"tiny", "tiny2", "kernel ridge"}
    # a model card is about one model: no compared models, and no tables that exist only because of them
    recorded = result.card_metrics()
    assert [section["subset"] for section in recorded["sections"]] == ["all records", "all records, norm"]
    assert "tiny2" not in json.dumps(recorded) + result.card_table()
    same = run(tiny_model, comparisons=[tiny_model], **arguments)
    assert not any(section.is_common for section in same.sections)


@pytest.fixture
def shipped(model_directory, tmp_path, monkeypatch):
    """A copy of the tiny networks with a bundle, in the place of the shipped weights."""
    folder = tmp_path / "shipped"
    shutil.copytree(model_directory, folder)
    save_bundle(folder, "default", {"elastic_tensor": ["tiny", "tiny2"], "formation_energy": ["tiny"]})
    monkeypatch.setattr("ase_comformer.models.registry.weights_folder", lambda: folder)
    return folder


@pytest.mark.parametrize("name", ["tiny", "default"])
def test_record_writes_test_metrics_into_the_card(without_mp, shipped, name):
    introduction = "# tiny\n" if name == "tiny" else "| elastic_tensor | tiny, tiny2 |"
    for _ in range(2):  # a second time replaces the first
        done = CliRunner().invoke(app, ["evaluate", name, "--record", "--data", str(without_mp)])
        assert done.exit_code == 0, done.output
        card, text = model_card(name), (shipped / f"{name}.md").read_text()
        assert card["metrics"]["split"] == "test"
        section = next(s for s in card["metrics"]["sections"] if s["property"] == "elastic_tensor")
        assert section["rows"][0]["predictor"] == name
        assert section["rows"][0]["frobenius"] > 0
        assert introduction in text
        assert text.count("## Accuracy") == 1
        row = next(line for line in text.splitlines() if line.startswith("| elastic_tensor | `elastic_mp`"))
        assert f"| {name} | Fnorm {section['rows'][0]['frobenius']:.3f}; EwT 25/10/5 %" in row
        assert row.replace("\\|", "").count("|") == 6
    assert verify_folder(shipped) == []
    assert load_model(name).name == name
    assert metrics_are_current(name)


def test_recorded_metrics_of_other_weights_are_noticed(without_mp, shipped):
    done = CliRunner().invoke(app, ["evaluate", "default", "--record", "--data", str(without_mp)])
    assert done.exit_code == 0, done.output
    metrics = model_card("default")["metrics"]
    network = tiny_network(7)
    save_weights(network, shipped, "tiny2", tiny_card(network))
    assert not metrics_are_current("default")
    with pytest.raises(WeightsError, match="other weights"):
        record_metrics("default", metrics, "")
    with pytest.raises(WeightsError, match="'val'"):
        record_metrics("default", metrics | {"split": "val"}, "")
    save_bundle(shipped, "default", {"elastic_tensor": ["tiny"]})
    assert not metrics_are_current("default")  # the table in default.md is still the old one
    (shipped / "default.md").unlink()
    assert metrics_are_current("default")


@pytest.mark.parametrize("option", [["--split", "val"], ["-p", "elastic_tensor"]])
def test_part_of_an_evaluation_is_not_recorded(shipped, option):
    done = CliRunner().invoke(app, ["evaluate", "tiny", "--record", *option])
    assert done.exit_code == 2
    assert "metrics" not in model_card("default")


def test_sections_after_the_accuracy_are_kept(shipped):
    (shipped / "tiny.md").write_text("# tiny\n\n## Accuracy\n\nold\n\n## Data\n\nmine\n")
    record_metrics("tiny", {"split": "test", "fingerprint": load_model("tiny", "cpu").fingerprint}, "new")
    text = (shipped / "tiny.md").read_text()
    assert "old" not in text
    assert text.index("new") < text.index("## Data\n\nmine\n")


def test_unknown_property_names_the_choices(without_mp, tiny_model):
    with pytest.raises(UnknownNameError, match="elastic_tensor"):
        run(tiny_model, folder=without_mp, properties=["hardness"], progress=False)


def test_labels_that_are_numbers_of_a_tensor_have_tables_with_intervals(tmp_path, tiny_model):
    write(tmp_path, "elastic_mp", elastic)
    write(tmp_path, "moduli", lambda i, n: {"K_vrh": 50.0 + i, "G_vrh": 30.0, "structure_source": "mp_pbe:elastic_mp"})
    result = run(tiny_model, split="train", folder=tmp_path, properties=["elastic_tensor"], progress=False)
    section = result.find("elastic_tensor", "PBE cells", "NumberMetrics")
    (name, metrics), (lower, low), (upper, high), *_ = section.rows
    assert (name, lower, upper) == ("tiny", "tiny, 95 % from", "tiny, 95 % to")
    assert low.mae[0] < metrics.mae[0] < high.mae[0]
    assert "K MAE (GPa)" in metrics.cells()


def test_predictions_follow_the_functional_of_the_labels(tmp_path, tiny_model):
    write(tmp_path, "dielectric_mpdfpt", clamped)
    result = run(tiny_model, folder=tmp_path, properties=["dielectric_tensor"], progress=False)
    record, predicted = result.predictions["dielectric_mpdfpt"]["dielectric_tensor"][0]
    usual, pbe = (
        predict([record.atoms], "dielectric_tensor", model=tiny_model, functional=functional)[0]["dielectric_tensor"]
        for functional in ("PBEsol", "PBE")
    )
    np.testing.assert_allclose(predicted, pbe, rtol=1e-5)
    assert np.abs(predicted - usual).max() > 1e-4
