"""Head, linear response and both combined against DFT, and what error bars hold: ``python -m benchmarks.response``.

Three tables on labelled crystals of a split (their formulas were never trained on). The first compares the routes on
relaxed-ion tensors: share of crystals with a relative error below 25, 10 and 5 % (EwT), for piezoelectric tensors the
mean error below that of predicting zero and the rank correlation of norms, also where the softest mode that matters is
stiff; in brackets 95 % intervals by bootstrap over crystals. The second says what share of the errors the error bars
cover, for groups of crystals too. The third is the CPU time of ``respond``, without and with atoms coming to rest.
Responses are kept in ``--cache``, so that a run that is stopped (``--seconds``) goes on.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ase_comformer.inference.error_bars import bar_of, sizes
from ase_comformer.inference.predictor import Predictor
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import tensor_property
from ase_comformer.training.calibrate import small_cells
from ase_comformer.training.evaluation.fitted_bars import Coverage
from ase_comformer.training.evaluation.metrics import cartesian_norm, rank_correlation
from ase_comformer.training.evaluation.piezo_metrics import PIEZO_THRESHOLD
from ase_comformer.training.evaluation.response_cache import ResponseCache
from ase_comformer.training.evaluation.route_errors import Labelled, labelled_records, predictions, sample_of
from ase_comformer.workflows.response import respond
from benchmarks.surface import Clock, one_thread, parser, prepare_console

ROUTES = ("head", "response", "combined")
RELAXED_ION = ("static_dielectric_tensor", "elastic_tensor", "piezoelectric_tensor")
#: eV/A^2, softest mode above which a crystal counts as stiff.
STIFF = 1.0
#: Crystals of a group below which its coverage says nothing.
FEWEST = 40
SAMPLES = 1000


@dataclass(frozen=True)
class Row:
    """One crystal by one route: relative error of the array, error and label as full tensors, predicted norm."""

    relative: float
    error: float
    label: float
    predicted: float


def rows_of(entry: TensorProperty, labelled: Sequence[Labelled], route: str, predictor: Predictor) -> list[Row]:
    """Errors by a route; crystals without a response have the head's."""
    fitted = predictor.loaded.calibration.get(entry.name)
    found = []
    for each in labelled:
        value = np.asarray(each.value(route, fitted.route if fitted else None))
        reading = min(each.readings, key=lambda reading: float(sizes(entry, value - reading)[0]))
        relative = float(sizes(entry, value - reading)[0]) / max(float(sizes(entry, reading)[0]), 1e-12)
        norm = cartesian_norm if entry.name == "piezoelectric_tensor" else lambda tensors: sizes(entry, tensors[0])
        error, label, predicted = (float(norm(np.array([each]))[0]) for each in (value - reading, reading, value))
        found.append(Row(relative, error, label, predicted))
    return found


def interval(rows: Sequence[Row], measure: Callable[[list[Row]], float], digits: int = 1) -> str:
    """A measure with its 95 % interval by bootstrap over crystals."""
    random = np.random.default_rng(0)
    picks = [random.integers(len(rows), size=len(rows)) for _ in range(SAMPLES)]
    low, high = np.quantile([measure([rows[k] for k in pick]) for pick in picks], (0.025, 0.975))
    return f"{measure(list(rows)):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def below(limit: float) -> Callable[[list[Row]], float]:
    """Share of relative errors below ``limit``, in per cent."""
    return lambda rows: 100 * float(np.mean([row.relative < limit for row in rows]))


def reduction(rows: list[Row]) -> float:
    """Compute how far the mean error is below that of predicting zero, in per cent."""
    return 100 * (1 - sum(row.error for row in rows) / sum(row.label for row in rows))


def ranking(rows: list[Row]) -> float:
    """Rank correlation of predicted norms and those of labels."""
    return rank_correlation(np.array([row.predicted for row in rows]), np.array([row.label for row in rows]))


def accuracy(console: Console, found: dict[str, list[Labelled]], predictor: Predictor, split: str) -> None:
    """The first table."""
    table = Table(title=f"relaxed-ion tensors against DFT, {split} split")
    for heading in ("tensor", "crystals", "route", "EwT 25 %", "EwT 10 %", "EwT 5 %", "below zero %", "Spearman"):
        table.add_column(heading)
    for name in RELAXED_ION:
        entry = tensor_property(name)
        labelled = found[name]
        is_piezo = name == "piezoelectric_tensor"
        if is_piezo:
            labelled = [each for each in labelled if cartesian_norm(each.readings[0][None])[0] > PIEZO_THRESHOLD]
        with_response = [each for each in labelled if each.couplings is not None]
        stiff = [each for each in with_response if each.couplings.softest(entry.responds_to) > STIFF]
        datasets = dict.fromkeys(str(each.record.extras["dataset"]) for each in labelled)
        groups = [("all", labelled)]
        for dataset in datasets if len(datasets) > 1 else ():
            groups.append((dataset, [each for each in labelled if each.record.extras["dataset"] == dataset]))
        groups += [("with a response", with_response), (f"softest mode > {STIFF:g}", stiff)]
        for title, chosen in groups:
            for route in ROUTES:
                if route == "response" and any(each.couplings is None for each in chosen):
                    continue
                rows = rows_of(entry, chosen, route, predictor)
                cells = [interval(rows, below(limit)) for limit in (0.25, 0.1, 0.05)]
                cells += [interval(rows, reduction), interval(rows, ranking, 2)] if is_piezo else ["", ""]
                table.add_row(name, f"{title}: {len(rows)}", route, *cells)
    console.print(table)


