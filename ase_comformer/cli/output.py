"""``--output FILE``: results as a table of numbers (csv) or with everything that is known of them, by the ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import typer

from ase_comformer.inference.predictor import Predictor
from ase_comformer.properties.registry import tensor_property
from ase_comformer.records import FORMATS as RECORD_FORMATS
from ase_comformer.records import records_of, write_records
from ase_comformer.tensors.voigt import VOIGT_LABELS
from ase_comformer.workflows.predict_sources import Row

#: A spreadsheet takes cells of text that begin so for formulas, and would run them.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
FORMATS = (".csv", *RECORD_FORMATS)


def check_output(path: Path | None, formats: Sequence[str] = FORMATS) -> None:
    """Refuse an ending that stands for no format, before anything is computed."""
    if path is not None and path.suffix.lower() not in formats:
        raise typer.BadParameter(
            f"{path.name!r} ends in none of {', '.join(formats)}, so its format is not known.", param_hint="--output"
        )


def write_rows(path: Path, rows: Sequence[Row], predictor: Predictor) -> None:
    """Write results to a file, which is replaced where it exists.

    Args:
        path: ends in one of ``FORMATS``; folders are made. What could not be read has a row in csv; the other formats
            hold structures with their results (``ase_comformer.records``), so it has no place there.
        rows: results, in order.
        predictor: that made them.
    """
    if path.suffix.lower() == ".csv":
        names = {name for row in rows for name in row.values or {}}
        write_csv(path, [row.as_dict() for row in rows], {name: predictor.describe(name) for name in names})
        return
    kept = [row for row in rows if row.atoms is not None]
    records = records_of(predictor, [row.atoms for row in kept], [row.result or {} for row in kept])
    write_records(
        path,
        (
            replace(record, metadata={**record.metadata, "source": row.source})
            for record, row in zip(records, kept, strict=True)
        ),
    )


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write flat dictionaries, as ``Row.as_dict`` and ``read_screen`` give them, as a table.

    One column per component of a tensor, with its unit; tensors of atoms are JSON.

    Args:
        path: folders are made.
        rows: in order.
        facts: property name -> what ``Predictor.describe`` says of it, of which the unit is read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = [_flat(row, facts) for row in rows]
    header = list(dict.fromkeys(key for row in flat for key in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in flat:
            writer.writerow([_cell(row.get(key, "")) for key in header])


def _flat(row: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name not in facts:
            flat[name] = json.dumps(value) if isinstance(value, dict) else value
            continue
        unit = f" ({facts[name]['unit']})" if facts[name]["unit"] not in ("", "-", "1") else ""
        array = np.asarray(value)
        if array.ndim == 0:
            flat[f"{name}{unit}"] = float(value)
        elif tensor_property(name).per_atom:
            flat[f"{name}{unit}"] = json.dumps(array.tolist())
        else:
            for index in np.ndindex(array.shape):
                flat[f"{name} {_component(array.shape, index)}{unit}"] = float(array[index])
    return flat


def _component(shape: tuple[int, ...], index: tuple[int, ...]) -> str:
    """Name of a component: xy of a (3, 3) tensor, x_yz of a (3, 6) one, xx_yz of a (6, 6) one."""
    names = [VOIGT_LABELS[place] if size == 6 else "xyz"[place] for size, place in zip(shape, index, strict=True)]
    return ("" if set(shape) == {3} else "_").join(names)


def _cell(value: Any) -> Any:
    """A cell; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return value
