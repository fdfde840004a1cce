"""``calibrate`` in one go: a random model on made-up crystals gets weights and error bars, and is asked for them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from ase_comformer.cli.application import application
from ase_comformer.inference.predictor import Predictor
from ase_comformer.training.data.records import split_of
from ase_comformer.training.evaluation.response_cache import ResponseCache
from tiny import tiny_bundle

_CATIONS, _ANIONS = ("Mg", "Ca", "Ba", "Na", "K", "Zn", "Cu", "Al", "Ga", "Ti", "Si"), ("O", "S", "N", "Cl", "P", "As")


def rocksalt(formula: str, length: float) -> Atoms:
    cell = length * (np.ones((3, 3)) - np.eye(3))
    return Atoms(formula, scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=cell, pbc=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Elastic tensors of some 30 compounds of the validation split in the rocksalt structure or with one more atom."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for cation in _CATIONS:
        for anion in _ANIONS:
            for count in range(1, 10):
                formula = f"{cation}{anion}{count if count > 1 else ''}"
                side = split_of(formula)
                if side not in ("val", "train") or (side == "train" and count > 1):
                    continue
                atoms = rocksalt(f"{cation}{anion}", 2.0 + 0.03 * len(rows))
                rows.append({
                    "id": f"mp-{len(rows)}", "formula": formula, "split": side, "spg": 225, "flags": [],
                    "lattice": atoms.cell.tolist(), "frac": atoms.get_scaled_positions().tolist(),
                    "numbers": atoms.numbers.tolist(), "K_vrh": 50.0, "G_vrh": 50.0,
                    "C": np.diag([100.0 + len(rows)] * 3 + [50.0] * 3).tolist(),
                })  # fmt: skip
    assert sum(row["split"] == "val" for row in rows) >= 20
    with gzip.open(folder / "elastic_mp.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, ["elastic_tensor"])


def test_one_command_fits_routes_and_error_bars(data: Path, model: Path, tmp_path: Path) -> None:
    command = ["calibrate", str(model), "--data", str(data), "--cache", str(tmp_path / "cache"), "-p", "elastic_tensor"]
    first = CliRunner().invoke(application, [*command, "--seconds", "0"])
    assert first.exit_code == 1
    assert "run the command again" in first.output
    result = CliRunner(env={"COLUMNS": "200"}).invoke(application, command)
    assert result.exit_code == 0, result.output
    for text in ("head", "response", "combined", "out of fold"):
        assert text in result.output
    predictor = Predictor(model=model, route="combined")
    atoms = rocksalt("MgO", 2.1)
    found, errors = predictor.evaluate_each(atoms, ("elastic_tensor", "elastic_tensor_uncertainty"))
    assert not errors
    assert found["elastic_tensor_uncertainty"] > 0
    assert predictor.describe("elastic_tensor_uncertainty")["calibrated_on"]["elastic_mp"] >= 20


def test_responses_are_kept_and_a_broken_line_is_computed_again(model: Path, tmp_path: Path) -> None:
    atoms = rocksalt("MgO", 2.1)
    predictor = Predictor(model=model, dtype="float64")
    cache = ResponseCache(tmp_path / "kept", predictor)
    assert cache.get(atoms) is None
    assert cache.fill([atoms])
    again = ResponseCache(tmp_path / "kept", predictor)
    np.testing.assert_array_equal(again.get(atoms).blocks.force_constants, cache.get(atoms).blocks.force_constants)
    cache.path.write_text(cache.path.read_text()[:-20])
    assert len(ResponseCache(tmp_path / "kept", predictor)) == 0
