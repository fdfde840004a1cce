"""Cost of energy + forces + stress against size, beside CHGNet: ``python -m benchmarks.potential_speed``.

Each row is a process of its own with one or two threads: warm medians of wall and CPU time through the ASE calculator,
for a structure whose atoms moved a little since the last call, as in dynamics and relaxations. "first" is a structure
never seen before (space-group search, neighbour list). Distorted crystals have no symmetry; symmetric ones keep theirs
(the cell breathes between the calls), once as by default, which is on the reduced graph unless they are small, once
on the plain one.
CHGNet (``pip install 'ase-comformer[compare]'``) is measured the same way, in the same run, where it can be imported.
Floor (issue 4): three times faster than CHGNet at every size, in CPU time on one thread, in wall time on two.
Anchors: docs/architecture.md section 10.
"""

import argparse
import importlib.util
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

from benchmarks.scaling import structure
from benchmarks.surface import Clock, parser, prepare_console, verdict

FLOOR = 3.0
#: ms, one thread, energy + forces + stress at 2, 10, 50 atoms (docs/architecture.md section 10)
ANCHORS = {
    "CHGNet": {2: 22, 10: 115, 50: 762},
    "SevenNet-0": {2: 42, 10: 167, 50: 829},
    "TensorNet-MatPES": {2: 30, 10: 93, 50: 399},
}
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


def made_calculator(package: str, model: str, plain: bool) -> Any:
    """The ASE calculator of a package."""
    if package == "CHGNet":
        from chgnet.model.dynamics import CHGNetCalculator

        return CHGNetCalculator(use_device="cpu")
    from ase_comformer import GMTNetCalculator

    calculator = GMTNetCalculator(model=model, device="cpu")
    if plain:
        surface = calculator._predictor.potential
        assert surface is not None
        surface.use_symmetry = False
    return calculator


def timed(action: Callable[[int], object], budget: float) -> tuple[float, float]:
    """Median (CPU, wall) milliseconds of ``action(k)`` after two warm-ups, over as many calls as the budget allows."""
    start = time.perf_counter()
    action(0)
    action(1)
    once = max((time.perf_counter() - start) / 2, 1e-4)
    cpu, wall = [], []
    for k in range(2, 2 + int(np.clip(budget / once, 3, 50))):
        start_cpu, start_wall = time.process_time(), time.perf_counter()
        action(k)
        cpu.append(time.process_time() - start_cpu)
        wall.append(time.perf_counter() - start_wall)
    return 1e3 * statistics.median(cpu), 1e3 * statistics.median(wall)


def measure(what: dict[str, Any], model: str, budget: float) -> dict[str, Any]:
    """One row: ``next`` and ``first`` (CPU, wall) ms, and the atoms."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(what["threads"])
    name = what["symmetric"]
    atoms = symmetric()[name] if name else distorted(what["atoms"])
    calculator = made_calculator(what["package"], model, what["plain"])
    cell, positions = atoms.cell.array.copy(), atoms.positions.copy()
    displacement = np.random.default_rng(0).normal(size=positions.shape)

    def moved(k: int) -> Atoms:
        """Displaced by hundredths of an Angstrom, or a crystal that breathes where symmetry is to last."""
        if name:
            atoms.set_cell(cell * (1 + 1e-4 * (k % 7)), scale_atoms=True)
        else:
            atoms.positions = positions + 0.02 * np.sin(k) * displacement
        return atoms

    def query(k: int) -> None:
        changed = moved(k)
        if what["package"] == "CHGNet":
            calculator.calculate(changed, PROPERTIES)
        else:
            for asked in PROPERTIES:
                calculator.get_property(asked, changed)

    row: dict[str, Any] = {"atoms": len(atoms), "next": timed(query, budget)}
    if what["package"] != "CHGNet":
        # predict keeps nothing between calls
        row["first"] = timed(
            lambda k: calculator._predictor.predict([moved(k)], PROPERTIES, on_error="raise"), budget / 2
        )
    return row


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
    made.add_argument("--no-symmetric", action="store_true", help="leave out the symmetric crystals")
    made.add_argument("--worker", help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.worker:
        row = measure(json.loads(given.worker), given.model, given.seconds)
        sys.stdout.write("RESULT " + json.dumps(row) + "\n")
        return
    console, clock = prepare_console(140), Clock()
    packages = ["ase-comformer", *(["CHGNet"] if importlib.util.find_spec("chgnet") else [])]
    table = Table(title=f"energy + forces + stress, model {given.model}, float32, no symmetry: CPU / wall ms")
    for heading in (
        "atoms",
        "threads",
        *(f"{p}, next call" for p in packages),
        "first call",
        "CHGNet / ours, CPU",
        "wall",
    ):
        table.add_column(heading, justify="right")
    slowest = None
    for threads in given.threads:
        for atoms in given.atoms:
            what = {"atoms": atoms, "threads": threads, "symmetric": None, "plain": False}
            rows = {package: run_worker({**what, "package": package}, given) for package in packages}
            ours = rows["ase-comformer"]
            ratios = [theirs / mine for theirs, mine in zip(rows[packages[-1]]["next"], ours["next"], strict=True)]
            # of one thread CPU time, which other jobs on the machine lengthen less than wall time
            ratio = ratios[0 if threads == 1 else 1]
            if len(packages) > 1 and (slowest is None or ratio < slowest[0]):
                slowest = ratio, f"{atoms} atoms, {threads} thread{'s' * (threads > 1)}"
            shown = [f"{value:.1f}" for value in ratios] if len(packages) > 1 else ["", ""]
            cells = (pair(rows[package]["next"]) for package in packages)
            table.add_row(str(ours["atoms"]), str(threads), *cells, pair(ours["first"]), *shown)
    console.print(table)
    if not given.no_symmetric:
        console.print(symmetric_table(given))
    anchors = "; ".join(f"{n} {' / '.join(map(str, v.values()))}" for n, v in ANCHORS.items())
    console.print(f"anchors of docs/architecture.md, one thread, 2 / 10 / 50 atoms, ms: {anchors}")
    if slowest is None:
        console.print("CHGNet is not installed here: pip install 'ase-comformer\\[compare]' for the comparison")
    else:
        console.print(verdict(f"faster than CHGNet by (least, {slowest[1]})", slowest[0], FLOOR, at_least=True))
    console.print(str(clock))


def symmetric_table(given: argparse.Namespace) -> Table:
    """Reduced against plain graphs, one thread."""
    table = Table(title="symmetric crystals, one thread: CPU / wall ms")
    for heading in ("crystal", "atoms", "reduced, next", "first", "plain, next", "first", "plain / reduced, CPU"):
        table.add_column(heading, justify="right")
    for name in symmetric():
        what = {"atoms": 0, "threads": 1, "symmetric": name, "package": "ase-comformer"}
        reduced, plain = (run_worker({**what, "plain": is_plain}, given) for is_plain in (False, True))
        cells = (pair(reduced["next"]), pair(reduced["first"]), pair(plain["next"]), pair(plain["first"]))
        table.add_row(name, str(reduced["atoms"]), *cells, f"{plain['next'][0] / reduced['next'][0]:.1f}")
    return table


if __name__ == "__main__":
    main()
