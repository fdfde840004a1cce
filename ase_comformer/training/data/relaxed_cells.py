"""Present-day cells of the Materials Project, brought onto the PBE surface that their labels belong to.

Structures of source ``mp_cif_2023`` were relaxed with r2SCAN. ``training_data/relax_cells.py`` finds the strain of each
that takes the stress of the shipped potential away at fixed space group; here it is applied.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.tensors.voigt import voigt_to_cartesian

SOURCE = "mp_cif_2023"
"""What ``structure_source`` says of a present-day cell."""
FILES = ("moduli", "dielectric_scalars", "piezo_modulus_mp")
"""Data sets with such cells."""
STRAINS = Path(__file__).parents[3] / "training_data" / "relaxed_cells.npz"


def cells_of_2023(folder: Path, largest: int = 200) -> dict[str, Atoms]:
    """Materials Project id -> present-day structure as published, of all data sets, up to ``largest`` atoms."""
    found: dict[str, Atoms] = {}
    for row in _rows(folder):
        if row["id"] not in found and len(row["numbers"]) <= largest:
            found[row["id"]] = Atoms(
                numbers=row["numbers"], scaled_positions=row["frac"], cell=row["lattice"], pbc=True
            )
    return found


def relaxed_lattice(row: dict[str, Any]) -> NDArray[np.float64] | None:
    """(3, 3) A, lattice of a row of a data set: strained where it is a present-day cell, None where no strain is known.

    Raises:
        FileNotFoundError: the file of strains is missing.
    """
    lattice = np.asarray(row["lattice"], dtype=np.float64)
    if row.get("structure_source") != SOURCE:
        return lattice
    strain = _strains().get(row["id"])
    return None if strain is None else lattice @ (np.eye(3) + strain)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for name in FILES:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            yield from (row for row in map(json.loads, lines) if row["structure_source"] == SOURCE)


@functools.cache
def _strains() -> dict[str, NDArray[np.float64]]:
    if not STRAINS.is_file():
        raise FileNotFoundError(
            f"{str(STRAINS)!r} is missing: make it with `python training_data/relax_cells"
            ".py` (present-day cells need relaxing before their labels fit them)"
        )
    with np.load(STRAINS) as stored:
        strains = voigt_to_cartesian(stored["strain"].astype(np.float64), "strain")
        return dict(zip(stored["id"].tolist(), strains, strict=True))
