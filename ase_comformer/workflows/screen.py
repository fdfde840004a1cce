"""``screen``: properties of very many structures, in several processes or on a cluster, resumable at any time.

Structures go out in chunks (``screening.chunks``), are computed at a place (``screening.places``), and come back as
rows, which this process alone writes, a shard per chunk (``screening.shards``). A shard is there or not, so a run that
was killed has lost at most the chunks that were under way, and the next one asks for what is missing.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase_comformer.crystals.structure_sources import structure_paths
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import Names
from ase_comformer.inference.settings import BATCH_SIZE, DEFAULTS
from ase_comformer.properties.registry import tensor_property
from ase_comformer.workflows.screening.chunks import Chunk, chunks, evaluate_chunk, failed_rows
from ase_comformer.workflows.screening.places import HOST, Submit, WorkerDiedError, place
from ase_comformer.workflows.screening.shards import MISSING, Query, known_hashes, remove_unfinished, write_shard

#: Structures of a chunk: some seconds of work, which is what a kill costs.
CHUNK = 256


@dataclass
class Screening:
    """How a run of ``screen`` ended.

    Attributes:
        folder: with the shards.
        computed: structures of this run, failed ones included.
        known: structures that earlier runs have done.
        failures: (source, message) of structures of this run for which nothing could be computed.
        incomplete: (source, messages by property) of those that lack some properties.
        seconds: wall-clock time of the computation, start of the workers included.
    """

    folder: Path
    computed: int = 0
    known: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    incomplete: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Structures of this run per second."""
        return self.computed / self.seconds if self.seconds > 0 else 0.0


def screen(
    files: Sequence[str | Path],
    folder: str | Path,
    properties: Names | None = None,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    host: str = HOST,
    chunk_size: int = CHUNK,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int], None] | None = None,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    dtype: str = DEFAULTS.dtype,
    symprec: float = DEFAULTS.symprec,
    enforce_symmetry: bool = DEFAULTS.enforce_symmetry,
    functional: str = DEFAULTS.functional,
    route: str = DEFAULTS.route,
) -> Screening:
    """Predict properties of very many structures into a folder of parquet files; call again to go on after a kill.

    Args:
        files: structure files, ``FILE@INDEX``, folders, patterns (``crystals.structure_sources.structure_paths``).
        folder: of the table; made where missing. Rows of other models and settings may be there already.
        properties: names; by default all of the model that belong to a crystal rather than to its atoms.
        workers: processes on this machine, each with one thread.
        scheduler: None; ``"local"`` for a Dask cluster of ``workers`` processes; or the address of a Dask scheduler,
            whose workers have the same version of this package.
        host: what the scheduler of ``"local"`` binds to; no other machine reaches the default.
        chunk_size: structures handed out together.
        batch_size: structures evaluated together.
        progress: called with the number of structures of every chunk that is done.
        model: name or path.
        device: ``"auto"`` or a torch device.
        dtype: ``"float32"`` or ``"float64"``.
        symprec: A, the largest distance by which idealisation may move an atom.
        enforce_symmetry: evaluate the idealised structure and return exactly symmetric tensors.
        functional: what dielectric tensors and Born charges follow, as in ``predict``.
        route: of relaxed-ion tensors, as in ``predict``; the response costs many times the head.

    Returns:
        ``Screening``: what was computed, what failed and why, how long it took. ``read_screen`` reads the table.

    Raises:
        ImportError: pyarrow, or dask.distributed for a scheduler, is missing (extra ``screen``).
        FileNotFoundError: no such file.
        UnknownNameError: unknown property, model, device or scheduler.
        BlockingIOError: another run writes to the folder.

    Example:
        >>> screen(["structures/"], "results", workers=8)  # doctest: +SKIP
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}.")
    try:
        import pyarrow.parquet  # noqa: F401, before hours of work
    except ImportError as error:
        raise ImportError(MISSING) from error
    predictor = Predictor(
        model=model,
        device=device,
        dtype=dtype,
        symprec=symprec,
        enforce_symmetry=enforce_symmetry,
        functional=functional,
        route=route,
    )
    names = predictor.checked(properties) if properties is not None else _of_crystals(predictor)
    query = Query.of(predictor, names)
    paths = structure_paths(files)
    result = Screening(Path(folder))
    result.folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(result.folder):
        remove_unfinished(result.folder)
        known = known_hashes(result.folder, query)
        result.known = len(known)
        began = time.perf_counter()
        with place(workers, scheduler, host) as submit:
            work = chunks(paths, chunk_size, known)
            for rows in _computed(work, submit, query, batch_size, 2 * workers if scheduler is None else None):
                if not rows:
                    continue
                write_shard(result.folder, query, rows)
                result.computed += len(rows)
                result.failures += [(row["source"], row["error"]) for row in rows if row["error"]]
                result.incomplete += [
                    (row["source"], row["errors"]) for row in rows if row["errors"] and not row["error"]
                ]
                if progress is not None:
                    progress(len(rows))
        result.seconds = time.perf_counter() - began
    return result


def _of_crystals(predictor: Predictor) -> tuple[str, ...]:
    names = [name for name in predictor.properties if not tensor_property(name).per_atom and name != "free_energy"]
    return tuple(names)


def _computed(
    work: Iterator[Chunk], submit: Submit, query: Query, batch_size: int, waiting: int | None
) -> Iterator[list[dict[str, Any]]]:
    """Rows of chunks as they are done; a chunk that kills its worker twice is halved until the culprit is alone."""
    again: deque[tuple[Chunk, int]] = deque()
    running: dict[Future[Any], tuple[Chunk, int]] = {}
    most = waiting or 64
    exhausted = False
    while True:
        while len(running) < most and not (exhausted and not again):
            if again:
                chunk, attempt = again.popleft()
            else:
                following = next(work, None)
                if following is None:
                    exhausted = True
                    continue
                chunk, attempt = following, 1
            running[submit(evaluate_chunk, chunk, query, batch_size)] = chunk, attempt
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            chunk, attempt = running.pop(future)
            try:
                yield future.result()
            except WorkerDiedError as error:
                if attempt == 1:
                    again.append((chunk, 2))
                elif halves := chunk.halves():
                    again.extend((half, 2) for half in halves)
                else:
                    yield failed_rows(chunk, query, f"WorkerDiedError: no process survives this structure ({error})")


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock that the operating system releases even after a kill; no lock where there are none of that kind."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"Another run writes to {str(folder)!r}; wait for it, or choose another folder."
            ) from error
        yield
