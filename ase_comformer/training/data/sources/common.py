"""Holds what all sources share: structures to row fields, withheld formulas, symmetry residuals, reading and writing.

A row is a JSON-able dictionary; shapes and units of its labels are those of the data package (see the converters).
"""

import gzip
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ase_comformer import tensors
from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.training.data import records as data

logger = logging.getLogger(__name__)

Row = dict[str, Any]

# Decimals of lattice vectors (A) and fractional coordinates in a row, as in the data package.
_DECIMALS = 8


def structure_fields(atoms: Atoms) -> Row:
    """Row fields ``formula``, ``split``, ``lattice`` (A), ``frac`` in [0, 1) and ``numbers`` of a crystal.

    Raises:
        ValueError: if the crystal is not periodic in three directions or has no volume.
    """
    from pymatgen.core import Composition

    if len(atoms) == 0 or not atoms.pbc.all() or abs(np.linalg.det(atoms.cell.array)) < 1e-6:
        raise ValueError(
            f"structure {atoms.get_chemical_formula() or 'without atoms'} with pbc={atoms.pbc.tolist()} and cell "
            f"{atoms.cell.array.tolist()} is no three-dimensional crystal: leave it out or give it its cell"
        )
    formula = Composition(atoms.get_chemical_formula()).reduced_formula
    fractional = np.round(atoms.get_scaled_positions(wrap=True), _DECIMALS) % 1.0
    return {
        "formula": formula,
        "split": data.split_of(formula),
        "lattice": np.round(atoms.cell.array, _DECIMALS).tolist(),
        "frac": fractional.tolist(),
        "numbers": atoms.get_atomic_numbers().tolist(),
    }


def atoms_from_dict(structure: dict[str, Any]) -> Atoms:
    """Crystal from pymatgen's or JARVIS's dictionary form, in the Cartesian frame of its lattice matrix.

    Raises:
        ValueError: for disordered sites or a dictionary of neither form.
    """
    if "lattice" in structure and "sites" in structure:
        symbols = []
        for site in structure["sites"]:
            species = site["species"]
            if len(species) != 1 or abs(species[0].get("occu", 1) - 1) > 1e-3:
                raise ValueError(f"site {site.get('label')} is disordered ({species}): leave this structure out")
            # "Fe3+" and similar decorations carry no information that a tensor needs.
            symbols.append(species[0]["element"].rstrip("+-0123456789."))
        fractional = [site["abc"] for site in structure["sites"]]
        return Atoms(symbols, scaled_positions=fractional, cell=structure["lattice"]["matrix"], pbc=True)
    if "lattice_mat" in structure and "coords" in structure:
        symbols = [symbol.strip() for symbol in structure["elements"]]
        atoms = Atoms(symbols, cell=structure["lattice_mat"], pbc=True)
        if structure.get("cartesian", False):
            atoms.positions = structure["coords"]
        else:
            atoms.set_scaled_positions(structure["coords"])
        return atoms
    raise ValueError(
        f"cannot read a structure with the keys {sorted(structure)}: expected pymatgen's (lattice, sites) or "
        "JARVIS's (lattice_mat, coords, elements, cartesian)"
    )


def space_group_fields(atoms: Atoms, symprec: float) -> tuple[SpaceGroup, Row]:
    """Space group and the row fields ``spg`` (number), ``spg_source`` and ``pointgroup``."""
    group = analyse_space_group(atoms, symprec=symprec)
    return group, {"spg": group.number, "spg_source": f"symprec {symprec:g}", "pointgroup": group.point_group}


def symmetry_residual(tensor: np.ndarray, rotations: np.ndarray, property_name: str) -> float:
    """Largest deviation of a tensor from invariance under a point group, relative to its norm.

    Args:
        tensor: documented form of ``property_name``.
        rotations: (G, 3, 3) Cartesian operations.
        property_name: public name of a tensor property of the crystal.
    """
    full = tensors.to_cartesian(np.asarray(tensor, dtype=np.float64), property_name)
    turned = tensors.rotate(np.broadcast_to(tensor, (len(rotations), *np.shape(tensor))), rotations, property_name)
    deviations = tensors.to_cartesian(turned, property_name) - full
    size = max(float(np.linalg.norm(full)), 1e-12)
    return float(np.sqrt((deviations.reshape(len(rotations), -1) ** 2).sum(axis=1)).max()) / size


