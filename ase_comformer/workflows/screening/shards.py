"""The table of a screening as parquet files, one per chunk, that are written whole or not at all.

Every row has the hash of its structure and the fingerprint of the model, and every shard the query that made it, so
that a later run knows what is done. Tensors are flat lists, row by row; their shapes are in the metadata.

pyarrow is imported where it is used (extra ``screen``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.settings import Settings

MISSING = "pyarrow is not installed. Install the extra: pip install 'ase-comformer[screen]'."
_METADATA = b"ase_comformer"
_TEXTS = ("source", "structure_hash", "fingerprint", "formula", "space_group", "status", "error", "errors")


@dataclass(frozen=True)
class Query:
    """What is asked of every structure; equal queries have equal shards.

    Attributes:
        settings: of the predictor.
        fingerprint: of its weights.
        properties: name -> what a reader needs: ``unit``, ``functional``, ``kind``, ``shape`` ("n" for atoms).
    """

    settings: Settings
    fingerprint: str
    properties: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, predictor: Predictor, names: Sequence[str]) -> Query:
        """Make the query that a predictor and names of properties stand for."""
        keys = ("unit", "functional", "kind", "shape")
        described = {name: predictor.describe(name) for name in names}
        facts = {name: {key: described[name][key] for key in keys} for name in names}
        return cls(predictor.settings, predictor.model.fingerprint, facts)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; the device does not count, since it does not change what is asked."""
        settings = {key: value for key, value in asdict(self.settings).items() if key not in ("device", "model")}
        return {"settings": settings, "fingerprint": self.fingerprint, "properties": dict(self.properties)}


def write_shard(folder: Path, query: Query, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows to a shard of their own, which appears under its name when it is complete.

    Args:
        folder: of the screening.
        query: that the rows answer.
        rows: dictionaries with the columns of the table.

    Raises:
        ImportError: pyarrow is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(MISSING) from error
    columns: dict[str, Any] = {name: pa.array([row.get(name, "") for row in rows], pa.string()) for name in _TEXTS}
    columns["space_group_number"] = pa.array([row.get("space_group_number", 0) for row in rows], pa.int16())
    for name, facts in query.properties.items():
        values = [row.get(name) for row in rows]
        if facts["shape"]:
            flat = [None if value is None else np.asarray(value, dtype=np.float64).ravel() for value in values]
            columns[name] = pa.array(flat, pa.list_(pa.float64()))
        else:
            columns[name] = pa.array([None if value is None else float(value) for value in values], pa.float64())
    table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(query.as_dict())})
    keys = "\n".join(f"{row['source']} {row['structure_hash']}" for row in rows)
    name = f"shard-{query.fingerprint[:12]}-{hashlib.sha256(keys.encode()).hexdigest()[:16]}.parquet"
    unfinished = folder / f".{name}.unfinished"
    pq.write_table(table, unfinished)
    return unfinished.replace(folder / name)


def shards(folder: Path, query: Query | None = None) -> Iterator[Path]:
    """Complete shards of a folder, those that answer ``query`` where one is given."""
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("shard-*.parquet")):
        if query is None or json.loads(pq.read_schema(path).metadata[_METADATA]) == query.as_dict():
            yield path


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed run has left half written."""
    for path in folder.glob(".shard-*.unfinished"):
        path.unlink(missing_ok=True)


def known_hashes(folder: Path, query: Query) -> dict[str, str]:
    """Source -> hash of the structures that a query has been answered for."""
    import pyarrow.parquet as pq

    known: dict[str, str] = {}
    for path in shards(folder, query):
        table = pq.read_table(path, columns=["source", "structure_hash"])
        known.update(zip(table["source"].to_pylist(), table["structure_hash"].to_pylist(), strict=True))
    return known


def read_screen(folder: str | Path) -> list[dict[str, Any]]:
    """Read the table of a screening: one dictionary per structure, sorted by source, tensors in their shapes.

    Args:
        folder: that ``screen`` has written. ``pandas.read_parquet(folder)`` reads it too, with flat tensors.

    Raises:
        FileNotFoundError: no shard in the folder.
        ImportError: pyarrow is missing.

    Example:
        >>> read_screen("results")  # doctest: +SKIP
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(MISSING) from error
    rows: list[dict[str, Any]] = []
    paths = list(shards(Path(folder)))
    if not paths:
        raise FileNotFoundError(f"{str(folder)!r} has no shards of a screening (shard-*.parquet).")
    for path in paths:
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[_METADATA])["properties"]
        for row in table.to_pylist():
            rows.append(
                {name: _shaped(value, facts.get(name)) for name, value in row.items() if value not in (None, "")}
            )
    return sorted(rows, key=lambda row: (row["source"], row["structure_hash"], row["fingerprint"]))


def _shaped(value: Any, facts: Mapping[str, Any] | None) -> Any:
    if facts is None or not facts["shape"]:
        return value
    return np.asarray(value, dtype=np.float64).reshape([-1 if size == "n" else size for size in facts["shape"]])


def properties_of(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Units, functionals, kinds and shapes of the properties in the shards of a folder."""
    import pyarrow.parquet as pq

    found: dict[str, dict[str, Any]] = {}
    for path in shards(Path(folder)):
        found.update(json.loads(pq.read_schema(path).metadata[_METADATA])["properties"])
    return found
