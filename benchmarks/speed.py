"""Cost of a tensor query by stage, against the research code: ``python -m benchmarks.speed --data DIR``.

Each row is measured in a process of its own with one or two threads, warm, medians over repeats, in seconds per
crystal of CPU and of wall time, on crystals spread over the dielectric test split (``--data`` or
``ASE_COMFORMER_DATA``). "network" is all networks that the model averages, batched as ``predict`` batches them;
"total" is ``predict`` from Atoms to tensors, measured on its own; "training step" is one network: forward, backward,
optimiser.
Anchors: docs/architecture.md section 10, research GMTNet on one thread, CPU seconds per crystal.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

ANCHORS = {"graph": 0.0099, "symmetry": 0.078, "network": 0.0165, "total": 0.104, "training step": 0.0117}
#: (batch size, stage) -> most milliseconds of CPU per crystal, reduced graphs, one thread.
FLOORS = {(64, "total"): 10.0, (1, "total"): 25.0, (64, "training step"): 2.5}
PROPERTY = "dielectric_tensor"


def timed(action: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median (CPU, wall) seconds of ``action`` after one warm-up."""
    action()
    cpu, wall = [], []
    for _ in range(repeats):
        start_cpu, start_wall = time.process_time(), time.perf_counter()
        action()
        cpu.append(time.process_time() - start_cpu)
        wall.append(time.perf_counter() - start_wall)
    return statistics.median(cpu), statistics.median(wall)


