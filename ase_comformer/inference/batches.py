"""Prediction of tensors for many crystals: batches of similar size, in which one bad crystal does not stop the rest.

``predict`` is the fast path. It prepares crystals in chunks (space group, graph), sorts each chunk by number of edges,
evaluates it in batches with a ``Predictor``, and returns the results in the order of the input.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ase import Atoms

from ase_comformer.errors import UnknownNameError
from ase_comformer.inference.predictor import Predictor, Result
from ase_comformer.inference.prepared import PreparedCrystal

MAXIMUM_EDGES = 200_000
"""A batch is closed before it exceeds this many edges, which bounds its memory at about a gigabyte."""

_CHUNK = 16  # batches that are prepared together, so that crystals of similar size share a batch


def predict(
    atoms: Sequence[Atoms],
    properties: Sequence[str] = ("dielectric_tensor",),
    *,
    batch_size: int = 64,
    progress: bool = False,
    model: str | Path = "default",
    device: str = "auto",
    dtype: str = "float32",
    symprec: float = 1e-2,
    enforce_symmetry: bool = True,
    on_error: str = "record",
) -> list[Result]:
    """Predict properties of many crystals.

    Args:
        atoms: crystals, periodic in three directions.
        properties: names among those of the model; see ``tensors.PROPERTIES`` for shapes and units.
        batch_size: largest number of crystals evaluated together.
        progress: show a progress bar on standard error.
        model: name (``weights.available_models()``) or path.
        device: ``"auto"`` or a torch device.
        dtype: ``"float32"`` or ``"float64"``.
        symprec: tolerance in Å of the space-group search.
        enforce_symmetry: evaluate the idealised structure and return exactly symmetric tensors.
        on_error: ``"record"`` puts ``{"error": message}`` in place of a crystal that fails and goes on; ``"raise"``
            raises the first error.

    Returns:
        One dictionary per crystal, in the order given: property name -> float64 array in the documented shape,
        (3, 3), (3, 6), (6, 6), (n, 3, 3), or float for scalars.

    Raises:
        UnknownNameError: unknown property, model, device, dtype or ``on_error``.
        WeightsError: damaged weights.
        InvalidStructureError, UnknownElementError: with ``on_error="raise"``.
    """
    predictor = Predictor(model=model, device=device, dtype=dtype, symprec=symprec, enforce_symmetry=enforce_symmetry)
    return predict_with(predictor, atoms, properties, batch_size=batch_size, progress=progress, on_error=on_error)


def predict_with(
    predictor: Predictor,
    atoms: Sequence[Atoms],
    properties: Sequence[str],
    *,
    batch_size: int = 64,
    progress: bool = False,
    on_error: str = "record",
) -> list[Result]:
    """As :func:`predict`, with a predictor that is loaded already."""
    names = predictor.checked(properties)
    if on_error not in ("record", "raise"):
        raise UnknownNameError(f"Unknown on_error {on_error!r}. Choose 'record' or 'raise'.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if isinstance(atoms, Atoms):
        raise TypeError("predict takes a list of Atoms, got a single Atoms object; pass [atoms].")
    crystals = list(atoms)
    results: list[Result] = [{} for _ in crystals]
    with _progress(progress, len(crystals)) as advance:
        for start in range(0, len(crystals), _CHUNK * batch_size):
            prepared: dict[int, PreparedCrystal] = {}
            for index in range(start, min(start + _CHUNK * batch_size, len(crystals))):
                try:
                    prepared[index] = predictor.prepare(crystals[index], names)
                except Exception as error:
                    if on_error == "raise":
                        raise
                    results[index] = _failure(error)
                    advance(1)
            for batch in _batches(prepared, batch_size):
                outcome = _evaluate(predictor, [prepared[index] for index in batch], names, on_error)
                for index, result in zip(batch, outcome, strict=True):
                    results[index] = result
                advance(len(batch))
    return results


def _batches(prepared: Mapping[int, PreparedCrystal], batch_size: int) -> Iterator[list[int]]:
    """Indices grouped so that the crystals of a batch have similar numbers of edges."""
    edges = {index: crystal.largest_edge_count for index, crystal in prepared.items()}
    batch: list[int] = []
    total = 0
    for index, count in sorted(edges.items(), key=lambda item: item[1]):
        if batch and (len(batch) == batch_size or total + count > MAXIMUM_EDGES):
            yield batch
            batch, total = [], 0
        batch.append(index)
        total += count
    if batch:
        yield batch


def _evaluate(
    predictor: Predictor, crystals: list[PreparedCrystal], names: Sequence[str], on_error: str
) -> list[Result]:
    try:
        return predictor.evaluate_batch(crystals, names)
    except Exception as error:
        if on_error == "raise":
            raise
        if len(crystals) == 1:
            return [_failure(error)]
    # One bad crystal must not take its batch with it.
    return [_evaluate(predictor, [crystal], names, on_error)[0] for crystal in crystals]


def _failure(error: Exception) -> Result:
    return {"error": f"{type(error).__name__}: {error}"}


@contextlib.contextmanager
def _progress(show: bool, total: int) -> Iterator[Callable[[int], None]]:
    if not show:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("predicting", total=total)
        yield lambda count: bar.advance(task, count)
