"""torch-geometric beside our own graphs: round trips of 300 crystals, time to wrap one, training through its loader.

    python -m benchmarks.pyg                 # three minutes on one core
    python -m benchmarks.pyg --epochs 0      # round trips only

Crystals are those of ``dielectric_born`` (``ASE_COMFORMER_DATA``). Round trips compare every tensor bit by bit, singly
and in batches, of plain and symmetry-reduced graphs with lattice frames and reciprocal vectors.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch_geometric.data import Batch

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pyg import from_pyg, to_pyg
from ase_comformer.graphs.schema import declarations
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.records import load_records
from ase_comformer.training.engines.trainer import Trainer

EVERYTHING = GraphSettings(cutoff=5.0, lattice_frame=True, reciprocal_cutoff=2.5)
CONFIG: dict[str, Any] = {
    "name": "pyg",
    "architecture": "TensorNetwork",
    "arguments": {
        "properties": ["dielectric_tensor", "born_effective_charges"],
        "graph_settings": {"kind": "radius", "cutoff": 5.0},
        "scalars": 32,
        "vectors": 16,
        "hidden": 32,
        "crystal": 32,
        "high": 4,
        "layers": 2,
    },
    "datasets": ["dielectric_born"],
    "properties": ["dielectric_tensor", "born_effective_charges"],
}


def is_same(one: CrystalGraph, other: CrystalGraph) -> bool:
    """Tell whether two graphs have the same fields with the same bits."""
    for name in declarations(CrystalGraph):
        left, right = getattr(one, name), getattr(other, name)
        if (left is None) != (right is None):
            return False
        if left is not None and not (left.dtype == right.dtype and torch.equal(left, right)):
            return False
    return True


def round_trips(console: Console, count: int) -> None:
    """Print how many crystals come back as they were, and what it takes."""
    structures = [record.atoms for record in load_records("dielectric_born", None, ["val", "test"])][:count]
    builders: dict[str, Callable[[Any], CrystalGraph]] = {
        "plain": lambda atoms: build_graph(atoms, EVERYTHING),
        "reduced": lambda atoms: build_reduced_graph(analyse_space_group(atoms), EVERYTHING),
    }
    table = Table(title=f"round trips of {len(structures)} crystals")
    for heading in (
        "graphs",
        "single",
        "batches of 50",
        "there, ms",
        "back, ms",
        "Batch of 50, ms",
        "collate of 50, ms",
    ):
        table.add_column(heading, justify="right")
    for kind, build in builders.items():
        graphs = [build(atoms) for atoms in structures]
        there, back, batched, joined = [], [], [], []
        single = whole = 0
        data = []
        for graph in graphs:
            start = time.perf_counter()
            data.append(to_pyg(graph))
            middle = time.perf_counter()
            again = from_pyg(data[-1])
            there.append(middle - start)
            back.append(time.perf_counter() - middle)
            single += is_same(again, graph)
        chunks = range(0, len(graphs), 50)
        for first in chunks:
            start = time.perf_counter()
            batch = Batch.from_data_list(data[first : first + 50])
            middle = time.perf_counter()
            expected = collate(graphs[first : first + 50])
            batched.append(middle - start)
            joined.append(time.perf_counter() - middle)
            whole += is_same(from_pyg(batch), expected)  # type: ignore[arg-type]
        times = [f"{1e3 * statistics.median(values):.2f}" for values in (there, back, batched, joined)]
        table.add_row(kind, f"{single} of {len(graphs)}", f"{whole} of {len(chunks)}", *times)
    console.print(table)


def training(console: Console, epochs: int, fraction: float) -> None:
    """Print the loss curves of the same run through both loaders."""
    curves: dict[str, list[dict[str, float]]] = {}
    seconds: dict[str, list[float]] = {}
    preparing: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for loader in ("store", "pyg", "store", "pyg"):
            config = TrainingConfig(**CONFIG, loader=loader, fraction=fraction, epochs=epochs, output=folder)
            start = time.process_time()
            trainer = Trainer(config)
            preparing[loader] = time.process_time() - start
            curves[loader] = []
            for trainer.epoch in range(epochs):
                start = time.process_time()
                losses = trainer._one_epoch()
                seconds.setdefault(loader, []).append(time.process_time() - start)
                curves[loader].append(losses | {f"val {k}": v for k, v in trainer.validate().items()})
    names = list(curves["store"][0])
    table = Table(title=f"the same run through both loaders, {trainer.task.samples_per_epoch} crystals an epoch")
    for heading in ("loader", "start, CPU s", "epoch, CPU s", *names):
        table.add_column(heading, justify="right")
    for loader, curve in curves.items():
        values = [" ".join(f"{epoch[name]:.5f}" for epoch in curve) for name in names]
        table.add_row(loader, f"{preparing[loader]:.2f}", f"{statistics.median(seconds[loader]):.2f}", *values)
    console.print(table)
    pairs = zip(curves["store"], curves["pyg"], strict=True)
    largest = max(abs(one[name] - other[name]) / abs(one[name]) for one, other in pairs for name in names)
    console.print(f"largest relative difference of the loss curves: {largest:.1e}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crystals", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--fraction", type=float, default=0.15, help="of the training crystals")
    given = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=160)
    round_trips(console, given.crystals)
    if given.epochs:
        training(console, given.epochs, given.fraction)


if __name__ == "__main__":
    main()
