"""Split rule, loaders and folds: on a made-up data folder, and on the real one where ASE_COMFORMER_DATA is set."""

import gzip
import hashlib
import json
import os

import numpy as np
import pytest
from pymatgen.core import Composition

from ase_comformer.errors import UnknownNameError
from ase_comformer.training.data.records import (
    DATASETS,
    SPLITS,
    Record,
    data_folder,
    formula_folds,
    load_records,
    split_of,
    without_flags,
)

real_data = pytest.mark.skipif("ASE_COMFORMER_DATA" not in os.environ, reason="ASE_COMFORMER_DATA is not set")

CELL = {"lattice": [[4.0, 0, 0], [1.0, 5.0, 0], [0, 0, 6.0]], "frac": [[0, 0, 0], [0.5, 0.25, 0.5]]}


def row(formula="BaTe", numbers=(56, 52), **fields):
    return {
        "id": "x-1", "formula": formula, "split": split_of(formula), "numbers": list(numbers), "flags": [], **CELL,
        **fields,
    }  # fmt: skip


def dielectric_row(**fields):
    eps = np.diag([4.0, 5.0, 6.0])
    eps[0, 1] = eps[1, 0] = 0.5
    defaults = {
        "spg": 2, "pointgroup": "-1", "eps_inf": eps.tolist(), "eps_ion": (2 * eps).tolist(), "gap": 1.5,
        "born": [np.diag([1.0, 2, 3]).tolist(), np.diag([-1.0, -2, -3]).tolist()], "K_vrh": None, "G_vrh": None,
        "e_form": -1.0, "gamma_freq_thz": [0.0] * 6,
    }  # fmt: skip
    return row(**{**defaults, **fields})


