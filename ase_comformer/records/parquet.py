"""Records as parquet: one row per structure, one column per property, its unit and functional in the column's metadata.

Tensors are flat lists; the shape is in the metadata of the column (-1 for the number of atoms). Structures are columns
of their own, so the files can be searched with pandas, polars, duckdb or Spark without this package. Needs pyarrow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.records.record import (
    VERSION,
    PropertyValue,
    ResultRecord,
    structure_as_dict,
    structure_from_dict,
)

#: Rows of a group: what is in memory while writing.
GROUP = 2000
_FACTS = ("unit", "functional", "kind")


def write(path: Path, records: Iterable[ResultRecord]) -> None:
    """Write records; all are looked at for the columns before the first is written.

    Raises:
        ValueError: two records disagree about the unit, functional, kind or shape of a property.
    """
    arrow, parquet = _pyarrow()
    rows = list(records)
    columns = _columns(rows)
    fields = [arrow.field(name, _arrow_type(arrow, kind)) for name, kind in _STRUCTURE.items()]
    for name, facts in columns.items():
        kind = "double" if facts["shape"] == [] else "doubles"
        metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
        fields.append(arrow.field(name, _arrow_type(arrow, kind), metadata=metadata))
    schema = arrow.schema(fields, metadata={"ase_comformer_records": str(VERSION)})
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, max(len(rows), 1), GROUP):
            part = [_row(record, columns) for record in rows[start : start + GROUP]]
            writer.write_table(arrow.Table.from_pylist(part, schema=schema))


def read(path: Path) -> Iterator[ResultRecord]:
    """Read group by group."""
    parquet = _pyarrow()[1]
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        if b"ase_comformer_records" not in (schema.metadata or {}):
            raise KeyError("ase_comformer_records")
        columns = {}
        for name in schema.names:
            if name not in _STRUCTURE:
                facts = {key.decode(): value.decode() for key, value in schema.field(name).metadata.items()}
                columns[name] = {**facts, "shape": json.loads(facts["shape"])}
        for batch in file.iter_batches(GROUP):
            for row in batch.to_pylist():
                yield _record(row, columns)


_STRUCTURE = {
    "formula": "string",
    "numbers": "integers",
    "positions": "doubles",
    "cell": "doubles",
    "pbc": "booleans",
    "more": "string",
    "model": "string",
    "fingerprint": "string",
    "settings": "string",
    "status": "string",
    "space_group": "string",
    "metadata": "string",
}


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("parquet files need the package pyarrow: pip install 'ase-comformer[parquet]'") from error
    return pyarrow, pyarrow.parquet


def _arrow_type(arrow: Any, kind: str) -> Any:
    return {
        "string": arrow.string(),
        "double": arrow.float64(),
        "doubles": arrow.list_(arrow.float64()),
        "integers": arrow.list_(arrow.int16()),
        "booleans": arrow.list_(arrow.bool_()),
    }[kind]


def _columns(records: Sequence[ResultRecord]) -> dict[str, dict[str, Any]]:
    """Facts by column, of values and of their expected errors."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        for name, each in record.values.items():
            facts = {key: getattr(each, key) for key in _FACTS}
            _join(found, name, {**facts, "role": "value", "shape": _shape(each.value, len(record.atoms))})
            if each.uncertainty is not None:
                shape = _shape(each.uncertainty, len(record.atoms))
                _join(found, f"{name}{UNCERTAINTY}", {**facts, "role": "uncertainty", "shape": shape})
    return {name: {**facts, "shape": facts["shape"][0]} for name, facts in found.items()}


def _shape(value: Any, count: int) -> list[list[int]]:
    """Shapes that the array may have in all records: as it is, or with the number of atoms first."""
    shape = list(np.shape(value))
    return [[-1, *shape[1:]], shape] if shape and shape[0] == count else [shape]


def _join(found: dict[str, dict[str, Any]], name: str, facts: Mapping[str, Any]) -> None:
    known = found.setdefault(name, dict(facts))
    shapes = [shape for shape in known["shape"] if shape in facts["shape"]]
    differing = [key for key in (*_FACTS, "role") if known[key] != facts[key]]
    if differing or not shapes:
        key = differing[0] if differing else "shape"
        raise ValueError(
            f"Records disagree about the {key} of {name}: {known[key]!r} and {facts[key]!r}. A parquet file has one "
            "description per column: write them to two files."
        )
    known["shape"] = shapes


def _row(record: ResultRecord, columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    structure = structure_as_dict(record.atoms)
    row = {
        "formula": record.atoms.get_chemical_formula(),
        "numbers": structure["numbers"],
        "positions": record.atoms.positions.ravel().tolist(),
        "cell": record.atoms.cell.array.ravel().tolist(),
        "pbc": structure["pbc"],
        "more": structure.get("more"),
        "model": record.model,
        "fingerprint": record.fingerprint,
        "settings": json.dumps(record.settings),
        "status": record.metadata.get("status"),
        "space_group": record.metadata.get("symmetry", {}).get("international"),
        "metadata": json.dumps(record.metadata),
    }
    for name, each in record.values.items():
        row[name] = _flat(each.value)
        if each.uncertainty is not None:
            row[f"{name}{UNCERTAINTY}"] = _flat(each.uncertainty)
    return row


def _flat(value: Any) -> Any:
    array = np.asarray(value, dtype=np.float64)
    return float(array) if array.ndim == 0 else array.ravel().tolist()


def _record(row: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> ResultRecord:
    structure = {key: row[key] for key in ("numbers", "pbc", "more")}
    structure["positions"] = np.reshape(row["positions"], (-1, 3)).tolist()
    structure["cell"] = np.reshape(row["cell"], (3, 3)).tolist()
    arrays = {name: _shaped(row[name], facts["shape"]) for name, facts in columns.items() if row[name] is not None}
    values = {}
    for name, value in arrays.items():
        if columns[name]["role"] == "value":
            error = arrays.get(f"{name}{UNCERTAINTY}")
            if columns.get(f"{name}{UNCERTAINTY}", {}).get("role") != "uncertainty":
                error = None
            unit, functional, kind = (columns[name][key] for key in _FACTS)
            values[name] = PropertyValue(value, unit, functional, kind, error)
    return ResultRecord(
        structure_from_dict(structure),
        values,
        row["model"],
        row["fingerprint"],
        json.loads(row["settings"]),
        json.loads(row["metadata"]),
    )


def _shaped(flat: Any, shape: Sequence[int]) -> Any:
    return np.reshape(np.array(flat, dtype=np.float64), shape) if shape else flat