def tensor_field(value: object, shape: tuple[int, ...], name: str, identifier: str) -> np.ndarray:
    """Float64 array of the expected shape.

    Raises:
        ValueError: for another shape, or NaN or infinite components.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{identifier}: {name} is no array of numbers ({error}): correct or remove it") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(
            f"{identifier}: {name} must be a finite array of shape {shape}, got shape {array.shape}: correct or "
            "remove the entry"
        )
    return array


def collect(
    entries: Iterable[Any], convert: Callable[[Any], Row | None], source: str, *, keep_withheld: bool
) -> list[Row]:
    """Convert entries one by one; drop withheld formulas, and entries for which ``convert`` returns None.

    An entry that cannot be read (ValueError) is logged and skipped, so that one bad entry does not cost the rest.

    Raises:
        ValueError: if no entry at all could be read.
    """
    rows: list[Row] = []
    withheld = dropped = 0
    failures: list[ValueError] = []
    for entry in entries:
        try:
            row = convert(entry)
        except ValueError as error:
            logger.warning("%s: entry skipped: %s", source, error)
            failures.append(error)
            continue
        if row is None:
            dropped += 1
        elif row["split"] == "withheld" and not keep_withheld:
            withheld += 1
        else:
            rows.append(row)
    if failures and not rows and not withheld and not dropped:
        raise ValueError(f"{source}: none of {len(failures)} entries could be read; the first: {failures[0]}")
    logger.info(
        "%s: %d rows; left out: %d of withheld formulas, %d by the filters, %d unreadable",
        source,
        len(rows),
        withheld,
        dropped,
        len(failures),
    )
    return rows


def raised_flags(conditions: Mapping[str, bool | np.bool_]) -> list[str]:
    """Names of the conditions that hold, in order."""
    return [name for name, holds in conditions.items() if holds]


def open_text(path: str | Path) -> Any:
    """Open a text file, gzip-compressed or not, for reading.

    Raises:
        FileNotFoundError: if it does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"source file {str(path)!r} does not exist: check the path")
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def write_rows(rows: Sequence[Row], path: str | Path) -> Path:
    """Write rows as gzip-compressed JSON lines, such as FOLDER/dielectric_born.jsonl.gz for ``load_records``.

    The same rows give the same bytes.

    Raises:
        ValueError: if a row contains NaN or infinite numbers, or objects that JSON does not have.
    """
    lines = []
    for row in rows:
        try:
            lines.append(json.dumps(row, allow_nan=False, separators=(",", ":")) + "\n")
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"row {row.get('id')!r} cannot be written as JSON ({error}): use null for missing"
            ) from error
    text = "".join(lines)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
    return path


def to_record(row: Row) -> data.Record:
    """``training.data.Record`` of one row.

    Rows of a known data set (field ``dataset``) are read as the loader of that data set reads them; rows with a
    ``labels`` dictionary of public property names are taken as they are.

    Raises:
        ValueError: if the row names no known data set and has no labels.
    """
    if row.get("dataset") in data.DATASETS:
        return data.record_of_row(row["dataset"], row)
    if "labels" not in row:
        raise ValueError(
            f"row {row.get('id')!r} has neither labels nor a dataset among {', '.join(data.DATASETS)}: add one of both"
        )
    atoms = Atoms(numbers=row["numbers"], scaled_positions=row["frac"], cell=row["lattice"], pbc=True)
    labels: dict[str, np.ndarray | float] = {
        name: float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float64)
        for name, value in row["labels"].items()
    }
    known = ("id", "formula", "split", "lattice", "frac", "numbers", "labels", "flags")
    extras = {name: value for name, value in row.items() if name not in known and value is not None}
    return data.Record(row["id"], row["formula"], row["split"], atoms, labels, tuple(row["flags"]), extras)
