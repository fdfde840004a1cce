"""Predictions of labelled crystals by every route, their errors, and the weights that mix the routes best."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.inference.crystal_response import CrystalResponse, with_charges
from ase_comformer.inference.error_bars import Evidence, scores, sizes, yardstick
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.prepared import PreparedCrystal
from ase_comformer.inference.routes import MOST_ATOMS, aligned, weight_of
from ase_comformer.models.calibration import RouteWeight
from ase_comformer.physics.softness import ModeCouplings, unresolved
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.tensors.symmetry_report import project
from ase_comformer.training.data.records import Record, load_records
from ase_comformer.training.evaluation.fitted_bars import Sample, folds_of
from ase_comformer.training.evaluation.response_cache import ResponseCache

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

#: Crystals evaluated together.
_TOGETHER = 32
#: Records with certain axes that suffice to leave out those without.
_ENOUGH_CERTAIN = 40
#: The mixture that is taken where the crystals do not tell: half of each route, half of that at 0.3 eV/A^2.
_USUAL = (0.5, 0.3)
_LARGEST = tuple(np.linspace(0.0, 1.0, 11))
_STIFFNESSES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)


@dataclass
class Labelled:
    """A labelled crystal with what is predicted of it.

    Attributes:
        record: with the label.
        readings: (k, ...) of the label, one of which is right.
        head: prediction of the networks.
        spread: of the networks.
        gap, permittivity: eV and mean over directions, None where unknown.
        response: prediction by the response of the crystal, None without one.
        couplings, atoms, distance: of the response, see ``inference.routes.weight_of``.
        unresolved: norm of what soft modes may hide (``physics.softness.unresolved``).
    """

    record: Record
    readings: list[FloatArray]
    head: Any
    spread: Any
    gap: float | None = None
    permittivity: float | None = None
    response: Any = None
    couplings: ModeCouplings | None = None
    atoms: int = 0
    distance: float = 0.0
    unresolved: float = 0.0

    def value(self, route: str, weight: RouteWeight | None) -> Any:
        """Prediction by a route."""
        if route == "head" or self.response is None or self.couplings is None:
            return self.head
        if route == "response":
            return self.response
        assert weight is not None
        share = weight_of(weight, self.couplings, self.atoms, self.distance)
        return (1 - share) * aligned(self.record.extras["property"], self.head, self.response) + share * self.response

    def errors(self, entry: TensorProperty, value: Any) -> FloatArray:
        """Norm of the error of the documented array, (1,) or (n,), of the reading that it is smallest for."""
        each = [sizes(entry, np.asarray(value) - reading) for reading in self.readings]
        return min(each, key=lambda errors: float(errors.sum()))

    def label_size(self, entry: TensorProperty) -> FloatArray:
        """Norm of the label, (1,) or (n,)."""
        return sizes(entry, self.readings[0])


def labelled_records(entry: TensorProperty, split: str, folder: Any = None) -> list[Record]:
    """Records of a split that a property is calibrated on: fit ones of its functional, with certain axes if enough.

    Args:
        entry: of the property.
        split: "val" or "test".
        folder: of the data.
    """
    found: list[Record] = []
    seen: set[tuple[str, str]] = set()
    for dataset in dict.fromkeys(part.dataset for part in entry.evaluated_on):
        for record in _present(dataset, folder, split):
            fit = not any(flag.startswith(entry.unfit_flags) for flag in record.flags) if entry.unfit_flags else True
            if entry.name in record.labels and fit and (dataset, record.id) not in seen:
                seen.add((dataset, record.id))
                found.append(record)
    own = [record for record in found if entry.has_one_functional or record.extras["functional"] == entry.functional]
    certain = [record for record in own if not record.extras.get("ambiguous", False)]
    return certain if len(certain) >= _ENOUGH_CERTAIN or not entry.has_readings else own


def _present(dataset: str, folder: Any, split: str) -> list[Record]:
    """Records of a data set; none where its file is missing."""
    try:
        return load_records(dataset, folder, splits=[split])
    except FileNotFoundError as error:
        logger.warning("%s", error)
        return []


def predictions(
    entry: TensorProperty, records: Sequence[Record], predictor: Predictor, cache: ResponseCache | None
) -> list[Labelled]:
    """Predictions of records by head and response; records with elements outside the model are left out.

    Args:
        entry: of the property.
        records: labelled.
        predictor: in float64, route "head".
        cache: filled; None for properties without a response.
    """
    covered = predictor.loaded.covered(entry.name)
    known, crystals = [], []
    for record in records:
        if covered.issuperset(record.atoms.numbers.tolist()):
            try:
                crystals.append(predictor.preparer.crystal(record.atoms))
            except ValueError:  # a structure that no query would be answered for
                continue
            known.append(record)
    order = sorted(range(len(known)), key=lambda k: len(known[k].atoms))
    found: list[Labelled] = []
    for start in range(0, len(order), _TOGETHER):
        rows = order[start : start + _TOGETHER]
        found += _batch(entry, [known[k] for k in rows], [crystals[k] for k in rows], predictor)
    if cache is not None:
        for each in found:
            _add_response(entry, each, predictor, cache)
    return found


def _batch(
    entry: TensorProperty, records: Sequence[Record], crystals: Sequence[PreparedCrystal], predictor: Predictor
) -> list[Labelled]:
    """Evaluate the heads on crystals together."""
    answers = predictor.tensors.answers(crystals, (entry.error_bar.name,))
    found = []
    for record, answer in zip(records, answers, strict=True):
        record.extras["property"] = entry.name
        readings = [np.asarray(record.labels[entry.name], dtype=np.float64)]
        if entry.has_readings and record.extras.get("ambiguous"):
            readings += list(np.asarray(record.extras.get("alternatives", [])))
        value, spread = answer.values[entry.name], answer.spreads[entry.name]
        found.append(Labelled(record, readings, value, spread, answer.gap, answer.permittivity))
    return found


def _add_response(entry: TensorProperty, each: Labelled, predictor: Predictor, cache: ResponseCache) -> None:
    """The prediction by response, where the cache has one and the combined route would take it."""
    mechanics = cache.get(each.record.atoms)
    if mechanics is None or len(mechanics.primitive) > MOST_ATOMS:
        return
    response: CrystalResponse = with_charges(mechanics, predictor)
    value = getattr(response.tensors, entry.name)
    if value is None:
        return
    each.response = project(entry.name, value, analyse_space_group(each.record.atoms, predictor.symprec))
    each.couplings = ModeCouplings.of(response.blocks)
    each.atoms, each.distance = len(mechanics.primitive), mechanics.distance
    each.unresolved = float(sizes(entry, unresolved(response.blocks, entry.responds_to))[0])


def fit_weight(entry: TensorProperty, labelled: Sequence[Labelled]) -> tuple[RouteWeight | None, list[RouteWeight]]:
    """Weights of the response, from all crystals, and for each crystal from those of other folds.

    Returns:
        The weights, None where no crystal has a response, and those out of fold by crystal.
    """
    both = [each for each in labelled if each.response is not None]
    acting = entry.responds_to
    if len(both) < 10:
        return None, []
    folds = folds_of([each.record.formula for each in labelled], 5)
    tables = {id(each): _loss_table(entry, each, acting) for each in both}

    def best(chosen: Sequence[Labelled]) -> RouteWeight:
        return _least(np.array([tables[id(each)] for each in chosen if id(each) in tables]), acting)

    of_fold = {k: best([each for each, fold in zip(labelled, folds, strict=True) if fold != k]) for k in set(folds)}
    return best(labelled), [of_fold[fold] for fold in folds]


def _least(losses: FloatArray, acting: str) -> RouteWeight:
    """The mixture of least loss, or one nearer to the usual mixture that is worse by less than one standard error.

    Args:
        losses: (crystals, weights, stiffnesses).
        acting: see ``RouteWeight``.
    """
    flat = losses.reshape(len(losses), -1)
    beyond = flat - flat[:, [int(np.argmin(flat.mean(axis=0)))]]
    alike = beyond.mean(axis=0) <= beyond.std(axis=0) / np.sqrt(len(flat))
    weights, stiffnesses = np.meshgrid(_LARGEST, _STIFFNESSES, indexing="ij")
    distance = (weights - _USUAL[0]) ** 2 + np.log10(stiffnesses / _USUAL[1]) ** 2
    row, column = np.unravel_index(int(np.argmin(np.where(alike, distance.reshape(-1), np.inf))), weights.shape)
    return RouteWeight(acting, float(_LARGEST[row]), float(_STIFFNESSES[column]))


def _loss_table(entry: TensorProperty, each: Labelled, acting: str) -> FloatArray:
    """Losses of a crystal by weight and stiffness: relative error, with outliers of one bounded influence."""
    label = max(float(each.label_size(entry)[0]), 0.05 * entry.scale)
    table = np.empty((len(_LARGEST), len(_STIFFNESSES)))
    for row, largest in enumerate(_LARGEST):
        for column, stiffness in enumerate(_STIFFNESSES):
            value = each.value("combined", RouteWeight(acting, largest, stiffness))
            relative = float(each.errors(entry, value)[0]) / label
            table[row, column] = relative / (relative + 0.2)
    return table


def element_counts(entry: TensorProperty, folder: Any = None) -> dict[str, int]:
    """Training records with a label of the property that contain an element, by symbol."""
    counts: Counter[str] = Counter()
    for dataset in dict.fromkeys(part.dataset for part in entry.evaluated_on):
        for record in _present(dataset, folder, "train"):
            if entry.name in record.labels:
                counts.update(set(record.atoms.get_chemical_symbols()))
    return dict(sorted(counts.items()))


def sample_of(
    entry: TensorProperty,
    labelled: Sequence[Labelled],
    route: str,
    weights: Sequence[RouteWeight] | RouteWeight | None,
    elements: dict[str, int],
) -> Sample:
    """Errors and scores of a route; of crystals with a response only, where the route needs one.

    Args:
        entry: of the property.
        labelled: crystals.
        route: one of the routes.
        weights: of the response, one for all or one by crystal.
        elements: see ``element_counts``.
    """
    errors, table, formulas, size, share, datasets, hidden = [], [], [], [], [], [], []
    for k, each in enumerate(labelled):
        if route != "head" and each.response is None:
            continue
        weight = weights[k] if isinstance(weights, Sequence) and len(weights) else weights
        weight = weight if isinstance(weight, RouteWeight) else None
        value = each.value(route, weight)
        evidence = Evidence(value, each.spread, each.record.atoms.numbers, each.gap, each.permittivity)
        if route != "head" and each.couplings is not None:
            difference = each.response - aligned(entry.name, each.head, each.response)
            softest = each.couplings.softest(entry.responds_to)
            evidence = Evidence(
                value, each.spread, each.record.atoms.numbers, each.gap, each.permittivity, difference, softest
            )
        found = each.errors(entry, value)
        errors.append(found)
        table.append(scores(entry, evidence, elements))
        size.append(yardstick(entry, value))
        formulas += [each.record.formula] * len(found)
        hidden.append(np.full(len(found), 0.0 if route == "head" else each.unresolved))
        share.append(np.full(len(found), 1.0 / len(found)))
        datasets += [each.record.extras["dataset"]] * len(found)
    names = dict.fromkeys(name for row in table for name in row)
    missing = [np.full(len(rows), np.nan) for rows in errors]
    joined = {
        name: _filled(np.concatenate([row.get(name, gap) for row, gap in zip(table, missing, strict=True)]))
        for name in names
    }
    joint = [np.concatenate(each) for each in (errors, size, share, hidden)]
    return Sample(joint[0], joined, formulas, joint[1], joint[2], datasets, joint[3])


def _filled(values: FloatArray) -> FloatArray:
    """Scores with the mean in place of those that are missing, as ``inference.error_bars.bar_of`` takes them."""
    return np.where(np.isnan(values), np.nanmean(values), values)
