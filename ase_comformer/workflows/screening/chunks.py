"""Chunks of structures, and what is done with one of them, in whichever process that is."""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ase_comformer.crystals.structure_sources import STREAMED, Source, iter_sources
from ase_comformer.crystals.structures import structure_key
from ase_comformer.errors import WeightsError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.settings import Settings
from ase_comformer.workflows.predict_sources import Row, predict_sources
from ase_comformer.workflows.screening.shards import Query


@dataclass(frozen=True)
class Chunk:
    """Work for one process.

    Attributes:
        items: structures, or names of files that are read where they are computed.
        known: source -> hash of what is done already of those files.
    """

    items: tuple[Source | str, ...]
    known: Mapping[str, str]

    def halves(self) -> list[Chunk]:
        """Two chunks, or none where it is a single item."""
        if len(self.items) < 2:
            return []
        middle = len(self.items) // 2
        return [Chunk(self.items[:middle], self.known), Chunk(self.items[middle:], self.known)]


def structure_hash(source: Source) -> str:
    """SHA-256 of the numbers, positions, cell and pbc of a structure; of the message where it cannot be read."""
    content = structure_key(source.atoms) if source.atoms is not None else f"unreadable: {source.error}".encode()
    return hashlib.sha256(content).hexdigest()


def chunks(paths: Iterable[str], size: int, known: Mapping[str, str]) -> Iterator[Chunk]:
    """Structures and files in chunks, without what is known.

    Files of a single structure are read by the process that computes them; databases and trajectories by this one, as
    they are consumed.

    Args:
        paths: of ``crystals.structure_sources.structure_paths``.
        size: most items of a chunk.
        known: source -> hash of what is done.
    """
    of_file: dict[str, dict[str, str]] = {}
    for source, digest in known.items():
        of_file.setdefault(_file_of(source), {})[source] = digest
    items: list[Source | str] = []
    done: dict[str, str] = {}
    for item in _items(paths):
        if isinstance(item, str):
            done.update(of_file.get(_file_of(item), {}))
        elif known.get(item.name) == structure_hash(item):
            continue
        items.append(item)
        if len(items) == size:
            yield Chunk(tuple(items), done)
            items, done = [], {}
    if items:
        yield Chunk(tuple(items), done)


def _items(paths: Iterable[str]) -> Iterator[Source | str]:
    for path in paths:
        name, at, index = path.rpartition("@")
        file = Path(path if not at or Path(path).exists() else name).resolve()
        place = str(file) if at == "" or file.name == Path(path).name else f"{file}@{index}"
        if file.suffix.lower() in STREAMED:
            yield from iter_sources([place])
        else:
            yield place


def _file_of(source: str) -> str:
    name, at, index = source.rpartition("@")
    return name if at and index.lstrip("-").isdigit() else source


def evaluate_chunk(chunk: Chunk, query: Query, batch_size: int) -> list[dict[str, Any]]:
    """Answer the query for a chunk: rows of the table, one per structure that is not known.

    Args:
        chunk: the work.
        query: what is asked.
        batch_size: structures evaluated together.

    Raises:
        WeightsError: the weights here are not those of the query.
    """
    predictor = _predictor(query.settings)
    if predictor.model.fingerprint != query.fingerprint:
        raise WeightsError(
            f"The model {query.settings.model!r} has other weights on this worker. Install the same version of "
            "ase-comformer everywhere."
        )
    hashes: list[str] = []

    def new() -> Iterator[Source]:
        for item in chunk.items:
            for source in iter_sources([item]) if isinstance(item, str) else (item,):
                digest = structure_hash(source)
                if chunk.known.get(source.name) != digest:
                    hashes.append(digest)
                    yield source

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table has a status for what they say of single structures
        names = tuple(query.properties)
        rows = list(predict_sources(predictor, new(), names, batch_size=batch_size, with_training=False))
    return [_record(row, digest, query) for row, digest in zip(rows, hashes, strict=True)]


def failed_rows(chunk: Chunk, query: Query, message: str) -> list[dict[str, Any]]:
    """Rows for a chunk that no process survives."""
    found = []
    for item in chunk.items:
        source = item if isinstance(item, Source) else Source(item, error=ValueError(message))
        formula = source.atoms.get_chemical_formula() if source.atoms is not None else ""
        found.append(_record(Row(source.name, formula, error=message), structure_hash(source), query))
    return found


def _record(row: Row, digest: str, query: Query) -> dict[str, Any]:
    return {
        "source": row.source,
        "structure_hash": digest,
        "fingerprint": query.fingerprint,
        "formula": row.formula,
        "space_group": row.space_group,
        "space_group_number": row.space_group_number,
        "status": row.status,
        "error": row.error,
        "errors": json.dumps(row.errors) if row.errors else "",
        **(row.values or {}),
    }


@functools.lru_cache(maxsize=2)
def _predictor(settings: Settings) -> Predictor:
    return Predictor(**asdict(settings))
