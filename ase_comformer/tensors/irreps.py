"""Irreducible representations of O(3) in float64: Wigner matrices, coupling tensors, Cartesian bases.

Real basis, order and signs are e3nn's (l = 1 is x, y, z; l = 2 is xz, xy, y^2, yz, z^2 - x^2), so matrices
made here act on e3nn features. Nothing depends on torch's default dtype. Where an irrep occurs more than once
in a Cartesian tensor our own basis is defined in ``cartesian_bases`` and pinned by tests. Re-exported from
``tensors``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import factorial, prod, sqrt

import numpy as np
import torch

from ase_comformer.tensors.arrays import Array, check_trailing, floating, like

_IRREP = re.compile(r"^(?:(\d+)x)?(\d+)([eo])$")


def parse_irreps(irreps: str) -> list[tuple[int, int, int]]:
    """List of (multiplicity, l, parity +1 or -1) of a string such as "2x1o+2o+3o"."""
    result = []
    for term in str(irreps).replace(" ", "").split("+"):
        match = _IRREP.match(term)
        if match is None:
            raise ValueError(f"cannot read irreps {irreps!r} at {term!r}; write e.g. '0e+2e' or '2x1o+2o+3o'")
        result.append((int(match[1] or 1), int(match[2]), 1 if match[3] == "e" else -1))
    return result


def _su2_coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """Clebsch-Gordan coefficients <l1 m1 l2 m2 | l3 m3>, axes m1, m2, m3; Racah's formula."""
    f = factorial
    triangle = f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(l2 + l3 - l1) / f(l1 + l2 + l3 + 1)
    result = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            m3 = m1 + m2
            total = 0.0
            for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
                total += (-1) ** k / (
                    f(k) * f(l1 + l2 - l3 - k) * f(l1 - m1 - k)
                    * f(l2 + m2 - k) * f(l3 - l2 + m1 + k) * f(l3 - l1 - m2 + k)
                )  # fmt: skip
            magnitudes = f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3)
            result[m1 + l1, m2 + l2, m3 + l3] = sqrt((2 * l3 + 1) * triangle * magnitudes) * total
    return result


def _real_from_complex(degree: int) -> np.ndarray:
    """Unitary matrix: real harmonics (rows) from complex ones with the Condon-Shortley phase (columns)."""
    matrix = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=np.complex128)
    matrix[degree, degree] = 1.0
    for m in range(1, degree + 1):
        matrix[degree + m, [degree + m, degree - m]] = np.array([(-1) ** m, 1.0]) / sqrt(2)  # cos m phi
        matrix[degree - m, [degree + m, degree - m]] = np.array([(-1) ** m, -1.0]) / (1j * sqrt(2))  # sin m phi
    return matrix


@lru_cache(maxsize=256)
def _wigner_3j(l1: int, l2: int, l3: int) -> np.ndarray:
    first, second, third = map(_real_from_complex, (l1, l2, l3))
    coupled = np.einsum("im,jn,kp,mnp->ijk", first, second, third.conj(), _su2_coupling(l1, l2, l3))
    # The coupling of real harmonics is real for even l1 + l2 + l3 and imaginary for odd.
    real = (coupled * 1j ** (l1 + l2 - l3)).real
    return real / np.linalg.norm(real)


def wigner_3j(l1: int, l2: int, l3: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Invariant coupling tensor (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) of unit norm, e3nn's basis and sign."""
    if min(l1, l2, l3) < 0 or not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"l = {l1}, {l2}, {l3} violate the triangle rule |l1 - l2| <= l3 <= l1 + l2")
    return torch.tensor(_wigner_3j(l1, l2, l3), dtype=dtype)


