"""Motions that keep a space group: counted, and carried out."""

import numpy as np
import pytest
from ase.build import bulk

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.crystals.symmetric_motion import symmetric_motion
from ase_comformer.physics.deformation import exponential
from seven_systems import ALL_CRYSTALS


@pytest.mark.parametrize(("name", "displacements", "strains"), [("rocksalt", 0, 1), ("wurtzite", 2, 2)])
def test_counts(name: str, displacements: int, strains: int) -> None:
    atoms = bulk("ZnO", name, a=4.3 if name == "rocksalt" else 3.25)
    motion = symmetric_motion(analyse_space_group(atoms))
    assert (len(motion.displacements), len(motion.strains)) == (displacements, strains)


@pytest.mark.parametrize("name", ALL_CRYSTALS)
def test_moved_crystals_keep_their_group_and_rotations(name: str) -> None:
    group = analyse_space_group(ALL_CRYSTALS[name])
    motion = symmetric_motion(group)
    rng = np.random.default_rng(0)
    shift = 0.05 * rng.normal(size=len(motion.displacements)) @ motion.displacements
    strain = exponential(0.02 * (rng.normal(size=len(motion.strains)) @ motion.strains).reshape(3, 3))
    moved = group.primitive.copy()
    moved.positions += shift.reshape(-1, 3)
    moved.set_cell(moved.cell.array @ strain.T, scale_atoms=True)
    again = analyse_space_group(moved, 1e-5)
    assert again.number == group.number
    assert np.abs(group.rotations @ strain - strain @ group.rotations).max() < 1e-12
