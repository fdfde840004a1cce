"""Predictors that any network has to beat: zero, the constant median, kernel ridge on simple descriptors.

All are fitted on ``Record``s and return one prediction per crystal in the documented shape. The constants are
isotropic (median over the training records of the isotropic part), so they do not depend on the frame. Kernel
ridge sees composition, volume per atom and space group and answers with an isotropic tensor, or with the norm
for the piezoelectric tensor, whose isotropic part vanishes.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from typing import Literal, TypeAlias

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from ase_comformer.errors import UnknownNameError
from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.training.data.records import Record, formula_folds
from ase_comformer.training.evaluation.metrics import cartesian_norm

Prediction: TypeAlias = "np.ndarray | float"

_DIELECTRIC = ("dielectric_tensor", "static_dielectric_tensor")
_SYSTEM_STARTS = (1, 3, 16, 75, 143, 168, 195)  # first space group of triclinic, monoclinic, ..., cubic
_MAXIMUM_RECORDS = 4000  # of kernel ridge: cost grows with the cube


def _labelled(records: Sequence[Record], property_name: str) -> list[Record]:
    chosen = [record for record in records if property_name in record.labels]
    if not chosen:
        raise ValueError(f"none of the {len(records)} records has the label {property_name!r}: check the data set")
    return chosen


def _stack(records: Sequence[Record], property_name: str) -> np.ndarray:
    return np.array([record.labels[property_name] for record in records], dtype=np.float64)


def isotropic_stiffness(bulk: np.ndarray, shear: np.ndarray) -> np.ndarray:
    """Voigt stiffness (...,6,6) of isotropic media with the given moduli, in their unit."""
    bulk, shear = np.asarray(bulk, dtype=np.float64), np.asarray(shear, dtype=np.float64)
    normal = np.zeros((6, 6))
    normal[:3, :3] = 1.0
    deviator = np.diag([2.0, 2.0, 2.0, 1.0, 1.0, 1.0]) - 2.0 / 3.0 * normal
    return bulk[..., None, None] * normal + shear[..., None, None] * deviator


@dataclass(frozen=True)
class ZeroPredictor:
    """Predicts zero in the documented shape of a property."""

    property_name: str
    name: str = "zero"

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Zeros, one per crystal."""
        shapes = {"piezoelectric_tensor": (3, 6), "elastic_tensor": (6, 6), "formation_energy": ()}
        if self.property_name == "born_effective_charges":
            return [np.zeros((len(record.atoms), 3, 3)) for record in records]
        return [np.zeros(shapes.get(self.property_name, (3, 3))) for _ in records]


@dataclass(frozen=True)
class ConstantMedian:
    """Predicts the median isotropic label of the training records; for Born charges one median per element.

    Born charges of a crystal are shifted by a common constant so that they sum to zero. The isotropic
    piezoelectric tensor is zero.
    """

    property_name: str
    value: Prediction
    per_element: dict[int, float] = field(default_factory=dict)
    name: str = "constant median"

    @classmethod
    def fit(cls, property_name: str, records: Sequence[Record]) -> ConstantMedian:
        """Medians over the records that carry the label."""
        chosen = _labelled(records, property_name)
        if property_name in _DIELECTRIC:
            trace = np.trace(_stack(chosen, property_name), axis1=-2, axis2=-1)
            return cls(property_name, np.median(trace / 3.0) * np.eye(3))
        if property_name == "elastic_tensor":
            moduli = voigt_reuss_hill(_stack(chosen, property_name))
            return cls(
                property_name,
                isotropic_stiffness(np.median(moduli.bulk_voigt), np.median(moduli.shear_voigt)),
            )
        if property_name == "piezoelectric_tensor":
            return cls(property_name, np.zeros((3, 6)))
        if property_name == "formation_energy":
            return cls(property_name, float(np.median(_stack(chosen, property_name))))
        if property_name == "born_effective_charges":
            numbers = np.concatenate([record.atoms.numbers for record in chosen])
            charges = np.concatenate([np.asarray(record.labels[property_name]) for record in chosen])
            trace = np.trace(charges, axis1=-2, axis2=-1) / 3.0
            medians = {int(z): float(np.median(trace[numbers == z])) for z in np.unique(numbers)}
            return cls(property_name, 0.0, medians)
        raise UnknownNameError(f"no constant median for property {property_name!r}")

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """The same value for every crystal; Born charges (n_atoms,3,3) from the elements."""
        if self.property_name != "born_effective_charges":
            return [self.value for _ in records]
        results: list[Prediction] = []
        for record in records:
            charges = np.array([self.per_element.get(int(z), 0.0) for z in record.atoms.numbers])
            results.append((charges - charges.mean())[:, None, None] * np.eye(3))
        return results


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
    """Kernel exp(-width * distance), ridge, and the weights of the five descriptor groups."""

    distance: Literal["euclidean", "cityblock"] = "euclidean"
    width: float = 0.02
    ridge: float = 1e-3
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 0.5, 0.5)


# Chosen by 5-fold cross-validation by formula over train + val as in ``choose_settings``: elastic by the mean
# |error|, piezoelectric by the rank correlation, the others by the mean |error| on 1500 records.
_SETTINGS: dict[str, KernelSettings] = {
    "elastic_tensor": KernelSettings(),
    "piezoelectric_tensor": KernelSettings("cityblock", 0.3, 0.1, (0.5, 1.0, 1.0, 0.5, 0.5)),
    "dielectric_tensor": KernelSettings("cityblock", 0.1, 1e-3),
    "static_dielectric_tensor": KernelSettings("cityblock", 0.1, 1e-2),
    "formation_energy": KernelSettings("cityblock", 0.1, 1e-2),
}


