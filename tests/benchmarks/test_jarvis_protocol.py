"""The protocol on a file of JARVIS's form: every filter takes what it should, splits add up, errors are right."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from benchmarks import jarvis_protocol
from benchmarks.jarvis_protocol import curated, errors_of, main, parsed
from benchmarks.published import GMTNET_COUNTS, GMTNET_TABLE

SALTS = [a + b for a in ("Li", "Na", "K", "Rb", "Cs") for b in ("F", "Cl", "Br", "I")]


def structure(atoms: Atoms) -> dict:
    return {
        "lattice_mat": atoms.cell.array.tolist(),
        "coords": atoms.get_scaled_positions().tolist(),
        "elements": atoms.get_chemical_symbols(),
        "cartesian": False,
    }


def cubic_stiffness(c11: float, c12: float, c44: float) -> np.ndarray:
    tensor = np.diag([c11] * 3 + [c44] * 3)
    tensor[:3, :3] += c12 * (1 - np.eye(3))
    return tensor


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """Twenty salts, and one record for every reason to leave one out."""
    records = [
        {
            "jid": f"JVASP-{number}",
            "atoms": structure(bulk(salt, "rocksalt", a=5 + 0.1 * number)),
            "elastic_tensor": cubic_stiffness(100.0 + number, 20.0, 25.0).tolist(),
            "spg_number": 225,
        }
        for number, salt in enumerate(SALTS)
    ]
    wrong = cubic_stiffness(100.0, 20.0, 25.0)
    wrong[0, 3] = wrong[3, 0] = 30.0  # no cubic crystal has C14
    for number, value in (
        (100, "na"),
        (101, [[1.0]]),
        (102, cubic_stiffness(9e3, 1.0, 1.0).tolist()),
        (103, wrong.tolist()),
    ):
        records.append({**records[0], "jid": f"JVASP-{number}", "elastic_tensor": value})
    path = tmp_path / "dft_3d.json"
    path.write_text(json.dumps(records))
    return path


OPTIONS = ["--property", "elastic_tensor", "--voigt-order", "vasp", "--unit", "GPa"]


def test_each_filter_takes_what_it_should(download: Path):
    records, steps = curated(parsed([str(download), *OPTIONS]))
    assert [count for _, count in steps] == [24, 22, 21, 20]
    assert {record.id for record in records} == {f"JVASP-{number}" for number in range(20)}
    _, wider = curated(parsed([str(download), *OPTIONS, "--max-component", "1e5", "--symmetry", "1"]))
    assert [count for _, count in wider] == [24, 22, 22, 22]


def test_a_zero_tensor_has_every_symmetry(download: Path):
    (record, *_) = curated(parsed([str(download), *OPTIONS]))[0]
    record.labels["elastic_tensor"] = np.full((6, 6), 1e-5)
    assert jarvis_protocol.has_its_symmetry(record, "elastic_tensor", 0.01)


def test_errors_are_those_of_the_median_of_the_training_records(download: Path):
    records, _ = curated(parsed([str(download), *OPTIONS]))
    (metrics,) = errors_of(records, "elastic_tensor", [3], [])["constant"]
    sides = jarvis_protocol.gmtnet_split([record.id for record in records], 3)
    of = {
        side: [float(r.labels["elastic_tensor"][0, 0]) for r in records if sides[r.id] == side]
        for side in ("train", "test")
    }
    assert [len(of["train"]), len(of["test"])] == [16, 2]
    # only C11 = C22 = C33 differ between the salts
    expected = np.mean([np.sqrt(3) * abs(value - np.median(of["train"])) for value in of["test"]])
    assert metrics.frobenius == pytest.approx(expected)
    assert metrics.within[0] == 1.0


def test_the_command_prints_filters_splits_and_published_values(download: Path, capsys: pytest.CaptureFixture[str]):
    main([str(download), *OPTIONS, "--seeds", "0", "1", "--models", "gmtnet-paper-elastic"])
    text = capsys.readouterr().out
    for expected in (
        "14220*", "seed 1: train/val/test 16/2/2", "gmtnet-paper-elastic", "67.4*", "66.1*", "constant", "±",
    ):  # fmt: skip
        assert expected in text, expected


def test_published_numbers_that_were_not_read_are_marked():
    for rows in GMTNET_TABLE.values():
        for norm, within in rows.values():
            assert all(f"{value:.1f}".endswith("*") for value in (norm, *within))
    assert f"{GMTNET_COUNTS['elastic_tensor']:.0f}" == "14220*"
