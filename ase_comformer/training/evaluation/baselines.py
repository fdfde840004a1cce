"""Predictors that any network has to beat: zero, the constant median, kernel ridge on simple descriptors.

All are fitted on ``Record``s and return one prediction per crystal in the documented shape. The registry says which
ones stand beside a property. Constants are isotropic (medians over the training records of the invariant components),
so they do not depend on the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.forms import from_irreps, to_irreps
from ase_comformer.tensors.irreps import parse_irreps
from ase_comformer.training.data.records import Record
from ase_comformer.training.evaluation.kernel_ridge import (
    Answer,
    KernelRidge,
    KernelSettings,
    Prediction,
    labelled,
    stack_labels,
)


@dataclass(frozen=True)
class ZeroPredictor:
    """Predicts zero in the documented shape of a property."""

    property_name: str
    name: str = "zero"

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Zeros, one per crystal."""
        entry = tensor_property(self.property_name)
        return [np.zeros((len(r.atoms), *entry.shape) if entry.per_atom else entry.shape) for r in records]


@dataclass(frozen=True)
class ConstantMedian:
    """Predicts the median isotropic label of the training records; for per-atom tensors one median per element.

    Per-atom tensors with a sum rule are shifted by a common constant so that they sum to zero. A tensor without an
    isotropic part (piezoelectric) is zero.

    Attributes:
        property_name: which label.
        value: for crystal tensors, documented form.
        per_element: for per-atom tensors, atomic number -> coefficients of the invariant components.
    """

    property_name: str
    value: Prediction
    per_element: dict[int, np.ndarray] = field(default_factory=dict)
    name: str = "constant median"

    @classmethod
    def fit(cls, property_name: str, records: Sequence[Record]) -> ConstantMedian:
        """Medians over the records that carry the label."""
        entry = tensor_property(property_name)
        chosen = labelled(records, property_name)
        if entry.per_atom:
            numbers = np.concatenate([record.atoms.numbers for record in chosen])
            values = np.concatenate([np.asarray(record.labels[property_name]) for record in chosen])
            invariants = to_irreps(property_name, values)[..., : _invariant_count(entry)]
            medians = {int(z): np.median(invariants[numbers == z], axis=0) for z in np.unique(numbers)}
            return cls(property_name, 0.0, medians)
        coefficients = to_irreps(property_name, stack_labels(chosen, property_name))
        median = np.zeros(coefficients.shape[-1])
        invariant = _invariant_count(entry)
        median[:invariant] = np.median(coefficients[:, :invariant], axis=0)
        value = from_irreps(property_name, median)
        return cls(property_name, value if entry.rank else float(value))

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """The same value for every crystal; per-atom tensors (n_atoms, *shape) from the elements."""
        entry = tensor_property(self.property_name)
        if not entry.per_atom:
            return [self.value for _ in records]
        count, size = _invariant_count(entry), to_irreps(entry.name, np.zeros(entry.shape)).shape[-1]
        results: list[Prediction] = []
        for record in records:
            coefficients = np.zeros((len(record.atoms), size))
            for row, number in zip(coefficients, record.atoms.numbers, strict=True):
                row[:count] = self.per_element.get(int(number), 0.0)
            if entry.sum_rule:
                coefficients -= coefficients.mean(axis=0)
            results.append(from_irreps(entry.name, coefficients))
        return results


def _invariant_count(entry: TensorProperty) -> int:
    """Number of components that no rotation changes; they come first in the basis."""
    return sum(count for count, degree, parity in parse_irreps(entry.irreps) if degree == 0 and parity == 1)


def zero(entry: TensorProperty, records: Sequence[Record]) -> ZeroPredictor:
    """Make the baseline that predicts nothing."""
    return ZeroPredictor(entry.name)


def constant_median(entry: TensorProperty, records: Sequence[Record]) -> ConstantMedian:
    """Fit one isotropic constant."""
    return ConstantMedian.fit(entry.name, records)


def kernel_ridge(
    entry: TensorProperty, records: Sequence[Record], answer: Answer = "value", **settings: Any
) -> KernelRidge:
    """Fit kernel ridge; ``settings`` are those of ``KernelSettings``."""
    return KernelRidge.fit(entry.name, records, KernelSettings(**settings), answer)
