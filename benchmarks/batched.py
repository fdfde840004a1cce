"""Many crystals at once against one by one: ``python -m benchmarks.batched``.

Relaxations: crystals of the test splits, their volumes and free atoms changed within their space groups (3 % and
0.05 A), are brought to rest, cell and atoms, in float64 to 0.01 eV/A: by ``relax(list)``, by ``relax`` one by one, and
by ASE's BFGS, FrechetCellFilter and FixSymmetry with the calculator on the same primitive cells. Dynamics: supercells
of the same crystals of about 16 atoms at 300 K in float32, by ``molecular_dynamics(list)`` and by ASE's velocity Verlet
with the calculator. Crystals per second and steps per second are of CPU time of one thread, without import and loading;
some minutes.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from rich.table import Table

from ase_comformer import GMTNetCalculator
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.crystals.symmetric_motion import symmetric_motion
from ase_comformer.inference.predictor import Predictor
from ase_comformer.workflows.dynamics import molecular_dynamics
from ase_comformer.workflows.relax import relax
from benchmarks.relaxation import crystals
from benchmarks.surface import Clock, one_thread, parser, prepare_console, spread

LARGEST = 20
TARGET_ATOMS = 16


def strained(atoms: Atoms, seed: int) -> Atoms:
    """The primitive cell, 3 % wider, its free atoms moved by 0.05 A, in its space group."""
    group = analyse_space_group(atoms)
    motion, rng = symmetric_motion(group), np.random.default_rng(seed)
    shift = rng.normal(size=len(motion.displacements)) @ motion.displacements
    moved = Atoms(group.primitive)
    if len(motion.displacements):
        moved.positions += 0.05 * shift.reshape(-1, 3) / max(np.abs(shift).max(), 1e-9)
    moved.set_cell(moved.cell * 1.01, scale_atoms=True)
    return moved


def with_ase(atoms: Atoms, calculator: GMTNetCalculator) -> tuple[float, int]:
    """Energy (eV/atom) at rest, and steps, of a relaxation by ASE."""
    moving = atoms.copy()
    moving.calc = calculator
    moving.set_constraint(FixSymmetry(moving, symprec=1e-4))
    run = BFGS(FrechetCellFilter(moving), logfile=None)
    run.run(fmax=0.01, steps=500)
    return moving.get_potential_energy() / len(moving), run.nsteps


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """What an action gives, and its CPU seconds."""
    start = time.process_time()
    found = action()
    return found, time.process_time() - start


def relaxations(given: Any, structures: list[Atoms]) -> Table:
    """Crystals per second, and that all end in the same place."""
    predictor = Predictor(model=given.model, device="cpu", dtype="float64")
    relax(structures[:2], predictor=predictor)
    calculator = GMTNetCalculator(model=given.model, device="cpu", dtype="float64")
    with_ase(structures[0], calculator)
    together, seconds = timed(lambda: relax(structures, predictor=predictor))
    alone, alone_seconds = timed(lambda: [relax(atoms, predictor=predictor) for atoms in structures])
    theirs, ase_seconds = timed(lambda: [with_ase(atoms, calculator) for atoms in structures])
    energies = np.array([found.energy for found in together])
    rows = {
        "relax(list)": (seconds, energies, [found.steps for found in together]),
        "relax, one by one": (alone_seconds, np.array([r.energy for r in alone]), [r.steps for r in alone]),
        "ASE, one by one": (ase_seconds, np.array([energy for energy, _ in theirs]), [steps for _, steps in theirs]),
    }
    converged = sum(found.converged for found in together)
    table = Table(title=f"relaxations of {len(structures)} crystals, float64, {converged} at rest, model {given.model}")
    for heading in ("", "crystals per CPU s", "times as fast as ASE", "steps, mean", "largest difference, meV/atom"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, (own, found, steps) in rows.items():
        difference = 1e3 * np.abs(found - energies).max()
        table.add_row(
            name,
            f"{len(structures) / own:.1f}",
            f"{ase_seconds / own:.1f}",
            f"{np.mean(steps):.1f}",
            f"{difference:.2f}",
        )
    return table


def dynamics(given: Any, structures: list[Atoms], steps: int) -> Table:
    """Steps of all crystals per second, and how far trajectories differ."""
    predictor = Predictor(model=given.model, device="cpu", dtype=given.dtype)
    calculator = GMTNetCalculator(model=given.model, device="cpu", dtype=given.dtype)
    rng = np.random.default_rng(0)
    supercells = []
    for atoms in structures:
        repeats = np.ones(3, dtype=int)
        while np.prod(repeats) * len(atoms) < TARGET_ATOMS:
            repeats[int(np.argmin(repeats * atoms.cell.lengths()))] += 1
        supercells.append(atoms.repeat(repeats))
        masses = supercells[-1].get_masses()[:, None]
        supercells[-1].set_momenta(rng.normal(size=(len(masses), 3)) * np.sqrt(masses * units.kB * 300))
    options = {"steps": steps, "record_every": steps, "predictor": predictor}
    molecular_dynamics(supercells[:2], **(options | {"steps": 2}))
    together, seconds = timed(lambda: molecular_dynamics(supercells, **options))

    def one_by_one() -> list[Atoms]:
        found = []
        for atoms in supercells:
            moving = atoms.copy()
            moving.calc = calculator
            VelocityVerlet(moving, timestep=units.fs).run(steps)
            found.append(moving)
        return found

    theirs, ase_seconds = timed(one_by_one)
    apart = max(
        np.abs(ours.frames[-1].positions - other.positions).max() for ours, other in zip(together, theirs, strict=True)
    )
    sizes = [len(atoms) for atoms in supercells]
    table = Table(
        title=f"velocity Verlet, {steps} steps of {len(structures)} crystals of {min(sizes)} to {max(sizes)} atoms, "
        f"{given.dtype}; trajectories within {apart:.1e} A"
    )
    for heading in ("", "steps of a crystal per CPU s", "times as fast as ASE"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, own in (("molecular_dynamics(list)", seconds), ("ASE, one by one", ase_seconds)):
        table.add_row(name, f"{steps * len(structures) / own:.0f}", f"{ase_seconds / own:.1f}")
    return table


def main() -> None:
    """Print both tables."""
    made = parser(__doc__, crystals=64)
    made.add_argument("--steps", type=int, default=20, help="of dynamics")
    given = made.parse_args()
    one_thread()
    console, clock = prepare_console(), Clock()
    covered = set(GMTNetCalculator(model=given.model).describe("energy")["elements"])
    records = crystals(given.data, given.split, 0)
    usable = [r.atoms for r in records if len(r.atoms) <= LARGEST and set(map(str, r.atoms.symbols)) <= covered]
    structures = [strained(atoms, seed) for seed, atoms in enumerate(spread(usable, given.crystals))]
    console.print(relaxations(given, structures))
    console.print(dynamics(given, structures[: max(1, given.crystals // 2)], given.steps))
    console.print(str(clock))


if __name__ == "__main__":
    main()