def _targets(property_name: str, records: Sequence[Record]) -> np.ndarray:
    """(N, k) numbers that kernel ridge fits: logarithms of isotropic invariants, so that errors are relative."""
    labels = _stack(records, property_name)
    if property_name == "elastic_tensor":
        moduli = voigt_reuss_hill(labels)
        return np.log(np.stack([moduli.bulk, moduli.shear], axis=-1))
    if property_name in _DIELECTRIC:
        trace = np.trace(labels, axis1=-2, axis2=-1) / 3.0
        return np.log(np.maximum(trace - 1.0, 1e-3))[:, None]
    if property_name == "piezoelectric_tensor":
        return np.log(cartesian_norm(labels) + 0.05)[:, None]
    return labels[:, None]


def _values(property_name: str, targets: np.ndarray) -> list[Prediction]:
    if property_name == "elastic_tensor":
        return list(isotropic_stiffness(np.exp(targets[:, 0]), np.exp(targets[:, 1])))
    if property_name in _DIELECTRIC:
        return list((1.0 + np.exp(targets[:, 0]))[:, None, None] * np.eye(3))
    if property_name == "piezoelectric_tensor":
        return [float(value) for value in np.maximum(np.exp(targets[:, 0]) - 0.05, 0.0)]
    return [float(value) for value in targets[:, 0]]


@dataclass(frozen=True)
class KernelRidge:
    """Kernel ridge regression on ``descriptors``; isotropic tensors, piezoelectric norm, or energies.

    ``predict`` gives (6,6) GPa, (3,3), eV/atom; for 'piezoelectric_tensor' the norm of the full tensor in C/m^2.
    """

    property_name: str
    settings: KernelSettings
    points: np.ndarray
    coefficients: np.ndarray
    offset: np.ndarray
    scaling: list[tuple[np.ndarray, np.ndarray]]
    name: str = "kernel ridge"

    @classmethod
    def fit(cls, property_name: str, records: Sequence[Record], settings: KernelSettings | None = None) -> KernelRidge:
        """Fit on the records that carry the label (at most 4000 of them, chosen by a hash of the id)."""
        if property_name not in _SETTINGS:
            raise UnknownNameError(f"no kernel ridge for {property_name!r}: choose from {', '.join(_SETTINGS)}")
        chosen = _labelled(records, property_name)
        if len(chosen) > _MAXIMUM_RECORDS:
            chosen = sorted(chosen, key=lambda r: hashlib.sha256(r.id.encode()).digest())[:_MAXIMUM_RECORDS]
        settings = settings or _SETTINGS[property_name]
        groups = descriptors(chosen)
        scaling = [_scale(group, weight) for group, weight in zip(groups, settings.weights, strict=True)]
        points = _apply_scaling(groups, scaling)
        targets = _targets(property_name, chosen)
        offset = targets.mean(axis=0)
        kernel = np.exp(-settings.width * cdist(points, points, settings.distance))
        kernel[np.diag_indices(len(kernel))] += settings.ridge
        coefficients = cho_solve(cho_factor(kernel, overwrite_a=True), targets - offset)
        return cls(property_name, settings, points, coefficients, offset, scaling)

    def _predict_targets(self, records: Sequence[Record]) -> np.ndarray:
        points = _apply_scaling(descriptors(records), self.scaling)
        distances = cdist(points, self.points, self.settings.distance)
        return np.exp(-self.settings.width * distances) @ self.coefficients + self.offset

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """One prediction per crystal, see the class."""
        return _values(self.property_name, self._predict_targets(records))


def _scale(group: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and factor per column; fractions and one-hot columns are only weighted, not standardised."""
    if group.shape[1] in (103, len(_SYSTEM_STARTS)):
        return np.zeros(group.shape[1]), np.full(group.shape[1], weight)
    return group.mean(axis=0), weight / np.sqrt(group.shape[1]) / (group.std(axis=0) + 1e-9)


def _apply_scaling(groups: Sequence[np.ndarray], scaling: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.hstack([(group - mean) * factor for group, (mean, factor) in zip(groups, scaling, strict=True)])


def choose_settings(
    property_name: str,
    records: Sequence[Record],
    distances: Sequence[Literal["euclidean", "cityblock"]] = ("euclidean", "cityblock"),
    widths: Sequence[float] = (0.02, 0.05, 0.1, 0.3),
    ridges: Sequence[float] = (1e-3, 1e-2, 0.1),
    folds: int = 5,
) -> tuple[KernelSettings, float]:
    """Settings with the smallest cross-validated mean |error| of the fitted numbers, and that error.

    Args:
        property_name: which label.
        records: train and validation records, never test.
        distances: kernels to try.
        widths: kernel widths to try.
        ridges: regularisations to try.
        folds: number of folds; all records of a formula share one.
    """
    chosen = _labelled(records, property_name)
    targets = _targets(property_name, chosen)
    held_out = [fold for fold in formula_folds(chosen, folds) if len(fold)]
    start = _SETTINGS.get(property_name, KernelSettings())
    best: tuple[KernelSettings, float] | None = None
    for distance, width, ridge in product(distances, widths, ridges):
        settings = replace(start, distance=distance, width=width, ridge=ridge)
        total = 0.0
        for fold in held_out:
            keep = np.setdiff1d(np.arange(len(chosen)), fold)
            model = KernelRidge.fit(property_name, [chosen[index] for index in keep], settings)
            predicted = model._predict_targets([chosen[index] for index in fold])
            total += float(np.abs(predicted - targets[fold]).mean(axis=1).sum())
        if best is None or total / len(chosen) < best[1]:
            best = (settings, total / len(chosen))
    assert best is not None
    return best
