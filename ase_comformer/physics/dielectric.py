"""The ionic part of the static dielectric tensor from force constants and Born charges at q = 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ase_comformer.physics.response import EPSILON_0

FloatArray = NDArray[np.float64]


def without_translations(force_constants: FloatArray) -> FloatArray:
    """Force constants (n, 3, n, 3), symmetrised, from which rigid translations are projected out."""
    count = len(force_constants)
    matrix = force_constants.reshape(3 * count, 3 * count)
    translations = np.tile(np.eye(3), (count, 1)) / np.sqrt(count)
    projector = np.eye(3 * count) - translations @ translations.T
    projected: FloatArray = projector @ ((matrix + matrix.T) / 2) @ projector
    return projected.reshape(count, 3, count, 3)


def ionic_dielectric(born: FloatArray, force_constants: FloatArray, volume: float) -> FloatArray:
    """Ionic part of the static dielectric tensor at fixed cell, relative permittivity (3, 3).

    eps_ion = e^2/(eps0 V) Z Phi^+ Z^T (X. Gonze, C. Lee, Phys. Rev. B 55, 10355 (1997), eq. 60 at zero frequency),
    with the three translations projected out of the force constants Phi.

    Args:
        born: (n, 3, 3) e, Z[atom, field, displacement].
        force_constants: (n, 3, n, 3) eV/A^2, summed over the images of the second atom, no non-analytic term.
        volume: A^3.

    Example:
        >>> import numpy as np
        >>> spring = np.kron(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.eye(3)).reshape(2, 3, 2, 3)
        >>> born = np.array([np.eye(3), -np.eye(3)])
        >>> ionic_dielectric(born, 5.0 * spring, 40.0)[0, 0].round(3)  # Z^2 / (eps0 V k)
        np.float64(0.905)
    """
    count = len(born)
    charges = born.transpose(1, 0, 2).reshape(3, 3 * count)
    matrix = without_translations(force_constants).reshape(3 * count, 3 * count)
    response = np.linalg.pinv(matrix, rcond=1e-8, hermitian=True)
    ionic = charges @ response @ charges.T / (EPSILON_0 * volume)
    return np.asarray((ionic + ionic.T) / 2)
