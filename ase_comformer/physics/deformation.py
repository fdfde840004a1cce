"""Symmetric deformations F = exp(U) of cells, and derivatives in their logarithms U."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def exponential(logarithms: Array) -> Array:
    """(..., 3, 3) symmetric U -> exp(U)."""
    values, vectors = np.linalg.eigh(logarithms)
    return np.asarray((vectors * np.exp(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def derivative_in_logarithm(logarithms: Array, derivative: Array) -> Array:
    """Carry derivatives (..., 3, 3) in F = exp(U) over to the symmetric U, (..., 3, 3); the result is symmetric.

    In the frame where U is diagonal the entries are multiplied by the divided differences of the exponential.

    Example:
        >>> U = np.diag([0.1, 0.0, 0.0])
        >>> derivative_in_logarithm(U, np.diag([1.0, 0.0, 0.0]))[0, 0].round(6) == np.exp(0.1).round(6)
        np.True_
    """
    values, vectors = np.linalg.eigh(logarithms)
    turned = np.swapaxes(vectors, -1, -2)
    difference = values[..., :, None] - values[..., None, :]
    middle = np.exp((values[..., :, None] + values[..., None, :]) / 2)
    # (e^a - e^b) / (a - b) = e^((a + b) / 2) sinh(h) / h with h = (a - b) / 2
    half = difference / 2
    small = np.abs(half) < 1e-4
    ratio = np.where(small, 1 + half**2 / 6, np.sinh(half) / np.where(small, 1.0, half))
    symmetric = (derivative + np.swapaxes(derivative, -1, -2)) / 2
    return np.asarray(vectors @ (middle * ratio * (turned @ symmetric @ vectors)) @ turned)
