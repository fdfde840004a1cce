"""Makes the index of what is trained on (``models.training_index``): ``python -m ase_comformer.training.data.index``.

Records enter with their formulas and crystals, frames with their formulas: displaced atoms have no space group. Only
the training split is listed.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.fingerprint import crystal_key, formula_key
from ase_comformer.models.checksums import write_checksums
from ase_comformer.models.registry import weights_folder
from ase_comformer.models.training_index import FILE, packed
from ase_comformer.training.data.frame_sources import SOURCES, load_frames
from ase_comformer.training.data.records import data_folder

logger = logging.getLogger(__name__)

#: Sources of frames that are other frames again.
_SAME_FORMULAS = ("response", "rest")


def make_index(folder: str | Path | None = None, weights: Path | None = None) -> Path:
    """Write the index of the training split of every data set.

    Args:
        folder: of the data; default ``ASE_COMFORMER_DATA``.
        weights: folder to write to; that of the shipped weights where None.
    """
    data = data_folder(folder)
    formulas: dict[int, set[str]] = {}
    crystals: dict[int, set[str]] = {}
    known: dict[bytes, int | None] = {}
    for path in sorted(data.glob("*.jsonl.gz")):
        name = path.name.removesuffix(".jsonl.gz")
        for atoms in _records(path):
            formulas.setdefault(formula_key(atoms.numbers), set()).add(name)
            _add_crystal(atoms, name, crystals, known)
    for path in sorted(data.glob("formation_energy_*.npz")):
        for atoms in _cells(path):
            formulas.setdefault(formula_key(atoms.numbers), set()).add(path.stem)
            _add_crystal(atoms, path.stem, crystals, known)
    for source in SOURCES:
        if source in _SAME_FORMULAS:
            continue
        frames = load_frames(source, ["train"], data)
        compositions = {
            tuple(sorted(frames.numbers[start : start + count].tolist()))
            for start, count in zip(frames.start, frames.count, strict=True)
        }
        for numbers in compositions:
            formulas.setdefault(formula_key(numbers), set()).add(source)
    names = sorted({name for sets in (*formulas.values(), *crystals.values()) for name in sets})
    arrays: dict[str, Any] = {"datasets": np.array(names)}
    for kind, found in (("formulas", formulas), ("crystals", crystals)):
        keys = np.array(sorted(found), dtype=np.uint64)
        arrays[kind] = packed(keys)
        arrays[f"{kind}_in"] = np.array([_bits(found[int(key)], names) for key in keys], dtype=np.uint32)
    target = weights or weights_folder()
    np.savez_compressed(target / FILE, **arrays)
    write_checksums(target)
    return target / FILE


def _add_crystal(atoms: Atoms, name: str, crystals: dict[int, set[str]], known: dict[bytes, int | None]) -> None:
    place = atoms.numbers.tobytes() + np.round(atoms.cell.array, 3).tobytes() + np.round(atoms.positions, 3).tobytes()
    if place not in known:
        known[place] = crystal_key(atoms)
    key = known[place]
    if key is not None:
        crystals.setdefault(key, set()).add(name)


def _bits(sets: set[str], names: list[str]) -> int:
    return sum(1 << names.index(name) for name in sets)


def _records(path: Path) -> Iterator[Atoms]:
    """Crystals of the training split of a file of records."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("split") == "train" and "frac" in row:
                yield Atoms(numbers=row["numbers"], scaled_positions=row["frac"], cell=row["lattice"], pbc=True)


def _cells(path: Path) -> Iterator[Atoms]:
    """Crystals of the training split of a file of cell parameters."""
    with np.load(path, allow_pickle=False) as file:
        arrays: dict[str, NDArray[Any]] = dict(file)
    for k, split in enumerate(arrays["split"]):
        if split == "train":
            rows = slice(int(arrays["ptr"][k]), int(arrays["ptr"][k + 1]))
            cell = arrays["cell_parameters"][k].astype(float)
            yield Atoms(numbers=arrays["numbers"][rows], scaled_positions=arrays["frac"][rows], cell=cell, pbc=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    logger.info("%s", make_index())
