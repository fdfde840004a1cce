"""Cost of energy + forces + stress against size, beside published potentials: ``python -m benchmarks.potential_speed``.

Each row is a process of its own with one or two threads: warm medians of wall and CPU time through the ASE calculator,
for a structure whose atoms moved a little since the last call, as in dynamics and relaxations. "first" is a structure
never seen before (space-group search, neighbour list), "energy only" a calculator that is never asked for forces.
Distorted crystals have no symmetry; symmetric ones keep theirs (the cell breathes between the calls), once as by
default, which is on the reduced graph unless they are small, once on the plain one.
CHGNet, SevenNet-0 and TensorNet-MatPES are measured in the same run, each in its own environment (``.ci/peers``).
Aim: five times faster at every size, in CPU time on one thread, in wall time on two. Some ten minutes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from rich.table import Table

from benchmarks.peers.process import PEERS, PeerCalculator, installed
from benchmarks.scaling import structure
from benchmarks.surface import Clock, parser, prepare_console, verdict

FLOOR = 5.0
PROPERTIES = ["energy", "forces", "stress"]
#: atoms -> repeats of the 10-atom cell of ``benchmarks.scaling``; 2 atoms are rocksalt
SIZES: dict[int, tuple[int, int, int]] = {
    2: (0, 0, 0),
    10: (1, 1, 1),
    50: (5, 1, 1),
    200: (5, 2, 2),
    1000: (5, 5, 4),
}


def distorted(atoms: int) -> Atoms:
    """A crystal of that size without symmetry."""
    if atoms != 2:
        return structure("P1", SIZES[atoms])
    salt = bulk("NaCl", "rocksalt", a=5.64)
    salt.set_cell(salt.cell.array @ [[1.01, 0.02, 0], [0, 0.98, 0.03], [0, 0, 1]], scale_atoms=True)
    salt.positions[0] += [0.05, 0.1, -0.08]
    return salt


def symmetric() -> dict[str, Atoms]:
    """Crystals as people have them: primitive, conventional and supercells."""
    spinel = crystal(
        ["Mg", "Al", "O"],
        [(0.125, 0.125, 0.125), (0.5, 0.5, 0.5), (0.263, 0.263, 0.263)],
        spacegroup=227,
        setting=2,
        cellpar=[8.08] * 3 + [90] * 3,
    )
    quartz = crystal(
        ["Si", "O"],
        [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.7858)],
        spacegroup=154,
        cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
    )
    salt = bulk("NaCl", "rocksalt", a=5.64)
    return {
        "NaCl, primitive": salt,
        "quartz": Atoms(quartz),
        "MgAl2O4, conventional": Atoms(spinel),
        "NaCl, supercell": bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat((2, 2, 3)),
    }


def made_calculator(model: str, plain: bool) -> Any:
    """Our ASE calculator."""
    from ase_comformer import GMTNetCalculator

    calculator = GMTNetCalculator(model=model, device="cpu")
    if plain:
        surface = calculator._predictor.potential
        assert surface is not None
        surface.use_symmetry = False
    return calculator


def timed(action: Callable[[int], tuple[float, float]], budget: float) -> tuple[float, float]:
    """Median (CPU, wall) ms of ``action(k)``, which gives seconds, after two warm-ups, as many calls as fit."""
    start = time.perf_counter()
    action(0)
    action(1)
    once = max((time.perf_counter() - start) / 2, 1e-4)
    seconds = [action(k) for k in range(2, 2 + int(np.clip(budget / once, 3, 50)))]
    cpu, wall = zip(*seconds, strict=True)
    return 1e3 * statistics.median(cpu), 1e3 * statistics.median(wall)


def stopwatch(action: Callable[[int], object]) -> Callable[[int], tuple[float, float]]:
    """CPU and wall seconds of an action."""

    def measured(k: int) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        action(k)
        return time.process_time() - cpu, time.perf_counter() - wall

    return measured


def moving(what: dict[str, Any]) -> Callable[[int], Atoms]:
    """Gives the structure a little displaced, or a crystal that breathes where symmetry is to last."""
    name = what["symmetric"]
    atoms = symmetric()[name] if name else distorted(what["atoms"])
    cell, positions = atoms.cell.array.copy(), atoms.positions.copy()
    displacement = np.random.default_rng(0).normal(size=positions.shape)

    def moved(k: int) -> Atoms:
        if name:
            atoms.set_cell(cell * (1 + 1e-4 * (k % 7)), scale_atoms=True)
        else:
            atoms.positions = positions + 0.02 * np.sin(k) * displacement
        return atoms

    return moved


def measure(what: dict[str, Any], model: str, budget: float) -> dict[str, Any]:
    """One row of ours: ``next``, ``energy`` and ``first`` (CPU, wall) ms, and the atoms."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(what["threads"])
    moved, calculator = moving(what), made_calculator(model, what["plain"])

    def query(k: int) -> None:
        changed = moved(k)
        for asked in PROPERTIES:
            calculator.get_property(asked, changed)

    row: dict[str, Any] = {"atoms": len(moved(0)), "next": timed(stopwatch(query), budget)}
    # one that has never been asked for forces, which it would expect to be asked for again
    alone = made_calculator(model, what["plain"])
    row["energy"] = timed(stopwatch(lambda k: alone.get_property("energy", moved(k))), budget / 2)
    # predict keeps nothing between calls
    first = stopwatch(lambda k: calculator._predictor.predict([moved(k)], PROPERTIES, on_error="raise"))
    row["first"] = timed(first, budget / 2)
    return row


