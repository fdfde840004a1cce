"""Voigt and Mandel forms of Cartesian tensors, and the matrix of a rotation in Mandel form.

Voigt order is xx, yy, zz, yz, xz, xy; strain-like axes carry engineering shear (factor 2). Mandel has the
same order with orthonormal shear components (factor sqrt(2)), so that norms and rotations are those of the
full tensor. Numpy and torch, any leading batch axes. Re-exported from ``tensors``, which states all
conventions.
"""

from __future__ import annotations

import numpy as np

from ase_comformer.errors import check_choice
from ase_comformer.properties.voigt_kinds import VOIGT_KINDS
from ase_comformer.tensors.arrays import Array, check_trailing, floating, like

VOIGT_PAIRS: tuple[tuple[int, int], ...] = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
VOIGT_LABELS: tuple[str, ...] = ("xx", "yy", "zz", "yz", "xz", "xy")
#: Known orders of the six Voigt components; VASP prints XX YY ZZ XY YZ ZX.
VOIGT_ORDERS: dict[str, tuple[str, ...]] = {
    "standard": VOIGT_LABELS,
    "vasp": ("xx", "yy", "zz", "xy", "yz", "xz"),
}


def _voigt_matrices() -> tuple[np.ndarray, np.ndarray]:
    """(6, 9) averaging matrix 3x3 -> 6 and its (9, 6) right inverse, exact in floating point."""
    expand = np.zeros((9, 6))
    for column, (i, j) in enumerate(VOIGT_PAIRS):
        expand[3 * i + j, column] = expand[3 * j + i, column] = 1.0
    return expand.T / expand.sum(axis=0)[:, None], expand


_AVERAGE, _EXPAND = _voigt_matrices()
_SHEAR = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
_MANDEL_BASIS = (_EXPAND.T / np.sqrt(_EXPAND.sum(axis=0))[:, None]).reshape(6, 3, 3)


def _apply(matrix: Array, tensor: Array, axes: int) -> Array:
    """Multiply the last axis (``axes`` = 1) or the last two axes (2) of ``tensor`` by ``matrix``."""
    tensor = tensor @ matrix.swapaxes(-1, -2)
    return matrix @ tensor if axes == 2 else tensor


def _scale_voigt(tensor: Array, factor: float, axes: int) -> Array:
    """Multiply the shear components along the last ``axes`` Voigt axes by ``factor``."""
    weights = 1.0 + _SHEAR * (factor - 1.0)
    return tensor * like(np.outer(weights, weights) if axes == 2 else weights, tensor)


def cartesian_to_voigt(tensor: Array, kind: str) -> Array:
    """Full Cartesian tensor to Voigt form; T_ij and T_ji of an index pair are averaged.

    ``kind`` is one of ``VOIGT_KINDS``: stress and strain (..., 3, 3) -> (..., 6), stiffness and compliance
    (..., 3, 3, 3, 3) -> (..., 6, 6), piezoelectric_stress (e) and piezoelectric_strain (d) (..., 3, 3, 3) ->
    (..., 3, 6). Strain-like Voigt axes (strain, compliance, d) carry the factor 2 of engineering shear.
    Source: Nye, Physical Properties of Crystals (1985), chapters VII and VIII.
    """
    vectors, axes, factor = VOIGT_KINDS[check_choice(kind, VOIGT_KINDS, "Voigt kind")]
    tensor = floating(tensor)
    check_trailing(tensor, (3,) * (vectors + 2 * axes), f"Cartesian {kind} tensor")
    flat = tensor.reshape(*tensor.shape[: tensor.ndim - 2 * axes], *(9,) * axes)
    return _scale_voigt(_apply(like(_AVERAGE, flat), flat, axes), factor, axes)


def voigt_to_cartesian(tensor: Array, kind: str) -> Array:
    """Inverse of ``cartesian_to_voigt``: (..., 6), (..., 3, 6), (..., 6, 6) to full Cartesian."""
    vectors, axes, factor = VOIGT_KINDS[check_choice(kind, VOIGT_KINDS, "Voigt kind")]
    tensor = floating(tensor)
    check_trailing(tensor, (3,) * vectors + (6,) * axes, f"Voigt {kind} tensor")
    flat = _apply(like(_EXPAND, tensor), _scale_voigt(tensor, 1.0 / factor, axes), axes)
    return flat.reshape(*flat.shape[: flat.ndim - axes], *(3,) * (2 * axes))


def voigt_to_mandel(tensor: Array, kind: str) -> Array:
    """Voigt to Mandel form of the same shape, whose norm is the Frobenius norm of the full tensor."""
    vectors, axes, factor = VOIGT_KINDS[check_choice(kind, VOIGT_KINDS, "Voigt kind")]
    tensor = floating(tensor)
    check_trailing(tensor, (3,) * vectors + (6,) * axes, f"Voigt {kind} tensor")
    return _scale_voigt(tensor, np.sqrt(2.0) / factor, axes)


def mandel_to_voigt(tensor: Array, kind: str) -> Array:
    """Inverse of ``voigt_to_mandel``."""
    vectors, axes, factor = VOIGT_KINDS[check_choice(kind, VOIGT_KINDS, "Voigt kind")]
    tensor = floating(tensor)
    check_trailing(tensor, (3,) * vectors + (6,) * axes, f"Mandel {kind} tensor")
    return _scale_voigt(tensor, factor / np.sqrt(2.0), axes)


def cartesian_to_mandel(tensor: Array, kind: str) -> Array:
    """Full Cartesian tensor to Mandel form; ``kind`` as in ``cartesian_to_voigt``."""
    return voigt_to_mandel(cartesian_to_voigt(tensor, kind), kind)


def mandel_to_cartesian(tensor: Array, kind: str) -> Array:
    """Inverse of ``cartesian_to_mandel``."""
    return voigt_to_cartesian(mandel_to_voigt(tensor, kind), kind)


def mandel_basis() -> np.ndarray:
    """Orthonormal basis (6, 3, 3) of symmetric matrices, Mandel order: s = sum_I mandel(s)[I] basis[I]."""
    return _MANDEL_BASIS.copy()


def mandel_rotation(rotation: Array) -> Array:
    """Orthogonal (..., 6, 6) matrix M of a rotation (..., 3, 3): mandel(R s R^T) = M mandel(s).

    Source: Mehrabadi and Cowin, Q. J. Mech. Appl. Math. 43 (1990) 15.
    """
    rotation = floating(rotation)
    check_trailing(rotation, (3, 3), "rotation")
    basis = like(_MANDEL_BASIS, rotation)
    matrix = rotation[..., None, :, :]
    turned = matrix @ basis @ matrix.swapaxes(-1, -2)  # (..., J, 3, 3)
    flat = turned.reshape(*turned.shape[:-2], 9)
    return basis.reshape(6, 9) @ flat.swapaxes(-1, -2)
