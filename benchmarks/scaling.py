"""Cost against size, 10 to 10,000 atoms (``--largest 110000``: to 100,000): ``python -m benchmarks.scaling``.

Every row is a process of its own with one thread, so that its peak memory (``ru_maxrss``, the interpreter and torch
included) is its own. Times are CPU seconds of one crystal, medians after a warm-up. "query" is ``Predictor.evaluate``
of the dielectric tensor from Atoms to the tensor, measured on its own; "symmetry", "graph" and "network" are its
stages. "energy + forces + stress" goes from Atoms to numbers on the plain graph. Slopes are least-squares fits of log
time to log atoms over cells of at least ``--asymptotic`` atoms; 1 is linear.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from rich.console import Console
from rich.table import Table

MEMORY_FLOOR_GIB = 24.0
LARGE = 10_000
#: repeats of the 10-atom cell and of the 8-atom cell
REPEATS = {
    "P1": ((1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 2), (6, 6, 3), (8, 7, 5), (10, 10, 10), (22, 22, 21)),
    "NaCl": ((1, 1, 1), (2, 2, 1), (2, 3, 2), (4, 3, 3), (5, 5, 5), (6, 6, 6), (7, 7, 7), (10, 10, 13), (23, 23, 24)),
}
STAGES = ("symmetry", "graph", "network", "query", "energy + forces + stress")


def structure(kind: str, repeats: tuple[int, int, int]) -> Atoms:
    """Every atom of a ``P1`` cell (strained SrTiO3) is displaced at random; ``NaCl`` keeps the symmetry of rocksalt."""
    if kind == "NaCl":
        return bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(repeats)
    basis = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)]
    cell = crystal(["Sr", "Ti", "O"], basis, spacegroup=221, cellpar=[3.905, 3.905, 3.905, 90, 90, 90])
    atoms = Atoms(cell).repeat((1, 1, 2)).repeat(repeats)
    strain = np.array([[0.01, 0.02, -0.01], [0.0, -0.02, 0.03], [0.0, 0.0, 0.015]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.positions += np.random.default_rng(0).normal(scale=0.1, size=(len(atoms), 3))
    return atoms


def cpu_seconds(action: Callable[[], object], repeats: int = 5, budget: float = 2.0) -> float:
    """Median CPU seconds after one warm-up; the warm-up itself where it takes longer than ``budget``."""
    start = time.process_time()
    action()
    first = time.process_time() - start
    if first > budget:
        return first
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def tensor_query(atoms: Atoms, enforce: bool, model: str) -> dict[str, float]:
    """Stages of a tensor query, CPU seconds."""
    import torch

    from ase_comformer.crystals.space_group import analyse_space_group
    from ase_comformer.graphs.building import build_graph, build_reduced_graph
    from ase_comformer.inference.predictor import Predictor

    name = "dielectric_tensor"
    torch.set_num_threads(1)
    predictor = Predictor(model=model, device="cpu", enforce_symmetry=enforce)
    networks = predictor.model.entries(name)
    settings = networks[0].graph_settings
    rows: dict[str, float] = {"networks": len(networks)}
    group = None
    if enforce:
        rows["symmetry"] = cpu_seconds(lambda: analyse_space_group(atoms))
        group = analyse_space_group(atoms)

    def graph() -> object:
        if group is None or group.order == 1:
            return build_graph(atoms if group is None else group.primitive, settings)
        return build_reduced_graph(group, settings)

    rows["graph"] = cpu_seconds(graph)
    prepared = predictor.prepare(atoms, (name,)).crystal
    rows["edges"] = len(prepared.graph(networks[0]).edge_weight)
    rows["network"] = cpu_seconds(lambda: predictor.evaluate_batch([prepared], (name,)))

    # evaluate keeps what belongs to the last structure, so that a twin in between makes each query a new one
    twin = atoms.copy()
    twin.translate(1e-3)
    turns = itertools.cycle([atoms, twin])
    rows["query"] = cpu_seconds(lambda: predictor.evaluate(next(turns), (name,)))
    return rows


def potential_query(atoms: Atoms, model: str) -> dict[str, float]:
    """Energy, forces and stress on the plain graph, float32, from Atoms to numbers; CPU seconds."""
    import torch

    from ase_comformer.inference.predictor import Predictor

    torch.set_num_threads(1)
    surface = Predictor(model=model, device="cpu").potential
    assert surface is not None
    graphs = surface.prepare(atoms, use_symmetry=False).graphs.values()

    def everything() -> object:
        return surface.ensemble.evaluate_batch([surface.prepare(atoms, use_symmetry=False)])

    edges = max(len(graph.edge_weight) for graph in graphs)
    return {"edges": edges, "energy + forces + stress": cpu_seconds(everything)}


#: series -> structure, symmetry enforced (None: the potential)
SERIES: dict[str, tuple[str, bool | None]] = {
    "P1, plain (enforce_symmetry=False)": ("P1", False),
    "P1, default query": ("P1", True),
    "NaCl, plain (enforce_symmetry=False)": ("NaCl", False),
    "NaCl, default query": ("NaCl", True),
    "P1, potential": ("P1", None),
    "NaCl, potential": ("NaCl", None),
}


def measure(series: str, repeats: tuple[int, int, int], model: str) -> dict[str, float]:
    """One row."""
    kind, enforce = SERIES[series]
    atoms = structure(kind, repeats)
    row = potential_query(atoms, model) if enforce is None else tensor_query(atoms, enforce, model)
    # kilobytes on Linux, bytes on macOS
    unit = 2**10 if sys.platform == "darwin" else 1
    row["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit / 2**20
    return {"atoms": len(atoms), **row}


def slope(rows: list[dict[str, float]], stage: str, smallest: int) -> float | None:
    """Exponent of the time in the number of atoms, over the cells of at least ``smallest`` atoms."""
    # what takes less than half a millisecond was not done: symmetry is not searched in very large cells
    points = [(row["atoms"], row[stage]) for row in rows if row["atoms"] >= smallest and row.get(stage, 0) > 5e-4]
    if len(points) < 2:
        return None
    return float(np.polyfit(*np.log(np.array(points)).T, 1)[0])


def run_worker(series: str, repeats: tuple[int, int, int], model: str) -> dict[str, float]:
    """One row in a fresh process with one thread."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--worker", json.dumps([series, repeats])]
    environment = {**os.environ, **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}}
    output = subprocess.run(
        [*command, "--model", model], stdout=subprocess.PIPE, text=True, check=True, env=environment
    ).stdout
    return json.loads(next(line for line in output.splitlines() if line.startswith("RESULT "))[7:])


