"""Trains any network of the papers' tables on one property, for a stated number of CPU seconds of one thread.

All are trained alike: fit records of the training split (the same for all), AdamW with a cosine of the time that is
left, a Huber loss of the difference to the label over the typical size of the labels. The state with the least error
on val, which is looked at ten times, is kept; test is seen by none. Networks that cannot learn the size of their labels
by themselves are scaled (``Scaled``); baselines do it inside, ours too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.training.data.samples import select_records
from ase_comformer.training.data.store import GraphStore, build_store
from benchmarks.baselines import Baseline

#: How often val is looked at in a run, and the share of it in which the learning rate rises.
LOOKS, WARM_UP = 10, 0.05
BATCH = 32


@dataclass
class Labelled:
    """Graphs of crystals, their labels (N, *shape), and their identifiers."""

    store: GraphStore
    labels: Tensor
    ids: list[str]

    def __len__(self) -> int:
        return len(self.labels)


def labelled(
    dataset: str, split: str, property_name: str, settings: GraphSettings, *, reduced: bool, cache: Path
) -> Labelled:
    """Load the fit records of a split, and build their graphs or take them from ``cache``."""
    records, _ = select_records([dataset], [split], [property_name])
    store = build_store([record.atoms for record in records], settings, reduced=reduced, cache=cache, workers=1)
    labels = np.array([np.asarray(record.labels[property_name], dtype=np.float64) for record in records])
    return Labelled(store, torch.as_tensor(labels, dtype=torch.float32), [record.id for record in records])


class Scaled(nn.Module):
    """A network whose output is multiplied by the typical size of the labels."""

    scale: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.properties, self.graph_settings = network.properties, network.graph_settings
        self.register_buffer("scale", torch.ones(()))

    def set_statistics(self, labels: Tensor) -> None:
        """Take the size from labels of training."""
        self.scale.fill_(typical_size(labels))

    def forward(self, graph: CrystalGraph, properties: Sequence[str]) -> dict[str, Tensor]:
        """Evaluate."""
        return {name: value * self.scale for name, value in self.network(graph, properties).items()}


def typical_size(labels: Tensor) -> float:
    """Mean norm of labels (N, *shape); of scalars the deviation from their mean."""
    if labels.dim() == 1:
        return float(labels.std())
    return float(labels.reshape(len(labels), -1).norm(dim=1).mean())


def prepare(network: nn.Module, data: Labelled) -> None:
    """Set what a network takes from its labels before training."""
    if isinstance(network, Baseline | Scaled):
        network.set_statistics(data.labels)
    elif hasattr(network, "element_reference") and data.labels.dim() == 1:
        graph = data.store.graph
        composition = torch.zeros(graph.crystal_count, len(network.element_reference))
        composition.index_put_((graph.node_crystal, graph.numbers), graph.node_weight, accumulate=True)
        matrix, energies = composition.double(), data.labels.double()
        ridge = matrix.T @ matrix + 1e-2 * torch.eye(matrix.shape[1], dtype=torch.float64)
        network.element_reference.copy_(torch.linalg.solve(ridge, matrix.T @ energies))
        network.output_scale.fill_(float((energies - matrix @ network.element_reference.double()).std()))


@dataclass
class Trained:
    """What a run gave: CPU seconds, epochs, and the error on val (mean norm, unit of the label) of the kept state."""

    seconds: float
    epochs: float
    val: float


def train(
    network: nn.Module, data: Labelled, val: Labelled, *, seconds: float, learning_rate: float, seed: int
) -> Trained:
    """Train for that many CPU seconds, validation included; the network ends in the state that was best on val."""
    torch.manual_seed(seed)
    prepare(network, data)
    size = typical_size(data.labels)
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-4)
    order: list[Tensor] = []
    start, seen, looks, best = time.process_time(), 0, 0, math.inf
    kept: dict[str, Tensor] = {}
    while True:
        part = min((time.process_time() - start) / seconds, 1.0)
        if part * LOOKS >= looks + 1 or part == 1.0:
            looks = int(part * LOOKS)
            error = mean_error(predicted(network, val), val.labels)
            if error < best:
                best, kept = error, {name: value.clone() for name, value in network.state_dict().items()}
            if part == 1.0:
                break
        if not order:
            order = list(torch.randperm(len(data)).split(BATCH))
            # statistics of a batch of one crystal mean nothing
            order = [chunk for chunk in order if len(chunk) > 1]
        chunk = order.pop()
        seen += len(chunk)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(part / WARM_UP, 0.5 * (1.0 + math.cos(math.pi * part)))
        network.train()
        optimiser.zero_grad()
        output = evaluate(network, data.store.batch(chunk))
        loss = nn.functional.huber_loss(output / size, data.labels[chunk] / size, delta=0.1)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    network.load_state_dict(kept)
    return Trained(time.process_time() - start, seen / len(data), best)


def evaluate(network: nn.Module, graph: CrystalGraph) -> Tensor:
    """The one property of a network, (B, *shape)."""
    (value,) = network(graph, tuple(network.properties)).values()
    return value


@torch.no_grad()
def predicted(network: nn.Module, data: Labelled) -> Tensor:
    """Predictions (N, *shape)."""
    network.eval()
    return torch.cat([evaluate(network, data.store.batch(chunk)) for chunk in torch.arange(len(data)).split(64)])


def mean_error(output: Tensor, labels: Tensor) -> float:
    """Mean norm of the error."""
    return float((output - labels).reshape(len(labels), -1).norm(dim=1).mean())
