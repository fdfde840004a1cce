"""Supercells keep images apart and the symmetry of the crystal."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.physics.supercells import CellNumbers, keeps_lattice, shortest_vector, symmetric_supercell

CRYSTALS = {
    "rocksalt": bulk("MgO", "rocksalt", a=4.21),
    "wurtzite": bulk("AlN", "wurtzite", a=3.13, c=5.02),
    "bcc": bulk("Cs", a=6.1),
    "triclinic": Atoms("HF", cell=[3.0, 4.5, 7.0, 75, 83, 98], scaled_positions=[(0, 0, 0), (0.3, 0.2, 0.4)], pbc=True),
}


@pytest.mark.parametrize("name", CRYSTALS)
def test_images_are_far_apart_and_all_operations_survive(name: str) -> None:
    group = analyse_space_group(CRYSTALS[name])
    matrix = symmetric_supercell(group, 11.0)
    supercell = matrix @ group.primitive.cell.array
    combinations = np.array(np.meshgrid(*[range(-3, 4)] * 3)).reshape(3, -1).T
    lengths = np.linalg.norm(combinations @ supercell, axis=1)
    assert lengths[lengths > 0].min() >= 11.0
    assert shortest_vector(supercell) == pytest.approx(lengths[lengths > 0].min())
    assert keeps_lattice(matrix, group.fractional_rotations).all()


def test_a_sheared_description_of_the_cell_gives_no_larger_supercell() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.64)
    sheared = Atoms(
        salt.numbers, positions=salt.positions, cell=[[1, 0, 0], [3, 1, 0], [0, -2, 1]] @ salt.cell, pbc=True
    )
    sizes = [round(abs(np.linalg.det(symmetric_supercell(analyse_space_group(a), 11.0)))) for a in (salt, sheared)]
    assert sizes[0] == sizes[1]


def test_the_most_isotropic_supercell_is_taken_where_all_are_too_large() -> None:
    group = analyse_space_group(CRYSTALS["wurtzite"])
    matrix = symmetric_supercell(group, 30.0, most_atoms=128)
    assert 4 * round(np.linalg.det(matrix)) <= 128
    assert shortest_vector(matrix @ group.primitive.cell.array) > 9.0


def test_cells_have_the_number_of_their_translations() -> None:
    matrix = np.array([[2, 1, 0], [0, 3, 1], [-1, 0, 2]])
    numbers = CellNumbers(matrix)
    cells = np.array(np.meshgrid(*[range(-4, 5)] * 3)).reshape(3, -1).T
    assert len(np.unique(numbers.of(cells))) == round(np.linalg.det(matrix))
    np.testing.assert_array_equal(numbers.of(cells + matrix[1] - 2 * matrix[2]), numbers.of(cells))


def test_a_distance_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="positive, got 0"):
        symmetric_supercell(analyse_space_group(CRYSTALS["bcc"]), 0.0)
