"""``ase-comformer evaluate``: accuracy of a model on a split, beside baselines, other models and anchors.

The evaluated model and the baselines are compared on the same crystals (those the model covers), a comparison
model on those of them that it covers; where that is fewer, a second table has the crystals that all models cover.
Baselines are always fitted on the train split. The tables are objects of ``report``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, TaskID

from ase_comformer.errors import UnknownNameError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.properties.entry import DerivedLabel, LabelledSet, TensorProperty
from ase_comformer.properties.registry import PROPERTIES
from ase_comformer.training.data.records import Record, has_numbers, load_records, without_flags
from ase_comformer.training.evaluation.intervals import LOWER, UPPER, Measure, interval
from ase_comformer.training.evaluation.measures import derived_numbers
from ase_comformer.training.evaluation.metrics import Metrics, as_dict
from ase_comformer.training.evaluation.potential_metrics import potential_sections
from ase_comformer.training.evaluation.report import Evaluation, Section, show

logger = logging.getLogger(__name__)

Outputs = dict[str, Any]  # record id -> prediction; crystals that failed are absent


@dataclass(frozen=True)
class Part:
    """A property on one data set, with the parts of it that get tables of their own."""

    dataset: str
    entry: TensorProperty
    sets: tuple[LabelledSet, ...]


def evaluation_plan() -> list[Part]:
    """Collect what the registry says about evaluation; a property's further data sets come after all first ones.

    A property that names no data set is evaluated on the one that has its name.
    """
    first: list[Part] = []
    further: list[Part] = []
    for entry in PROPERTIES.values():
        if entry.route != "head" or entry.is_auxiliary:
            continue
        sets = entry.evaluated_on or (LabelledSet(entry.name),)
        for position, dataset in enumerate(dict.fromkeys(part.dataset for part in sets)):
            part = Part(dataset, entry, tuple(part for part in sets if part.dataset == dataset))
            (further if position else first).append(part)
    return first + further


def evaluated_properties() -> tuple[str, ...]:
    """Names that ``run`` takes; ``forces`` stands for energies, forces and stresses of frames."""
    return (*dict.fromkeys(part.entry.name for part in evaluation_plan()), "forces")


def select(entry: TensorProperty, part: LabelledSet, records: Sequence[Record]) -> list[Record]:
    """The records of a part of a data set that have its label."""
    kept = without_flags(records, *part.without_flags) if part.without_flags else list(records)
    kept = [r for r in kept if not part.cells or r.extras.get("structure_functional") == part.cells]
    if part.label:
        label = _derived_label(entry, part.label)
        return [record for record in kept if has_numbers(record, label)]
    return [record for record in kept if entry.name in record.labels]


def _derived_label(entry: TensorProperty, name: str) -> DerivedLabel:
    return next(label for label in entry.derived_labels if label.name == name)


def run(
    model: str | Path = "default",
    split: str = "test",
    *,
    folder: str | Path | None = None,
    properties: Sequence[str] | None = None,
    comparisons: Sequence[str | Path] = (),
    enforce_symmetry: bool = True,
    batch_size: int = 64,
    dtype: str = "float32",
    device: str = "auto",
    symprec: float = 1e-2,
    json_path: str | Path | None = None,
    log_path: str | Path | None = None,
    console: Console | None = None,
    progress: bool = True,
) -> Evaluation:
    """Evaluate a model on a split and show the accuracy tables.

    Args:
        model: name or path of the evaluated model.
        split: 'test', 'val' or 'train'.
        folder: data package; default from ``ASE_COMFORMER_DATA``.
        properties: which to evaluate; default all that the model predicts and the data label.
        comparisons: further models shown beside it, for the properties they have, for example
            'gmtnet-paper-dielectric'.
        enforce_symmetry: evaluate the idealised structure and project, as in ``ase_comformer.predict``.
        batch_size: crystals evaluated together.
        dtype: 'float32' or 'float64'.
        device: 'auto' or a torch device.
        symprec: tolerance in Å of the space-group search.
        json_path: also write ``Evaluation.to_dict()`` there.
        log_path: also append the log there.
        console: where tables go; None shows nothing (the tables are in the result).
        progress: show a progress bar on standard error.

    Raises:
        UnknownNameError: unknown model, property or split.
        FileNotFoundError: no data package.
    """
    settings = {
        "enforce_symmetry": enforce_symmetry, "batch_size": batch_size, "dtype": dtype, "device": device,
        "symprec": symprec,
    }  # fmt: skip
    predictors: dict[str, Predictor] = {}
    for chosen in dict.fromkeys([str(model), *map(str, comparisons)]):
        predictor = Predictor(
            model=chosen, enforce_symmetry=enforce_symmetry, dtype=dtype, device=device, symprec=symprec
        )
        shown = predictor.model.name
        predictors[shown if shown not in predictors else chosen] = predictor
    names = list(predictors)
    wanted = _wanted(names[0], predictors[names[0]].properties, properties)
    fingerprint = predictors[names[0]].model.fingerprint
    result = Evaluation(names[0], split, settings, tuple(names[1:]), fingerprint)
    plan = [part for part in evaluation_plan() if part.entry.name in wanted]
    datasets = _records(plan, folder, split)
    plan = [part for part in plan if part.dataset in datasets]
    with _log_file(log_path), _progress_bar(progress) as bar:
        logger.info("evaluating %s on %s with %s", names, split, settings)
        outputs: dict[tuple[str, str, str], Outputs] = {}
        for dataset, records in datasets.items():
            of_dataset = [part.entry.name for part in plan if part.dataset == dataset]
            for name, predictor in predictors.items():
                here = [prop for prop in of_dataset if prop in predictor.properties]
                predictor = _following(predictor, records, here)
                task = bar.add_task(f"{name}: {dataset}", total=len(records)) if bar else None
                started = time.perf_counter()
                found, failed = _predict(predictor, records, here, batch_size, bar, task)
                result.seconds[name] = result.seconds.get(name, 0.0) + time.perf_counter() - started
                if failed:
                    result.failures.setdefault(name, {})[dataset] = failed
                    logger.warning("%s: %d of %d crystals of %s without some prediction, first: %s", name,
                                   len(failed), len(records), dataset, next(iter(failed.items())))  # fmt: skip
                outputs.update({(dataset, prop, name): values for prop, values in found.items()})
        train: dict[str, list[Record]] = {}
        for part in plan:
            dataset, prop = part.dataset, part.entry.name
            of_models = {name: outputs[dataset, prop, name] for name in predictors if (dataset, prop, name) in outputs}
            covered = [record for record in datasets[dataset] if record.id in of_models[names[0]]]
            pairs = [(record, of_models[names[0]][record.id]) for record in covered if prop in record.labels]
            result.predictions.setdefault(dataset, {})[prop] = pairs
            if dataset not in train:
                train[dataset] = load_records(dataset, folder, ("train",))
            for section in _sections(part, covered, of_models, train[dataset]):
                result.sections.append(section)
                for predictor_name, metrics in section.rows:
                    logger.info("%s | %s | %s", section.title, predictor_name, as_dict(metrics))
        if "forces" in wanted:
            for name, predictor in predictors.items():
                result.sections += _surface(name, predictor, split, folder)
    if json_path is not None:
        Path(json_path).parent.mkdir(parents=True, exist_ok=True)
        Path(json_path).write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    if console is not None:
        show(result, console)
    return result


def _records(plan: Sequence[Part], folder: str | Path | None, split: str) -> dict[str, list[Record]]:
    """Records by data set; those that the folder lacks are left out with a warning, unless it lacks all."""
    found: dict[str, list[Record]] = {}
    missing: list[FileNotFoundError] = []
    for name in dict.fromkeys(part.dataset for part in plan):
        try:
            found[name] = load_records(name, folder, (split,))
        except FileNotFoundError as error:
            logger.warning("not evaluated on %s: %s", name, error)
            missing.append(error)
    if missing and not found:
        raise missing[0]
    return found


def _surface(name: str, predictor: Predictor, split: str, folder: str | Path | None) -> list[Section]:
    if predictor.potential is None:
        return []
    networks: Sequence[Any] = predictor.potential.networks
    sections = list(potential_sections(name, networks, sorted(predictor.model.elements("energy")), split, folder))
    for section in sections:
        for predictor_name, metrics in section.rows:
            logger.info("%s | %s | %s", section.title, predictor_name, as_dict(metrics))
    return sections


def _wanted(model: str, available: Sequence[str], properties: Sequence[str] | None) -> list[str]:
    choices = [name for name in evaluated_properties() if name in available]
    if properties is None:
        return choices
    unknown = [name for name in properties if name not in choices]
    if unknown or isinstance(properties, str):
        raise UnknownNameError(
            f"cannot evaluate {unknown or properties!r} of model {model!r}: give a list of {', '.join(choices)}"
        )
    return list(properties)


def _predict(
    predictor: Predictor,
    records: Sequence[Record],
    properties: Sequence[str],
    batch_size: int,
    bar: Progress | None,
    task: TaskID | None,
) -> tuple[dict[str, Outputs], dict[str, str]]:
    """Predictions per property, and a message for every crystal that lacks one."""
    found: dict[str, Outputs] = {name: {} for name in properties}
    failed: dict[str, str] = {}
    step = 4 * batch_size
    for start in range(0, len(records) if properties else 0, step):
        chunk = records[start : start + step]
        answers = predictor.predict([record.atoms for record in chunk], properties, batch_size=batch_size)
        for record, answer in zip(chunk, answers, strict=True):
            if "errors" in answer:  # one property may not cover an element that the others do
                failed[record.id] = next(iter(answer["errors"].values()))
            for name in properties:
                if name in answer:
                    found[name][record.id] = answer[name]
        if bar is not None and task is not None:
            bar.advance(task, len(chunk))
    return found, failed


def _sections(
    part: Part, covered: Sequence[Record], of_models: dict[str, Outputs], train: Sequence[Record]
) -> Iterator[Section]:
    """One table per measure and set of crystals: the models, then the baselines."""
    # baselines are fitted without what the first restricted part leaves out
    restricted = next((chosen for chosen in part.sets if chosen.without_flags), None)
    usable = without_flags(train, *restricted.without_flags) if restricted else train
    fitted = [record for record in usable if part.entry.name in record.labels]
    baselines = [baseline.load()(part.entry, usable) for baseline in part.entry.baselines if fitted]
    for chosen, title, records, is_common in _with_common(part, covered, of_models):
        measures = [metric.load() for metric in part.entry.metrics]
        if chosen.label:
            label = _derived_label(part.entry, chosen.label)
            measures = [_of_derived(label)]
        sources: list[tuple[str, list[Record], list[Any]]] = []
        for name, values in of_models.items():
            known = [record for record in records if record.id in values]
            sources.append((name, known, [values[record.id] for record in known]))
        sources += [(baseline.name, records, baseline.predict(records)) for baseline in baselines if records]
        for measure in measures:
            found = [(name, measure(part.entry, known, values)) for name, known, values in sources if known]
            rows = tuple((name, metrics) for name, metrics in found if metrics is not None)
            if rows and not is_common:
                rows = _with_interval(rows, partial(measure, part.entry), *sources[0])
            if rows:
                aspect = getattr(rows[0][1], "aspect", "")
                subset = f"{title}, {aspect}" if aspect else title
                yield Section(part.entry.name, part.dataset, subset, rows, is_common)


def _of_derived(label: DerivedLabel) -> Callable[..., Metrics | None]:
    """The measure of a derived label, called as those of the registry are; None of baselines that are no tensors."""

    def measure(entry: TensorProperty, records: Sequence[Record], predictions: Sequence[Any]) -> Metrics | None:
        if np.shape(predictions[0]) != entry.shape or not np.any(predictions):
            return None
        return derived_numbers(label, entry.unit, records, predictions)

    return measure


def _with_interval(
    rows: tuple[tuple[str, Metrics], ...], measure: Measure, name: str, records: list[Record], values: list[Any]
) -> tuple[tuple[str, Metrics], ...]:
    """Rows with the ends of the 95 % intervals of the first, the evaluated model's, behind it."""
    if rows[0][0] != name:
        return rows
    ends = interval(measure, records, values)
    if ends is None:
        return rows
    return (rows[0], (f"{name}, {LOWER}", ends[0]), (f"{name}, {UPPER}", ends[1]), *rows[1:])


