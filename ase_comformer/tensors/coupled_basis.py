"""Bases of tensors with any index formula, for which ``cartesian_bases`` pins none.

Vectors are coupled one after the other to irreps; the formula's projector then acts on the multiplicities alone
(Schur's lemma), where its eigenvectors of eigenvalue 1 are the basis. ``e3nn.io.CartesianTensor`` spans the same space
(a test compares), but comes in torch's default precision and with its compiler; here everything is float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ase_comformer.properties.formula import irreps_of, rank_of
from ase_comformer.tensors.index_symmetry import symmetrise
from ase_comformer.tensors.irreps import parse_irreps, wigner_3j

FloatArray = NDArray[np.float64]


def coupled_basis(formula: str) -> FloatArray:
    """Return an orthonormal basis (dimension, 3, ..., 3) ordered as ``irreps_of(formula)``, degrees ascending.

    Each block of 2l + 1 tensors transforms as e3nn's irrep of that l. Copies of an irrep are ordered as the ways of
    coupling that they come from, orthonormalised one after the other.
    """
    paths: list[tuple[int, FloatArray]] = [(0, np.ones((1,)))]
    for _ in range(rank_of(formula)):
        paths = [
            (degree, _coupled(first, basis, degree))
            for first, basis in paths
            for degree in range(abs(first - 1), first + 2)
        ]
    blocks = []
    for degree in range(rank_of(formula) + 1):
        ways = np.array([basis for of_path, basis in paths if of_path == degree])
        if not len(ways):
            continue
        zero = ways[:, 0].reshape(len(ways), -1)
        projected = symmetrise(ways[:, 0], formula).reshape(len(ways), -1)
        for coefficients in _orthonormal_rows(projected @ zero.T):
            blocks.append(np.tensordot(coefficients, ways, axes=1))
    basis = np.concatenate(blocks)
    expected = sum(multiplicity * (2 * degree + 1) for multiplicity, degree, _ in parse_irreps(irreps_of(formula)))
    assert len(basis) == expected, f"{formula}: {len(basis)} basis tensors, characters say {expected}"
    return basis


def _coupled(first: int, basis: FloatArray, degree: int) -> FloatArray:
    """Couple tensors of type l = ``first`` (2 first + 1, 3, ..., 3) with one more vector index to l = ``degree``."""
    coupling = wigner_3j(first, 1, degree).numpy() * np.sqrt(2 * degree + 1)
    return np.einsum("m...,mjk->k...j", basis, coupling)


def _orthonormal_rows(projector: FloatArray) -> list[FloatArray]:
    """Orthonormal basis of the range of a symmetric projector (k, k), by Gram-Schmidt on its rows in order."""
    found: list[FloatArray] = []
    for row in projector:
        for _ in range(2):  # twice is enough for orthogonality to rounding
            for other in found:
                row = row - (row @ other) * other
        if np.linalg.norm(row) > 1e-6:
            found.append(row / np.linalg.norm(row))
    return found
