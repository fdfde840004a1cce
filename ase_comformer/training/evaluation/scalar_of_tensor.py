"""Errors of numbers that are computed from predicted tensors, against labels that are no more than such numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.training.evaluation.metrics import percent, rank_correlation, relative_errors, share_within


@dataclass(frozen=True)
class NumberMetrics:
    """One or several numbers per crystal.

    ``mae`` in ``unit``, ``mae_log10`` of the ratio, ``within`` the shares closer than 25, 10 and 5 %, ``rank``
    Spearman's correlation; one entry per number, ``within`` one triple per number.
    """

    count: int
    names: tuple[str, ...]
    unit: str
    mae: tuple[float, ...]
    mae_log10: tuple[float, ...]
    within: tuple[tuple[float, ...], ...]
    rank: tuple[float, ...]

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        cells = {"n": str(self.count)}
        for k, name in enumerate(self.names):
            cells[f"{name} MAE ({self.unit})" if self.unit else f"{name} MAE"] = f"{self.mae[k]:.3g}"
            cells[f"{name} |log10|"] = f"{self.mae_log10[k]:.3f}"
            cells[f"{name} within 25/10/5 %"] = percent(self.within[k])
            cells[f"{name} Spearman"] = f"{self.rank[k]:.3f}"
        return cells


def number_metrics(names: Sequence[str], unit: str, predicted: np.ndarray, label: np.ndarray) -> NumberMetrics:
    """Errors of positive numbers, (N, k) against (N, k) with k names.

    Raises:
        ValueError: shapes differ, or there is nothing to compare.
    """
    if predicted.shape != label.shape or not len(label):
        raise ValueError(
            f"numbers of shape {predicted.shape} against {label.shape}: give as many of each, at least one"
        )
    error = np.abs(predicted - label)
    ratio = np.abs(np.log10(np.maximum(predicted, 1e-6) / np.maximum(label, 1e-6)))
    columns = range(label.shape[1])
    return NumberMetrics(
        count=len(label),
        names=tuple(names),
        unit=unit,
        mae=tuple(error.mean(axis=0).tolist()),
        mae_log10=tuple(ratio.mean(axis=0).tolist()),
        within=tuple(share_within(relative_errors(error[:, k], np.abs(label[:, k]))) for k in columns),
        rank=tuple(rank_correlation(predicted[:, k], label[:, k]) for k in columns),
    )


def hill_moduli(stiffness: np.ndarray) -> np.ndarray:
    """(N, 6, 6) GPa -> (N, 2), bulk and shear modulus (Hill)."""
    moduli = voigt_reuss_hill(stiffness)
    return np.stack([moduli.bulk, moduli.shear], axis=1)


def voigt_moduli(stiffness: np.ndarray) -> np.ndarray:
    """(N, 6, 6) GPa -> (N, 2), bulk and shear modulus (Voigt)."""
    moduli = voigt_reuss_hill(stiffness)
    return np.stack([moduli.bulk_voigt, moduli.shear_voigt], axis=1)


def mean_over_directions(tensor: np.ndarray) -> np.ndarray:
    """(N, 3, 3) -> (N, 1), a third of the trace."""
    return np.trace(tensor, axis1=1, axis2=2)[:, None] / 3


def largest_singular_value(tensor: np.ndarray) -> np.ndarray:
    """(N, 3, 6) -> (N, 1), the norm of a matrix that Materials Project data call the piezoelectric modulus."""
    return np.linalg.norm(tensor, ord=2, axis=(1, 2))[:, None]