def _following(predictor: Predictor, records: Sequence[Record], names: Sequence[str]) -> Predictor:
    """A predictor whose answers follow the functional of the labels, where its model has that choice."""
    functional = records[0].extras["functional"] if records else ""
    if any(functional in predictor.loaded.functionals(name) for name in names):
        return Predictor(**(predictor.arguments | {"functional": functional}))
    return predictor


def _with_common(
    part: Part, covered: Sequence[Record], of_models: dict[str, Outputs]
) -> Iterator[tuple[LabelledSet, str, list[Record], bool]]:
    """Each set, and where a comparison model covers less of it, the crystals that all models cover."""
    for chosen in part.sets:
        records = select(part.entry, chosen, covered)
        yield chosen, chosen.title, records, False
        common = [record for record in records if all(record.id in values for values in of_models.values())]
        if len(common) < len(records):
            yield chosen, f"{chosen.title}, covered by all models", common, True


@contextlib.contextmanager
def _log_file(path: str | Path | None) -> Iterator[None]:
    """Append the package's log to a file while the block runs."""
    if path is None:
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    package = logging.getLogger("ase_comformer")
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
        handler.close()


@contextlib.contextmanager
def _progress_bar(shown: bool) -> Iterator[Progress | None]:
    if not shown:
        yield None
        return
    with Progress(console=Console(stderr=True)) as bar:
        yield bar
