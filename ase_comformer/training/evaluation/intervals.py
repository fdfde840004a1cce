"""95 % intervals of accuracy figures: crystals are drawn again with replacement (bootstrap).

B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13, percentile intervals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ase_comformer.training.data.records import Record
from ase_comformer.training.evaluation.metrics import Metrics

DRAWS = 300
SHARE = 0.95
LOWER, UPPER = "95 % from", "95 % to"
"""What rows with the ends of intervals are called."""

Measure = Callable[[Sequence[Record], Sequence[Any]], "Metrics | None"]


def interval(
    measure: Measure, records: Sequence[Record], predictions: Sequence[Any], draws: int = DRAWS, seed: int = 0
) -> tuple[Metrics, Metrics] | None:
    """Lower and upper ends of all figures of a measure, each as metrics of its own.

    None where there are too few crystals, or some draw has no figures.

    Args:
        measure: ``(records, predictions) -> Metrics``.
        records: the crystals.
        predictions: one per crystal.
        draws: how often crystals are drawn.
        seed: of the draws.
    """
    if len(records) < 5:
        return None
    random = np.random.default_rng(seed)
    found: list[Metrics] = []
    for _ in range(draws):
        rows = random.integers(len(records), size=len(records))
        metrics = measure([records[k] for k in rows], [predictions[k] for k in rows])
        if metrics is None:
            return None
        found.append(metrics)
    tail = (1 - SHARE) / 2
    whole: Any = measure(records, predictions)  # whose counts stay
    low, high = (dataclasses.replace(whole, **_quantiles(found, level)) for level in (tail, 1 - tail))
    return low, high


def _quantiles(found: Sequence[Metrics], level: float) -> dict[str, Any]:
    """Field -> its quantile over the draws, where it is a float or tuples of floats of constant length."""
    result: dict[str, Any] = {}
    for part in dataclasses.fields(found[0]):  # type: ignore[arg-type]
        values = [getattr(metrics, part.name) for metrics in found]
        if not _is_figure(values[0]):
            continue
        shape = np.shape(values[0])
        if any(np.shape(value) != shape for value in values):
            continue
        quantile = np.quantile(np.array(values, dtype=np.float64), level, axis=0)
        result[part.name] = _nested(quantile.tolist())
    return result


def _is_figure(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(_is_figure(part) for part in value)
    return isinstance(value, float)


def _nested(value: Any) -> Any:
    return tuple(_nested(part) for part in value) if isinstance(value, list) else value
