"""Polycrystal moduli of stiffness tensors (Voigt, Reuss, Hill) and their errors.

The formulas serve numpy arrays (metrics, baselines, sources) and torch tensors (the loss) alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch

from ase_comformer.tensors.arrays import Array
from ase_comformer.training.evaluation.metrics import stacked


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


@dataclass(frozen=True)
class ModulusMetrics:
    """Errors of K_VRH and G_VRH of predicted stiffness, GPa; ``not_positive``: unstable predictions."""

    count: int
    bulk_mae: float
    shear_mae: float
    not_positive: int

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        return {
            "n": str(self.count),
            "K_VRH MAE (GPa)": f"{self.bulk_mae:.2f}",
            "G_VRH MAE (GPa)": f"{self.shear_mae:.2f}",
            "not positive definite": str(self.not_positive),
        }


def modulus_metrics(predicted: Sequence[np.ndarray], label: Sequence[np.ndarray]) -> ModulusMetrics:
    """MAE of the Hill moduli computed from predicted and from labelled (N,6,6) stiffness tensors, GPa.

    A singular prediction, which has no Reuss modulus, counts with moduli of zero.
    """
    first, second = stacked(predicted, label)
    reference = voigt_reuss_hill(second)
    singular = np.linalg.matrix_rank(first) < 6
    moduli = voigt_reuss_hill(np.where(singular[:, None, None], np.eye(6), first))
    bulk, shear = np.where(singular, 0.0, moduli.bulk), np.where(singular, 0.0, moduli.shear)
    lowest = np.linalg.eigvalsh(0.5 * (first + np.swapaxes(first, -1, -2)))[:, 0]
    return ModulusMetrics(
        count=len(first),
        bulk_mae=float(np.abs(bulk - reference.bulk).mean()),
        shear_mae=float(np.abs(shear - reference.shear).mean()),
        not_positive=int((lowest <= 0.0).sum()),
    )