def groups_of(labelled: Sequence[Labelled]) -> dict[str, NDArray[np.bool_]]:
    """Groups of crystals by name: gap, anion, number of elements, symmetry."""
    symbols = [set(each.record.atoms.get_chemical_symbols()) for each in labelled]
    gaps = np.array([each.record.extras.get("gap", np.nan) for each in labelled], dtype=float)
    found = {
        "gap below 1 eV (label)": gaps < 1.0,
        "gap above 1 eV (label)": gaps >= 1.0,
        "oxides": np.array(["O" in each for each in symbols]),
        "halides": np.array([bool(each & {"F", "Cl", "Br", "I"}) and "O" not in each for each in symbols]),
        "chalcogenides": np.array([bool(each & {"S", "Se", "Te"}) and "O" not in each for each in symbols]),
        "pnictides": np.array([bool(each & {"N", "P", "As", "Sb"}) and "O" not in each for each in symbols]),
        "binary": np.array([len(each) == 2 for each in symbols]),
        "ternary": np.array([len(each) == 3 for each in symbols]),
        "four and more elements": np.array([len(each) > 3 for each in symbols]),
    }
    return {name: chosen for name, chosen in found.items() if chosen.sum() >= FEWEST}


def coverage(console: Console, found: dict[str, list[Labelled]], predictor: Predictor, split: str) -> None:
    """The second table."""
    table = Table(title=f"error bars, {split} split (fitted on val)")
    for heading in ("property", "route", "crystals", *Coverage(0, 0, 0, 0, 0).cells()):
        table.add_column(heading)
    for name, labelled in found.items():
        fitted = predictor.loaded.calibration.get(name)
        if fitted is None:
            continue
        entry = tensor_property(name)
        for route, bar in fitted.bars.items():
            chosen = [each for each in labelled if route == "head" or each.response is not None]
            parts = {"all": np.ones(len(chosen), dtype=bool)}
            if route in ("head", "combined"):
                parts |= groups_of(chosen)
            for title, rows in parts.items():
                part = [each for each, taken in zip(chosen, rows, strict=True) if taken]
                sample = sample_of(entry, part, route, fitted.route, dict(fitted.elements))
                bars = bar_of(bar, sample.scores, sample.unresolved)
                cells = Coverage.of(sample.errors, bars, bar.factor_90, sample.sizes).cells()
                table.add_row(name, route, f"{title}: {len(part)}", *cells.values())
    console.print(table)


def speed(console: Console, crystals: Sequence[Labelled], predictor: Predictor) -> None:
    """The third table."""
    table = Table(title="CPU seconds of respond, one thread, float64")
    for heading in ("atoms", "crystals", "at rest", "atoms come to rest"):
        table.add_column(heading)
    for size in (2, 5, 10):
        chosen = [each.record.atoms for each in crystals if len(each.record.atoms) == size][:6]
        cells = []
        for relax in ("none", "atoms"):
            started = time.process_time()
            for atoms in chosen:
                respond(atoms, predictor=predictor, relax=relax)
            cells.append(f"{(time.process_time() - started) / max(len(chosen), 1):.2f}")
        table.add_row(str(size), str(len(chosen)), *cells)
    console.print(table)


def main() -> None:
    """Print the tables."""
    made = parser(__doc__, crystals=0)
    made.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "ase-comformer")
    made.add_argument("--seconds", type=float, default=np.inf, help="CPU seconds after which no response is begun")
    given = made.parse_args()
    one_thread()
    warnings.simplefilter("ignore", UserWarning)
    console, clock = prepare_console(220), Clock()
    predictor = Predictor(model=given.model, dtype="float64")
    cache = ResponseCache(given.cache, predictor)
    names = [name for name in predictor.model.members if tensor_property(name).route == "head"]
    records = {name: labelled_records(tensor_property(name), given.split, given.data) for name in names}
    wanted = small_cells([record for name in RELAXED_ION for record in records[name]])
    if not cache.fill([record.atoms for record in wanted], seconds=given.seconds):
        console.print(f"{len(cache)} responses so far: run the benchmark again to go on")
        return
    found = {
        name: predictions(tensor_property(name), records[name], predictor, cache if name in RELAXED_ION else None)
        for name in names
    }
    accuracy(console, found, predictor, given.split)
    coverage(console, found, predictor, given.split)
    speed(console, [each for name in RELAXED_ION for each in found[name]], predictor)
    console.print(str(clock))


if __name__ == "__main__":
    main()