def wigner_d(degree: int, rotation: Array, parity: int | None = None) -> Array:
    """Matrices (..., 2l + 1, 2l + 1), l = ``degree``, of rotations (..., 3, 3), proper or improper.

    ``parity`` is +1 (even, "e") or -1 (odd, "o") under inversion; None means the parity of the spherical
    harmonics, (-1)**l. Built by coupling, D^l = C (R x D^(l-1)) C^T, hence in the dtype of ``rotation`` and
    differentiable: pass float64 and cast the result.
    """
    if degree < 0 or parity not in (None, 1, -1):
        raise ValueError(f"need degree >= 0 and parity 1, -1 or None, got {degree} and {parity}")
    rotation = floating(rotation)
    check_trailing(rotation, (3, 3), "rotation")
    matrix = rotation if degree else rotation[..., :1, :1] * 0 + 1
    for order in range(2, degree + 1):
        size, inner = 2 * order + 1, 2 * order - 1
        couple = _wigner_3j(1, order - 1, order) * sqrt(size)
        # first[a, j, k] = sum_b D[j, b] C[a, b, k]; second[i, j, k] = sum_a R[i, a] first[a, j, k]
        first = matrix[..., None, :, :] @ like(couple, rotation)
        second = rotation @ first.reshape(*first.shape[:-3], 3, inner * size)
        flat = second.reshape(*second.shape[:-2], 3 * inner, size)
        matrix = like(couple.reshape(3 * inner, size).T, rotation) @ flat
    if parity is not None and parity != (-1) ** degree:
        matrix = matrix * determinant_sign(rotation)
    return matrix


def determinant_sign(rotation: Array) -> Array:
    """Return +1 or -1 (..., 1, 1) for proper and improper rotations (..., 3, 3)."""
    if isinstance(rotation, torch.Tensor):
        return torch.linalg.det(rotation.detach()).sign()[..., None, None]
    return np.sign(np.linalg.det(rotation))[..., None, None].astype(rotation.dtype)


def representation(irreps: str, rotation: Array) -> Array:
    """Block-diagonal matrices (..., dim, dim) of rotations (..., 3, 3) on features of type ``irreps``."""
    rotation = floating(rotation)
    blocks = []
    for multiplicity, degree, parity in parse_irreps(irreps):
        blocks += [wigner_d(degree, rotation, parity)] * multiplicity
    dim = sum(block.shape[-1] for block in blocks)
    result = like(np.zeros((*rotation.shape[:-2], dim, dim)), rotation)
    start = 0
    for block in blocks:
        stop = start + block.shape[-1]
        result[..., start:stop, start:stop] = block
        start = stop
    return result


@lru_cache(maxsize=16)
def _harmonic_basis(degree: int) -> np.ndarray:
    basis = np.eye(3) if degree else np.ones((1,))
    for order in range(2, degree + 1):
        basis = np.einsum("ijk,j...->ki...", _wigner_3j(1, order - 1, order) * sqrt(2 * order + 1), basis)
    return basis


def harmonic_basis(degree: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Orthonormal basis (2l + 1, 3, ..., 3) of symmetric traceless tensors of rank l = ``degree``.

    In e3nn's order: contracting basis[m] with l copies of a vector gives a positive multiple of the spherical
    harmonic Y_lm.
    """
    return torch.tensor(_harmonic_basis(degree), dtype=dtype)


def spherical_harmonics(degree: int, direction: torch.Tensor) -> torch.Tensor:
    """Component-normalised real harmonics (..., 2l + 1), l = ``degree``, of unit vectors (..., 3).

    Order, sign and normalisation (the squares sum to 2l + 1) are e3nn's, ``o3.spherical_harmonics(degree, direction,
    normalize=False, normalization="component")``. All 3^l products of components are formed: meant for constants.

    >>> spherical_harmonics(1, torch.tensor([0.0, 0.6, 0.8])) / 3**0.5
    tensor([0.0000, 0.6000, 0.8000])
    """
    products = direction.new_ones(*direction.shape[:-1], 1)
    for _ in range(degree):
        products = (products[..., :, None] * direction[..., None, :]).flatten(-2)
    # A unit vector's traceless part of rank l has the squared norm l! / (2l - 1)!!.
    norm = sqrt((2 * degree + 1) * prod(range(1, 2 * degree, 2)) / factorial(degree))
    return products @ (norm * harmonic_basis(degree, direction.dtype)).reshape(2 * degree + 1, -1).mT
