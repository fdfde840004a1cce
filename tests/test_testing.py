"""The transformations, strategies and tolerances offered to tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.testing import (
    assert_relative,
    cells,
    change_cell,
    conventional_cell,
    niggli_cell,
    permute_atoms,
    primitive_cell,
    random_rotation,
    relative_error,
    rotate_atoms,
    rotations,
    shift_origin,
    strains,
    supercell,
)
from crystals import CRYSTALS, quartz


def same_crystal(first: Atoms, second: Atoms) -> bool:
    """Whether every atom of ``first`` lies on an atom of ``second`` and the density agrees."""
    fractional = first.positions @ np.linalg.inv(second.cell.array)
    difference = fractional[:, None] - second.get_scaled_positions()[None]
    distance = np.linalg.norm((difference - np.round(difference)) @ second.cell.array, axis=-1)
    hits = (distance < 1e-6) & (first.numbers[:, None] == second.numbers[None])
    density = len(first) / first.get_volume() - len(second) / second.get_volume()
    return bool(hits.any(axis=1).all()) and abs(density) < 1e-9


@pytest.mark.parametrize("change", [niggli_cell, primitive_cell, conventional_cell])
@pytest.mark.parametrize("label", CRYSTALS)
def test_other_cells_describe_the_same_crystal_in_the_same_frame(change, label):
    atoms = rotate_atoms(CRYSTALS[label], random_rotation(np.random.default_rng(16), improper=True))
    changed, index = change(atoms)
    assert same_crystal(changed, atoms)
    assert same_crystal(atoms, changed)
    np.testing.assert_array_equal(changed.numbers, atoms.numbers[index])
    assert analyse_space_group(changed).number == analyse_space_group(atoms).number


def test_supercell_and_origin_and_order_keep_the_crystal():
    atoms = quartz()
    doubled, index = supercell(atoms, (2, 1, 1))
    assert len(doubled) == 2 * len(atoms)
    assert np.all(np.bincount(index) == 2)
    assert same_crystal(doubled, atoms)
    skewed, _ = supercell(atoms, np.array([[1, 1, 0], [0, 1, 0], [0, 2, 1]]))
    assert same_crystal(skewed, atoms)
    back = shift_origin(shift_origin(atoms, np.array([0.3, 1.7, -2.0])), -np.array([0.3, 1.7, -2.0]))
    assert same_crystal(back, atoms)
    order = np.random.default_rng(17).permutation(len(atoms))
    np.testing.assert_array_equal(permute_atoms(atoms, order).positions, atoms.positions[order])
    with pytest.raises(ValueError, match="permutation"):
        permute_atoms(atoms, np.zeros(len(atoms), dtype=int))
    with pytest.raises(ValueError, match="not a lattice"):
        change_cell(atoms, atoms.cell.array * 0.7)


@given(rotation=rotations(improper=True), cell=cells(), strain=strains(0.01))
def test_strategies_draw_valid_rotations_cells_and_strains(rotation, cell, strain):
    assert np.linalg.det(rotation) == pytest.approx(-1.0)
    assert np.linalg.det(cell) > 0
    np.testing.assert_array_equal(strain, strain.T)
    assert np.abs(strain).max() <= 0.01


def test_relative_error_counts_zero_tensors_and_refuses_shapes():
    assert relative_error(np.zeros(3) + 1e-3, np.zeros(3)) == pytest.approx(1e-3 * np.sqrt(3))
    with pytest.raises(ValueError, match="shapes differ"):
        relative_error(np.zeros(3), np.zeros(4))
    with pytest.raises(AssertionError, match="above"):
        assert_relative(torch.ones(2), np.zeros(2), 1e-3)
    with pytest.raises(AssertionError, match="nan"):
        assert_relative(np.array([np.nan]), np.zeros(1), 1e-3)
