"""Defines what the registry names as the metrics of a property: ``(entry, records, predictions) -> Metrics``.

A measure returns None where it has nothing to say of a predictor, for example of norms where it compares tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ase_comformer.properties.entry import DerivedLabel, TensorProperty
from ase_comformer.tensors.forms import to_cartesian
from ase_comformer.training.data.records import Record
from ase_comformer.training.evaluation.metrics import (
    Metrics,
    atom_tensor_metrics,
    born_metrics,
    cartesian_norm,
    eigenvalue_range,
    scalar_metrics,
    tensor_metrics,
)
from ase_comformer.training.evaluation.modulus_metrics import modulus_metrics
from ase_comformer.training.evaluation.piezo_metrics import PIEZO_THRESHOLD, norm_metrics, piezo_metrics
from ase_comformer.training.evaluation.scalar_of_tensor import NumberMetrics, number_metrics


def _labels(entry: TensorProperty, records: Sequence[Record]) -> list[Any]:
    return [record.labels[entry.name] for record in records]


def tensor_errors(entry: TensorProperty, records: Sequence[Record], predictions: Sequence[Any]) -> Metrics:
    """Norms of errors of any tensor or number, per crystal or per atom."""
    labels = _labels(entry, records)
    if entry.per_atom:
        return atom_tensor_metrics(predictions, labels, entry.unit)
    if entry.rank == 0:
        return scalar_metrics(predictions, labels, entry.unit)

    def full_norm(tensors: np.ndarray) -> np.ndarray:
        return np.linalg.norm(to_cartesian(tensors, entry.name).reshape(len(tensors), -1), axis=1)

    return tensor_metrics(predictions, labels, full_norm)


def derived_numbers(
    label: DerivedLabel, unit: str, records: Sequence[Record], predictions: Sequence[Any]
) -> NumberMetrics:
    """Errors of the numbers of a derived label, computed from predicted tensors."""
    assert label.numbers is not None
    known = np.array([np.hstack([record.extras[name] for name in label.extras]) for record in records])
    return number_metrics(label.names, unit, label.numbers.load()(np.array(predictions)), known)


def scalar_errors(entry: TensorProperty, records: Sequence[Record], predictions: Sequence[Any]) -> Metrics:
    """Errors of numbers."""
    return scalar_metrics(predictions, _labels(entry, records), entry.unit)


def born_errors(entry: TensorProperty, records: Sequence[Record], predictions: Sequence[Any]) -> Metrics:
    """Errors of Born charges, their antisymmetric part and the sum rule."""
    return born_metrics(predictions, _labels(entry, records))


def eigenvalues(entry: TensorProperty, records: Sequence[Record], predictions: Sequence[Any]) -> Metrics:
    """Eigenvalues of permittivities that leave the allowed range."""
    return eigenvalue_range(predictions, _labels(entry, records))


def moduli(entry: TensorProperty, records: Sequence[Record], predictions: Sequence[Any]) -> Metrics | None:
    """Errors of polycrystal moduli; None where all predictions are zero, which have none."""
    return modulus_metrics(predictions, _labels(entry, records)) if np.any(predictions) else None


def piezoelectric_errors(
    entry: TensorProperty, records: Sequence[Record], predictions: Sequence[Any]
) -> Metrics | None:
    """Errors of piezoelectric tensors against the readings of their labels; None of norms, or without any label."""
    if np.ndim(predictions[0]) != len(entry.shape) or not _is_piezoelectric(entry, records).any():
        return None
    readings = [record.extras["alternatives"] if record.extras.get("ambiguous") else None for record in records]
    return piezo_metrics(predictions, _labels(entry, records), readings)


def piezoelectric_norms(entry: TensorProperty, records: Sequence[Record], predictions: Sequence[Any]) -> Metrics | None:
    """Ranking of norms; None where all predictions are zero, which rank nothing, or without any label."""
    if not np.any(predictions) or not _is_piezoelectric(entry, records).any():
        return None
    norms = predictions if np.ndim(predictions[0]) == 0 else list(cartesian_norm(np.array(predictions)))
    return norm_metrics(norms, _labels(entry, records))


def _is_piezoelectric(entry: TensorProperty, records: Sequence[Record]) -> np.ndarray:
    return cartesian_norm(np.asarray(_labels(entry, records), dtype=np.float64)) > PIEZO_THRESHOLD
