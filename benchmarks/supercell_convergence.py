"""Shows how far periodic images have to be apart: ``python -m benchmarks.supercell_convergence [--crystals 14]``.

Val crystals of the dielectric set (PBEsol cells, at most six atoms, as they are) get phonons with predicted charges in
the smallest supercell of their symmetry whose images are a given distance apart. Frequencies at 60 random wave vectors,
the same in every crystal, are compared with those of images ``REFERENCE`` A apart (at most 450 atoms, and crystals that
do not reach 14 A with that many are left out). The default of ``phonons`` is read off here.
"""

from __future__ import annotations

import gzip
import json
import time
import warnings
from typing import Any

import numpy as np
from ase import Atoms
from rich.table import Table

from ase_comformer import phonons
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.supercells import shortest_vector, symmetric_supercell
from ase_comformer.training.data.records import data_folder
from benchmarks.surface import Clock, one_thread, parser, prepare_console, spread

DISTANCES = (6.0, 8.0, 9.0, 10.0, 12.0)
REFERENCE, LEAST_REFERENCE, MOST_ATOMS = 17.0, 14.0, 450
LARGEST_CELL = 6


def val_crystals(folder: str | None, count: int) -> list[dict[str, Any]]:
    """Records of small val crystals, spread over the file."""
    with gzip.open(data_folder(folder) / "dielectric_born.jsonl.gz", "rt", encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    small = [each for each in every if each["split"] == "val" and len(each["numbers"]) <= LARGEST_CELL]
    return spread(small, count)


def main() -> None:
    """Print differences by distance."""
    given = parser(__doc__, crystals=14, dtype="float64").parse_args()
    one_thread()
    console, clock = prepare_console(120), Clock()
    warnings.simplefilter("ignore")
    predictor = Predictor(model=given.model, dtype=given.dtype)
    q = np.random.default_rng(0).uniform(-0.5, 0.5, (60, 3))
    rows = []
    for record in val_crystals(given.data, given.crystals):
        atoms = Atoms(numbers=record["numbers"], cell=record["lattice"], scaled_positions=record["frac"], pbc=True)
        group = analyse_space_group(atoms)
        largest = symmetric_supercell(group, REFERENCE, MOST_ATOMS)
        if shortest_vector(largest @ group.primitive.cell.array) < LEAST_REFERENCE:
            continue
        expected = phonons(atoms, relax=None, supercell=largest, predictor=predictor).frequencies(q)
        row = []
        for distance in DISTANCES:
            start = time.process_time()
            found = phonons(atoms, relax=None, supercell=distance, predictor=predictor)
            spent = time.process_time() - start
            differences = np.abs(found.frequencies(q) - expected)
            row.append((differences.mean(), differences.max(), len(found.phonopy.supercell), spent))
        rows.append(row)
    values = np.array(rows)
    table = Table(title=f"frequencies against images {REFERENCE:g} A apart, {len(rows)} val crystals")
    for heading in ("images apart (A)", "mean (THz)", "largest, median (THz)", "atoms", "CPU s"):
        table.add_column(heading, justify="right")
    for k, distance in enumerate(DISTANCES):
        mean, _, atoms_, spent = values[:, k].mean(axis=0)
        largest_difference = np.median(values[:, k, 1])
        table.add_row(f"{distance:g}", f"{mean:.3f}", f"{largest_difference:.2f}", f"{atoms_:.0f}", f"{spent:.2f}")
    console.print(table)
    console.print(str(clock))


if __name__ == "__main__":
    main()
