"""Accuracy of predicted crystal properties, as small result objects and rich tables.

Errors are measured twice where the two differ: on the stored array (3x3, 3x6, 6x6 Voigt; the papers'
convention) and on the full Cartesian tensor (shear entries counted as often as they occur), which does not
depend on the frame. Units are those of the property, shares are fractions in [0, 1]. Each result object has
``cells()``: table heading -> text. Polycrystal moduli are in
``modulus_metrics``, piezoelectric errors (labels with several readings) in ``piezo_metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from rich.table import Table
from scipy.stats import spearmanr

THRESHOLDS: tuple[float, ...] = (0.25, 0.10, 0.05)


class Metrics(Protocol):
    """Declares what every result object offers."""

    @property
    def count(self) -> int:
        """Number of crystals."""
        ...

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        ...


def cartesian_norm(tensor: np.ndarray) -> np.ndarray:
    """Frobenius norm of the full Cartesian tensor behind a (...,3,3), (...,3,6) or (...,6,6) array.

    Voigt entries are stress-type (no factor 2), so a shear index stands for two Cartesian entries.

    Returns:
        array of the leading shape.
    """
    weight = np.ones(())
    for axis, size in enumerate(tensor.shape[-2:]):
        if size not in (3, 6):
            raise ValueError(f"tensor of shape {tensor.shape}: the last two axes must be 3 or 6 (Voigt) long")
        multiplicity = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])[:size]
        weight = weight * (multiplicity[:, None] if axis == 0 else multiplicity[None, :])
    return np.sqrt(np.sum(weight * tensor**2, axis=(-2, -1)))


def array_norm(tensor: np.ndarray) -> np.ndarray:
    """Frobenius norm of (N, ...) arrays as stored."""
    return np.sqrt(np.sum(tensor**2, axis=tuple(range(1, tensor.ndim))))


def relative_errors(error_norm: np.ndarray, label_norm: np.ndarray) -> np.ndarray:
    """|error| / |label|; for a zero label 0 when the error is zero too, else infinite."""
    safe = np.where(label_norm > 0.0, label_norm, 1.0)
    return np.where(label_norm > 0.0, error_norm / safe, np.where(error_norm > 0.0, np.inf, 0.0))


def share_within(relative: np.ndarray) -> tuple[float, ...]:
    """EwT: shares of the relative errors below each of ``THRESHOLDS``."""
    return tuple(float(np.mean(relative < threshold)) for threshold in THRESHOLDS)


def rank_correlation(predicted: np.ndarray, label: np.ndarray) -> float:
    """Spearman correlation; 0 where either side is constant (a constant ranks nothing)."""
    if len(predicted) < 2 or np.ptp(predicted) == 0.0 or np.ptp(label) == 0.0:
        return 0.0
    return float(spearmanr(predicted, label).statistic)


def percent(shares: tuple[float, ...]) -> str:
    """Shares as text, '95.0/83.0/66.0'."""
    return "/".join(f"{100.0 * share:.1f}" for share in shares)


def stacked(predicted: Sequence[np.ndarray], label: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels as float64 arrays of one shape; ValueError if empty, unequal, not finite."""
    first, second = np.asarray(predicted, dtype=np.float64), np.asarray(label, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"predictions of shape {first.shape} against labels of shape {second.shape}")
    if len(first) == 0:
        raise ValueError("no crystals to compare: check split, flags and the model's elements")
    if not np.isfinite(first).all():
        bad = np.flatnonzero(~np.isfinite(first).reshape(len(first), -1).all(axis=1))
        raise ValueError(f"predictions {bad[:10].tolist()} of {len(first)} are not finite")
    return first, second


