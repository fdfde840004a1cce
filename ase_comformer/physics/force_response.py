"""Force constants, internal strain and clamped-ion stiffness of a crystal from differences of forces and stresses.

Only the displacements (``independent_displacements``) and strains that the space group leaves independent are
evaluated, all in one call. The stress of a displaced cell gives the internal strain, so no strained cell has to relax.

Index letters: p atoms of the primitive cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.physics.dielectric import without_translations
from ase_comformer.physics.displacement_derivatives import displaced, tensor_derivatives, vector_derivatives
from ase_comformer.physics.elasticity import (
    allowed_stiffness_tensors,
    fit_stiffness,
    independent_strains,
    strained_pairs,
)
from ase_comformer.physics.independent_displacements import independent_displacements
from ase_comformer.physics.response import ResponseBlocks
from ase_comformer.tensors.forms import rotate
from ase_comformer.tensors.voigt import VOIGT_PAIRS

FloatArray = NDArray[np.float64]

#: Forces (n, 3) in eV/A and stresses (6,) in eV/A^3, ASE's sign and Voigt order, of every structure in a list.
Evaluate = Callable[[Sequence[Atoms]], Sequence[tuple[FloatArray, FloatArray]]]

#: A, displacement of an atom; strain of a cell.
DISPLACEMENT, STRAIN = 0.005, 0.002


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
    structures = displaced(group, steps, displacement)
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
    forces, stresses = zip(*results[: len(structures)], strict=True)
    constants = without_translations(-vector_derivatives(group, steps, forces, displacement))
    volume = primitive.cell.volume
    slopes_of_stress = tensor_derivatives(group, steps, list(map(voigt_6_to_full_3x3_stress, stresses)), displacement)
    internal = -volume * np.stack([slopes_of_stress[..., i, j] for i, j in VOIGT_PAIRS], axis=-1)
    return ResponseBlocks(volume, constants, internal - internal.mean(axis=0), clamped)


def _axes_of_cell(cell: FloatArray) -> FloatArray:
    """Orthonormal rows (3, 3) that turn with the cell, and with them strains and what is left of errors."""
    return np.linalg.qr(cell.T)[0].T
