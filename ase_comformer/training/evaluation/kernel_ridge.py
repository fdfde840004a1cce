"""Kernel ridge regression on composition, volume per atom and space group: the predictor that takes a second to fit.

It fits logarithms of isotropic invariants, so that errors are relative, and answers with an isotropic tensor, or with
the norm for tensors whose isotropic part vanishes. What it fits and answers is an ``Answer``.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from ase_comformer.errors import check_choice
from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.training.data.records import Record
from ase_comformer.training.evaluation.metrics import cartesian_norm

Prediction: TypeAlias = "np.ndarray | float"
Answer = Literal["value", "permittivity", "moduli", "norm"]
ANSWERS: tuple[Answer, ...] = ("value", "permittivity", "moduli", "norm")

_SYSTEM_STARTS = (1, 3, 16, 75, 143, 168, 195)  # first space group of triclinic, monoclinic, ..., cubic
_MAXIMUM_RECORDS = 4000  # cost grows with the cube


def labelled(records: Sequence[Record], property_name: str) -> list[Record]:
    """Records that carry a label; ``ValueError`` where there are none."""
    chosen = [record for record in records if property_name in record.labels]
    if not chosen:
        raise ValueError(f"none of the {len(records)} records has the label {property_name!r}: check the data set")
    return chosen


def stack_labels(records: Sequence[Record], property_name: str) -> np.ndarray:
    """(N, *shape) labels of records, float64."""
    return np.array([record.labels[property_name] for record in records], dtype=np.float64)


def isotropic_stiffness(bulk: np.ndarray, shear: np.ndarray) -> np.ndarray:
    """Voigt stiffness (...,6,6) of isotropic media with the given moduli, in their unit."""
    bulk, shear = np.asarray(bulk, dtype=np.float64), np.asarray(shear, dtype=np.float64)
    normal = np.zeros((6, 6))
    normal[:3, :3] = 1.0
    deviator = np.diag([2.0, 2.0, 2.0, 1.0, 1.0, 1.0]) - 2.0 / 3.0 * normal
    return bulk[..., None, None] * normal + shear[..., None, None] * deviator


@lru_cache(maxsize=1)
def _element_table() -> np.ndarray:
    """(103, 11) standardised properties of the elements H to Lr; gaps filled with the mean."""
    from pymatgen.core import Element

    names = ("row", "group", "X", "atomic_radius_calculated", "mendeleev_no", "atomic_mass", "ionization_energy",
             "electron_affinity", "molar_volume", "melting_point")  # fmt: skip
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns about every missing value
        for number in range(1, 104):
            element = Element.from_Z(number)
            values = [getattr(element, name) for name in names]
            row = [float("nan") if value is None else float(value) for value in values]
            states = element.common_oxidation_states
            rows.append([*row, float(np.mean(states)) if states else float("nan")])
    table = np.array(rows)
    for name in ("atomic_mass", "molar_volume"):
        table[:, names.index(name)] = np.log(table[:, names.index(name)])
    table = np.where(np.isnan(table), np.nanmean(table, axis=0), table)
    return (table - table.mean(axis=0)) / table.std(axis=0)


def descriptors(records: Sequence[Record]) -> list[np.ndarray]:
    """Groups of columns per crystal: element fractions, property statistics, volume, crystal system, size.

    Returns:
        arrays (N,103), (N,44), (N,1), (N,7), (N,2). A record without ``extras['spg']`` has no crystal system.
    """
    table = _element_table()
    groups: list[list[np.ndarray]] = [[], [], [], [], []]
    for record in records:
        numbers = record.atoms.numbers
        values = table[numbers - 1]
        system = np.zeros(len(_SYSTEM_STARTS))
        space_group = int(record.extras.get("spg", 0))
        if space_group:
            system[np.searchsorted(_SYSTEM_STARTS, space_group, side="right") - 1] = 1.0
        groups[0].append(np.bincount(numbers, minlength=104)[1:104] / len(numbers))
        groups[1].append(np.concatenate([f(axis=0) for f in (values.mean, values.std, values.min, values.max)]))
        groups[2].append(np.array([np.log(record.atoms.get_volume() / len(numbers))]))
        groups[3].append(system)
        groups[4].append(np.array([space_group / 230.0, np.log(len(numbers))]))
    return [np.array(group) for group in groups]


@dataclass(frozen=True)
class KernelSettings:
    """Kernel exp(-width * distance), ridge, and the weights of the five descriptor groups.

    Those of the shipped properties were chosen by ``benchmarks/kernel_ridge_settings.py``: 5-fold cross-validation by
    formula over train + val, elastic by the mean |error|, piezoelectric by the rank correlation, the others by the mean
    |error| on 1500 records.
    """

    distance: Literal["euclidean", "cityblock"] = "euclidean"
    width: float = 0.02
    ridge: float = 1e-3
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 0.5, 0.5)


def targets_of(labels: np.ndarray, answer: Answer) -> np.ndarray:
    """(N, k) numbers that are fitted for (N, ...) labels."""
    if answer == "moduli":
        moduli = voigt_reuss_hill(labels)
        return np.log(np.stack([moduli.bulk, moduli.shear], axis=-1))
    if answer == "permittivity":
        trace = np.trace(labels, axis1=-2, axis2=-1) / 3.0
        return np.log(np.maximum(trace - 1.0, 1e-3))[:, None]
    if answer == "norm":
        return np.log(cartesian_norm(labels) + 0.05)[:, None]
    return labels[:, None]


def _values(targets: np.ndarray, answer: Answer) -> list[Prediction]:
    if answer == "moduli":
        return list(isotropic_stiffness(np.exp(targets[:, 0]), np.exp(targets[:, 1])))
    if answer == "permittivity":
        return list((1.0 + np.exp(targets[:, 0]))[:, None, None] * np.eye(3))
    if answer == "norm":
        return [float(value) for value in np.maximum(np.exp(targets[:, 0]) - 0.05, 0.0)]
    return [float(value) for value in targets[:, 0]]


@dataclass(frozen=True)
class KernelRidge:
    """Kernel ridge regression on ``descriptors``.

    ``predict`` gives an isotropic (6, 6) stiffness ("moduli") or (3, 3) permittivity, the norm of the full tensor
    ("norm"), or a number ("value"), in the unit of the property.
    """

    answer: Answer
    settings: KernelSettings
    points: np.ndarray
    coefficients: np.ndarray
    offset: np.ndarray
    scaling: list[tuple[np.ndarray, np.ndarray]]
    name: str = "kernel ridge"

    @classmethod
    def fit(
        cls,
        property_name: str,
        records: Sequence[Record],
        settings: KernelSettings | None = None,
        answer: Answer = "value",
    ) -> KernelRidge:
        """Fit on the records that carry the label (at most 4000 of them, chosen by a hash of the id)."""
        check_choice(answer, ANSWERS, "answer of kernel ridge")
        settings = settings or KernelSettings()
        chosen = labelled(records, property_name)
        if len(chosen) > _MAXIMUM_RECORDS:
            chosen = sorted(chosen, key=lambda r: hashlib.sha256(r.id.encode()).digest())[:_MAXIMUM_RECORDS]
        groups = descriptors(chosen)
        scaling = [_scale(group, weight) for group, weight in zip(groups, settings.weights, strict=True)]
        points = _apply_scaling(groups, scaling)
        targets = targets_of(stack_labels(chosen, property_name), answer)
        offset = targets.mean(axis=0)
        kernel = np.exp(-settings.width * cdist(points, points, settings.distance))
        kernel[np.diag_indices(len(kernel))] += settings.ridge
        coefficients = cho_solve(cho_factor(kernel, overwrite_a=True), targets - offset)
        return cls(answer, settings, points, coefficients, offset, scaling)

    def predict_targets(self, records: Sequence[Record]) -> np.ndarray:
        """(N, k) numbers as ``targets_of`` makes them of labels."""
        points = _apply_scaling(descriptors(records), self.scaling)
        distances = cdist(points, self.points, self.settings.distance)
        return np.exp(-self.settings.width * distances) @ self.coefficients + self.offset

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """One prediction per crystal, see the class."""
        return _values(self.predict_targets(records), self.answer)


def _scale(group: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and factor per column; fractions and one-hot columns are only weighted, not standardised."""
    if group.shape[1] in (103, len(_SYSTEM_STARTS)):
        return np.zeros(group.shape[1]), np.full(group.shape[1], weight)
    return group.mean(axis=0), weight / np.sqrt(group.shape[1]) / (group.std(axis=0) + 1e-9)


def _apply_scaling(groups: Sequence[np.ndarray], scaling: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.hstack([(group - mean) * factor for group, (mean, factor) in zip(groups, scaling, strict=True)])
