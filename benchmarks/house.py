"""Size of the package's folders, its longest files, and a walk through one query.

    python -m benchmarks.house [--package FOLDER]

Prints modules and lines per folder, the ten longest modules, and for the dielectric tensor and for the energy of a
crystal of two atoms which modules of the package are entered, in the order of first entry, and how many calls of
functions of each (comprehensions and resumed generators count as such). The calculator has seen another crystal of the
same elements before. ``--package`` looks at another checkout, for instance one of before a change. Takes ten seconds.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

QUERIES = ("dielectric_tensor", "energy")
LONGEST = 10


def calls_of(name: str) -> dict[str, int]:
    """Count the calls inside ``ase_comformer`` by module while a property is computed.

    A process that has another checkout on its path runs the source of this function, so it stands alone.
    """
    import sys
    from pathlib import Path
    from types import FrameType
    from typing import Any

    from ase import Atoms

    import ase_comformer
    from ase_comformer import GMTNetCalculator

    folder = str(Path(ase_comformer.__file__).parent) + "/"
    found: dict[str, int] = {}

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(folder):
            module = frame.f_code.co_filename.removeprefix(folder)
            found[module] = found.get(module, 0) + 1

    seen, asked = (
        Atoms("MgO", [(0, 0, 0), (a, a, a)], cell=[(0, a, a), (a, 0, a), (a, a, 0)], pbc=True) for a in (2.05, 2.1)
    )
    calculator = GMTNetCalculator()
    calculator.get_property(name, seen)
    sys.setprofile(count)
    calculator.get_property(name, asked)
    sys.setprofile(None)
    return found


def calls_in(package: Path, name: str) -> dict[str, int]:
    """Calls by module, of a new process with ``package`` on its path."""
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    script = f"{inspect.getsource(calls_of)}\nimport json\nprint(json.dumps(calls_of({name!r})))"
    command = [sys.executable, "-c", f"from __future__ import annotations\n{script}"]
    done = subprocess.run(command, cwd=package, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def lines_of(package: Path) -> dict[str, int]:
    """Lines of every module, by its path below ``ase_comformer``."""
    folder = package / "ase_comformer"
    paths = sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): len(path.read_text().splitlines()) for path in paths}


def folder_of(module: str) -> str:
    """Name the folder of the layout that a module is in."""
    return module.partition("/")[0] + "/" if "/" in module else "(top)"


def sizes_table(lines: dict[str, int]) -> Table:
    """Modules and lines per folder."""
    modules, total = Counter(map(folder_of, lines)), Counter[str]()
    for module, count in lines.items():
        total[folder_of(module)] += count
    table = Table("folder")
    for head in ("modules", "lines", "lines per module"):
        table.add_column(head, justify="right")
    for name in sorted(modules):
        table.add_row(name, str(modules[name]), str(total[name]), f"{total[name] / modules[name]:.0f}")
    table.add_section()
    table.add_row("all", str(len(lines)), str(sum(lines.values())), f"{sum(lines.values()) / len(lines):.0f}")
    return table


def longest_table(lines: dict[str, int]) -> Table:
    """The longest modules."""
    table = Table("module")
    table.add_column("lines", justify="right")
    for module in sorted(lines, key=lambda name: -lines[name])[:LONGEST]:
        table.add_row(module, str(lines[module]))
    return table


def walk_table(calls: dict[str, int]) -> Table:
    """Modules that a query enters, in order, with the calls in each."""
    table = Table("module")
    table.add_column("calls", justify="right")
    for module, count in calls.items():
        table.add_row(module, str(count))
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, default=Path(__file__).parents[1], help="checkout to look at")
    package = parser.parse_args().package.resolve()
    console, lines = Console(width=100), lines_of(package)
    console.print("Modules and lines per folder", sizes_table(lines), "Longest modules", longest_table(lines))
    for name in QUERIES:
        calls = calls_in(package, name)
        console.print(f"One query of {name}: {sum(calls.values())} calls in {len(calls)} modules, by first entry")
        console.print(walk_table(calls))


if __name__ == "__main__":
    main()
