"""Structures from files: settings of CIFs, formulas that must add up, indices, pymatgen's JSON, and what is refused."""

import warnings

import ase.io
import numpy as np
import pytest
import spglib
from ase.build import bulk
from ase.cell import Cell

from ase_comformer.crystals.cif import read_cif
from ase_comformer.crystals.structure_files import read_structures
from ase_comformer.errors import UnreadableFileError

CELL_TAGS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
SITES = "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
ANATASE = (3.7845, 3.7845, 9.5143, 90, 90, 90)
FIRST_ORIGIN = "Ti1 Ti 0 0 0\nO1 O 0 0 0.2081\n"
SECOND_ORIGIN = "Ti1 Ti 0 0.25 0.375\nO1 O 0 0.25 0.5831\n"


def cif(cell, sites, symbol=None, number=None, more=""):
    text = "data_x\n" + "".join(f"_cell_{tag} {value:.8f}\n" for tag, value in zip(CELL_TAGS, cell, strict=True))
    if symbol is not None:
        text += f"_symmetry_space_group_name_H-M '{symbol}'\n"
    if number is not None:
        text += f"_symmetry_Int_Tables_number {number}\n"
    return text + more + SITES + sites


@pytest.fixture
def read(tmp_path):
    def read(text, name="x.cif", **options):
        path = tmp_path / name
        path.write_text(text)
        return read_structures(path, **options)

    return read


@pytest.mark.parametrize("hall_number", [1, 9, 63, 81, 82, 85, 88, 228, 229, 237, 294, 405, 434, 526])
def test_operations_are_those_of_the_setting_that_the_symbol_names(tmp_path, hall_number):
    """One atom in a general position: the table of operations itself is the reference."""
    kind = spglib.get_spacegroup_type(hall_number)
    table = spglib.get_symmetry_from_database(hall_number)
    metric = np.array([[25, 1, 0.5], [1, 36, 0.7], [0.5, 0.7, 49.0]])
    metric = np.mean([rotation.T @ metric @ rotation for rotation in table["rotations"]], axis=0)
    suffix = f" :{kind.choice[:1]}" if kind.choice[:1] in ("1", "2", "R") else ""
    position = np.array([0.137, 0.271, 0.413])
    path = tmp_path / "x.cif"
    path.write_text(
        cif(
            Cell(np.linalg.cholesky(metric)).cellpar(),
            "Si1 Si {} {} {}\n".format(*position),
            kind.international_full + suffix,
            kind.number,
        )
    )
    (atoms,) = read_cif(path)
    expected = (table["rotations"] @ position + table["translations"]) % 1
    apart = expected[:, None] - atoms.get_scaled_positions()
    apart = np.abs(apart - np.rint(apart)).max(axis=2)
    assert len(atoms) == len(expected)
    assert apart.min(axis=1).max() < 1e-5


@pytest.mark.parametrize("symbol", ["I 41/a m d :2", "I41/amd:2", "I 41/a m d Z", "I 41/a m d S"])
@pytest.mark.parametrize("number", [141, None])
def test_anatase_of_either_origin_has_its_formula(read, symbol, number):
    sites = FIRST_ORIGIN if symbol.endswith("S") else SECOND_ORIGIN
    (atoms,) = read(cif(ANATASE, sites, symbol, number, "_chemical_formula_sum 'O2 Ti'\n"))
    assert atoms.get_chemical_formula() == "O8Ti4"


def test_hall_symbol_names_the_origin(read):
    hall = "_space_group_name_Hall '-I 4bd 2'\n_chemical_formula_sum 'Ti O2'\n"
    assert len(read(cif(ANATASE, SECOND_ORIGIN, "I 41/a m d", 141, hall))[0]) == 12


def test_missing_origin_warns_at_the_line_of_the_caller(read):
    with pytest.warns(UserWarning, match="which of two origins") as caught:
        read(cif(ANATASE, FIRST_ORIGIN, "I 41/a m d", 141))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "more", ["_chemical_formula_sum 'Ti O2'\n", "_chemical_formula_sum 'Ti O2'\n_cell_formula_units_Z 4\n"]
)
def test_atoms_that_do_not_add_up_to_the_formula_are_refused(read, more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnreadableFileError, match=r"states the formula 'Ti O2'.*make O16Ti16.*setting"):
            read(cif(ANATASE, SECOND_ORIGIN, "I 41/a m d", 141, more))


