"""Phonons against DFT: ``python -m benchmarks.phonons``.

Crystals of ``phonon_reference`` (PBEsol, test split): atoms are relaxed in the given cell with its space group kept (or
left at the given positions), force constants come from displacements of 0.01 A in the supercell of the reference
(phonopy, displacements by symmetry, +- where symmetry does not make them equal), forces of the undisplaced supercell
subtracted. Frequencies without LO-TO splitting, as the reference. The 2x2x2 grid is the eight q points of the
reference; "Gamma optical" leaves out the three modes nearest to zero, which are zero in both. The heat capacity is
that of the reference's mesh at 300 K, records flagged ``imaginary`` left out. Spurious: a mode below -0.3 THz on the
mesh of a crystal that is stable in the reference. Failures (elements, relaxation, phonopy) are counted, not hidden.
The reference is PBEsol at PBEsol cells, the potential follows PBE.
"""

import gzip
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from phonopy import Phonopy
from rich.table import Table

from ase_comformer import GMTNetCalculator
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.phonopy_bridge import phonopy_with_forces
from ase_comformer.training.data.records import data_folder
from benchmarks.surface import Clock, cell_of, mean, one_thread, parser, prepare_console, relax, spread, verdict

FLOORS = {"grid": 0.45, "gamma_optical": 0.45, "highest": 0.6, "heat_capacity": 3.0}
DISPLACEMENT = 0.01
IMAGINARY = -0.3
SYMPREC = 1e-3


@dataclass(frozen=True)
class Phonons:
    """Harmonic phonons of one crystal: (8, 3n) THz at the q points, extremes on the mesh, J/K per mole of atoms."""

    frequencies: np.ndarray
    lowest: float
    highest: float
    heat_capacity: float


def reference(folder: str | None, count: int) -> list[dict[str, Any]]:
    """Records, spread over the file."""
    with gzip.open(data_folder(folder) / "phonon_reference.jsonl.gz", "rt", encoding="utf-8") as lines:
        return spread([json.loads(line) for line in lines], count)


def force_constants(atoms: Atoms, supercell: np.ndarray, predictor: Predictor) -> Phonopy:
    """Phonopy object with symmetrised force constants; rows of ``supercell`` times the cell are its vectors."""

    def forces(structures: Sequence[Atoms]) -> list[np.ndarray]:
        # four cells of a hundred atoms fill the caches of a core
        found = predictor.predict(structures, ["forces"], batch_size=4, on_error="raise")
        return [result["forces"] for result in found]

    return phonopy_with_forces(atoms, supercell, forces, distance=DISPLACEMENT, symprec=SYMPREC, subtract_rest=True)


def phonons(phonon: Phonopy, record: dict[str, Any]) -> Phonons:
    """Compute what the reference records from force constants."""
    frequencies = np.sort(np.array(phonon.run_qpoints(record["q"]).frequencies), axis=1)
    mesh = phonon.run_mesh(record["mesh"], is_gamma_center=True)
    on_mesh = np.array(mesh.frequencies)
    thermal = phonon.run_thermal_properties(temperatures=[300.0])
    return Phonons(
        frequencies,
        float(on_mesh.min()),
        float(on_mesh.max()),
        float(thermal.heat_capacity[0] / len(record["numbers"])),
    )


def optical(frequencies: np.ndarray) -> np.ndarray:
    """The modes at Gamma (3n,) without the three nearest to zero, ascending."""
    return np.sort(frequencies[np.argsort(np.abs(frequencies))[3:]])


def errors(found: Phonons, record: dict[str, Any]) -> dict[str, float]:
    """Mean absolute errors of one crystal, and 0 or 1 for spurious and missed instabilities."""
    expected = np.sort(np.array(record["freq_thz"]), axis=1)
    stable = "imaginary" not in record["flags"]
    soft = found.lowest < IMAGINARY
    per_atom = record["cv300"] / len(record["numbers"])
    return {
        "gamma": float(np.abs(found.frequencies[0] - expected[0]).mean()),
        "gamma_optical": float(np.abs(optical(found.frequencies[0]) - optical(expected[0])).mean()),
        "grid": float(np.abs(found.frequencies - expected).mean()),
        "highest": abs(found.highest - record["mesh_fmax_thz"]),
        "highest_bias": 100 * (found.highest / record["mesh_fmax_thz"] - 1),
        "heat_capacity": abs(found.heat_capacity - per_atom) if stable else float("nan"),
        "spurious": float(soft) if stable else float("nan"),
        "missed": float("nan") if stable else float(not soft),
    }


