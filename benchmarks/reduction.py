"""Measures what symmetry reduction saves: ``python -m benchmarks.reduction --data DIR`` (or ``ASE_COMFORMER_DATA``).

Over the dielectric, elastic and piezoelectric test splits: directed edges, orbits of edges, and CPU seconds of one
thread for the same network on the plain and on the symmetry-reduced graph of the same idealised primitive cell.
"inference" is the network alone in batches of 64; "training step" is forward, loss and backward in batches of 32, in
float32; medians are over batches. Both graphs of a batch are timed one after the other, so that other load on the
machine hits both. Graph and symmetry are not counted here: ``benchmarks.speed`` times them.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.models.registry import load_model
from ase_comformer.nn import TensorNetwork
from ase_comformer.training.data.records import Record, load_records
from ase_comformer.training.data.targets import Targets
from ase_comformer.training.tasks.losses import loss_terms

#: data set -> properties that are asked for, the labels of its training step
SETS: dict[str, tuple[str, ...]] = {
    "dielectric_born": ("dielectric_tensor", "born_effective_charges"),
    "elastic_mp": ("elastic_tensor",),
    "piezo_mp": ("piezoelectric_tensor",),
}
INFERENCE_FLOOR, TRAINING_FLOOR = 3.0, 4.0
FLOOR_SET = "dielectric_born"


@dataclass
class Sample:
    """One crystal: its label record and the two graphs of its idealised primitive cell, float32."""

    record: Record
    group: SpaceGroup
    plain: CrystalGraph
    reduced: CrystalGraph


@dataclass
class Times:
    """CPU seconds per crystal of every batch, (batches,), and the crystals in it."""

    plain: np.ndarray
    reduced: np.ndarray
    crystals: np.ndarray

    def total(self, kind: str) -> float:
        """CPU seconds of all crystals."""
        return float((getattr(self, kind) * self.crystals).sum())

    @property
    def gain(self) -> float:
        """Ratio of the totals."""
        return self.total("plain") / self.total("reduced")


def default_network(model: str) -> TensorNetwork:
    """A network with the sizes of the model's first TensorNetwork and the heads of all sets: speed needs no weights."""
    first = next(net for name in load_model(model, "cpu").members for net in load_model(model, "cpu").entries(name)
                 if isinstance(net, TensorNetwork))  # fmt: skip
    heads = list(dict.fromkeys(name for names in SETS.values() for name in names))
    torch.manual_seed(0)
    return TensorNetwork(**{**first.arguments, "properties": heads}).eval()


def load(dataset: str, folder: Path | None, network: TensorNetwork, largest: int | None) -> list[Sample]:
    """Test split of a data set as graphs."""
    settings = network.graph_settings
    samples = []
    for record in load_records(dataset, folder, splits=("test",))[:largest]:
        group = analyse_space_group(record.atoms)
        plain, reduced = build_graph(group.primitive, settings), build_reduced_graph(group, settings)
        samples.append(Sample(record, group, plain.to(dtype=torch.float32), reduced.to(dtype=torch.float32)))
    return samples


def targets_of(samples: Sequence[Sample], properties: Sequence[str]) -> Targets:
    """Labels of a batch, Born charges on the atoms of the primitive cells."""
    targets = Targets()
    for name in properties:
        labels = [np.asarray(sample.record.labels[name]) for sample in samples]
        if name == "born_effective_charges":
            first = [np.unique(sample.group.atom_to_primitive, return_index=True)[1] for sample in samples]
            labels = [label[index] for label, index in zip(labels, first, strict=True)]
            counts = torch.tensor([len(label) for label in labels])
            targets.crystal_of_row[name] = torch.repeat_interleave(torch.arange(len(samples)), counts)
            values = np.concatenate(labels)
        else:
            values = np.stack(labels)
        targets.rows[name] = torch.arange(len(values))
        targets.values[name] = torch.as_tensor(values, dtype=torch.float32)
        if name == "piezoelectric_tensor":
            targets.values[name] = targets.values[name].unsqueeze(1)
    return targets