@dataclass(frozen=True)
class TensorMetrics:
    """Accuracy of tensors in their documented form, for example (N,3,3), (N,3,6) or (N,6,6).

    ``frobenius`` is the papers' Fnorm (mean norm of the error on the array); ``within`` their EwT 25/10/5
    as fractions; ``*_cartesian`` the same on the full tensor; ``median_relative`` the median of
    |error| / |label| on the array.
    """

    count: int
    frobenius: float
    frobenius_cartesian: float
    within: tuple[float, ...]
    within_cartesian: tuple[float, ...]
    median_relative: float

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        cells = {
            "n": str(self.count),
            "Fnorm": f"{self.frobenius:.3f}",
            "EwT 25/10/5 %": percent(self.within),
            "median rel. error": f"{100.0 * self.median_relative:.1f} %",
        }
        if self.frobenius_cartesian != self.frobenius:  # equal for (3,3): nothing to add
            cells["Fnorm (Cartesian)"] = f"{self.frobenius_cartesian:.3f}"
            cells["EwT 25/10/5 % (Cartesian)"] = percent(self.within_cartesian)
        return cells


def tensor_metrics(
    predicted: Sequence[np.ndarray],
    label: Sequence[np.ndarray],
    full_norm: Callable[[np.ndarray], np.ndarray] = cartesian_norm,
) -> TensorMetrics:
    """Fnorm and EwT of predicted tensors, unit of the property.

    Args:
        predicted: (N, ...) documented form.
        label: of the same shape.
        full_norm: gives the norm of the full Cartesian tensor; the default knows (N,3,3), (N,3,6) and (N,6,6).
    """
    first, second = stacked(predicted, label)
    error = array_norm(first - second)
    error_cartesian = full_norm(first - second)
    relative = relative_errors(error, array_norm(second))
    return TensorMetrics(
        count=len(first),
        frobenius=float(error.mean()),
        frobenius_cartesian=float(error_cartesian.mean()),
        within=share_within(relative),
        within_cartesian=share_within(relative_errors(error_cartesian, full_norm(second))),
        median_relative=float(np.median(relative)),
    )


@dataclass(frozen=True)
class AtomTensorMetrics:
    """Tensors of atoms: mean over crystals of the mean |component| of the error, in ``unit``.

    ``sum_rule`` is the largest component of any crystal's summed tensors.
    """

    count: int
    mae: float
    rmse: float
    sum_rule: float
    unit: str

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        return {
            "n": str(self.count),
            f"MAE ({self.unit})": f"{self.mae:.4f}",
            f"RMSE ({self.unit})": f"{self.rmse:.4f}",
            "max |sum over atoms|": f"{self.sum_rule:.1e}",
        }


def atom_tensor_metrics(
    predicted: Sequence[np.ndarray], label: Sequence[np.ndarray], unit: str = ""
) -> AtomTensorMetrics:
    """Errors of per-atom tensors, (n_atoms, *shape) per crystal."""
    if len(predicted) != len(label) or not len(label):
        raise ValueError(f"{len(predicted)} predictions for {len(label)} labels: give one per crystal, at least one")
    errors = [np.subtract(*stacked([first], [second])) for first, second in zip(predicted, label, strict=True)]
    return AtomTensorMetrics(
        count=len(label),
        mae=float(np.mean([np.abs(error).mean() for error in errors])),
        rmse=float(np.sqrt(np.mean([(error**2).mean() for error in errors]))),
        sum_rule=float(max(np.abs(np.sum(values, axis=0)).max() for values in predicted)),
        unit=unit,
    )


@dataclass(frozen=True)
class EigenvalueRange:
    """Predicted dielectric eigenvalues; ``indices`` are the crystals that leave the allowed range."""

    count: int
    smallest: float
    largest: float
    indices: tuple[int, ...]

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        return {
            "n": str(self.count),
            "smallest eigenvalue": f"{self.smallest:.3f}",
            "largest": f"{self.largest:.2f}",
            "outside the range": str(len(self.indices)),
        }


def eigenvalue_range(
    predicted: Sequence[np.ndarray],
    label: Sequence[np.ndarray],
    bounds: tuple[float, float] = (1.0, 100.0),
) -> EigenvalueRange:
    """Crystals whose predicted (3,3) tensor has an eigenvalue outside ``bounds`` where the label has none."""
    first, second = stacked(predicted, label)

    def symmetric_eigenvalues(tensors: np.ndarray) -> np.ndarray:
        return np.linalg.eigvalsh(0.5 * (tensors + np.swapaxes(tensors, -1, -2)))

    values, reference = symmetric_eigenvalues(first), symmetric_eigenvalues(second)
    low, high = bounds

    def outside(eigenvalues: np.ndarray) -> np.ndarray:
        return np.any((eigenvalues < low) | (eigenvalues > high), axis=-1)

    bad = np.flatnonzero(outside(values) & ~outside(reference))
    return EigenvalueRange(len(first), float(values.min()), float(values.max()), tuple(int(i) for i in bad))


