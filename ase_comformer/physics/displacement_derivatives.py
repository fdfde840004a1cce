"""Derivatives of tensors and vectors by the displacements of atoms, of which symmetry leaves few to evaluate.

Index letters: p atoms of the primitive cell, k direction of the displacement, i and j of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.physics.independent_displacements import Displacement, independent_displacements

FloatArray = NDArray[np.float64]

#: Symmetric tensors (3, 3) of structures that are passed together, as they are, not idealised.
Evaluate = Callable[[Sequence[Atoms]], Sequence[FloatArray]]


def displacement_derivatives(group: SpaceGroup, evaluate: Evaluate, displacement: float = 0.01) -> FloatArray:
    """Differentiate a tensor by the positions of all atoms.

    Args:
        group: of the crystal; derivatives belong to ``group.primitive`` (p atoms).
        evaluate: the tensor of displaced structures.
        displacement: A, of single atoms; errors are of second order in it.

    Returns:
        (p, 3, 3, 3) per A, [atom, k, i, j]; invariant under the group, and zero where all atoms move together.

    Raises:
        ValueError: a displacement that is not positive.
    """
    if not displacement > 0:
        raise ValueError(f"the displacement must be positive, got {displacement} A")
    steps = independent_displacements(group)
    found = tensor_derivatives(group, steps, evaluate(displaced(group, steps, displacement)), displacement)
    return np.asarray(found - found.mean(axis=0))


def displaced(group: SpaceGroup, displacements: Sequence[Displacement], size: float) -> list[Atoms]:
    """Primitive cells with one atom moved by ``size`` A, the opposite displacement following where there has to be one.

    Args:
        group: of the crystal.
        displacements: of ``independent_displacements``.
        size: A.
    """
    structures = []
    for step in displacements:
        for sign in step.signs:
            moved = group.primitive.copy()
            moved.positions[step.atom] += sign * size * step.direction
            structures.append(moved)
    return structures


def tensor_derivatives(
    group: SpaceGroup, displacements: Sequence[Displacement], values: Sequence[FloatArray], size: float
) -> FloatArray:
    """Derivatives (p, 3, 3, 3), [atom, k, i, j], of a tensor (3, 3) by positions.

    Args:
        group: of the crystal.
        displacements: of ``independent_displacements``.
        values: of each of the ``displaced`` cells.
        size: A, of the displacements.
    """

    def carried(operation: int, value: FloatArray) -> FloatArray:
        turn = group.rotations[operation]
        return np.asarray(turn @ value @ turn.T)

    return _derivatives(group, displacements, values, size, carried)


def vector_derivatives(
    group: SpaceGroup, displacements: Sequence[Displacement], values: Sequence[FloatArray], size: float
) -> FloatArray:
    """Derivatives (p, 3, p, 3), [atom, k, other atom, i], of vectors (p, 3) of the atoms; as ``tensor_derivatives``."""

    def carried(operation: int, value: FloatArray) -> FloatArray:
        found = np.empty_like(value)
        found[group.permutations[operation]] = value @ group.rotations[operation].T
        return found

    return _derivatives(group, displacements, values, size, carried)


def _derivatives(
    group: SpaceGroup,
    displacements: Sequence[Displacement],
    values: Sequence[FloatArray],
    size: float,
    carried: Callable[[int, FloatArray], FloatArray],
) -> FloatArray:
    """Derivatives (p, 3, ...) of values (...) that ``carried`` turns by an operation of the group."""
    remaining = iter(values)
    rows: dict[int, list[tuple[FloatArray, FloatArray]]] = {}
    for step in displacements:
        value = next(remaining)
        opposite = next(remaining) if step.reversing is None else carried(step.reversing, value)
        slope = (value - opposite) / (2 * size)
        for operation in np.flatnonzero(group.permutations[:, step.atom] == step.atom).tolist():
            direction = group.rotations[operation] @ step.direction
            rows.setdefault(step.atom, []).append((direction, carried(operation, slope)))
    of_representative = {}
    for atom, pairs in rows.items():
        inverse = np.linalg.pinv(np.array([direction for direction, _ in pairs]))
        of_representative[atom] = np.tensordot(inverse, np.array([slope for _, slope in pairs]), axes=1)
    found = []
    for atom, operation in enumerate(group.carrier):
        source = of_representative[int(group.permutations[:, atom].min())]
        turned = np.array([carried(operation, slope) for slope in source])
        found.append(np.tensordot(group.rotations[operation], turned, axes=1))
    return np.array(found)