def timed(action: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def measure(samples: Sequence[Sample], batch: int, repeats: int, action: Callable) -> Times:
    """Time ``action(graph, samples)`` on the plain and the reduced graphs of batches drawn at random."""
    order = np.random.default_rng(0).permutation(len(samples))
    seconds: dict[str, list[float]] = {"plain": [], "reduced": []}
    crystals = []
    for start in range(0, len(order), batch):
        chosen = [samples[k] for k in order[start : start + batch]]
        for kind, found in seconds.items():
            graph = collate([getattr(sample, kind) for sample in chosen])
            action(graph, chosen)  # warm
            found.append(timed(lambda graph=graph, chosen=chosen: action(graph, chosen), repeats) / len(chosen))
        crystals.append(len(chosen))
    return Times(np.array(seconds["plain"]), np.array(seconds["reduced"]), np.array(crystals))


def measure_inference(
    network: TensorNetwork, samples: Sequence[Sample], properties: Sequence[str], batch: int, repeats: int
) -> Times:
    """The network alone, without gradients."""
    network.eval()

    @torch.no_grad()
    def infer(graph: CrystalGraph, chosen: Sequence[Sample]) -> None:
        network(graph, properties)

    return measure(samples, batch, repeats, infer)


def measure_training(
    network: TensorNetwork, samples: Sequence[Sample], properties: Sequence[str], batch: int, repeats: int
) -> Times:
    """Forward, loss and backward."""
    network.train().requires_grad_(True)

    def step(graph: CrystalGraph, chosen: Sequence[Sample]) -> None:
        network.zero_grad()
        terms = loss_terms(network(graph, properties), targets_of(chosen, properties))
        torch.stack([values.mean() for values in terms.values()]).sum().backward()

    return measure(samples, batch, repeats, step)


def edge_row(name: str, samples: Sequence[Sample]) -> list[str]:
    """Cells of the first table."""
    edges = np.array([len(sample.plain.edge_weight) for sample in samples])
    orbits = np.array([len(sample.reduced.edge_weight) for sample in samples])
    atoms = np.array([len(sample.plain.numbers) for sample in samples])
    nodes = np.array([len(sample.reduced.numbers) for sample in samples])
    ratio = edges / np.maximum(orbits, 1)
    return [
        name,
        str(len(samples)),
        f"{np.median(atoms):.0f} / {np.median(nodes):.0f}",
        f"{np.median(edges):.0f} / {edges.sum():,}",
        f"{np.median(orbits):.0f} / {orbits.sum():,}",
        f"{np.median(ratio):.1f}",
        f"{edges.sum() / orbits.sum():.1f}",
        f"{ratio.max():.0f}",
    ]


def time_row(name: str, what: str, batch: int, times: Times) -> list[str]:
    """Cells of the second table."""
    return [
        name,
        f"{what}, batch {batch}",
        *(f"{1e3 * np.median(getattr(times, kind)):.2f}" for kind in ("plain", "reduced")),
        f"{np.median(times.plain / times.reduced):.1f}",
        *(f"{times.total(kind):.2f}" for kind in ("plain", "reduced")),
        f"{times.gain:.1f}",
    ]


def main() -> None:
    """Measure and print both tables and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data package (default: ASE_COMFORMER_DATA)")
    parser.add_argument("--model", default="default", help="its first TensorNetwork is timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--inference-batch", type=int, default=64)
    parser.add_argument("--training-batch", type=int, default=32, help="32 is that of the shipped configurations")
    parser.add_argument("--crystals", type=int, help="first crystals of each set only, for a quick look")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    load_average = os.getloadavg()[0]
    console = Console(width=150)
    network = default_network(given.model)
    parameters = sum(value.numel() for value in network.parameters())
    sizes = Table(title=f"test splits, cut-off {network.graph_settings.cutoff} Å, idealised primitive cells")
    for heading in ("set", "crystals", "atoms / orbits, median", "edges, median / total"):
        sizes.add_column(heading, justify="right")
    for heading in ("edge orbits, median / total", "ratio, median", "ratio of totals", "largest"):
        sizes.add_column(heading, justify="right")
    clock = Table(title=f"CPU time, one thread, float32, TensorNetwork with {parameters:,} parameters")
    for heading in ("set", "what", "plain ms per crystal, median", "reduced ms", "ratio, median"):
        clock.add_column(heading, justify="right")
    for heading in ("plain s, all crystals", "reduced s", "ratio of totals"):
        clock.add_column(heading, justify="right")
    gains: dict[str, float] = {}
    for name, properties in SETS.items():
        samples = load(name, given.data, network, given.crystals)
        sizes.add_row(*edge_row(name, samples))
        inference = measure_inference(network, samples, properties, given.inference_batch, given.repeats)
        clock.add_row(*time_row(name, "inference", given.inference_batch, inference))
        training = measure_training(network, samples, properties, given.training_batch, given.repeats)
        clock.add_row(*time_row(name, "training step", given.training_batch, training))
        if name == FLOOR_SET:
            gains = {"inference": inference.gain, "training step": training.gain}
    console.print(sizes)
    console.print(clock)
    for what, floor in (("training step", TRAINING_FLOOR), ("inference", INFERENCE_FLOOR)):
        verdict = "reached" if gains[what] >= floor else "MISSED"
        console.print(f"{FLOOR_SET}, {what}: {gains[what]:.1f} times fewer CPU seconds; floor {floor:.0f}: {verdict}")
    if load_average > 0.5:
        console.print(f"[yellow]load was {load_average:.1f} at the start: other jobs share this machine")


if __name__ == "__main__":
    main()
