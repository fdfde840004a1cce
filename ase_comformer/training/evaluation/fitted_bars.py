"""Fits error bars: a log-linear model of the size of errors, made to cover what it promises on errors it has not seen.

The coefficients minimise mean(log s + error / s) (the errors are Laplacian around zero) plus a ridge; the folds are by
formula, and the quantiles of error / s on the held-out folds (cross-conformal, Vovk, Ann. Math. Artif. Intell. 74, 9
(2015)) set what covers 68 and 90 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ase_comformer.inference.error_bars import closeness
from ase_comformer.models.calibration import ErrorBar
from ase_comformer.training.evaluation.metrics import rank_correlation

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Share of errors that one bar covers, and that ``factor_90`` bars cover.
COVERAGES = (0.68, 0.90)
#: Strength of the ridge, in errors: coefficients of standardised scores are pulled to zero as by that many.
_RIDGE = 3.0
#: Formulas of small gap that tell of a factor of their own, and the largest factor.
_FEWEST_OF_GROUP, _LARGEST_FACTOR = 12, 5.0
#: Share of bars above which a warning says so.
_UNUSUAL = 0.95
#: Bar relative to the size of a tensor above which a warning says so in any case.
_HOPELESS = 2.0


@dataclass(frozen=True)
class Sample:
    """Errors of one property by one route.

    Attributes:
        errors: (k,) in the unit of the property.
        scores: by name, (k,) each.
        formulas: (k,) reduced formulas, whose errors share a fold.
        sizes: (k,) of the predictions, never below a tenth of the scale of the property.
        weights: (k,) of the errors: those of the atoms of a crystal add up to one.
        datasets: (k,) where labels come from.
        unresolved: (k,) what soft modes may hide, or None.
    """

    errors: FloatArray
    scores: Mapping[str, FloatArray]
    formulas: Sequence[str]
    sizes: FloatArray
    weights: FloatArray
    datasets: Sequence[str]
    unresolved: FloatArray | None = None


@dataclass(frozen=True)
class Fitted:
    """An error bar with what it says of errors that it was not fitted on: (k,) held-out bars of the sample."""

    bar: ErrorBar
    held_out: FloatArray


def folds_of(formulas: Sequence[str], folds: int = 10) -> IntArray:
    """(k,) fold of each formula, the same for equal ones; formulas are dealt out, so that folds are of equal size."""
    place = {formula: k % folds for k, formula in enumerate(sorted(set(formulas), key=_shuffled))}
    return np.array([place[formula] for formula in formulas])


def fit_bar(sample: Sample) -> Fitted:
    """Fit an error bar.

    Raises:
        ValueError: fewer than ten formulas.
    """
    folds = folds_of(sample.formulas)
    if len(set(sample.formulas)) < 10:
        raise ValueError(f"{len(set(sample.formulas))} formulas are too few to calibrate error bars on: 10 are needed")
    names = tuple(name for name, values in sample.scores.items() if np.ptp(values) > 0)
    table = np.stack([sample.scores[name] for name in names], axis=1)
    mean, deviation = table.mean(axis=0), table.std(axis=0)
    design = np.hstack([np.ones((len(table), 1)), (table - mean) / deviation])
    floor = 1e-3 * float(np.average(sample.errors, weights=sample.weights)) + 1e-12
    errors = np.maximum(sample.errors, floor)
    held_out = np.empty(len(errors))
    for fold in range(int(folds.max()) + 1):
        inside = folds != fold
        held_out[~inside] = np.exp(
            design[~inside] @ _coefficients(design[inside], errors[inside], sample.weights[inside])
        )
    hidden = np.zeros(len(errors)) if sample.unresolved is None else sample.unresolved
    small_gap = _small_gap_factor(errors, np.hypot(held_out, hidden), sample)
    if "gap" in sample.scores:
        held_out *= small_gap ** closeness(sample.scores["gap"])
    beyond = np.sqrt(np.maximum(errors**2 - hidden**2, floor**2))
    bar_68 = weighted_quantile(beyond / held_out, sample.weights, COVERAGES[0])
    held_out = np.hypot(held_out * bar_68, hidden)
    factor_90 = weighted_quantile(errors / held_out, sample.weights, COVERAGES[1])
    coefficients = _coefficients(design, errors, sample.weights)
    coefficients[0] += np.log(bar_68)
    relative = held_out / sample.sizes
    counts = {name: int(np.sum([each == name for each in sample.datasets])) for name in dict.fromkeys(sample.datasets)}
    bar = ErrorBar(
        scores=names,
        mean=tuple(map(float, mean)),
        deviation=tuple(map(float, deviation)),
        coefficients=tuple(map(float, coefficients)),
        factor_90=float(factor_90),
        warning_above=min(float(weighted_quantile(relative, sample.weights, _UNUSUAL)), _HOPELESS),
        count=len(errors),
        small_gap_factor=small_gap,
        datasets=counts,
    )
    return Fitted(bar, held_out)


def _small_gap_factor(errors: FloatArray, bars: FloatArray, sample: Sample) -> float:
    """Divide the 90 % quantile of error / bar of crystals of small gap by that of the others; at least one."""
    if "gap" not in sample.scores:
        return 1.0
    small = closeness(sample.scores["gap"]) > 0.5
    if len({formula for formula, chosen in zip(sample.formulas, small, strict=True) if chosen}) < _FEWEST_OF_GROUP:
        return 1.0
    ratio, weights = errors / bars, sample.weights
    inside, outside = (weighted_quantile(ratio[part], weights[part], COVERAGES[1]) for part in (small, ~small))
    return float(np.clip(inside / outside, 1.0, _LARGEST_FACTOR))


def weighted_quantile(values: FloatArray, weights: FloatArray, share: float) -> float:
    """Smallest value that at least ``share`` of the weight is below, one more value at infinity (conformal).

    Example:
        >>> import numpy as np
        >>> weighted_quantile(np.arange(1.0, 10.0), np.ones(9), 0.9)
        9.0
    """
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / (weights.sum() + weights.mean())
    return float(values[order][min(int(np.searchsorted(below, share - 1e-12)), len(values) - 1)])


def _coefficients(design: FloatArray, errors: FloatArray, weights: FloatArray) -> FloatArray:
    """Minimise the Laplacian likelihood; convex, so that the start does not matter."""
    scaled = weights * len(weights) / weights.sum()

    def loss(coefficients: FloatArray) -> tuple[float, FloatArray]:
        log = design @ coefficients
        relative = errors * np.exp(-log)
        value = float(scaled @ (log + relative) + _RIDGE * coefficients[1:] @ coefficients[1:])
        slope = design.T @ (scaled * (1 - relative))
        slope[1:] += 2 * _RIDGE * coefficients[1:]
        return value, slope

    start = np.zeros(design.shape[1])
    start[0] = np.log(np.average(errors, weights=weights))
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)


def _shuffled(formula: str) -> str:
    import hashlib

    return hashlib.sha256(f"fold:{formula}".encode()).hexdigest()


@dataclass(frozen=True)
class Coverage:
    """Measures what error bars hold: shares of errors below one bar and below the 90 % bound, and how they rank.

    Attributes:
        count: errors.
        at_68: share below the bar.
        at_90: share below ``factor_90`` bars.
        spearman: rank correlation of bars and errors, relative to the size of the prediction.
        surest: median relative error of the quarter with the smallest relative bars, in units of that of all.
    """

    count: int
    at_68: float
    at_90: float
    spearman: float
    surest: float

    @classmethod
    def of(cls, errors: FloatArray, bars: FloatArray, factor: float, sizes: FloatArray) -> Coverage:
        """Compare errors (k,) with bars (k,) of predictions of sizes (k,)."""
        relative, expected = errors / sizes, bars / sizes
        surest = np.argsort(expected)[: max(1, len(errors) // 4)]
        return cls(
            count=len(errors),
            at_68=float((errors <= bars).mean()),
            at_90=float((errors <= factor * bars).mean()),
            spearman=rank_correlation(expected, relative) if len(errors) > 2 else 0.0,
            surest=float(np.median(relative[surest]) / max(np.median(relative), 1e-12)),
        )

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        return {
            "n": str(self.count),
            "below bar (68 %)": f"{100 * self.at_68:.1f} %",
            "below 90 % bound": f"{100 * self.at_90:.1f} %",
            "Spearman": f"{self.spearman:.2f}",
            "surest quarter / all": f"{self.surest:.2f}",
        }
