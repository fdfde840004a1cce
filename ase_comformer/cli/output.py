"""``--output FILE``: results as a table of numbers (csv) or with everything that is known of them, by the ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from ase_comformer.properties.registry import PROPERTIES
from ase_comformer.tensors.voigt import VOIGT_LABELS
from ase_comformer.workflows.predict_sources import Row

#: A spreadsheet takes cells of text that begin so for formulas, and would run them.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
FORMATS = (".csv", ".jsonl")


def check_output(path: Path | None) -> None:
    """Refuse an ending that stands for no format, before anything is computed."""
    if path is not None and path.suffix.lower() not in FORMATS:
        raise typer.BadParameter(
            f"{path.name!r} ends in none of {', '.join(FORMATS)}, so its format is not known.", param_hint="--output"
        )


def write_rows(
    path: Path, rows: Sequence[Row], facts: Mapping[str, Mapping[str, Any]], model: Mapping[str, Any]
) -> None:
    """Write results to a file.

    Args:
        path: ends in one of ``FORMATS``; folders are made.
        rows: results, in order.
        facts: what ``Predictor.describe`` says of each property.
        model: name and fingerprint of the weights.
    """
    write_records(path, [row.as_dict() for row in rows], facts, model)


def write_records(
    path: Path,
    records: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    model: Mapping[str, Any] | None = None,
) -> None:
    """Write flat dictionaries, as ``Row.as_dict`` and ``read_screen`` give them; arguments as ``write_rows``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".csv":
        _write_csv(path, records, facts)
        return
    keys = ("unit", "functional", "kind")
    what = {name: {key: described[key] for key in keys} for name, described in facts.items()}
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            line = {**record, "properties": {name: what[name] for name in record if name in what}}
            if model is not None:
                line["model"] = dict(model)
            file.write(json.dumps(line, default=lambda value: np.asarray(value).tolist()) + "\n")


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Mapping[str, Any]]) -> None:
    """One column per component of a tensor, with its unit; tensors of atoms are JSON."""
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
        elif PROPERTIES[name].per_atom:
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
