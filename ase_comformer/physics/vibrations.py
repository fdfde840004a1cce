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
    frequencies, eigenvectors = modes_of_dynamical_matrix((dynamical + dynamical.T) / 2)
    if born is None:
        return Vibrations(frequencies, eigenvectors, None)
    charge = np.einsum("anx,nix->ai", mode_displacements(eigenvectors, masses), born)
    return Vibrations(frequencies, eigenvectors, np.square(charge).sum(axis=1))


def modes_of_dynamical_matrix(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Frequencies (3n,) THz, ascending, imaginary ones negative, and orthonormal eigenvectors (3n, n, 3).

    Args:
        matrix: (3n, 3n) eV/(A^2 u), real and symmetric.

    Example:
        >>> import numpy as np
        >>> frequencies, eigenvectors = modes_of_dynamical_matrix(np.diag([1.0, 4.0, -1.0]))
        >>> frequencies.round(2).tolist(), eigenvectors.shape
        ([-15.63, 15.63, 31.27], (3, 1, 3))
    """
    values, vectors = np.linalg.eigh(matrix)
    return np.sign(values) * np.sqrt(np.abs(values)) * THZ, vectors.T.reshape(len(values), -1, 3)


def mode_displacements(eigenvectors: FloatArray, masses: FloatArray) -> FloatArray:
    """Displacements (m, n, 3) in 1/sqrt(u) per normal coordinate, of eigenvectors (m, n, 3) and masses (n,) u."""
    return np.asarray(eigenvectors / np.sqrt(masses)[:, None])
