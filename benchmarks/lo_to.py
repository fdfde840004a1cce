"""Longitudinal and transverse optical modes against DFT: ``python -m benchmarks.lo_to``.

Insulators of ``phonon_reference`` (PBEsol, test split) whose record has zone-centre frequencies for q -> 0 along x, y
and z. Atoms are relaxed in the given cell with its space group kept; force constants at q = 0 come from displacements
in the primitive cell, the non-analytic term from predicted Born charges and dielectric tensor. "Optical" are the modes
without the three nearest to zero, which are zero in both, averaged over the three directions; "highest" is the highest
of all; the largest shift of a crystal is the largest difference that the term makes to any mode in any direction, modes
in ascending order. A crystal that the model takes for a metal counts without a term. Failures (elements, relaxation)
are counted, not hidden. The reference is PBEsol at PBEsol cells, the potential follows PBE.
"""

from __future__ import annotations

import gzip
import json
import warnings
from typing import Any

import numpy as np
from ase import Atoms
from rich.table import Table

from ase_comformer import phonons
from ase_comformer.inference.predictor import Predictor
from ase_comformer.training.data.records import data_folder
from benchmarks.phonons import optical
from benchmarks.surface import Clock, mean, one_thread, parser, prepare_console, spread, verdict

FLOORS = {"optical": 0.27, "highest": 0.35, "shift": 0.26}
HEADINGS = {
    "optical": "Γ, optical (THz)",
    "without": "the same without a term",
    "highest": "highest (THz)",
    "highest_without": "the same without a term",
    "shift": "largest shift (THz)",
}


def records(folder: str | None, count: int) -> list[dict[str, Any]]:
    """Records with longitudinal frequencies, spread over the file."""
    with gzip.open(data_folder(folder) / "phonon_reference.jsonl.gz", "rt", encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    return spread([record for record in every if record["gamma_lo_thz"]], count)


def errors(record: dict[str, Any], predictor: Predictor) -> dict[str, float]:
    """Mean absolute errors of one crystal, and the shift that DFT finds."""
    atoms = Atoms(numbers=record["numbers"], cell=record["lattice"], scaled_positions=record["frac"], pbc=True)
    found = phonons(atoms, supercell=(1, 1, 1), predictor=predictor)
    if len(found.primitive) != len(atoms):
        raise ValueError(f"within symprec it repeats a cell of {len(found.primitive)} atoms, the record has more")
    # directions are Cartesian ones of the input, whose orientation the primitive cell keeps
    limits = [found.frequencies([0, 0, 0], direction=axis) for axis in np.eye(3)]
    transverse = found.frequencies([0, 0, 0])
    expected = [np.sort(np.array(row)) for row in record["gamma_lo_thz"]]
    bare = np.sort(np.array(record["freq_thz"])[0])
    shift = float(max(np.max(row - transverse) for row in limits))
    expected_shift = float(max(np.max(row - bare) for row in expected))
    pairs = list(zip(limits, expected, strict=True))
    return {
        "optical": float(np.mean([np.abs(optical(one) - optical(other)).mean() for one, other in pairs])),
        "without": float(np.mean([np.abs(optical(transverse) - optical(other)).mean() for other in expected])),
        "highest": abs(float(max(row[-1] for row in limits) - max(row[-1] for row in expected))),
        "highest_without": abs(float(transverse[-1] - max(row[-1] for row in expected))),
        "shift": abs(shift - expected_shift),
        "expected_shift": expected_shift,
        "term": float(found.has_non_analytic_term),
    }


def main() -> None:
    """Print a table of mean absolute errors, verdicts and failures."""
    made = parser(__doc__, crystals=0, dtype="float64")
    made.add_argument("--each", action="store_true", help="print every crystal too")
    given = made.parse_args()
    if given.split != "test":
        raise SystemExit("phonon_reference.jsonl.gz has a test split only")
    one_thread()
    console, clock = prepare_console(150), Clock()
    warnings.simplefilter("ignore")
    predictor = Predictor(model=given.model, dtype=given.dtype)
    chosen = records(given.data, given.crystals)
    rows, failures = [], []
    for record in chosen:
        name = f"{record['id']} {record['formula']}"
        try:
            rows.append(errors(record, predictor))
        except Exception as error:  # counted, and shown with the record
            failures.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        if given.each:
            console.print(f"{name}: { ({key: round(value, 3) for key, value in rows[-1].items()}) }")
    title = f"zone centre, {len(chosen)} insulators of phonon_reference, model {given.model}: mean absolute errors"
    table = Table("crystals", *HEADINGS.values(), "shift in DFT", "with a term", "failed", title=title)
    means = {key: mean([row[key] for row in rows]) for key in (*HEADINGS, "expected_shift")}
    with_term = f"{sum(row['term'] for row in rows):.0f}"
    table.add_row(str(len(rows)), *(f"{value:.3f}" for value in means.values()), with_term, str(len(failures)))
    console.print(table)
    for key, limit in FLOORS.items():
        console.print(verdict(HEADINGS[key], means[key], limit))
    for failure in failures:
        console.print(f"[red]FAILED[/] {failure}")
    console.print(str(clock))


if __name__ == "__main__":
    main()
