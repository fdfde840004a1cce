"""Vibrations at q = 0: frequencies, eigenvectors and infrared intensities from force constants and Born charges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import _amu, _e
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: sqrt(eV / (A^2 u)) as a frequency in THz.
THZ = float(np.sqrt(_e / _amu) * 1e10 / (2 * np.pi) * 1e-12)


@dataclass(frozen=True)
class Vibrations:
    """Modes of n atoms at q = 0 without macroscopic field, ascending.

    Attributes:
        frequencies: (3n,) THz, negative for imaginary ones; three are zero.
        eigenvectors: (3n, n, 3) of the mass-weighted force constants, orthonormal.
        infrared_intensities: (3n,) e^2/u, square of the mode effective charge, or None without Born charges.
    """

    frequencies: FloatArray
    eigenvectors: FloatArray
    infrared_intensities: FloatArray | None


def vibrations(force_constants: FloatArray, masses: FloatArray, born: FloatArray | None = None) -> Vibrations:
    """Diagonalise the dynamical matrix at q = 0.

    Args:
        force_constants: (n, 3, n, 3) eV/A^2.
        masses: (n,) u.
        born: (n, 3, 3) e, [atom, field, displacement].

    Example:
        >>> import numpy as np
        >>> spring = np.kron(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.eye(3)).reshape(2, 3, 2, 3)
        >>> vibrations(spring, np.array([1.0, 1.0])).frequencies[-1].round(2)
        np.float64(22.11)
    """
    count = len(masses)
    root = np.repeat(1 / np.sqrt(masses), 3)
    dynamical = force_constants.reshape(3 * count, 3 * count) * root[:, None] * root
    values, vectors = np.linalg.eigh((dynamical + dynamical.T) / 2)
    frequencies = np.sign(values) * np.sqrt(np.abs(values)) * THZ
    eigenvectors = vectors.T.reshape(-1, count, 3)
    if born is None:
        return Vibrations(frequencies, eigenvectors, None)
    moved = eigenvectors / np.sqrt(masses)[:, None]
    charge = np.einsum("anx,nix->ai", moved, born)
    return Vibrations(frequencies, eigenvectors, np.square(charge).sum(axis=1))