def test_number_of_formula_units_is_checked_for_elements(read):
    silicon = cif([5.43] * 3 + [90] * 3, "Si1 Si 0.125 0.125 0.125\n", "F d -3 m", 227,
                  "_chemical_formula_sum Si\n_cell_formula_units_Z 8\n")  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnreadableFileError, match=r"'Si' times 8.*Si16"):
            read(silicon)


def test_listed_operations_count_more_than_symbols(read):
    operations = "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x,-y,-z\n"
    (atoms,) = read(cif([4, 5, 6, 90, 90, 90], "Si1 Si 0.1 0.2 0.3\n", "P -1", 2, operations))
    assert len(atoms) == 2


def test_rhombohedral_axes_are_read_off_the_cell(read):
    a, c, x = 4.7602, 12.9933, 0.30624
    length, angle = np.sqrt(3 * a * a + c * c) / 3, np.degrees(2 * np.arcsin(1.5 / np.sqrt(3 + (c / a) ** 2)))
    sites = f"Al1 Al 0.35216 0.35216 0.35216\nO1 O {x + 0.25} {0.25 - x} 0.25\n"
    (atoms,) = read(cif([length] * 3 + [angle] * 3, sites, "R -3 c", 167, "_chemical_formula_sum 'Al2 O3'\n"))
    assert atoms.get_chemical_formula() == "Al4O6"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("page.cif", "<html>404</html>\n", "is not a CIF that can be read"),
        ("empty.cif", "", "has no atoms"),
        ("cell_only.cif", cif([4] * 3 + [90] * 3, "").replace(SITES, ""), "has no atoms"),
        ("question.cif", cif([4] * 3 + [90] * 3, "Si1 Si ? 0 0\n", "P 1"), "does not describe a crystal.*coordinates"),
        ("group.cif", cif([4] * 3 + [90] * 3, "Si1 Si 0 0 0\n", "F m -9 m"), "'F m -9 m', which is not known"),
        ("no_cell.cif", "data_x\n" + SITES + "Si1 Si 0 0 0\n", "no complete cell"),
        ("POSCAR", "c\n4.2\n1 0 0\n0 1 0\n0 0 1\n1 1\nDirect\n0 0 0\n.5 .5 .5\n", "cannot be read"),
        ("x.xyz", '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nQq 0 0 0\n', "cannot be read"),
        ("x.json", "{", "cannot be read"),
        ("notes.unknown", "hello", "does not know the format"),
    ],
)
def test_files_that_are_refused(read, name, text, message):
    with pytest.raises(UnreadableFileError, match=message):
        read(text, name)


@pytest.fixture
def trajectory(tmp_path):
    path = tmp_path / "a.extxyz"
    ase.io.write(path, [bulk("Cu", a=3.6 + 0.01 * i) for i in range(5)])
    return path


@pytest.mark.parametrize(("index", "count"), [("0", 1), ("-1", 1), (":", 5), ("1:3", 2), ("::2", 3), (None, 5)])
def test_index(trajectory, index, count):
    assert len(read_structures(trajectory, index)) == count


@pytest.mark.parametrize(
    ("index", "message"), [("99", "5 structures.*0 to 4"), ("first", "neither a number"), ("7:9", "no structure")]
)
def test_wrong_index(trajectory, index, message):
    with pytest.raises(UnreadableFileError, match=message):
        read_structures(trajectory, index)


def test_index_behind_the_name(trajectory, tmp_path):
    assert len(read_structures(f"{trajectory}@1:3")) == 2
    with pytest.raises(UnreadableFileError, match="leave one of them out"):
        read_structures(f"{trajectory}@1:3", "0")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_structures(tmp_path / "nowhere.cif")


def test_database_with_index(tmp_path):
    path = tmp_path / "a.db"
    ase.io.write(path, [bulk("Cu"), bulk("Al"), bulk("Si")])
    assert [atoms.get_chemical_formula() for atoms in read_structures(f"{path}@0:2")] == ["Cu", "Al"]


def test_json_of_pymatgen(tmp_path):
    core = pytest.importorskip("pymatgen.core")
    path = tmp_path / "a.json"
    core.Structure.from_spacegroup(225, core.Lattice.cubic(4.21), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(
        str(path)
    )
    assert read_structures(path)[0].get_chemical_formula() == "Mg4O4"
