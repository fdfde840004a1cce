"""Converters of public originals: frames, orders and signs of the labels, the split and the withheld formulas.

All fixtures are written here; numbers are made up unless a test says otherwise.
"""

import csv
import functools
import gzip
import json
import logging
import tarfile
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer import tensors
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import UnknownNameError
from ase_comformer.training.data import records as data
from ase_comformer.training.data import sources
from ase_comformer.training.data.sources.common import atoms_from_dict, structure_fields, symmetry_residual

WITHHELD = "MgO"
TRAIN = "BaTe"


def poscar(atoms: Atoms) -> str:
    text = f"{atoms.get_chemical_formula()}\n1.0\n"
    text += "".join("{:.8f} {:.8f} {:.8f}\n".format(*row) for row in atoms.cell.array)
    symbols = atoms.get_chemical_symbols()
    names = list(dict.fromkeys(symbols))
    assert symbols == sorted(symbols, key=names.index)
    text += " ".join(names) + "\n" + " ".join(str(symbols.count(name)) for name in names) + "\ndirect\n"
    positions = atoms.get_scaled_positions()
    return text + "".join(
        "{:.8f} {:.8f} {:.8f} {}\n".format(*row, symbol) for row, symbol in zip(positions, symbols, strict=True)
    )


def write_table(path: Path, rows: list[dict], index: bool = True) -> Path:
    """A table as matminer 0.3.9 writes it: comment, header, and an index column without title."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write("# ref: nobody, nowhere\n")
        writer = csv.writer(file)
        writer.writerow(list(rows[0]))
        for number, row in enumerate(rows):
            writer.writerow(([number] if index else []) + list(row.values()))
    return path


def rock_salt(formula: str, a: float) -> Atoms:
    return bulk(formula, "rocksalt", a=a)


def dielectric_entry(atoms: Atoms, identifier: str, **changes) -> dict:
    entry = {
        "idx": 0,
        "band_gap": 1.5,
        "e_electronic": "[[4.0, 0.0002, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]",
        "e_total": "[[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]",
        "meta": "{u'poscar': u'not this one'}",
        "n": 2.0,
        "pot_ferroelectric": "False",
        "structure": "#\\#CIF1.1\n####\n# a comment inside the quoted field\ndata_x\n",
        "poscar": poscar(atoms),
        "space_group": 225,
        "material_id": identifier,
    }
    return entry | changes


def test_dielectric_table_gives_rows_of_the_data_package(tmp_path, caplog):
    tensor = "[[4.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 4.0]]"
    path = write_table(
        tmp_path / "dielectric_constant.csv",
        [
            dielectric_entry(rock_salt(TRAIN, 6.97), "mp-1"),
            dielectric_entry(rock_salt(WITHHELD, 4.2), "mp-2"),
            dielectric_entry(rock_salt("CaO", 4.8), "mp-3", e_electronic=tensor),
            dielectric_entry(rock_salt("SrO", 5.2), "mp-4", e_electronic="[[nan]]"),
            dielectric_entry(rock_salt("BaO", 5.6), "mp-5", n=3.0, e_total="[[3, 0, 0], [0, 3, 0], [0, 0, 3]]"),
        ],
    )
    with caplog.at_level(logging.INFO):
        rows = sources.matminer_dielectric_rows(path)
    kept = {row["id"]: row for row in rows}
    assert set(kept) <= {"mp-1", "mp-5"}
    row = kept["mp-1"]
    assert (row["formula"], row["split"], row["spg"], row["pointgroup"]) == (TRAIN, "train", 225, "m-3m")
    assert row["e_electronic"][0][1] == row["e_electronic"][1][0] == pytest.approx(1e-4)
    assert row["flags"] == []
    assert not row["pot_ferroelectric"]
    np.testing.assert_allclose(row["lattice"], rock_salt(TRAIN, 6.97).cell.array, atol=1e-8)
    assert "1 of withheld formulas" in caplog.text
    assert "mp-3 left out" in caplog.text
    assert "mp-4" in caplog.text
    both = sources.matminer_dielectric_rows(path, keep_withheld=True)
    assert {row["id"] for row in both} >= {"mp-1", "mp-2"}
    flagged = next(row for row in both if row["id"] == "mp-5")
    assert flagged["flags"] == ["ionic_part_negative", "n_inconsistent"]


def test_written_rows_are_read_by_the_loader_of_the_data_package(tmp_path):
    path = write_table(tmp_path / "table.csv", [dielectric_entry(rock_salt(TRAIN, 6.97), "mp-1")], index=False)
    rows = sources.matminer_dielectric_rows(path)
    first = sources.write_rows(rows, tmp_path / "out" / "dielectric_mp.jsonl.gz").read_bytes()
    assert first == sources.write_rows(rows, tmp_path / "out" / "dielectric_mp.jsonl.gz").read_bytes()
    (record,) = data.load_records("dielectric_mp", tmp_path / "out")
    again = sources.to_record(rows[0])
    for one in (record, again):
        assert one.formula == TRAIN
        np.testing.assert_allclose(one.labels["dielectric_tensor"], 4 * np.eye(3), atol=1e-3)
        np.testing.assert_allclose(one.atoms.cell.array, rows[0]["lattice"])


def test_later_json_tables_are_read_too(tmp_path):
    atoms = rock_salt(TRAIN, 6.97)
    structure = {
        "lattice": {"matrix": atoms.cell.array.tolist()},
        "sites": [
            {"species": [{"element": symbol, "occu": 1}], "abc": list(position), "label": symbol}
            for symbol, position in zip(atoms.get_chemical_symbols(), atoms.get_scaled_positions(), strict=True)
        ],
    }
    columns = [
        "material_id",
        "structure",
        "e_electronic",
        "e_total",
        "n",
        "band_gap",
        "pot_ferroelectric",
        "space_group",
    ]
    values = ["mp-1", structure, (4 * np.eye(3)).tolist(), (9 * np.eye(3)).tolist(), 2.0, None, True, 225]
    path = tmp_path / "dielectric_constant.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"index": [0], "columns": columns, "data": [values]}).encode()))
    (row,) = sources.matminer_dielectric_rows(path)
    assert row["pot_ferroelectric"]
    assert row["gap"] is None
    np.testing.assert_allclose(row["lattice"], atoms.cell.array)


def cubic_stiffness(c11: float, c12: float, c44: float) -> np.ndarray:
    stiffness = np.diag([c11] * 3 + [c44] * 3)
    stiffness[:3, :3] += c12 * (1 - np.eye(3))
    return stiffness


def test_elastic_table_takes_the_tensor_in_the_frame_of_its_cell(tmp_path):
    """An orthorhombic tensor whose IEEE version has permuted axes: symmetry cannot tell them apart, the column can."""
    atoms = Atoms("SrS", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3.1, 4.2, 5.3], pbc=True)
    original = np.diag([100.0, 200.0, 300.0, 40.0, 50.0, 60.0])
    original[:3, :3] += 10 * (1 - np.eye(3))
    turn = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    ieee = tensors.rotate(original, turn, "elastic_tensor")
    entry = {
        "idx": 0,
        "elastic_tensor": str(ieee.tolist()),
        "elastic_tensor_original": str(original.tolist()),
        "material_id": "mp-9",
        "poscar": poscar(atoms),
        "space_group": 47,
        "structure": "# a CIF",
    }
    (row,) = sources.matminer_elastic_rows(write_table(tmp_path / "elastic.csv", [entry]), keep_withheld=True)
    np.testing.assert_allclose(row["C"], original, atol=1e-4)
    np.testing.assert_allclose(row["C_ieee"], ieee, atol=1e-4)
    assert row["K_voigt"] == pytest.approx((600 + 2 * 30) / 9, abs=1e-3)
    assert row["flags"] == []


def zincblende(e14: float) -> np.ndarray:
    tensor = np.zeros((3, 6))
    tensor[0, 3] = tensor[1, 4] = tensor[2, 5] = e14
    return tensor


def piezo_entry(atoms: Atoms, published: np.ndarray, group: int) -> dict:
    return {
        "eij_max": 0.1,
        "piezoelectric_tensor": str(published.tolist()),
        "poscar": poscar(atoms),
        "space_group": float(group),
        "material_id": "mp-7",
    }


def test_piezoelectric_rows_are_ambiguous_and_list_every_reading(tmp_path):
    atoms = bulk("InSb", "zincblende", a=6.6)
    atoms.set_cell(atoms.cell.array @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0], scale_atoms=True)
    path = write_table(tmp_path / "piezo.csv", [piezo_entry(atoms, zincblende(0.13), 216)], index=False)
    (row,) = sources.matminer_piezoelectric_rows(path, keep_withheld=True)
    assert row["ambiguous"]
    assert row["pointgroup"] == "-43m"
    np.testing.assert_allclose(row["e"], zincblende(0.13), atol=1e-5)
    np.testing.assert_allclose(row["alternatives"], [zincblende(-0.13)], atol=1e-5)
    assert row["e_norm"] == pytest.approx(0.13 * np.sqrt(6), abs=1e-4)
    # The stored cell is in the frame of the tensor, whatever the frame of the source.
    crystal = Atoms(numbers=row["numbers"], scaled_positions=row["frac"], cell=row["lattice"], pbc=True)
    rotations = analyse_space_group(crystal).rotations
    assert symmetry_residual(np.array(row["e"]), rotations, "piezoelectric_tensor") < 1e-6
    record = sources.to_record(row)
    assert record.extras["alternatives"].shape == (1, 3, 6)


def test_piezoelectric_reading_is_found_when_the_polar_axis_is_published_along_another_axis(tmp_path):
    cell = bulk("ZnO", "wurtzite", a=3.25, c=5.2)[[0, 2, 1, 3]]
    e = np.zeros((3, 6))
    e[2, :3] = -0.5, -0.5, 1.2
    e[1, 3] = e[0, 4] = -0.4
    turn = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    published = tensors.rotate(e, turn, "piezoelectric_tensor")
    path = write_table(tmp_path / "piezo.csv", [piezo_entry(cell, published, 186)], index=False)
    (row,) = sources.matminer_piezoelectric_rows(path, keep_withheld=True)
    readings = [np.array(row["e"]), *map(np.array, row["alternatives"])]
    assert len(readings) == 2
    assert min(np.abs(reading - e).max() for reading in readings) < 1e-5
    assert min(np.abs(reading + e).max() for reading in readings) < 1e-5


def test_monoclinic_reading_in_the_ieee_frame_is_found(tmp_path):
    """The IEEE axes of a monoclinic crystal are no permutation of the conventional ones."""
    cell = [[5.0, 0, 0], [0, 4.0, 0], [-1.3, 0, 7.0]]
    positions = [[0, 0, 0], [0.5, 0.1, 0.5], [0.31, 0.62, 0.17], [0.69, 0.62, 0.83]]
    atoms = Atoms("SnOF2", scaled_positions=positions, cell=cell, pbc=True)
    group = analyse_space_group(atoms)
    assert group.point_group == "2"
    raw = np.random.default_rng(2).normal(size=(3, 6))
    e = np.mean([tensors.rotate(raw, rotation, "piezoelectric_tensor") for rotation in group.rotations], axis=0)
    published = tensors.rotate(e, tensors.ieee_axes(atoms).rotation, "piezoelectric_tensor")
    path = write_table(tmp_path / "piezo.csv", [piezo_entry(atoms, published, 3)], index=False)
    (row,) = sources.matminer_piezoelectric_rows(path, keep_withheld=True)
    # The stored cell is turned from the source's: compare on the frame-free turn between the two.
    crystal = Atoms(numbers=row["numbers"], scaled_positions=row["frac"], cell=row["lattice"], pbc=True)
    expected = tensors.rotate(published, tensors.ieee_axes(crystal).rotation.T, "piezoelectric_tensor")
    readings = [np.array(row["e"]), *map(np.array, row["alternatives"])]
    assert min(np.abs(reading - expected).max() for reading in readings) < 2e-5


def test_piezoelectric_entries_that_fit_nowhere_or_are_negligible(tmp_path):
    wrong = zincblende(0.3)
    wrong[0, 0] = 0.5
    entries = [piezo_entry(bulk("InSb", "zincblende", a=6.6), tensor, 216) for tensor in (wrong, zincblende(0.01))]
    path = write_table(tmp_path / "piezo.csv", entries, index=False)
    (row,) = sources.matminer_piezoelectric_rows(path, keep_withheld=True)
    assert row["flags"] == ["negligible"]
    assert not row["ambiguous"]
    assert row["resolved_by"] == "negligible"


def test_formation_energy_table(tmp_path):
    atoms = rock_salt(TRAIN, 6.97)
    structure = {
        "lattice": {"matrix": atoms.cell.array.tolist()},
        "sites": [
            {"species": [{"element": "Ba", "occu": 1}], "abc": [0, 0, 0]},
            {"species": [{"element": "Te2-", "occu": 1}], "abc": [0.5, 0.5, 0.5]},
        ],
    }
    row = {
        "material_id": "mp-1",
        "formula": "{}",
        "e_above_hull": 0.01,
        "structure": str(structure),
        "formation_energy_per_atom": -1.79,
    }
    path = write_table(tmp_path / "flla_2015.csv", [row], index=False)
    (row,) = sources.matminer_formation_energy_rows(path)
    assert (row["e_form"], row["e_above_hull"], row["numbers"]) == (-1.79, 0.01, [56, 52])
    assert sources.to_record(row).labels == {"formation_energy": -1.79}


# --- phonon database ---------------------------------------------------------------------------------------------


def rutile() -> Atoms:
    u = 0.305
    positions = [
        [0, 0, 0],
        [0.5, 0.5, 0.5],
        [u, u, 0],
        [1 - u, 1 - u, 0],
        [0.5 + u, 0.5 - u, 0.5],
        [0.5 - u, 0.5 + u, 0.5],
    ]
    return Atoms("Sn2O4", scaled_positions=positions, cell=[4.7, 4.7, 3.2], pbc=True)


def spring_forces(atoms: Atoms, displaced: np.ndarray, strength: float = 5.0, reach: float = 3.4) -> np.ndarray:
    """Forces (n, 3), eV/A, of harmonic central springs between atoms closer than `reach`."""
    from ase.neighborlist import neighbor_list

    i, j, vector = neighbor_list("ijD", atoms, reach)
    length = np.linalg.norm(vector, axis=1, keepdims=True)
    unit = vector / length
    stretch = ((displaced[j] - displaced[i]) * unit).sum(axis=1, keepdims=True)
    forces = np.zeros_like(displaced)
    np.add.at(forces, i, strength * np.exp(-length) * 10 * stretch * unit)
    return forces


def write_entry(folder: Path, atoms: Atoms, supercell: list[int], born: np.ndarray, permittivity: np.ndarray) -> Path:
    """An entry as phonopy writes it, with symmetry-independent charges only."""
    import phonopy
    from phonopy.file_IO import get_BORN_lines, write_FORCE_SETS
    from phonopy.structure.atoms import PhonopyAtoms

    folder.mkdir(parents=True)
    (folder / "POSCAR-unitcell").write_text(poscar(atoms))
    (folder / "phonopy.conf").write_text(f"DIM = {' '.join(map(str, supercell))}\nPRIMITIVE_AXIS = 1 0 0 0 1 0 0 0 1\n")
    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(), cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions()
    )
    lines = get_BORN_lines(cell, born, permittivity)
    (folder / "BORN").write_text("\n".join(lines) + "\n")
    phonon = phonopy.Phonopy(cell, np.diag(supercell), primitive_matrix=np.eye(3))
    phonon.generate_displacements(distance=0.01)
    large = Atoms(
        phonon.supercell.symbols,
        scaled_positions=phonon.supercell.scaled_positions,
        cell=phonon.supercell.cell,
        pbc=True,
    )
    forces = []
    for displaced in phonon.supercells_with_displacements:
        forces.append(spring_forces(large, displaced.positions - phonon.supercell.positions))
    phonon.forces = np.array(forces)
    write_FORCE_SETS(phonon.dataset, filename=folder / "FORCE_SETS")
    return folder


def rutile_charges(atoms: Atoms) -> np.ndarray:
    """Charges with the site symmetry of rutile and the acoustic sum rule."""
    group = analyse_space_group(atoms)
    raw = np.random.default_rng(4).normal(size=(6, 3, 3)) + 4 * np.array([1, 1, -0.5, -0.5, -0.5, -0.5])[
        :, None, None
    ] * np.eye(3)
    mean = np.zeros_like(raw)
    for rotation, permutation in zip(group.rotations, group.permutations, strict=True):
        mean[permutation] += rotation @ raw @ rotation.T / group.order
    return mean - mean.mean(axis=0)


def test_phonon_database_entry_is_expanded_and_gives_the_ionic_part(tmp_path):
    atoms = rutile()
    born = rutile_charges(atoms)
    permittivity = np.diag([4.0, 4.0, 4.6])
    folder = write_entry(tmp_path / "mp-856-20180417", atoms, [2, 2, 2], born, permittivity)
    row = sources.phonondb_row(folder)
    assert (row["id"], row["formula"], row["spg"], row["pointgroup"]) == ("mp-856", "SnO2", 136, "4/mmm")
    np.testing.assert_allclose(row["eps_inf"], permittivity, atol=1e-6)
    np.testing.assert_allclose(row["born"], born, atol=1e-5)
    assert row["born_asr"] < 1e-5
    assert row["flags"] == []

    # The ionic part by finite displacements of the cell's own springs, without phonopy.
    count, step = len(atoms), 1e-4
    constants = np.zeros((count, 3, count, 3))
    for atom in range(count):
        for axis in range(3):
            displaced = np.zeros((count, 3))
            displaced[atom, axis] = step
            constants[atom, axis] = -spring_forces(atoms, displaced) / step
    matrix = constants.reshape(3 * count, 3 * count)
    charges = born.transpose(1, 0, 2).reshape(3, -1)
    e2_over_eps0 = 180.95128  # eV A
    expected = e2_over_eps0 / atoms.get_volume() * charges @ np.linalg.pinv(matrix, rcond=1e-6) @ charges.T
    np.testing.assert_allclose(row["eps_ion"], expected, rtol=2e-3, atol=2e-3)
    record = sources.to_record(row)
    static = record.labels["static_dielectric_tensor"]
    np.testing.assert_allclose(static, permittivity + expected, rtol=2e-3, atol=2e-3)


def test_phonon_database_tarball_equals_its_folder(tmp_path, caplog):
    atoms = rutile()
    folder = write_entry(
        tmp_path / "mp-856-20180417", atoms, [1, 1, 2], rutile_charges(atoms), np.diag([4.0, 4.0, 4.6])
    )
    archive = tmp_path / "materials-id-856-sno2-p4-2-mnm-136.tar.lzma"
    with tarfile.open(archive, "w:xz") as file:
        file.add(folder, arcname=folder.name)
        outside = tmp_path / "evil"
        outside.write_text("x")
        file.add(outside, arcname="../../evil")
    assert sources.phonondb_row(archive) == sources.phonondb_row(folder)
    (folder / "BORN").unlink()
    with pytest.raises(ValueError, match="no BORN file"):
        sources.phonondb_row(folder)
    rows = sources.phonondb_rows([archive, folder], keep_withheld=True)
    assert [row["id"] for row in rows] == ["mp-856"]
    assert "entry skipped" in caplog.text
    with pytest.raises(FileNotFoundError, match="does not exist"):
        sources.phonondb_row(tmp_path / "mp-1")


def test_charges_keep_their_index_order(tmp_path):
    """Both atoms sit on centres of inversion, which leaves Z free: it must come back row by row, not transposed."""
    atoms = Atoms(
        "LiF",
        scaled_positions=[[0, 0, 0], [0.41, 0.53, 0.47]],
        cell=[[3, 0, 0], [0.4, 3.3, 0], [0.2, 0.5, 3.7]],
        pbc=True,
    )
    z = np.array([[1.0, 0.3, -0.2], [0.1, 1.2, 0.4], [0.0, -0.5, 0.9]])
    folder = tmp_path / "mp-1138-20180417"
    folder.mkdir()
    (folder / "POSCAR-unitcell").write_text(poscar(atoms))
    (folder / "phonopy.conf").write_text("DIM = 2 2 2 # supercell\nPRIMITIVE_AXES = 1 0 0 0 1 0 0 0 1\n")
    (folder / "BORN").write_text(
        "14.400\n"
        + "2 0 0 0 2.1 0 0 0 2.2\n"
        + " ".join(map(str, z.ravel()))
        + "\n"
        + " ".join(map(str, (-z).ravel()))
        + "\n"
    )
    row = sources.phonondb_row(folder)
    np.testing.assert_allclose(row["born"], [z, -z], atol=1e-6)
    assert row["eps_ion"] is None
    assert row["gamma_freq_thz"] is None


# --- JARVIS ------------------------------------------------------------------------------------------------------


def jarvis_record(atoms: Atoms, identifier: str, **fields) -> dict:
    structure = {
        "lattice_mat": atoms.cell.array.tolist(),
        "coords": atoms.get_scaled_positions().tolist(),
        "elements": atoms.get_chemical_symbols(),
        "cartesian": False,
    }
    return {"name": identifier, "crystal": structure} | fields


FIELDS = {"identifier": "name", "structure": "crystal", "tensor": "value"}


def write_json(path: Path, records: object) -> Path:
    path.write_text(json.dumps(records))
    return path


def test_jarvis_records_pass_the_filters_and_get_both_splits(tmp_path, caplog):
    eps = (3.5 * np.eye(3)).tolist()
    records = [
        jarvis_record(rock_salt(TRAIN, 6.97), "JVASP-1", value=eps),
        jarvis_record(rock_salt(WITHHELD, 4.2), "JVASP-2", value=eps),
        jarvis_record(rock_salt("CaO", 4.8), "JVASP-3", value=(150 * np.eye(3)).tolist()),
        jarvis_record(rock_salt("SrO", 5.2), "JVASP-4"),
    ]
    path = write_json(tmp_path / "jarvis.json", records)
    with caplog.at_level(logging.INFO):
        (row,) = sources.jarvis_rows(path, "dielectric_tensor", **FIELDS, max_component=40.0)
    assert (row["id"], row["formula"], row["split"], row["functional"]) == ("JVASP-1", TRAIN, "train", "OptB88vdW")
    assert row["gmtnet_split"] in data.SPLITS
    assert "1 of withheld formulas" in caplog.text
    record = sources.to_record(row)
    np.testing.assert_allclose(record.labels["dielectric_tensor"], eps)
    assert record.extras["functional"] == "OptB88vdW"
    everything = sources.jarvis_rows(path, "dielectric_tensor", **FIELDS, max_component=None, keep_withheld=True)
    assert {row["id"] for row in everything} == {"JVASP-1", "JVASP-2", "JVASP-3"}


def test_jarvis_voigt_order_is_converted(tmp_path):
    vasp = np.arange(18.0).reshape(3, 6)
    elastic = cubic_stiffness(1000.0, 400.0, 300.0)
    elastic[3, 3], elastic[4, 4], elastic[5, 5] = 66.0, 44.0, 55.0
    record = jarvis_record(rock_salt(TRAIN, 6.97), "JVASP-1", value=vasp.tolist(), stiffness=elastic.tolist())
    path = write_json(tmp_path / "jarvis.json", [record])
    read = functools.partial(sources.jarvis_rows, path, **FIELDS, max_component=None)
    (row,) = read("piezoelectric_tensor", voigt_order="vasp")
    # VASP prints xx yy zz xy yz zx; columns 3, 4, 5 of the documented form are yz, xz, xy.
    np.testing.assert_allclose(row["labels"]["piezoelectric_tensor"], vasp[:, [0, 1, 2, 4, 5, 3]])
    (row,) = read("piezoelectric_tensor", voigt_order="standard")
    np.testing.assert_allclose(row["labels"]["piezoelectric_tensor"], vasp)
    (row,) = read("elastic_tensor", tensor="stiffness", voigt_order="vasp", unit="kbar")
    stiffness = np.array(row["labels"]["elastic_tensor"])
    np.testing.assert_allclose(np.diag(stiffness), [100, 100, 100, 4.4, 5.5, 6.6], atol=1e-6)
    assert read("piezoelectric_tensor", voigt_order="vasp", max_component=17.0) == []


def test_jarvis_conventions_are_asked_for_not_guessed(tmp_path):
    record = jarvis_record(rock_salt(TRAIN, 6.97), "JVASP-1", value=np.eye(6).tolist())
    path = write_json(tmp_path / "jarvis.json", [record])
    read = functools.partial(sources.jarvis_rows, path, max_component=None, **FIELDS)
    with pytest.raises(ValueError, match="voigt_order"):
        read("piezoelectric_tensor")
    for unit in (None, "Mbar"):
        with pytest.raises(UnknownNameError, match="kbar"):
            read("elastic_tensor", voigt_order="vasp", unit=unit)
    with pytest.raises(UnknownNameError, match="piezoelectric_tensor"):
        read("born_effective_charges")
    with pytest.raises(ValueError, match="no field 'jid': it has crystal, name, value"):
        read("elastic_tensor", identifier="jid", voigt_order="vasp", unit="GPa")


def test_gmtnet_split_depends_on_the_set_of_identifiers_only():
    names = [f"JVASP-{number}" for number in range(1000)]
    split = sources.gmtnet_split(names)
    assert split == sources.gmtnet_split(names[::-1])
    assert [list(split.values()).count(side) for side in ("train", "val", "test")] == [800, 100, 100]
    assert split != sources.gmtnet_split(names, seed=1)
    with pytest.raises(ValueError, match="repeated"):
        sources.gmtnet_split([*names, names[0]])


def test_pickles_and_unreadable_records_are_refused(tmp_path):
    arguments = {"property_name": "dielectric_tensor", "max_component": None} | FIELDS
    with pytest.raises(ValueError, match="pickle"):
        sources.jarvis_rows(tmp_path / "export.pkl", **arguments)
    with pytest.raises(FileNotFoundError):
        sources.jarvis_rows(tmp_path / "missing.json", **arguments)
    path = write_json(tmp_path / "bad.json", [{"name": "x", "value": [[1.0]]}])
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        sources.jarvis_rows(path, **arguments)


# --- extended XYZ ------------------------------------------------------------------------------------------------


def test_extended_xyz_with_tensors_in_info_and_arrays(tmp_path):
    atoms = rutile()
    born = rutile_charges(atoms)
    piezo = np.arange(18.0).reshape(3, 6)
    atoms.info |= {"dielectric_tensor": np.diag([3.0, 3.0, 4.0]), "e": piezo, "id": "mine"}
    atoms.arrays["born_effective_charges"] = born.reshape(-1, 9)
    ase.io.write(tmp_path / "frames.extxyz", [atoms, rock_salt(TRAIN, 6.97)], format="extxyz")
    keys = {"dielectric_tensor": "dielectric_tensor", "born_effective_charges": "born_effective_charges"}
    (row,) = sources.extxyz_rows(tmp_path / "frames.extxyz", keys=keys, keep_withheld=True)
    assert row["id"] == "mine"
    np.testing.assert_allclose(row["labels"]["dielectric_tensor"], np.diag([3.0, 3, 4]))
    np.testing.assert_allclose(row["labels"]["born_effective_charges"], born, atol=1e-7)
    np.testing.assert_allclose(row["lattice"], atoms.cell.array)
    with_piezo = keys | {"e": "piezoelectric_tensor"}
    with pytest.raises(ValueError, match="voigt_order"):
        sources.extxyz_rows(tmp_path / "frames.extxyz", keys=with_piezo)
    (row,) = sources.extxyz_rows(tmp_path / "frames.extxyz", keys=with_piezo, voigt_order="vasp", keep_withheld=True)
    np.testing.assert_allclose(row["labels"]["piezoelectric_tensor"], piezo[:, [0, 1, 2, 4, 5, 3]])
    assert set(sources.to_record(row).labels) == set(with_piezo.values())


def test_extended_xyz_refuses_what_it_cannot_read(tmp_path):
    atoms = rock_salt(TRAIN, 6.97)
    atoms.info["dielectric_tensor"] = np.arange(4.0)
    ase.io.write(tmp_path / "frames.extxyz", atoms, format="extxyz")
    with pytest.raises(ValueError, match="none of 1 entries"):
        sources.extxyz_rows(tmp_path / "frames.extxyz")
    with pytest.raises(UnknownNameError, match="colour"):
        sources.extxyz_rows(tmp_path / "frames.extxyz", keys={"x": "colour"})
    with pytest.raises(UnknownNameError, match="alphabetical"):
        sources.extxyz_rows(tmp_path / "frames.extxyz", voigt_order="alphabetical")


# --- shared ------------------------------------------------------------------------------------------------------


def test_structures_outside_the_convention_are_refused():
    with pytest.raises(ValueError, match="no three-dimensional crystal"):
        structure_fields(Atoms("Cu", cell=np.eye(3) * 3, pbc=(True, True, False)))
    site = {"species": [{"element": "Fe", "occu": 0.5}], "abc": [0, 0, 0], "label": "Fe"}
    with pytest.raises(ValueError, match="disordered"):
        atoms_from_dict({"lattice": {"matrix": np.eye(3).tolist()}, "sites": [site]})
    with pytest.raises(ValueError, match="cannot read a structure"):
        atoms_from_dict({"cell": []})
    with pytest.raises(ValueError, match="neither labels nor a dataset"):
        sources.to_record({"id": "x"})
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        sources.write_rows([{"a": float("nan")}], "/nonexistent-never-written.jsonl.gz")


def test_cartesian_jarvis_coordinates_keep_the_frame():
    cell = np.array([[0.0, 3, 3], [3, 0, 3], [3, 3, 0]])
    atoms = atoms_from_dict(
        {"lattice_mat": cell.tolist(), "coords": [[0, 0, 0], [3, 3, 3]], "elements": ["Na ", "F"], "cartesian": True}
    )
    np.testing.assert_allclose(atoms.positions[1], [3, 3, 3])
    fields = structure_fields(atoms)
    np.testing.assert_allclose(fields["frac"][1], [0.5, 0.5, 0.5])
