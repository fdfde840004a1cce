"""Error bars of predictions: scores that go with large errors, put into one number by what ``calibrate`` has fitted.

The bar of a property is in its unit: the Frobenius norm of the error of the documented array, per atom where every atom
has a tensor. Scores are made of full Cartesian tensors, so that a bar does not depend on the orientation. They are
logarithms, so that bars are products of powers: the size of the prediction, the spread of the networks, how rare the
rarest element was in training, the gap (or the dielectric constant, which grows as it closes), and where there is a
response how far the two routes disagree and how soft the modes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_comformer.models.calibration import ErrorBar
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.tensors.forms import to_cartesian

FloatArray = NDArray[np.float64]

#: Part of the scale of a property below which the size of a prediction says nothing more about its error.
_SMALL = 0.01
#: Floors of relative numbers, gaps (eV) and stiffnesses (eV/A^2), where logarithms stop.
_RELATIVE, _GAP, _STIFFNESS = 1e-3, 0.1, 0.05


@dataclass(frozen=True)
class Evidence:
    """What is known of a prediction besides its value.

    Attributes:
        value: in the documented form, (n, ...) for properties of atoms.
        spread: root mean square distance of the networks from their mean, (n,) for properties of atoms.
        numbers: (n,) atomic numbers.
        gap: eV, None where unknown.
        permittivity: mean of the electronic dielectric tensor, None where unknown.
        difference: of the two routes, in the documented form, None where there is one route.
        softest: eV/A^2, of the modes that matter, None without a response.
    """

    value: Any
    spread: Any
    numbers: NDArray[Any]
    gap: float | None = None
    permittivity: float | None = None
    difference: Any = None
    softest: float | None = None


def sizes(entry: TensorProperty, values: Any) -> FloatArray:
    """Frobenius norm of the documented array, shape (1,), or (n,) for a property of atoms."""
    array = np.asarray(values, dtype=np.float64)
    rows = array.reshape(len(array), -1) if entry.per_atom else array.reshape(1, -1)
    return np.asarray(np.linalg.norm(rows, axis=1))


def extents(entry: TensorProperty, values: Any) -> FloatArray:
    """Frobenius norm of the full Cartesian tensor, which no rotation changes; shapes as ``sizes``."""
    if entry.rank == 0:
        return sizes(entry, values)
    return sizes(entry, to_cartesian(np.asarray(values, dtype=np.float64), entry.name))


def yardstick(entry: TensorProperty, values: Any) -> FloatArray:
    """Return what bars are compared with where large ones are told: the extent of a tensor, the scale of a number."""
    size = extents(entry, values)
    return np.full_like(size, entry.scale) if entry.rank == 0 else np.maximum(size, 0.1 * entry.scale)


def scores(entry: TensorProperty, evidence: Evidence, elements: Mapping[str, int]) -> dict[str, FloatArray]:
    """Scores by name, each (1,) or (n,); those whose evidence is missing are not there.

    Args:
        entry: of the property.
        evidence: of one prediction.
        elements: training records that contain an element, by symbol.
    """
    size = np.maximum(extents(entry, evidence.value), _SMALL * entry.scale)
    counts = np.array([elements.get(chemical_symbols[number], 0) for number in evidence.numbers], dtype=np.float64)
    rarest = counts if entry.per_atom else counts.min(keepdims=True)
    found = {
        "size": np.log10(size),
        "spread": np.log10(np.broadcast_to(evidence.spread, size.shape) / size + _RELATIVE),
        "rarity": -np.log10(1.0 + rarest),
        "elements": np.full_like(size, np.log10(len(set(evidence.numbers.tolist())))),
    }
    if evidence.gap is not None:
        found["gap"] = np.full_like(size, np.log10(max(evidence.gap, 0.0) + _GAP))
    elif evidence.permittivity is not None:
        found["permittivity"] = np.full_like(size, np.log10(max(evidence.permittivity, 1.0)))
    if evidence.difference is not None:
        found["disagreement"] = np.log10(extents(entry, evidence.difference) / size + _RELATIVE)
    if evidence.softest is not None:
        found["softness"] = np.full_like(size, np.log10(min(max(evidence.softest, 0.0), 1e3) + _STIFFNESS))
    return found


def bar_of(bar: ErrorBar, found: Mapping[str, FloatArray], unresolved: Any = 0.0) -> FloatArray:
    """Error bar, (1,) or (n,); a score that is missing counts as its mean over the fitted crystals.

    Args:
        bar: fitted.
        found: scores.
        unresolved: added in quadrature: what soft modes may hide, of which there are none among the labels.
    """
    shape = next(iter(found.values())).shape
    total = np.full(shape, bar.coefficients[0])
    for name, mean, deviation, weight in zip(bar.scores, bar.mean, bar.deviation, bar.coefficients[1:], strict=True):
        if name in found:
            total = total + weight * (found[name] - mean) / deviation
    if "gap" in found:
        total = total + np.log(bar.small_gap_factor) * closeness(found["gap"])
    return np.asarray(np.hypot(np.exp(total), unresolved))


def closeness(gap_score: FloatArray) -> FloatArray:
    """Weigh a crystal as one of small gap, from its score: one without a gap, half at 1 eV, zero far above.

    Example:
        >>> import numpy as np
        >>> closeness(np.log10([0.1, 1.1, 5.1])).round(2)
        array([1. , 0.5, 0. ])
    """
    gap = 10.0**gap_score - _GAP
    return np.asarray(1.0 / (1.0 + np.maximum(gap, 0.0) ** 4))
