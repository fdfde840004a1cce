"""Errors of the polycrystal moduli of predicted stiffness tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.training.evaluation.metrics import stacked


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