def evaluate(
    records: Sequence[dict[str, Any]], positions: str, calculator: Calculator, predictor: Predictor
) -> Iterator[tuple[str, dict[str, float] | str]]:
    """(id and formula, errors or what went wrong) of every record; unconverged relaxations have ``unconverged`` = 1."""
    for record in records:
        name = f"{record['id']} {record['formula']}"
        atoms = Atoms(numbers=record["numbers"], cell=record["lattice"], scaled_positions=record["frac"], pbc=True)
        ended = None
        try:
            if positions == "relaxed":
                atoms.calc = calculator
                ended = relax(atoms, fmax=1e-3, steps=200, symprec=SYMPREC)
                if ended.error:
                    yield name, ended.error
                    continue
            found = phonons(force_constants(atoms, np.array(record["supercell"]), predictor), record)
        except Exception as error:  # counted, and shown with the record
            yield name, f"{type(error).__name__}: {str(error).splitlines()[0]}"
            continue
        yield name, errors(found, record) | {"unconverged": float(ended is not None and not ended.converged)}


HEADINGS = {
    "gamma": "Γ, all modes (THz)",
    "gamma_optical": "Γ, optical (THz)",
    "grid": "2x2x2 grid (THz)",
    "highest": "highest (THz)",
    "highest_bias": "highest, median bias (%)",
    "heat_capacity": "C_V, 300 K (J/mol/K)",
    "spurious": "spurious soft (%)",
    "missed": "missed soft (%)",
}
SHARES = ("spurious", "missed")


def main() -> None:
    """Print one row of mean absolute errors per kind of positions, verdicts and failures."""
    made = parser(__doc__, crystals=0, dtype="float64")
    made.add_argument("--positions", choices=("relaxed", "given", "both"), default="relaxed")
    made.add_argument("--each", action="store_true", help="print every crystal too")
    given = made.parse_args()
    if given.split != "test":
        raise SystemExit("phonon_reference.jsonl.gz has a test split only")
    one_thread()
    console, clock = prepare_console(150), Clock()
    warnings.filterwarnings("ignore", message="Mesh")  # phonopy, of the reference's meshes: slower, not wrong
    records = reference(given.data, given.crystals)
    calculator = GMTNetCalculator(model=given.model, dtype=given.dtype)
    predictor = Predictor(model=given.model, dtype=given.dtype)
    table = Table(title=f"phonons, {len(records)} reference crystals, model {given.model}: mean absolute errors")
    for heading in ("positions", "crystals", *HEADINGS.values(), "not relaxed", "failed"):
        table.add_column(heading, justify="right")
    kinds = ("relaxed", "given") if given.positions == "both" else (given.positions,)
    lines = []
    for kind in kinds:
        rows, failures = [], []
        for name, outcome in evaluate(records, kind, calculator, predictor):
            if given.each:
                shown = outcome if isinstance(outcome, str) else {k: round(v, 3) for k, v in outcome.items()}
                console.print(f"{name}, {kind}: {shown}")
            if isinstance(outcome, str):
                failures.append(f"{name}, {kind}: {outcome}")
            else:
                rows.append(outcome)
        means = {}
        for key in HEADINGS:
            values = np.array([row[key] for row in rows])
            known = values[~np.isnan(values)]
            means[key] = float(np.median(known)) if key == "highest_bias" and len(known) else mean(known)
        cells = [
            cell_of(100 * v, ".1f") if k in SHARES else cell_of(v, ".1f" if k == "highest_bias" else ".3g")
            for k, v in means.items()
        ]
        unconverged = sum(row["unconverged"] for row in rows)
        table.add_row(kind, str(len(rows)), *cells, f"{unconverged:.0f}", str(len(failures)))
        lines += [verdict(f"{kind} positions, {HEADINGS[key]}", means[key], limit) for key, limit in FLOORS.items()]
        lines += [f"[red]FAILED[/] {failure}" for failure in failures]
    console.print(table)
    for line in lines:
        console.print(line)
    console.print(str(clock))


if __name__ == "__main__":
    main()