def measure(given: argparse.Namespace, batch: int, enforce: bool, threads: int) -> dict[str, list[float]]:
    """Stage -> [CPU, wall] seconds per crystal; "edges" and "nodes" are means per crystal."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    from ase_comformer.crystals.space_group import analyse_space_group
    from ase_comformer.crystals.validation import validate_structure
    from ase_comformer.graphs.building import build_graph, build_reduced_graph
    from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
    from ase_comformer.graphs.neighbours import GraphSettings
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.nn.ensemble import Ensemble
    from ase_comformer.tensors.symmetry_report import project
    from ase_comformer.training.data.records import load_records

    predictor = Predictor(model=given.model, device="cpu", enforce_symmetry=enforce)
    networks = predictor.model.entries(PROPERTY)
    kinds = list(dict.fromkeys(network.graph_settings for network in networks))
    covered = predictor.model.elements(PROPERTY)
    records = load_records("dielectric_born", given.data, splits=("test",))
    atoms = [record.atoms for record in records if set(map(str, record.atoms.symbols)) <= covered]
    # evenly spaced: the file is sorted by source, and neighbours in it are alike
    atoms = [atoms[k * len(atoms) // given.crystals] for k in range(min(given.crystals, len(atoms)))]
    groups = [analyse_space_group(a) for a in atoms]

    def graphs() -> list:
        """One dictionary of graphs per crystal: every kind that a network reads."""
        if enforce:
            return [{kind: build_reduced_graph(group, kind) for kind in kinds} for group in groups]
        return [{kind: build_graph(a, kind) for kind in kinds} for a in atoms]

    # in batches of similar size, as predict makes them
    built = sorted(graphs(), key=lambda graph: len(graph[kinds[0]].edge_weight))
    chunks = [built[k : k + batch] for k in range(0, len(built), batch)]

    def joined(chunk: list, kind: GraphSettings) -> CrystalGraph:
        return collate([graph[kind] for graph in chunk]).to(dtype=torch.float32)

    ensemble, asked = Ensemble(), {network: (PROPERTY,) for network in networks}

    def evaluate() -> list:
        with torch.no_grad():
            batches = [{kind: joined(chunk, kind) for kind in kinds} for chunk in chunks]
            return [
                ensemble.means(
                    asked, lambda network, graphs=graphs: (network.graph_settings, graphs[network.graph_settings])
                )
                for graphs in batches
            ]

    tensors = np.random.default_rng(0).normal(size=(len(atoms), 3, 3))
    stages: dict[str, Callable[[], object]] = {
        "validation": lambda: [validate_structure(a) for a in atoms],
        "graph": graphs,
        "network": evaluate,
    }
    if enforce:
        stages["symmetry"] = lambda: [analyse_space_group(a) for a in atoms]
        stages["projection"] = lambda: [project(PROPERTY, t, g) for t, g in zip(tensors, groups, strict=True)]
    if batch == 1:
        stages["total"] = lambda: [predictor.predict([a], [PROPERTY], on_error="raise") for a in atoms]
    else:
        stages["total"] = lambda: predictor.predict(atoms, [PROPERTY], batch_size=batch, on_error="raise")
    if batch > 1:
        trained = copy.deepcopy(networks[0]).requires_grad_(True).train()
        optimiser = torch.optim.AdamW(trained.parameters(), lr=1e-5, fused=True)  # as training/train.py

        def train() -> None:
            for chunk in chunks:
                optimiser.zero_grad()
                out = trained(joined(chunk, kinds[0]), (PROPERTY,))[PROPERTY]
                out.square().mean().log().backward()
                optimiser.step()

        stages["training step"] = train
    result = {name: [seconds / len(atoms) for seconds in timed(act, given.repeats)] for name, act in stages.items()}
    result["edges"] = [sum(len(graph[kinds[0]].edge_weight) for graph in built) / len(built)]
    result["crystals, networks"] = [len(atoms), len(networks)]
    return result


def main() -> None:
    """Run every configuration in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of dielectric_born.jsonl.gz (default: ASE_COMFORMER_DATA)")
    parser.add_argument("--crystals", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="default")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        threads, batch, enforce = json.loads(given.worker)
        sys.stdout.write("RESULT " + json.dumps(measure(given, batch, enforce, threads)) + "\n")
        return
    console = Console(width=170)
    load = os.getloadavg()[0]
    rows = {
        (threads, batch, enforce): run_worker(given, threads, batch, enforce)
        for threads in (1, 2)
        for batch in (64, 1)
        for enforce in (True, False)
    }
    crystals, networks = next(iter(rows.values()))["crystals, networks"]
    table = Table(
        title=f"ms per crystal (CPU / wall): {PROPERTY}, {crystals} dielectric test crystals, "
        f"mean of {networks} network(s)"
    )
    names = ("validation", "symmetry", "graph", "network", "projection", "total", "training step")
    for heading in ("configuration", "edges", *names, "anchor / total CPU"):
        table.add_column(heading, justify="right")
    anchors = [f"{1e3 * ANCHORS[n]:.1f}" if n in ANCHORS else "" for n in names]
    table.add_row("research code, 1 thread", "", *anchors, "1")
    for (threads, batch, enforce), row in rows.items():
        label = f"{'reduced' if enforce else 'plain'}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
        cells = [f"{1e3 * row[n][0]:.2f} / {1e3 * row[n][1]:.2f}" if n in row else "" for n in names]
        table.add_row(label, f"{row['edges'][0]:.0f}", *cells, f"{ANCHORS['total'] / row['total'][0]:.1f}")
    console.print(table)
    for (batch, stage), limit in FLOORS.items():
        found = 1e3 * rows[1, batch, True][stage][0]
        console.print(
            f"{stage}, one thread, batches of {batch}: {found:.2f} ms of CPU per crystal, "
            f"{1e3 * ANCHORS[stage] / found:.1f} times faster than the research code; "
            f"at most {limit:g} ms: {'reached' if found <= limit else 'missed'}"
        )
    if load > 0.5:
        console.print(f"[yellow]load was {load:.1f} at the start: other jobs share this machine, times are too long")


def run_worker(given: argparse.Namespace, threads: int, batch: int, enforce: bool) -> dict[str, list[float]]:
    """One configuration in a fresh process with that many threads."""
    command = [sys.executable, "-m", "benchmarks.speed", "--worker", json.dumps([threads, batch, enforce])]
    command += ["--crystals", str(given.crystals), "--repeats", str(given.repeats), "--model", given.model]
    command += ["--data", str(given.data)] if given.data else []
    environment = {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}}
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
    return json.loads(next(line for line in output.splitlines() if line.startswith("RESULT "))[7:])


if __name__ == "__main__":
    main()
