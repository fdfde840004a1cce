"""Cost of a tensor query by stage, against the research code: ``python -m benchmarks.speed [--crystals 200]``.

Each row is measured in a process of its own with one or two threads, warm, medians over repeats, in seconds per
crystal of CPU and of wall time, on the first crystals of the dielectric test split (``ASE_COMFORMER_DATA``).
Anchors: DESIGN.md section 10, research GMTNet on one thread, CPU seconds per crystal.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

ANCHORS = {"graph": 0.0099, "symmetry": 0.078, "network": 0.0165, "total": 0.104, "training step": 0.0117}
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


def measure(model: str, count: int, batch: int, enforce: bool, threads: int, repeats: int) -> dict[str, list[float]]:
    """Stage -> [CPU, wall] seconds per crystal."""
    import torch

    torch.set_num_threads(threads)
    from ase_comformer.graph import build_graph, build_reduced_graph, collate
    from ase_comformer.predictor import Predictor
    from ase_comformer.projection import project
    from ase_comformer.symmetry import analyse_space_group
    from ase_comformer.training.data import load_records

    atoms = [record.atoms for record in load_records("dielectric_born", splits=("test",))[:count]]
    predictor = Predictor(model=model, device="cpu", enforce_symmetry=enforce)
    network = predictor.model.entries(PROPERTY)[0]
    settings = network.graph_settings
    groups = [analyse_space_group(a) for a in atoms]

    def graphs() -> list:
        if enforce:
            return [build_reduced_graph(group, settings) for group in groups]
        return [build_graph(a, settings) for a in atoms]

    built = graphs()

    def evaluate() -> list:
        with torch.no_grad():
            chunks = [built[k : k + batch] for k in range(0, len(built), batch)]
            return [network(collate(chunk).to(dtype=torch.float32), (PROPERTY,)) for chunk in chunks]

    tensors = torch.cat([out[PROPERTY] for out in evaluate()]).double().numpy()
    stages: dict[str, Callable[[], object]] = {"graph": graphs, "network": evaluate}
    if enforce:
        stages["symmetry"] = lambda: [analyse_space_group(a) for a in atoms]
        stages["projection"] = lambda: [project(PROPERTY, t, g) for t, g in zip(tensors, groups, strict=True)]
    if batch == 1:
        stages["total"] = lambda: [predictor.predict([a], [PROPERTY]) for a in atoms]
    else:
        stages["total"] = lambda: predictor.predict(atoms, [PROPERTY], batch_size=batch)
    if batch > 1:
        optimiser = torch.optim.AdamW(network.parameters())

        def train() -> None:
            for k in range(0, len(built), batch):
                optimiser.zero_grad()
                out = network(collate(built[k : k + batch]).to(dtype=torch.float32), (PROPERTY,))[PROPERTY]
                out.square().mean().backward()

        network.requires_grad_(True)
        stages["training step"] = train
    return {name: [seconds / len(atoms) for seconds in timed(action, repeats)] for name, action in stages.items()}


def main() -> None:
    """Run every configuration in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crystals", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="default")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        threads, batch, enforce = json.loads(given.worker)
        result = measure(given.model, given.crystals, batch, enforce, threads, given.repeats)
        sys.stdout.write("RESULT " + json.dumps(result) + "\n")
        return
    table = Table(title=f"ms per crystal (CPU / wall), {given.crystals} dielectric test crystals, {PROPERTY}")
    names = ("symmetry", "graph", "network", "projection", "total", "training step")
    for heading in ("configuration", *names, "anchor / total CPU"):
        table.add_column(heading, justify="right")
    table.add_row("research code, 1 thread", *[f"{1e3 * ANCHORS[n]:.1f}" if n in ANCHORS else "" for n in names], "1")
    for threads in (1, 2):
        for batch in (64, 1):
            for enforce in (True, False):
                row = run_worker(given, threads, batch, enforce)
                label = f"{'reduced' if enforce else 'plain'}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
                cells = [f"{1e3 * row[n][0]:.2f} / {1e3 * row[n][1]:.2f}" if n in row else "" for n in names]
                table.add_row(label, *cells, f"{ANCHORS['total'] / row['total'][0]:.1f}")
    Console(width=170).print(table)


def run_worker(given: argparse.Namespace, threads: int, batch: int, enforce: bool) -> dict[str, list[float]]:
    """One configuration in a fresh process with that many threads."""
    command = [sys.executable, "-m", "benchmarks.speed", "--worker", json.dumps([threads, batch, enforce])]
    command += ["--crystals", str(given.crystals), "--repeats", str(given.repeats), "--model", given.model]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    return json.loads(next(line for line in output.splitlines() if line.startswith("RESULT "))[7:])


if __name__ == "__main__":
    main()
