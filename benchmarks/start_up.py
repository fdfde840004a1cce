"""CPU seconds from nothing to the first tensor of a crystal of two atoms, beside those of the libraries alone.

    python -m benchmarks.start_up [--runs 7] [--package FOLDER]

Each figure is the median over fresh processes of one thread: torch, ase, scipy and spglib imported and nothing else
("bare"); a calculator made and asked for the dielectric tensor; a calculator made and asked for the energy.
``--package`` measures another checkout, for instance one of before a change. The aim is 1.35 times the bare imports
plus 0.3 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

BARE = "import torch, ase, scipy, spglib"
#: Without ase.build, which imports more of scipy than the package does.
CRYSTAL = (
    "from ase import Atoms; from ase_comformer import GMTNetCalculator; "
    "atoms = Atoms('MgO', [(0, 0, 0), (2.1, 2.1, 2.1)], cell=[(0, 2.1, 2.1), (2.1, 0, 2.1), (2.1, 2.1, 0)], pbc=True); "
    "calc = GMTNetCalculator(); "
)
SCRIPTS = {
    "bare imports (torch, ase, scipy, spglib)": BARE,
    "import, calculator, first tensor": CRYSTAL + "calc.get_property('dielectric_tensor', atoms)",
    "import, calculator, first energy": CRYSTAL + "calc.get_property('energy', atoms)",
}


def cpu_seconds(script: str, package: Path) -> float:
    """User and system time of a new process that runs ``script`` with ``package`` on its path."""
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", script], cwd=package, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="processes per figure")
    parser.add_argument("--package", type=Path, default=Path(__file__).parents[1], help="checkout to measure")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for _ in range(arguments.runs):  # interleaved, so that a busy machine disturbs all alike
        for name, script in SCRIPTS.items():
            times[name].append(cpu_seconds(script, arguments.package))
    bare = statistics.median(next(iter(times.values())))
    for name, values in times.items():
        middle = statistics.median(values)
        print(
            f"{name:45s} {middle:6.2f} s   {middle / bare:5.2f} times bare   ({min(values):.2f} to {max(values):.2f})"
        )
    print(f"{'aim: 1.35 times bare plus 0.3 s':45s} {1.35 * bare + 0.3:6.2f} s")


if __name__ == "__main__":
    main()
