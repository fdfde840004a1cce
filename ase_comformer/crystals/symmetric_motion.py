"""Displacements and strains that keep the space group of a crystal, as orthonormal bases.

Whatever moves along them keeps the operations as they are: integer matrices and translations in fractional coordinates,
and Cartesian rotations too, which commute with every strain of the basis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup


@dataclass(frozen=True)
class SymmetricMotion:
    """Bases of the p atoms of a primitive cell.

    Attributes:
        displacements: (d, 3p) orthonormal rows, of atoms one after the other.
        strains: (s, 9) orthonormal rows, symmetric matrices.
    """

    displacements: NDArray[np.float64]
    strains: NDArray[np.float64]


def symmetric_motion(group: SpaceGroup) -> SymmetricMotion:
    """Find the bases that a space group allows.

    Args:
        group: of the crystal.

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.crystals.space_group import analyse_space_group
        >>> motion = symmetric_motion(analyse_space_group(bulk("ZnO", "wurtzite", a=3.25, c=5.2)))
        >>> len(motion.displacements), len(motion.strains)
        (2, 2)
    """
    rotations, order, atoms = group.rotations, group.order, len(group.primitive)
    blocks = np.zeros((atoms, atoms, 3, 3))
    for rotation, images in zip(rotations, group.permutations, strict=True):
        blocks[images, np.arange(atoms)] += rotation / order
    projector = blocks.transpose(0, 2, 1, 3).reshape(3 * atoms, 3 * atoms)
    of_strains = np.einsum("gik,gjl->ijkl", rotations, rotations).reshape(9, 9) / order
    swap = np.eye(9).reshape(3, 3, 9).transpose(1, 0, 2).reshape(9, 9)
    return SymmetricMotion(_range(projector), _range(of_strains @ (np.eye(9) + swap) / 2))


def _range(projector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal rows that span the range of an orthogonal projector."""
    values, vectors = np.linalg.eigh((projector + projector.T) / 2)
    return np.ascontiguousarray(vectors[:, values > 0.5].T)
