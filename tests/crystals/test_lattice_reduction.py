"""Reduced vectors are short and span the lattice; skew cells give what healthy cells of the same lattice give."""

import numpy as np
import pytest
from ase.build import bulk

from ase_comformer.crystals.lattice_reduction import reduced_cell, without_skew
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import InvalidStructureError
from ase_comformer.graphs.reciprocal_vectors import structure_reciprocal_vectors
from seven_systems import ALL_CRYSTALS

CELL = np.array([[4.9, 0, 0], [-2.4, 4.2, 0], [0.3, 0.2, 5.4]])
SHEAR = np.array([[1, 0, 0], [700, 1, 0], [-300, 40, 1]])


def test_reduced_vectors_span_the_same_lattice_and_are_short() -> None:
    cell = SHEAR @ CELL
    reduced, transformation = reduced_cell(cell)
    np.testing.assert_allclose(transformation @ cell, reduced, atol=1e-9)
    assert round(abs(np.linalg.det(transformation))) == 1
    assert np.linalg.norm(reduced, axis=1).max() < 6.0
    with pytest.raises(InvalidStructureError, match="too skew"):
        reduced_cell(np.array([[1, 0, 0], [10**7, 1, 0], [0, 10**7, 1]]) @ CELL)


def test_healthy_cells_stay_what_they_are() -> None:
    for atoms in ALL_CRYSTALS.values():
        cell, transformation = without_skew(atoms.cell.array)
        assert transformation is None
        np.testing.assert_array_equal(cell, atoms.cell.array)


@pytest.mark.parametrize("name", ["MgO m-3m", "quartz 32", "CuO 2/m", "model -1"])
@pytest.mark.parametrize("size", [1, 100])
def test_the_space_group_is_found_in_very_skew_cells(name: str, size: int) -> None:
    """spglib ends the process in some of them."""
    expected = analyse_space_group(ALL_CRYSTALS[name])
    skew = ALL_CRYSTALS[name].copy()
    matrix = np.eye(3, dtype=int) + size * np.array([[0, 0, 0], [7, 0, 0], [-3, 2, 0]])
    skew.set_cell(matrix @ skew.cell.array, scale_atoms=False)
    group = analyse_space_group(skew)
    assert (group.number, group.order) == (expected.number, expected.order)
    assert group.primitive.cell.volume == pytest.approx(expected.primitive.cell.volume, rel=1e-6)
    assert group.idealisation_displacement < 1e-6
    offset = skew.positions - group.primitive.positions[group.atom_to_primitive]
    shifts = (offset - offset[0]) @ np.linalg.inv(group.primitive.cell.array)
    np.testing.assert_allclose(shifts, np.round(shifts), atol=1e-5)


def test_reciprocal_vectors_of_a_skew_cell_are_those_of_its_lattice() -> None:
    atoms = bulk("MgO", "rocksalt", a=4.21)
    skew = atoms.copy()
    skew.set_cell(SHEAR @ atoms.cell.array, scale_atoms=False)
    lengths = []
    for structure in (atoms, skew):
        found = structure_reciprocal_vectors(structure, 4.0)
        chosen = found.weight[0] > 0
        lengths.append(np.sort(np.linalg.norm(found.vector[0, chosen], axis=1)))
    np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-6)
