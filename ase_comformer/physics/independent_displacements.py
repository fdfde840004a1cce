"""Displacements of single atoms of which the space group leaves few to evaluate.

Atoms that represent their orbit move along as few directions as their site group needs to fill space, and against them
only where no operation turns a direction around. The rest follows by symmetry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup

FloatArray = NDArray[np.float64]

_SAME = 1e-6


@dataclass(frozen=True)
class Displacement:
    """A displacement to evaluate.

    Attributes:
        atom: of the primitive cell.
        direction: (3,) unit vector.
        reversing: operation that turns the direction around, None where there is none.
    """

    atom: int
    direction: FloatArray
    reversing: int | None

    @property
    def signs(self) -> tuple[int, ...]:
        """Signs of the displacements to evaluate: 1, and -1 where no operation gives it."""
        return (1, -1) if self.reversing is None else (1,)


def independent_displacements(group: SpaceGroup, *, prefer_symmetric: bool = False) -> list[Displacement]:
    """List the fewest displacements whose images under the space group move every atom in every direction.

    Args:
        group: of the crystal.
        prefer_symmetric: weigh the number of displacements against the symmetry that each leaves: where only what
            symmetry leaves independent is evaluated, one within a mirror plane costs half of one in any direction.
    """
    steps: list[Displacement] = []
    for atom in group.representatives:
        site = np.flatnonzero(group.permutations[:, atom] == atom)
        rotations = group.rotations[site]
        candidates = _directions(group.primitive.cell.array, rotations if prefer_symmetric else None)
        turned = candidates @ rotations.swapaxes(1, 2)
        left_alone = np.abs(turned - candidates).max(axis=2) < _SAME
        turned_around = np.abs(turned + candidates).max(axis=2) < _SAME
        costs = np.where(turned_around.any(axis=0), 1, 2) / left_alone.sum(axis=0)
        squares = np.einsum("gck,gcl->ckl", turned, turned)
        found = np.zeros((3, 3))
        while _rank(found) < 3:
            gains = (_rank(found + squares) - _rank(found)).astype(float)
            chosen = int(np.argmax(gains / costs + 1e-3 * gains if prefer_symmetric else gains))
            reversing = np.flatnonzero(turned_around[:, chosen])
            steps.append(
                Displacement(int(atom), candidates[chosen], int(site[reversing[0]]) if len(reversing) else None)
            )
            found = found + squares[chosen]
    return steps


def _rank(squares: FloatArray) -> NDArray[np.int64]:
    """Directions that sums of squares of vectors (..., 3, 3) span."""
    return np.asarray((np.linalg.eigvalsh(squares) > 1e-6).sum(axis=-1))


def _directions(cell: FloatArray, rotations: FloatArray | None) -> FloatArray:
    """Unit vectors to choose from: of the lattice, so that they turn with the crystal, and of the axes of a group."""
    whole = np.concatenate([np.eye(3), [[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]]]) @ cell
    if rotations is not None:
        found = [axis for axis in map(_axis, rotations) if axis is not None]
        axes = np.unique(np.round(np.array(found).reshape(-1, 3), 9), axis=0)
        normals = np.cross(axes[:, None], axes).reshape(-1, 3)
        normals = normals[np.linalg.norm(normals, axis=1) > 0.1]
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.unique(np.round(normals, 9), axis=0) if len(axes) < 9 else normals[:0]
        # directions within mirror planes that are no axis of another kind
        sums = (axes[:, None] + 0.7 * np.concatenate([axes, normals])).reshape(-1, 3)
        whole = np.concatenate([whole, axes, sums])
    lengths = np.linalg.norm(whole, axis=1, keepdims=True)
    return np.asarray((whole / np.maximum(lengths, 1e-12))[lengths[:, 0] > 0.1])


def _axis(rotation: FloatArray) -> FloatArray | None:
    """Axis of a rotation, normal of a mirror; None of the identity and the inversion."""
    proper = rotation * np.sign(np.linalg.det(rotation))
    if np.abs(proper - np.eye(3)).max() < _SAME:
        return None
    values, vectors = np.linalg.eig(proper)
    axis = vectors[:, int(np.argmin(np.abs(values - 1)))].real
    return np.asarray(axis * np.sign(axis[np.argmax(np.abs(axis) > 0.3)]))
