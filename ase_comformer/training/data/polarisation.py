"""The polarisation that displacements of ``response`` frames make, from published Born charges.

What the dipoles of ``nn.electrostatics`` are to add up to: sum_i eps_inf^(-1/2) Z_i u_i, with the Born charges Z and
the electronic dielectric tensor eps_inf of the same calculation. Two such dipoles interact like the charges screened by
the electrons, with 1 / (k eps_inf k) for a wave k (Pick, Cohen, Martin, Phys. Rev. B 1, 910 (1970)).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ase_comformer.training.data.records import Record, load_records

if TYPE_CHECKING:
    from ase_comformer.training.data.frames import Frames

logger = logging.getLogger(__name__)

#: A, farthest that an atom of a frame at rest may be from where the record with the Born charges has it.
_SAME_PLACE = 0.05
#: Records whose eps_inf or charges are not to be trusted (data/README.md).
_UNFIT = frozenset({"eps_inf_suspect"})


def with_polarisation(frames: Frames, folder: Path, splits: Sequence[str]) -> None:
    """Fill in the polarisation of harmonic frames in place; it stays NaN where no charges are known."""
    if not (folder / "dielectric_born.jsonl.gz").exists():
        logger.warning("%s has no dielectric_born.jsonl.gz: the polarisation of displacements is not learned", folder)
        return
    records = {r.id: r for r in load_records("dielectric_born", folder, splits) if not _UNFIT & set(r.flags)}
    screened = {name: screened_charges(record) for name, record in records.items()}
    rest = frames.at_rest().positions
    for number, (start, count) in enumerate(zip(frames.start, frames.count, strict=True)):
        name = str(frames.group[number])
        if name not in records:
            continue
        rows = slice(start, start + count)
        own = _atoms_of_record(rest[rows], frames.numbers[rows], records[name])
        if own is not None:
            frames.polarisation[number] = np.einsum("nij,nj->i", screened[name][own], frames.displacement[rows])


def screened_charges(record: Record) -> NDArray[np.float64]:
    """(n, 3, 3) eps_inf^(-1/2) Z, field before displacement."""
    values, vectors = np.linalg.eigh(np.asarray(record.labels["dielectric_tensor"]))
    root = (vectors / np.sqrt(values)) @ vectors.T
    return np.asarray(root @ np.asarray(record.labels["born_effective_charges"]))


def _atoms_of_record(
    positions: NDArray[np.float64], numbers: NDArray[np.int64], record: Record
) -> NDArray[np.int64] | None:
    """(N,) atom of the primitive cell that each atom is an image of; None where the crystals are not the same."""
    cell = record.atoms.cell.array
    apart = (positions @ np.linalg.inv(cell))[:, None] - record.atoms.get_scaled_positions()[None]
    apart -= np.round(apart)
    distance = np.linalg.norm(apart @ cell, axis=2)
    own = distance.argmin(axis=1)
    is_same = distance.min(axis=1).max() < _SAME_PLACE and (record.atoms.numbers[own] == numbers).all()
    return own if is_same else None
