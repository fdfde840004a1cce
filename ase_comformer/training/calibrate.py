"""``ase-comformer calibrate``: weights of the response route and error bars of a model, fitted in one command.

Everything is fitted on the validation split, whose formulas no network was trained on, and what is printed of it is out
of fold (``fitted_bars``, ``route_errors``). Responses of the crystals are kept in a cache, so that a run that is
stopped goes on, and a run after new tensor networks takes minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.routes import MOST_ATOMS
from ase_comformer.models.calibration import (
    ErrorBar,
    PropertyCalibration,
    RouteWeight,
    property_fingerprint,
    write_calibration,
)
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import tensor_property
from ase_comformer.training.data.records import Record
from ase_comformer.training.evaluation.fitted_bars import Coverage, Fitted, Sample, fit_bar
from ase_comformer.training.evaluation.response_cache import ResponseCache
from ase_comformer.training.evaluation.route_errors import (
    Labelled,
    element_counts,
    fit_weight,
    labelled_records,
    predictions,
    sample_of,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """One row of the table that ``calibrate`` prints: it says what the fit of one route holds out of fold."""

    name: str
    route: str
    weight: RouteWeight | None
    error: float
    coverage: Coverage


def run(
    model: str | Path,
    *,
    data: Path | None = None,
    cache: Path | None = None,
    properties: Sequence[str] | None = None,
    seconds: float = float("inf"),
    console: Console | None = None,
) -> Path | None:
    """Fit and write the calibration of a model; return its path, None where the time did not suffice.

    Args:
        model: name or path.
        data: folder of the data; default ``ASE_COMFORMER_DATA``.
        cache: folder of responses that are kept; default ``~/.cache/ase-comformer``.
        properties: names; all that the model predicts with heads and that have labelled crystals by default. What is
            left out keeps its calibration.
        seconds: of CPU time after which no further response is begun; a later call goes on.
        console: shows progress and the table.
    """
    predictor = Predictor(model=model, dtype="float64", route="head")
    console = console or Console(quiet=True)
    names = properties or [name for name in predictor.model.members if tensor_property(name).route == "head"]
    entries = [tensor_property(name) for name in names]
    records = {entry.name: labelled_records(entry, "val", data) for entry in entries}
    kept = ResponseCache(cache or Path.home() / ".cache" / "ase-comformer", predictor)
    wanted = [record for entry in entries if entry.has_response for record in records[entry.name]]
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("responses")
        finished = kept.fill(
            [record.atoms for record in small_cells(wanted)],
            seconds=seconds,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if not finished:
        console.print(f"Not all responses are there after {seconds:.0f} s: run the command again to go on.")
        return None
    found = dict(predictor.loaded.calibration)
    lines: list[Line] = []
    for entry in entries:
        labelled = predictions(entry, records[entry.name], predictor, kept if entry.has_response else None)
        if len({each.record.formula for each in labelled}) < _FEWEST:
            console.print(f"{entry.name}: too few labelled crystals of the validation split, no error bars")
            continue
        elements = element_counts(entry, data)
        calibrated, shown = calibrate(entry, labelled, elements, property_fingerprint(predictor.model, entry.name))
        found[entry.name] = calibrated
        lines += shown
    console.print(table(lines, "out of fold, validation split"))
    return write_calibration(predictor.model, found)


#: Formulas below which a property is not calibrated.
_FEWEST = 20


def small_cells(records: Sequence[Record]) -> list[Record]:
    """Records whose primitive cells are small enough for the combined route."""
    few = [record for record in records if len(record.atoms) <= 4 * MOST_ATOMS]
    return [
        record
        for record in few
        if len(record.atoms) <= MOST_ATOMS or len(analyse_space_group(record.atoms).primitive) <= MOST_ATOMS
    ]


def calibrate(
    entry: TensorProperty, labelled: Sequence[Labelled], elements: dict[str, int], fingerprint: str
) -> tuple[PropertyCalibration, list[Line]]:
    """Fit the weight of the response and one error bar per route.

    Args:
        entry: of the property.
        labelled: crystals that no network was trained on.
        elements: training records by element.
        fingerprint: of the networks.
    """
    weight, of_fold = fit_weight(entry, labelled) if entry.has_response else (None, [])
    bars: dict[str, ErrorBar] = {}
    lines = []
    for route in ("head", "response", "combined") if weight is not None else ("head",):
        sample = sample_of(entry, labelled, route, of_fold, elements)
        fitted = fit_bar(sample)
        bars[route] = fitted.bar
        lines.append(Line(entry.name, route, weight if route == "combined" else None, *_held_out(sample, fitted)))
    return PropertyCalibration(fingerprint, weight, bars, elements), lines


def _held_out(sample: Sample, fitted: Fitted) -> tuple[float, Coverage]:
    coverage = Coverage.of(sample.errors, fitted.held_out, fitted.bar.factor_90, sample.sizes)
    return float(np.median(sample.errors / sample.sizes)), coverage


def table(lines: Sequence[Line], title: str) -> Table:
    """Rows of ``lines``."""
    found = Table(title=title)
    for heading in ("property", "route", "weight (w0, eV/A^2)", "median error", *Coverage(0, 0, 0, 0, 0).cells()):
        found.add_column(heading)
    for line in lines:
        weight = "" if line.weight is None else f"{line.weight.largest:.1f} ({line.weight.stiffness:g})"
        found.add_row(line.name, line.route, weight, f"{100 * line.error:.1f} %", *line.coverage.cells().values())
    return found