@dataclass(frozen=True)
class BornMetrics:
    """Born charges: errors in e; ``sum_rule`` is the largest component of any crystal's summed charges."""

    count: int
    mae: float
    rmse: float
    mae_antisymmetric: float
    sum_rule: float

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        return {
            "n": str(self.count),
            "MAE (e)": f"{self.mae:.4f}",
            "RMSE (e)": f"{self.rmse:.4f}",
            "MAE of (Z - Z^T)/2": f"{self.mae_antisymmetric:.4f}",
            "max |sum Z|": f"{self.sum_rule:.1e}",
        }


def born_metrics(predicted: Sequence[np.ndarray], label: Sequence[np.ndarray]) -> BornMetrics:
    """Mean over crystals of the mean |component| of the error; (n_atoms,3,3) per crystal, in e."""
    if len(predicted) != len(label) or not len(label):
        raise ValueError(f"{len(predicted)} predictions for {len(label)} labels: give one per crystal, at least one")
    absolute, square, antisymmetric, sums = [], [], [], []
    for first, second in zip(predicted, label, strict=True):
        (charges,), (reference,) = stacked([first], [second])
        error = charges - reference
        absolute.append(np.abs(error).mean())
        square.append((error**2).mean())
        antisymmetric.append(np.abs(0.5 * (error - np.swapaxes(error, -1, -2))).mean())
        sums.append(np.abs(charges.sum(axis=0)).max())
    return BornMetrics(
        count=len(label),
        mae=float(np.mean(absolute)),
        rmse=float(np.sqrt(np.mean(square))),
        mae_antisymmetric=float(np.mean(antisymmetric)),
        sum_rule=float(np.max(sums)),
    )


@dataclass(frozen=True)
class ScalarMetrics:
    """Mean absolute, root mean square and median absolute error, unit of the property."""

    count: int
    mae: float
    rmse: float
    median: float
    unit: str = "eV/atom"

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        return {
            "n": str(self.count),
            f"MAE ({self.unit})": f"{self.mae:.4f}",
            f"RMSE ({self.unit})": f"{self.rmse:.4f}",
            f"median ({self.unit})": f"{self.median:.4f}",
        }


def scalar_metrics(predicted: Sequence[float], label: Sequence[float], unit: str = "eV/atom") -> ScalarMetrics:
    """Errors of N scalars, such as formation energies."""
    first, second = stacked(predicted, label)  # type: ignore[arg-type]
    error = np.abs(first - second)
    root_mean_square = float(np.sqrt((error**2).mean()))
    return ScalarMetrics(len(first), float(error.mean()), root_mean_square, float(np.median(error)), unit)


def metrics_table(rows: Sequence[tuple[str, Metrics]], title: str = "") -> Table:
    """Rich table of several predictors on the same crystals.

    Args:
        rows: (predictor name, result); all results of one kind.
        title: heading of the table.

    Raises:
        ValueError: if the results are of different kinds or there are none.
    """
    kinds = {type(metrics).__name__ for _, metrics in rows}
    if len(kinds) != 1:
        raise ValueError(f"a table needs results of one kind, got {sorted(kinds)}: make one table per kind")
    table = Table(title=title or None, title_justify="left")
    table.add_column("predictor")
    headings = list(dict.fromkeys(heading for _, metrics in rows for heading in metrics.cells()))
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")  # a narrow terminal must not cut figures
    for name, metrics in rows:
        cells = metrics.cells()
        table.add_row(name, *(cells.get(heading, "") for heading in headings))
    return table


def as_dict(metrics: Metrics) -> dict[str, Any]:
    """JSON-able dictionary of a result object, with its kind under 'kind'."""
    return {"kind": type(metrics).__name__, **asdict(metrics)}  # type: ignore[call-overload]