def write(folder, dataset, rows):
    with gzip.open(folder / f"{dataset}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in rows)


@pytest.mark.parametrize("formula", ["Ba2 Ti2 O6", "BaTiO3", "O3TiBa"])
def test_split_depends_on_the_reduced_formula_only(formula):
    assert split_of(formula) == split_of(Composition("BaTiO3"))


@pytest.mark.parametrize("formula", ["MgO", "NaCl"])
def test_documented_withheld_formulas_are_withheld(formula):
    assert split_of(formula) == "withheld"


def test_split_follows_the_published_rule():
    sides = {0: "withheld", 1: "withheld", 2: "test", 3: "test", 4: "val"}
    for formula in ("SiO2", "GaAs", "AlN", "TiO2", "ZnS", "InSb", "Fe", "LiNbO3", "Cs2 Te2"):
        key = Composition(formula).reduced_formula
        bucket = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 20
        assert split_of(formula) == sides.get(bucket, "train")


@pytest.mark.parametrize("formula", ["", "not a formula"])
def test_split_of_nonsense_is_an_error(formula):
    with pytest.raises(ValueError, match=r"formula|Formula"):
        split_of(formula)


def test_record_has_positions_labels_and_extras(tmp_path):
    write(tmp_path, "dielectric_born", [dielectric_row()])
    (record,) = load_records("dielectric_born", tmp_path)
    assert record.atoms.pbc.all()
    np.testing.assert_allclose(record.atoms.positions, np.array(CELL["frac"]) @ np.array(CELL["lattice"]))
    np.testing.assert_allclose(record.labels["static_dielectric_tensor"], 3 * record.labels["dielectric_tensor"])
    assert record.labels["born_effective_charges"].shape == (2, 3, 3)
    assert record.extras["functional"] == "PBEsol"
    assert record.extras["pointgroup"] == "-1"
    assert record.extras["gap"] == 1.5
    assert "K_vrh" not in record.extras


def test_missing_ionic_part_gives_no_static_label(tmp_path):
    write(tmp_path, "dielectric_born", [dielectric_row(eps_ion=None)])
    (record,) = load_records("dielectric_born", tmp_path)
    assert "static_dielectric_tensor" not in record.labels


def test_piezo_record_keeps_its_readings(tmp_path):
    tensor = np.arange(18.0).reshape(3, 6)
    common = {"spg": 216, "pointgroup": "-43m", "e": tensor.tolist(), "e_norm": 1.0, "resolved_by": None,
              "ionic_cos": None, "published_frame": "rotated"}  # fmt: skip
    write(tmp_path, "piezo_mp", [
        row(**common, ambiguous=True, alternatives=[(-tensor).tolist()]),
        row(**common, ambiguous=False, alternatives=[]),
    ])  # fmt: skip
    first, second = load_records("piezo_mp", tmp_path)
    np.testing.assert_array_equal(first.extras["alternatives"], -tensor[None])
    assert second.extras["alternatives"].shape == (0, 3, 6)
    assert first.extras["ambiguous"]
    assert not second.extras["ambiguous"]


def test_record_on_the_wrong_side_of_the_split_is_refused(tmp_path):
    write(tmp_path, "dielectric_born", [dielectric_row(formula="MgO", split="train")])
    with pytest.raises(ValueError, match="withheld"):
        load_records("dielectric_born", tmp_path)


def test_repeated_formation_energies_keep_the_self_consistent_one(tmp_path):
    other = {"e_above_hull": None, "gap": None, "structure_functional": "PBEsol"}
    write(tmp_path, "formation_energy", [
        row(e_form=-1.0, source="phonondb+matbench_mp_e_form", **other),
        row(e_form=-2.0, source="matminer_flla_2015", **other),
    ])  # fmt: skip
    (record,) = load_records("formation_energy", tmp_path)
    assert record.labels["formation_energy"] == -2.0
    assert len(load_records("formation_energy", tmp_path, drop_duplicates=False)) == 2


def test_unknown_names_and_missing_folders_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(UnknownNameError, match="elastic_mp"):
        load_records("elastic", tmp_path)
    with pytest.raises(UnknownNameError, match="val"):
        load_records("elastic_mp", tmp_path, splits=("validation",))
    with pytest.raises(UnknownNameError, match="sequence"):
        load_records("elastic_mp", tmp_path, splits="train")
    with pytest.raises(FileNotFoundError, match=r"elastic_mp\.jsonl\.gz"):
        load_records("elastic_mp", tmp_path)
    monkeypatch.delenv("ASE_COMFORMER_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="ASE_COMFORMER_DATA"):
        data_folder()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        data_folder(tmp_path / "absent")


def test_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ASE_COMFORMER_DATA", str(tmp_path))
    assert data_folder() == tmp_path


def test_folds_keep_formulas_together_and_cover_everything():
    records = [Record(str(i), f"formula{i // 3}", "train", None, {}) for i in range(90)]
    folds = formula_folds(records, 5)
    assert sorted(np.concatenate(folds).tolist()) == list(range(90))
    owner = {}
    for number, fold in enumerate(folds):
        for index in fold:
            assert owner.setdefault(records[index].formula, number) == number
    with pytest.raises(ValueError, match="2"):
        formula_folds(records, 1)


def test_without_flags_matches_prefixes():
    records = [Record("a", "A", "train", None, {}, flags) for flags in ((), ("eps_inf_suspect",), ("f_element",))]
    assert without_flags(records, "eps_inf_") == [records[0], records[2]]


@real_data
@pytest.mark.parametrize(
    ("dataset", "counts"),
    [
        ("dielectric_born", (3717, 206, 488)),
        ("dielectric_mp", (825, 40, 95)),
        ("piezo_mp", (639, 52, 78)),
        ("elastic_mp", (886, 54, 102)),
    ],
)
def test_real_data_has_the_documented_counts(dataset, counts):
    records = load_records(dataset, splits=SPLITS)
    assert tuple(sum(record.split == side for record in records) for side in SPLITS) == counts
    assert len({record.id for record in records}) == len(records)
    assert dataset in DATASETS


@real_data
def test_real_formation_energies_have_unique_ids():
    records = load_records("formation_energy", splits=("val",))
    assert len({record.id for record in records}) == len(records) > 600


@real_data
def test_real_born_charges_obey_the_sum_rule_and_dielectrics_are_symmetric():
    for record in load_records("dielectric_born", splits=("val",)):
        assert np.abs(record.labels["born_effective_charges"].sum(axis=0)).max() < 2e-5
        eps = record.labels["dielectric_tensor"]
        np.testing.assert_allclose(eps, eps.T, atol=1e-9)
