"""Errors of piezoelectric tensors, whose labels may allow several readings.

The source of the labels publishes them in a frame that symmetry fixes only up to a sign or a permutation; the
error of such a record is the smallest over its readings. Norms are of the full Cartesian tensor, C/m^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ase_comformer.training.evaluation.metrics import (
    array_norm,
    cartesian_norm,
    percent,
    rank_correlation,
    relative_errors,
    share_within,
    stacked,
)

PIEZO_THRESHOLD = 0.02
"""Crystals whose full norm is at most this (C/m^2) count as not piezoelectric."""


@dataclass(frozen=True)
class PiezoMetrics:
    """Piezoelectric tensors of crystals whose label norm exceeds a threshold; C/m^2, full Cartesian norm.

    ``error`` is the mean error norm, the minimum over the readings a record allows; ``zero_error`` what
    predicting zero gives; ``reduction`` = 1 - error / zero_error. ``spearman`` ranks the norms of these
    crystals, ``spearman_all`` of all crystals. ``frobenius`` and ``within`` are on the 3x6 array.
    ``error_unambiguous`` covers the ``count_unambiguous`` settled records (None without any).
    """

    count: int
    count_all: int
    error: float
    zero_error: float
    reduction: float
    spearman: float
    spearman_all: float
    frobenius: float
    within: tuple[float, ...]
    count_unambiguous: int
    error_unambiguous: float | None
    zero_error_unambiguous: float | None

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        settled = "none"
        if self.error_unambiguous is not None:
            settled = f"{self.error_unambiguous:.3f} ({self.zero_error_unambiguous:.3f})"
            settled += f", n={self.count_unambiguous}"
        return {
            "n": f"{self.count} of {self.count_all}",
            "mean |error| (C/m^2)": f"{self.error:.3f}",
            "below zero predictor": f"{100.0 * self.reduction:.1f} %",
            "Spearman of norm": f"{self.spearman:.3f}",
            "(all)": f"{self.spearman_all:.3f}",
            "EwT 25/10/5 %": percent(self.within),
            "unambiguous: |error| (zero)": settled,
        }


def piezo_metrics(
    predicted: Sequence[np.ndarray],
    label: Sequence[np.ndarray],
    alternatives: Sequence[np.ndarray | None] | None = None,
    threshold: float = PIEZO_THRESHOLD,
) -> PiezoMetrics:
    """Errors of (N,3,6) piezoelectric tensors against labels known up to a finite set of readings.

    Args:
        predicted: (N,3,6), C/m^2.
        label: (N,3,6), first reading.
        alternatives: per crystal further readings (k,3,6), or None where the reading is settled.
        threshold: crystals with a label norm (full tensor) up to this count in ``spearman_all`` only.
    """
    first, second = stacked(predicted, label)
    others = [None] * len(first) if alternatives is None else list(alternatives)
    if len(others) != len(first):
        raise ValueError(f"alternatives for {len(others)} crystals, predictions for {len(first)}")
    chosen = second.copy()
    for index, extra in enumerate(others):
        if extra is not None and len(extra):
            readings = np.concatenate([second[index][None], np.asarray(extra, dtype=np.float64)])
            chosen[index] = readings[np.argmin(cartesian_norm(readings - first[index]))]
    norm = cartesian_norm(second)
    active = norm > threshold
    if not active.any():
        raise ValueError(f"no crystal has a piezoelectric norm above {threshold} C/m^2")
    error = cartesian_norm(first - chosen)
    error_array = array_norm(first - chosen)
    settled = active & np.array([extra is None for extra in others])
    norm_predicted = cartesian_norm(first)
    mean_error, mean_zero = float(error[active].mean()), float(norm[active].mean())
    return PiezoMetrics(
        count=int(active.sum()),
        count_all=len(first),
        error=mean_error,
        zero_error=mean_zero,
        reduction=1.0 - mean_error / mean_zero,
        spearman=rank_correlation(norm_predicted[active], norm[active]),
        spearman_all=rank_correlation(norm_predicted, norm),
        frobenius=float(error_array[active].mean()),
        within=share_within(relative_errors(error_array, array_norm(chosen))[active]),
        count_unambiguous=int(settled.sum()),
        error_unambiguous=float(error[settled].mean()) if settled.any() else None,
        zero_error_unambiguous=float(norm[settled].mean()) if settled.any() else None,
    )


@dataclass(frozen=True)
class NormMetrics:
    """Says how well norms are predicted (C/m^2), for predictors that know no tensor; crystals as in PiezoMetrics."""

    aspect: ClassVar[str] = "norm"
    """Names what of the property is compared, in the title of its table."""
    count: int
    spearman: float
    mae: float

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        return {
            "n": str(self.count),
            "Spearman of norm": f"{self.spearman:.3f}",
            "MAE of norm (C/m^2)": f"{self.mae:.3f}",
        }


def norm_metrics(
    predicted: Sequence[float], label: Sequence[np.ndarray], threshold: float = PIEZO_THRESHOLD
) -> NormMetrics:
    """Predicted norms (N,) of the full tensor against labels (N,3,6), over labels with norm above threshold."""
    norm = cartesian_norm(np.asarray(label, dtype=np.float64))
    first, second = stacked(predicted, norm)  # type: ignore[arg-type]
    active = second > threshold
    if not active.any():
        raise ValueError(f"no crystal has a piezoelectric norm above {threshold} C/m^2")
    return NormMetrics(
        int(active.sum()),
        rank_correlation(first[active], second[active]),
        float(np.abs(first - second)[active].mean()),
    )
