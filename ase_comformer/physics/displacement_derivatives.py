"""Derivatives of a tensor by the displacements of atoms, of which symmetry leaves few to evaluate.

Index letters: p atoms of the primitive cell, k direction of the displacement, i and j of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.physics.force_response import independent_displacements

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
    structures = []
    for step in steps:
        for sign in (1, -1) if step.reversing is None else (1,):
            moved = group.primitive.copy()
            moved.positions[step.atom] += sign * displacement * step.direction
            structures.append(moved)
    values = iter(evaluate(structures))
    rows: dict[int, list[tuple[FloatArray, FloatArray]]] = {}
    for step in steps:
        tensor = next(values)
        if step.reversing is None:
            opposite = next(values)
        else:
            turn = group.rotations[step.reversing]
            opposite = turn @ tensor @ turn.T
        slope = (tensor - opposite) / (2 * displacement)
        for operation in np.flatnonzero(group.permutations[:, step.atom] == step.atom):
            turn = group.rotations[operation]
            rows.setdefault(step.atom, []).append((turn @ step.direction, turn @ slope @ turn.T))
    of = {}
    for atom, pairs in rows.items():
        inverse = np.linalg.pinv(np.array([direction for direction, _ in pairs]))
        of[atom] = np.einsum("kw,wij->kij", inverse, np.array([slope for _, slope in pairs]))
    found = np.empty((len(group.primitive), 3, 3, 3))
    for atom, operation in enumerate(group.carrier):
        turn = group.rotations[operation]
        source = of[int(group.permutations[:, atom].min())]
        found[atom] = np.einsum("kl,ia,jb,lab->kij", turn, turn, turn, source)
    return found - found.mean(axis=0)
