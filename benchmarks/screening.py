"""Screening of many crystals: ``python -m benchmarks.screening``.

Crystals of the data sets and broken ones among them go through ``screen``. It is run whole; then again, killed with all
its processes in the middle (SIGKILL) and resumed; with ``--dask`` on a local Dask cluster too. Printed are structures
per second, CPU seconds per structure over all processes, what a million structures cost, and whether the tables agree.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from ase_comformer.training.data.records import load_records
from ase_comformer.workflows.screening.shards import read_screen

DATASETS = ("dielectric_born", "elastic_mp")
PROPERTIES = (
    "energy",
    "formation_energy",
    "dielectric_tensor",
    "static_dielectric_tensor",
    "elastic_tensor",
    "piezoelectric_tensor",
)


def broken(atoms: Atoms, kind: int) -> Atoms:
    """A copy that no model can answer: overlapping atoms, no periodicity, a tiny cell, an unknown element."""
    spoiled = atoms.copy()
    if kind == 0:
        spoiled.positions[:] = spoiled.positions[0]
        if len(spoiled) == 1:
            spoiled += spoiled.copy()
    elif kind == 1:
        spoiled.pbc = False
    elif kind == 2:
        spoiled.set_cell(spoiled.cell * 0.2, scale_atoms=True)
    else:
        spoiled.numbers[:] = 118
    return spoiled


def write_structures(path: Path, count: int, bad: int, folder: str | None) -> None:
    """Write crystals in random order, with broken ones among them, to an extended XYZ file."""
    records = [record for name in DATASETS for record in load_records(name, folder, ("train", "val", "test"))]
    rng = np.random.default_rng(0)
    chosen = [records[number].atoms for number in rng.permutation(len(records))[: count - bad]]
    structures = [Atoms(numbers=a.numbers, positions=a.positions, cell=a.cell, pbc=True) for a in chosen]
    for number in range(bad):
        structures.insert(number * (count // bad), broken(structures[number], number % 4))
    ase.io.write(path, structures, columns=["symbols", "positions"])


def command(structures: Path, folder: Path, workers: int, *more: str) -> list[str]:
    """The command line of one screening."""
    code = "from ase_comformer.cli import app; app()"
    names = [part for name in PROPERTIES for part in ("-p", name)]
    base = [sys.executable, "-W", "ignore", "-c", code, "screen", str(structures), "--folder", str(folder)]
    return [*base, *names, "--workers", str(workers), "--chunk-size", "64", *more]


@dataclass(frozen=True)
class Cost:
    """Wall-clock and CPU seconds of a command with all its processes."""

    wall: float
    cpu: float


def run(arguments: list[str]) -> Cost:
    """Run a command to its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - began, cpu)


def kill_in_the_middle(arguments: list[str], folder: Path, shards: int) -> int:
    """Start a command, kill its group once there are so many shards; return the structures that were done."""
    running = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(list(folder.glob("shard-*.parquet"))) < shards and running.poll() is None:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    return len(read_screen(folder))


def largest_difference(first: Path, second: Path) -> float:
    """Largest difference of two tables relative to max(size, 1); raises where rows differ in anything else."""
    one, other = read_screen(first), read_screen(second)
    assert [row["source"] for row in one] == [row["source"] for row in other], "tables have different rows"
    worst = 0.0
    for mine, yours in zip(one, other, strict=True):
        assert mine.keys() == yours.keys(), mine["source"]
        for key, value in mine.items():
            if isinstance(value, float | np.ndarray):
                difference = float(np.abs(np.asarray(value) - yours[key]).max())
                worst = max(worst, difference / max(float(np.abs(value).max()), 1.0))
            else:
                assert value == yours[key], (mine["source"], key)
    return worst


def main() -> None:
    """Screen, kill, resume, compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=int, default=2000)
    parser.add_argument("--broken", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", help="data folder; default: $ASE_COMFORMER_DATA")
    parser.add_argument("--dask", action="store_true", help="also on a Dask cluster of this machine")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        structures = work / "structures.extxyz"
        write_structures(structures, given.crystals, given.broken, given.data)
        cost = run(command(structures, work / "whole", given.workers))
        rows = read_screen(work / "whole")
        failed = sum("error" in row for row in rows)
        partly = sum("errors" in row and "error" not in row for row in rows)
        rate = len(rows) / cost.wall
        print(f"{len(rows)} structures, {given.workers} processes: {cost.wall:.0f} s, {rate:.1f} per second")
        each = cost.cpu / len(rows)
        print(f"CPU {1000 * each:.1f} ms per structure, start included; 10^6: {1e6 * each / 3600:.1f} core hours")
        print(f"{failed} failed, {partly} lack some properties, of {given.broken} broken ones")
        arguments = command(structures, work / "killed", given.workers)
        (work / "killed").mkdir()
        done = kill_in_the_middle(arguments, work / "killed", max(len(rows) // 64 // 2, 1))
        run(arguments)
        worst = largest_difference(work / "whole", work / "killed")
        print(f"killed after {done}, resumed: largest difference {worst:.1e}")
        if given.dask:
            run(command(structures, work / "dask", given.workers, "--scheduler", "local"))
            print(f"Dask: largest difference {largest_difference(work / 'whole', work / 'dask'):.1e}")


if __name__ == "__main__":
    main()
