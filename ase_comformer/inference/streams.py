"""Prediction for many structures: batches of similar size, in which one bad structure does not stop the rest.

Structures are prepared in chunks (space group, graphs); each chunk is sorted by what can be computed and by number of
edges and evaluated in batches, and results come in the order of the input. A chunk is closed before it grows large, so
streams of any length take constant memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from ase import Atoms

from ase_comformer.errors import UnknownNameError
from ase_comformer.inference.preparation import Errors, Preparation
from ase_comformer.inference.prepared import PreparedCrystal
from ase_comformer.inference.results import Names, Result, with_errors
from ase_comformer.inference.settings import BATCH_SIZE

MAXIMUM_EDGES = 200_000
"""A batch is closed before it exceeds this many edges, which bounds its memory at about a gigabyte."""

_CHUNK = 16  # batches that are prepared together, so that crystals of similar size share a batch
_CHUNK_EDGES = 5 * MAXIMUM_EDGES  # graphs that wait for their batch: some hundred megabytes


class Evaluator(Protocol):
    """What a stream asks of a ``Predictor``, whose methods these are."""

    def checked(self, properties: Names | None) -> tuple[str, ...]:
        """Return the names, all where None."""
        ...

    def prepare(self, atoms: Any, names: Sequence[str]) -> Preparation:
        """Check a structure and build its graphs."""
        ...

    def evaluate_one(self, crystal: PreparedCrystal, names: Sequence[str]) -> tuple[Result, Errors]:
        """Evaluate a prepared structure, whatever fails."""
        ...

    def evaluate_batch(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Result]:
        """Evaluate prepared structures together."""
        ...


def stream(
    predictor: Evaluator,
    atoms: Iterable[Any],
    properties: Names | None = None,
    *,
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    on_error: str = "record",
) -> Iterator[Result]:
    """Stream as :func:`ase_comformer.predict_iter`, with a predictor; arguments are checked at once."""
    names = predictor.checked(properties)
    if on_error not in ("record", "raise"):
        raise UnknownNameError(f"Unknown on_error {on_error!r}. Choose 'record' or 'raise'.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if isinstance(atoms, Atoms) or hasattr(atoms, "lattice"):
        raise TypeError(f"predict takes a list of structures, got a single {type(atoms).__name__}; pass [atoms].")
    return _results(predictor, iter(atoms), names, batch_size, on_error == "raise", _length(atoms), progress)


def _results(
    predictor: Evaluator,
    structures: Iterator[Any],
    names: tuple[str, ...],
    batch_size: int,
    strict: bool,
    total: int | None,
    progress: bool,
) -> Iterator[Result]:
    with _progress(progress, total) as advance:
        while chunk := _chunk(predictor, structures, names, batch_size, strict):
            results: list[Result] = [{} for _ in chunk]
            for batch in _batches(chunk, batch_size):
                members = [chunk[index] for index in batch]
                for index, result in zip(batch, _evaluated(predictor, members, names, strict), strict=True):
                    results[index] = result
                advance(len(batch))
            yield from results


def _chunk(
    predictor: Evaluator, structures: Iterator[Any], names: tuple[str, ...], batch_size: int, strict: bool
) -> list[Preparation | Errors]:
    """Structures prepared for the next batches; errors for what is no structure at all."""
    chunk: list[Preparation | Errors] = []
    edges = 0
    for atoms in structures:
        try:
            prepared = predictor.prepare(atoms, names)
            chunk.append(prepared)
            edges += prepared.crystal.largest_edge_count
            failed = prepared.errors
        except Exception as error:
            chunk.append(failed := dict.fromkeys(names, error))
        if strict and failed:
            raise next(iter(failed.values()))
        if len(chunk) >= _CHUNK * batch_size or edges > _CHUNK_EDGES:
            break
    return chunk


def _batches(chunk: Sequence[Preparation | Errors], batch_size: int) -> Iterator[list[int]]:
    """Indices grouped so that the structures of a batch have the same properties and similar numbers of edges."""
    edges, names = [], []
    for entry in chunk:
        ready = entry.names if isinstance(entry, Preparation) else ()
        names.append(ready)
        edges.append(entry.crystal.largest_edge_count if isinstance(entry, Preparation) and ready else 0)
    batch: list[int] = []
    total = 0
    for index in sorted(range(len(chunk)), key=lambda index: (names[index], edges[index])):
        full = len(batch) == batch_size or total + edges[index] > MAXIMUM_EDGES
        if batch and (full or names[index] != names[batch[0]]):
            yield batch
            batch, total = [], 0
        batch.append(index)
        total += edges[index]
    if batch:
        yield batch


def _evaluated(
    predictor: Evaluator, members: Sequence[Preparation | Errors], names: tuple[str, ...], strict: bool
) -> list[Result]:
    """Results of a batch; where it fails as a whole, each structure is evaluated alone."""
    ready = [entry for entry in members if isinstance(entry, Preparation) and entry.names]
    found: dict[Preparation, tuple[Result, Errors]] = {}
    if ready:
        try:
            values = predictor.evaluate_batch([entry.crystal for entry in ready], ready[0].names)
            found = {entry: (result, {}) for entry, result in zip(ready, values, strict=True)}
        except Exception:
            if strict:
                raise
            found = {entry: predictor.evaluate_one(entry.crystal, entry.names) for entry in ready}
    results = []
    for entry in members:
        result, failed = found.get(entry, ({}, {})) if isinstance(entry, Preparation) else ({}, entry)
        errors = entry.errors | failed if isinstance(entry, Preparation) else failed
        results.append(with_errors(result, errors, names))
    return results


def _length(atoms: Any) -> int | None:
    try:
        return len(atoms)
    except TypeError:
        return None


@contextlib.contextmanager
def _progress(show: bool, total: int | None) -> Iterator[Callable[[int], None]]:
    if not show:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("predicting", total=total)
        yield lambda count: bar.advance(task, count)
