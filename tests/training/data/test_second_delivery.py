"""Readers of tensors that are known in part, relaxed cells, and how crystals of several data sets become one sample."""

import gzip
import json

import numpy as np
import pytest
from ase import Atoms

from ase_comformer.training.data import relaxed_cells
from ase_comformer.training.data.records import load_records, split_of
from ase_comformer.training.data.samples import select_records

LATTICE = (4.2 * np.eye(3)).tolist()


def row(**fields):
    common = {"id": "mp-1", "formula": "BaTe", "split": split_of("BaTe"), "numbers": [56, 52], "flags": [], "spg": 221}
    return {**common, "lattice": LATTICE, "frac": [[0, 0, 0], [0.5, 0.5, 0.5]], **fields}


def moduli_row(**fields):
    values = {"K_vrh": 50.0, "G_vrh": 30.0, "K_voigt_jarvis": 45.0, "G_voigt_jarvis": 28.0}
    return row(**{**values, "structure_source": "mp_pbe:elastic_mp", **fields})


def write(folder, dataset, rows):
    with gzip.open(folder / f"{dataset}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in rows)


@pytest.fixture
def strains(tmp_path, monkeypatch):
    """The file of strains, with one of a single crystal."""
    path = tmp_path / "relaxed_cells.npz"
    np.savez(path, id=np.array(["mp-1"]), strain=np.array([[0.01, 0.01, 0.02, 0.0, 0.0, 0.01]], dtype=np.float16))
    monkeypatch.setattr(relaxed_cells, "STRAINS", path)
    relaxed_cells._strains.cache_clear()
    yield path
    relaxed_cells._strains.cache_clear()


def test_present_day_cells_come_strained_and_unknown_ones_are_left_out(tmp_path, strains):
    rows = [moduli_row(structure_source="mp_cif_2023"), moduli_row(structure_source="mp_cif_2023", id="mp-2")]
    write(tmp_path, "moduli", [*rows, moduli_row(id="mp-3")])
    relaxed, old = load_records("moduli", tmp_path)
    assert (relaxed.id, old.id) == ("mp-1", "mp-3")
    assert (relaxed.extras["structure_functional"], old.extras["structure_functional"]) == ("relaxed", "PBE")
    strain = relaxed.atoms.cell.array / 4.2 - np.eye(3)
    expected = np.diag([0.01, 0.01, 0.02])
    expected[0, 1] = expected[1, 0] = 0.005  # Voigt shear is twice that
    np.testing.assert_allclose(strain, expected, atol=1e-5)
    np.testing.assert_allclose(relaxed.atoms.get_scaled_positions()[1], 0.5)
    np.testing.assert_array_equal(old.atoms.cell.array, LATTICE)


def test_a_missing_file_of_strains_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(relaxed_cells, "STRAINS", tmp_path / "absent.npz")
    relaxed_cells._strains.cache_clear()
    write(tmp_path, "moduli", [moduli_row(structure_source="mp_cif_2023")])
    with pytest.raises(FileNotFoundError, match=r"relax_cells\.py"):
        load_records("moduli", tmp_path)


def test_moduli_of_two_functionals_are_two_data_sets_and_flagged_ones_are_missing(tmp_path):
    write(tmp_path, "moduli", [moduli_row(), moduli_row(id="mp-2", flags=["G_voigt_jarvis_unphysical"])])
    (first, second), jarvis = load_records("moduli", tmp_path), load_records("moduli_jarvis", tmp_path)
    assert (first.extras["K_vrh"], first.extras["functional"]) == (50.0, "PBE")
    assert second.extras["G_vrh"] == 30.0
    assert [record.extras["functional"] for record in jarvis] == ["OptB88vdW"] * 2
    assert jarvis[0].extras["G_voigt"] == 28.0
    assert "G_voigt" not in jarvis[1].extras


def test_a_total_dielectric_tensor_without_axes_has_eigenvalues_only(tmp_path):
    tensor = np.diag([5.0, 6.0, 7.0]).tolist()
    write(tmp_path, "dielectric_total_mp2020", [
        row(e_total=tensor, e_total_eigenvalues=[5.0, 6.0, 7.0]),
        row(id="mp-2", e_total=None, e_total_eigenvalues=[5.0, 6.0, 7.0], flags=["frame_unknown"]),
    ])  # fmt: skip
    known, unknown = load_records("dielectric_total_mp2020", tmp_path)
    assert "static_dielectric_tensor" in known.labels
    assert not unknown.labels
    assert unknown.extras["eps_static_eigenvalues"] == [5.0, 6.0, 7.0]


def test_the_total_mean_is_made_of_electronic_and_ionic_part(tmp_path):
    parts = {"structure_source": "mp_pbe:x", "eps_inf_pbe": 4.0, "eps_ion_pbe": 3.0, "eps_total_pbe": None}
    write(tmp_path, "dielectric_scalars", [row(**parts), row(**parts, id="mp-2") | {"flags": ["eps_inf_large"]}])
    first, second = load_records("dielectric_scalars", tmp_path)
    assert (first.extras["eps_inf_mean"], first.extras["eps_static_mean"]) == (4.0, 7.0)
    assert "eps_inf_mean" not in second.extras


def test_records_without_identifiers_get_distinct_ones(tmp_path):
    fields = {"eps_inf": np.eye(3).tolist(), "born": np.zeros((2, 3, 3)).tolist(), "eps_total_trace3": None}
    write(tmp_path, "dielectric_petretto", [row(**fields, id=None)] * 3)
    assert [record.id for record in load_records("dielectric_petretto", tmp_path)] == ["BaTe", "BaTe (2)", "BaTe (3)"]


def test_formation_energies_of_2018_have_structures_energies_and_gaps(tmp_path):
    atoms = Atoms("BaTe", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4.0, 4.0, 4.0, 60, 60, 60], pbc=True)
    np.savez(
        tmp_path / "formation_energy_mp2018.npz",
        id=np.array(["mp-1"]), formula=np.array(["BaTe"]), split=np.array([split_of("BaTe")]),
        cell_parameters=atoms.cell.cellpar()[None], ptr=np.array([0, 2]), numbers=atoms.numbers.astype(np.uint8),
        frac=atoms.get_scaled_positions().astype(np.float32), e_form=np.array([-1.5]), gap_pbe=np.array([1.6]),
        in_formation_energy=np.array([False]),
    )  # fmt: skip
    (record,) = load_records("formation_energy_mp2018", tmp_path)
    np.testing.assert_allclose(record.atoms.cell.cellpar(), atoms.cell.cellpar())
    assert (record.labels["formation_energy"], record.labels["band_gap"]) == (-1.5, 1.6)


def test_a_crystal_of_several_data_sets_is_one_sample_of_each_functional(tmp_path):
    stiffness = np.diag([150.0] * 3 + [60.0] * 3).tolist()
    write(tmp_path, "elastic_mp", [row(C=stiffness, K_vrh=50.0, G_vrh=30.0)])
    write(tmp_path, "moduli", [moduli_row()])
    write(tmp_path, "piezo_modulus_mp", [row(e_max_longitudinal=0.4, structure_source="mp_pbe:x")])
    datasets = ["elastic_mp", "piezo_modulus_mp", "moduli_jarvis", "moduli"]
    names = ["elastic_tensor", "moduli", "voigt_moduli", "piezoelectric_modulus"]
    records, owner = select_records(datasets, ["train"], names, folder=tmp_path)
    assert [record.extras["functional"] for record in records] == ["PBE", "OptB88vdW"]
    assert owner == [0, 2]
    assert records[0].extras["piezoelectric_modulus"] == 0.4
    assert "elastic_tensor" in records[0].labels
    assert select_records(datasets, ["train"], ["dielectric_tensor"], folder=tmp_path) == ([], [])
