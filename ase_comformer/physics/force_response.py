"""Force constants, internal strain and clamped-ion stiffness of a crystal from differences of forces and stresses.

Only the displacements and strains that the space group leaves independent are evaluated, all in one call: atoms that
represent their orbit move along as few directions as their site group needs to fill space, and against them only where
no operation turns a direction around. The rest follows by symmetry. The stress of a displaced cell gives the internal
strain, so no strained cell has to relax.

Index letters: p atoms of the primitive cell, w directions, G operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.physics.elasticity import (
    allowed_stiffness_tensors,
    fit_stiffness,
    independent_strains,
    strained_pairs,
)
from ase_comformer.physics.response import ResponseBlocks
from ase_comformer.tensors.forms import rotate
from ase_comformer.tensors.voigt import VOIGT_PAIRS

FloatArray = NDArray[np.float64]

#: Forces (n, 3) in eV/A and stresses (6,) in eV/A^3, ASE's sign and Voigt order, of every structure in a list.
Evaluate = Callable[[Sequence[Atoms]], Sequence[tuple[FloatArray, FloatArray]]]

#: A, displacement of an atom; strain of a cell.
DISPLACEMENT, STRAIN = 0.005, 0.002
_SAME = 1e-6


@dataclass(frozen=True)
class _Step:
    """A displacement to evaluate: atom, unit direction (3,), and the operation that turns it around, if any."""

    atom: int
    direction: FloatArray
    reversing: int | None


def response_blocks(
    group: SpaceGroup, evaluate: Evaluate, *, displacement: float = DISPLACEMENT, strain: float = STRAIN
) -> ResponseBlocks:
    """Evaluate the mechanical blocks of the response of a crystal at rest.

    Args:
        group: of the crystal; blocks belong to its idealised primitive cell (p atoms), ``group.primitive``.
        evaluate: forces and stresses of structures as they are.
        displacement: A, of single atoms; errors are of second order in it.
        strain: of the cell, engineering shear.

    Returns:
        Blocks without charges: force constants obey the acoustic sum rule and every operation of the group.

    Raises:
        ValueError: a step that is not positive.
    """
    if min(displacement, strain) <= 0:
        raise ValueError(f"displacement and strain must be positive, got {displacement} A and {strain}")
    primitive = group.primitive
    steps = independent_displacements(group)
    structures: list[Atoms] = []
    for step in steps:
        for sign in (1, -1) if step.reversing is None else (1,):
            moved = primitive.copy()
            moved.positions[step.atom] += sign * displacement * step.direction
            structures.append(moved)
    axes = _axes_of_cell(primitive.cell.array)
    basis = allowed_stiffness_tensors(group, axes)
    columns = independent_strains(basis)
    strained = [pair for column in columns for pair in strained_pairs(primitive, column, [strain], axes)]
    results = list(evaluate([*structures, *(atoms for _, atoms in strained)]))
    slopes = np.zeros((6, 6))
    for k, column in enumerate(columns):
        plus, minus = (results[len(structures) + 2 * k + i][1] for i in (0, 1))
        slopes[:, column] = rotate(plus - minus, axes, "stress") / (2 * strain * GPa)
    clamped = rotate(fit_stiffness(slopes, basis, columns)[0], axes.T, "elastic_tensor")
    forces, stresses = _derivatives(group, steps, results[: len(structures)], displacement)
    count = len(primitive)
    # forces and stresses of all atoms: (p, 3) force on b and (3, 3) stress per displacement of atom a along k
    constants = np.zeros((count, 3, count, 3))
    internal = np.zeros((count, 3, 6))
    for atom, operation in enumerate(group.carrier):
        source, turn = int(group.permutations[:, atom].min()), group.rotations[operation]
        constants[group.permutations[operation], :, atom, :] = -np.einsum("ij,bjk,lk->bil", turn, forces[source], turn)
        turned = np.einsum("ia,jb,kc,abc->ijk", turn, turn, turn, stresses[source])
        internal[atom] = -primitive.cell.volume * np.stack([turned[i, j] for i, j in VOIGT_PAIRS], axis=1)
    flat = constants.reshape(3 * count, 3 * count)
    constants = ((flat + flat.T) / 2).reshape(count, 3, count, 3)
    return ResponseBlocks(primitive.cell.volume, _without_translations(constants), _without_mean(internal), clamped)


def _axes_of_cell(cell: FloatArray) -> FloatArray:
    """Orthonormal rows (3, 3) that turn with the cell, and with them strains and what is left of errors."""
    return np.linalg.qr(cell.T)[0].T


def independent_displacements(group: SpaceGroup, *, prefer_symmetric: bool = False) -> list[_Step]:
    """List the fewest displacements whose images under the space group move every atom in every direction.

    Args:
        group: of the crystal.
        prefer_symmetric: weigh the number of displacements against the symmetry that each leaves: where only what
            symmetry leaves independent is evaluated, one within a mirror plane costs half of one in any direction.
    """
    steps: list[_Step] = []
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
            steps.append(_Step(int(atom), candidates[chosen], int(site[reversing[0]]) if len(reversing) else None))
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


def _derivatives(
    group: SpaceGroup, steps: Sequence[_Step], results: Sequence[tuple[FloatArray, FloatArray]], size: float
) -> tuple[dict[int, FloatArray], dict[int, FloatArray]]:
    """Slopes of forces (p, 3, 3) and stresses (3, 3, 3) by representative atom, its direction last."""
    found: dict[int, list[tuple[FloatArray, FloatArray, FloatArray]]] = {}
    place = 0
    for step in steps:
        forces, stress = results[place][0], voigt_6_to_full_3x3_stress(results[place][1])
        if step.reversing is None:
            against, other = results[place + 1][0], voigt_6_to_full_3x3_stress(results[place + 1][1])
            place += 2
        else:
            turn = group.rotations[step.reversing]
            against = np.empty_like(forces)
            against[group.permutations[step.reversing]] = forces @ turn.T
            other = turn @ stress @ turn.T
            place += 1
        slope, stress_slope = (forces - against) / (2 * size), (stress - other) / (2 * size)
        for operation in np.flatnonzero(group.permutations[:, step.atom] == step.atom):
            turn = group.rotations[operation]
            carried = np.empty_like(slope)
            carried[group.permutations[operation]] = slope @ turn.T
            found.setdefault(step.atom, []).append((turn @ step.direction, carried, turn @ stress_slope @ turn.T))
    forces_of, stresses_of = {}, {}
    for atom, rows in found.items():
        inverse = np.linalg.pinv(np.array([row[0] for row in rows])).T  # (w, 3)
        forces_of[atom] = np.einsum("wbi,wk->bik", np.array([row[1] for row in rows]), inverse)
        stresses_of[atom] = np.einsum("wij,wk->ijk", np.array([row[2] for row in rows]), inverse)
    return forces_of, stresses_of


def _without_translations(constants: FloatArray) -> FloatArray:
    """Force constants projected so that no uniform translation costs a force."""
    count = len(constants)
    projector = np.eye(count) - 1.0 / count
    return np.einsum("ab,bicj,cd->aidj", projector, constants, projector)


def _without_mean(values: FloatArray) -> FloatArray:
    """Values per atom (p, ...) without their mean."""
    return values - values.mean(axis=0)