def measure_peer(name: str, what: dict[str, Any], budget: float) -> tuple[float, float] | None:
    """(CPU, wall) ms of energy, forces and stress by a peer; None where it fails."""
    moved, calculator = moving(what), PeerCalculator(name, what["threads"])

    def query(k: int) -> tuple[float, float]:
        found = calculator.ask(moved(k))
        if "error" in found:
            raise ValueError(found["error"])
        return calculator.seconds

    try:
        return timed(query, budget)
    except (ValueError, RuntimeError):
        return None
    finally:
        calculator.close()


def run_worker(what: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """One row in a fresh process with that many threads."""
    command = [sys.executable, "-m", "benchmarks.potential_speed", "--worker", json.dumps(what)]
    command += ["--model", given.model, "--seconds", str(given.seconds)]
    threads = {f"{name}_NUM_THREADS": str(what["threads"]) for name in ("OMP", "MKL", "OPENBLAS")}
    output = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **threads}
    ).stdout
    return json.loads(next(line for line in output.splitlines() if line.startswith("RESULT "))[7:])


def pair(values: tuple[float, float] | None) -> str:
    """``CPU / wall`` in ms."""
    return "" if values is None else f"{values[0]:.1f} / {values[1]:.1f}"


def main() -> None:
    """Run every row in its own process; print tables and verdicts."""
    made = parser(__doc__)
    made.add_argument("--atoms", type=int, nargs="*", default=list(SIZES), choices=list(SIZES))
    made.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    made.add_argument("--seconds", type=float, default=3.0, help="per row and kind of call")
    made.add_argument("--peers", nargs="*", choices=list(PEERS), default=[], help="by default all that are installed")
    made.add_argument("--no-symmetric", action="store_true", help="leave out the symmetric crystals")
    made.add_argument("--worker", help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.worker:
        row = measure(json.loads(given.worker), given.model, given.seconds)
        sys.stdout.write("RESULT " + json.dumps(row) + "\n")
        return
    console, clock = prepare_console(150), Clock()
    peers = [name for name in installed() if not given.peers or name in given.peers]
    table = Table(title=f"energy + forces + stress, model {given.model}, float32, no symmetry: CPU / wall ms")
    for heading in ("atoms", "threads", "ours, next call", "first call", "energy only", *peers):
        table.add_column(heading, justify="right")
    ratios = Table(title="times as long as ours: CPU time on one thread, wall time on several")
    for heading in ("atoms", "threads", *peers):
        ratios.add_column(heading, justify="right")
    least: dict[str, tuple[float, str]] = {}
    for threads in given.threads:
        for atoms in given.atoms:
            what = {"atoms": atoms, "threads": threads, "symmetric": None, "plain": False}
            ours = run_worker(what, given)
            theirs = {name: measure_peer(name, what, given.seconds) for name in peers}
            cells = [pair(ours[key]) for key in ("next", "first", "energy")]
            table.add_row(str(ours["atoms"]), str(threads), *cells, *(pair(theirs[name]) for name in peers))
            # of one thread CPU time, which other jobs on the machine lengthen less than wall time
            kind, shown = 0 if threads == 1 else 1, []
            for name, found in theirs.items():
                ratio = float("nan") if found is None else found[kind] / ours["next"][kind]
                shown.append("failed" if found is None else f"{ratio:.1f}")
                if found is not None and (name not in least or ratio < least[name][0]):
                    least[name] = ratio, f"{atoms} atoms, {threads} thread{'s' * (threads > 1)}"
            ratios.add_row(str(ours["atoms"]), str(threads), *shown)
    console.print(table)
    if peers:
        console.print(ratios)
    else:
        console.print("no peer is installed: .ci/peers chgnet sevennet matgl makes their environments")
    if not given.no_symmetric:
        console.print(symmetric_table(given))
    for name, (ratio, where) in least.items():
        console.print(verdict(f"faster than {name} by (least, {where})", ratio, FLOOR, at_least=True))
    console.print(str(clock))


def symmetric_table(given: argparse.Namespace) -> Table:
    """Reduced against plain graphs, one thread."""
    table = Table(title="symmetric crystals, one thread: CPU / wall ms")
    for heading in ("crystal", "atoms", "reduced, next", "first", "plain, next", "first", "plain / reduced, CPU"):
        table.add_column(heading, justify="right")
    for name in symmetric():
        what = {"atoms": 0, "threads": 1, "symmetric": name}
        reduced, plain = (run_worker({**what, "plain": is_plain}, given) for is_plain in (False, True))
        cells = (pair(reduced["next"]), pair(reduced["first"]), pair(plain["next"]), pair(plain["first"]))
        table.add_row(name, str(reduced["atoms"]), *cells, f"{plain['next'][0] / reduced['next'][0]:.1f}")
    return table


if __name__ == "__main__":
    main()
