"""Derivatives of a tensor by displacements agree with differences of every atom in every direction."""

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.physics.displacement_derivatives import displacement_derivatives


def bond_tensors(structures: Sequence[Atoms]) -> list[np.ndarray]:
    """A sum over bonds of r r^T exp(-r^2 / 2), which differs between kinds of atoms."""
    found = []
    for atoms in structures:
        tensor = np.zeros((3, 3))
        cells = np.array(np.meshgrid(*[range(-2, 3)] * 3)).reshape(3, -1).T @ atoms.cell.array
        for i, j in np.ndindex(len(atoms), len(atoms)):
            bonds = atoms.positions[j] + cells - atoms.positions[i]
            lengths = np.linalg.norm(bonds, axis=1)
            weights = np.where(lengths > 0.1, np.exp(-(lengths**2) / 2), 0) * (1 + atoms.numbers[i] / atoms.numbers[j])
            tensor += np.einsum("n,ni,nj->ij", weights, bonds, bonds)
        found.append(tensor)
    return found


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382),
        bulk("Si", a=5.43),
        Atoms("HF", cell=[3.0, 3.5, 4.0, 75, 83, 98], scaled_positions=[(0, 0, 0), (0.3, 0.2, 0.4)], pbc=True),
    ],
    ids=["wurtzite", "diamond", "triclinic"],
)
def test_they_are_differences_of_every_atom(atoms: Atoms) -> None:
    group = analyse_space_group(atoms)
    found = displacement_derivatives(group, bond_tensors, 1e-3)
    expected = np.empty_like(found)
    for atom, k in np.ndindex(len(group.primitive), 3):
        moved = [group.primitive.copy() for _ in range(2)]
        for sign, structure in zip((1, -1), moved, strict=True):
            structure.positions[atom, k] += sign * 1e-3
        plus, minus = bond_tensors(moved)
        expected[atom, k] = (plus - minus) / 2e-3
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-12)


def test_a_displacement_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="positive, got 0"):
        displacement_derivatives(analyse_space_group(bulk("Si", a=5.43)), bond_tensors, 0.0)
