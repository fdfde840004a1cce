"""Polycrystal moduli of stiffness tensors (Voigt, Reuss, Hill).

The formulas serve numpy arrays (metrics, baselines, sources) and torch tensors (the loss) alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch

from ase_comformer.tensors.arrays import Array


@dataclass(frozen=True)
class Moduli(Generic[Array]):
    """Bulk and shear moduli of polycrystals, arrays of the leading shape, in the unit of the stiffness."""

    bulk_voigt: Array
    shear_voigt: Array
    bulk_reuss: Array
    shear_reuss: Array

    @property
    def bulk(self) -> Array:
        """Hill average K_VRH."""
        return 0.5 * (self.bulk_voigt + self.bulk_reuss)

    @property
    def shear(self) -> Array:
        """Hill average G_VRH."""
        return 0.5 * (self.shear_voigt + self.shear_reuss)


def voigt_reuss_hill(stiffness: Array) -> Moduli[Array]:
    """Voigt, Reuss and Hill moduli of (...,6,6) Voigt stiffness (R. Hill, Proc. Phys. Soc. A 65, 349).

    Numpy arrays are evaluated in float64, torch tensors in their own precision and differentiably.

    Raises:
        numpy.linalg.LinAlgError, torch.linalg.LinAlgError: if a stiffness is singular.
    """
    if isinstance(stiffness, torch.Tensor):
        compliance = torch.linalg.inv(stiffness)
    else:
        stiffness = np.asarray(stiffness, dtype=np.float64)
        compliance = np.linalg.inv(stiffness)

    def parts(matrix: Array) -> tuple[Array, Array, Array]:
        normal = matrix[..., 0, 0] + matrix[..., 1, 1] + matrix[..., 2, 2]
        mixed = matrix[..., 0, 1] + matrix[..., 0, 2] + matrix[..., 1, 2]
        shear = matrix[..., 3, 3] + matrix[..., 4, 4] + matrix[..., 5, 5]
        return normal, mixed, shear

    normal, mixed, shear = parts(stiffness)
    s_normal, s_mixed, s_shear = parts(compliance)
    # The compliance is that of engineering shear strain, hence the factors 4 and 3.
    return Moduli(
        bulk_voigt=(normal + 2.0 * mixed) / 9.0,
        shear_voigt=(normal - mixed + 3.0 * shear) / 15.0,
        bulk_reuss=1.0 / (s_normal + 2.0 * s_mixed),
        shear_reuss=15.0 / (4.0 * s_normal - 4.0 * s_mixed + 3.0 * s_shear),
    )