def main() -> None:
    """Run every size of every series in its own process; print tables, slopes and the verdict on memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--largest", type=int, default=11_000, help="atoms")
    parser.add_argument("--asymptotic", type=int, default=250, help="atoms from which slopes are fitted")
    parser.add_argument("--series", nargs="*", default=list(SERIES), choices=list(SERIES), metavar="NAME")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        series, repeats = json.loads(given.worker)
        sys.stdout.write("RESULT " + json.dumps(measure(series, tuple(repeats), given.model)) + "\n")
        return
    console = Console(width=130)
    load = os.getloadavg()[0]
    largest: dict[str, tuple[float, float]] = {}
    for series in given.series:
        kind = SERIES[series][0]
        sizes = [size for size in REPEATS[kind] if len(structure(kind, size)) <= given.largest]
        rows = [run_worker(series, size, given.model) for size in sizes]
        stages = [stage for stage in STAGES if any(stage in row for row in rows)]
        networks = f", mean of {rows[0]['networks']:.0f} networks" if "networks" in rows[0] else ""
        table = Table(title=f"{series}{networks}: CPU ms, one thread")
        for heading in ("atoms", "edges or orbits", *stages, "peak memory, GiB"):
            table.add_column(heading, justify="right")
        for row in rows:
            cells = [f"{1e3 * row[stage]:.1f}" if stage in row else "" for stage in stages]
            table.add_row(f"{row['atoms']:,.0f}", f"{row['edges']:,.0f}", *cells, f"{row['memory']:.2f}")
        slopes = [slope(rows, stage, given.asymptotic) for stage in stages]
        table.add_row("slope", "", *("" if value is None else f"{value:.2f}" for value in slopes), "")
        console.print(table)
        largest[series] = rows[-1]["atoms"], rows[-1]["memory"]
    for series, (atoms, memory) in largest.items():
        if atoms >= LARGE:
            verdict = "fits" if memory <= MEMORY_FLOOR_GIB else "DOES NOT FIT"
            console.print(f"{series}: {atoms:,.0f} atoms in {memory:.1f} GiB, {verdict} in {MEMORY_FLOOR_GIB:.0f} GiB")
    console.print(f"slopes: log CPU time against log atoms, from {given.asymptotic} atoms")
    if load > 0.5:
        console.print(f"[yellow]load was {load:.1f} at the start: other jobs share this machine, times are too long")


if __name__ == "__main__":
    main()
