"""Relaxation of distorted crystals: ``python -m benchmarks.relaxation``.

PBE cells of ``elastic_mp`` and ``dielectric_mp``, strained at random (the largest principal strain is 3 %) and rattled
by Gaussians of 0.05 A, are relaxed, cell and atoms, with FIRE or BFGS and FrechetCellFilter to fmax 0.01 eV/A in 300
steps, without symmetry constraints. Volumes are compared with the PBE cells; the space group is recovered when spglib
finds the same number at symprec 0.1 A for the relaxed and for the PBE structure. The row "as distorted" says what that
is worth. Crystals that fail (error, not converged) count as not recovered; those with elements outside the model are
left out and counted.
"""

from dataclasses import dataclass

import numpy as np
import spglib
from ase import Atoms
from rich.table import Table

from ase_comformer import GMTNetCalculator
from ase_comformer.training.data.records import Record, load_records
from benchmarks.surface import (
    OPTIMISERS,
    Clock,
    Relaxation,
    cell_of,
    mean,
    one_thread,
    parser,
    prepare_console,
    relax,
    spread,
    verdict,
)

DATASETS = ("elastic_mp", "dielectric_mp")
CONVERGED, VOLUME, RECOVERED = 98.0, 1.5, 80.0
SYMPREC = 0.1


def distorted(atoms: Atoms, strain: float, rattle: float, seed: int) -> Atoms:
    """A copy with a random strain whose largest principal value is ``strain``, and Gaussian displacements, A."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(3, 3))
    direction += direction.T
    direction *= strain / np.abs(np.linalg.eigvalsh(direction)).max()
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + direction), scale_atoms=True)
    moved.positions += rattle * rng.normal(size=moved.positions.shape)
    return moved


def space_group_number(atoms: Atoms) -> int:
    """At ``SYMPREC``; 0 where spglib fails."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    except Exception:  # spglib announces exceptions of its own in place of None
        dataset = None
    return 0 if dataset is None else int(dataset.number)


def crystals(folder: str | None, split: str, count: int) -> list[Record]:
    """Distinct crystals of both data sets, by id and space group, spread over them."""
    found: dict[tuple[str, int], Record] = {}
    for dataset in DATASETS:
        for record in load_records(dataset, folder, (split,)):
            found.setdefault((record.formula, record.extras["spg"]), record)
    return spread(list(found.values()), count)


@dataclass(frozen=True)
class Row:
    """One crystal: how its relaxation ended, volume error in % (NaN after an error), whether the group is the same."""

    name: str
    ended: Relaxation
    volume: float
    recovered: bool
    before: bool
    volume_before: float


def run(record: Record, calculator: GMTNetCalculator, optimiser: str, seed: int, steps: int, fmax: float) -> Row:
    """Distort, relax, compare."""
    atoms = distorted(record.atoms, 0.03, 0.05, seed)
    expected, volume = space_group_number(record.atoms), record.atoms.get_volume()
    before, volume_before = space_group_number(atoms) == expected, atoms.get_volume()
    atoms.calc = calculator
    ended = relax(atoms, fmax=fmax, steps=steps, optimiser=optimiser, cell=True)
    usable = not ended.error and np.isfinite(atoms.positions).all()
    return Row(
        f"{record.id} {record.formula}",
        ended,
        100 * (atoms.get_volume() / volume - 1) if usable else float("nan"),
        ended.converged and space_group_number(atoms) == expected,
        before,
        100 * (volume_before / volume - 1),
    )


def main() -> None:
    """Relax every crystal and print the table, verdicts and what failed."""
    made = parser(__doc__, crystals=100)
    made.add_argument("--optimiser", choices=tuple(OPTIMISERS), default="BFGS")
    made.add_argument("--steps", type=int, default=300)
    made.add_argument("--fmax", type=float, default=0.01, help="eV/A")
    made.add_argument("--each", action="store_true", help="print every crystal too")
    given = made.parse_args()
    one_thread()
    console, clock = prepare_console(), Clock()
    records = crystals(given.data, given.split, given.crystals)
    calculator = GMTNetCalculator(model=given.model, dtype=given.dtype)
    covered = set(calculator.describe("energy")["elements"])
    usable = [record for record in records if set(map(str, record.atoms.symbols)) <= covered]
    rows = []
    for seed, record in enumerate(usable):
        row = run(record, calculator, given.optimiser, seed, given.steps, given.fmax)
        rows.append(row)
        if given.each:
            state = row.ended.error or ("converged" if row.ended.converged else "not converged")
            group = "recovered" if row.recovered else "lost"
            console.print(f"{row.name}: {state} after {row.ended.steps} steps, volume {row.volume:+.2f} %, {group}")
    volumes = np.array([row.volume for row in rows])
    finite = volumes[np.isfinite(volumes)]
    # a crystal without a relaxed volume is worse than any error: it must not improve the median
    median = float(np.median(np.where(np.isfinite(volumes), np.abs(volumes), np.inf))) if rows else float("nan")
    converged = 100 * mean([row.ended.converged for row in rows])
    recovered = 100 * mean([row.recovered for row in rows])
    title = f"{given.optimiser} + FrechetCellFilter, fmax {given.fmax:g}, {given.steps} steps, model {given.model}"
    table = Table(title=f"{len(rows)} {given.split} crystals, {title}")
    headings = ("", "converged (%)", "steps, median", "|volume error|, median (%)", "mean (%)", "bias (%)", "group (%)")
    for heading in headings:
        table.add_column(heading, justify="right")
    before = np.array([row.volume_before for row in rows])
    table.add_row(
        *("as distorted", "", "", cell_of(float(np.median(np.abs(before))), ".2f")),
        *(cell_of(mean(np.abs(before)), ".2f"), cell_of(mean(before), "+.2f")),
        cell_of(100 * mean([row.before for row in rows]), ".1f"),
    )
    table.add_row(
        *("relaxed", cell_of(converged, ".1f"), f"{np.median([row.ended.steps for row in rows]):.0f}"),
        *(cell_of(median, ".2f"), cell_of(mean(np.abs(finite)), ".2f"), cell_of(mean(finite), "+.2f")),
        cell_of(recovered, ".1f"),
    )
    console.print(table)
    console.print(verdict("converged", converged, CONVERGED, "%", at_least=True))
    console.print(verdict("median volume error", median, VOLUME, "%"))
    console.print(verdict("space group recovered", recovered, RECOVERED, "%", at_least=True))
    console.print(f"left out, elements outside the model: {len(records) - len(usable)}")
    for row in rows:
        if row.ended.error:
            console.print(f"[red]FAILED[/] {row.name}: {row.ended.error}")
        elif not row.ended.converged:
            console.print(f"[yellow]not converged[/] {row.name}: volume {row.volume:+.1f} %")
    console.print(str(clock))


if __name__ == "__main__":
    main()
