"""Times of a network: CPU seconds of one thread, warm, medians. Needs torch and ASE only."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from ase import Atoms
from torch import Tensor, nn


class Measured(Protocol):
    """A network, and how its graphs are made."""

    network: nn.Module

    def graph(self, atoms: Atoms) -> Any:
        """Make the graph of a crystal."""
        ...

    def join(self, graphs: Sequence[Any]) -> Any:
        """Join graphs to a batch."""
        ...

    def output(self, batch: Any) -> Tensor:
        """Evaluate the network."""
        ...

    def sizes(self, graph: Any) -> tuple[int, int]:
        """Count edges, and pairs of edges if the network works on them, else zero."""
        ...


def cpu_seconds(action: Callable[[], object], repeats: int = 5, budget: float = 4.0) -> float:
    """Median CPU seconds after a warm-up; fewer repeats where one takes longer than ``budget`` / ``repeats``."""
    start = time.process_time()
    action()
    first = time.process_time() - start
    seconds = []
    for _ in range(max(1, min(repeats, int(budget / max(first, 1e-9))))):
        start = time.process_time()
        action()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def parameters(network: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def row(make: Callable[[], Measured], structures: Sequence[Atoms], batch_size: int, passes: int) -> dict[str, float]:
    """Measure a network on crystals: one row of the table.

    Training is forward, backward and a step of Adam on the square of the outputs, graphs built before, joining them to
    batches counted. ``memory`` is the growth of the process' peak, in MiB, from before the network is made to the end
    of the training, with its parameters, Adam's two moments and everything that a batch keeps for the way back.
    """
    measured = make()
    measured.graph(structures[0])  # to warm up
    start = time.process_time()
    graphs = [measured.graph(atoms) for atoms in structures]
    seconds_of_graphs = time.process_time() - start
    chunks = [graphs[k : k + batch_size] for k in range(0, len(graphs), batch_size)]
    sizes = [measured.sizes(graph) for graph in graphs]
    network = measured.network.eval()
    with torch.no_grad():
        inference = cpu_seconds(lambda: [measured.output(measured.join(chunk)) for chunk in chunks], passes, 1e9)
    gc.collect()
    before = _resident()
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-6)

    def epoch() -> None:
        for chunk in chunks:
            optimiser.zero_grad()
            measured.output(measured.join(chunk)).square().mean().backward()
            optimiser.step()

    training = cpu_seconds(epoch, passes, 1e9)
    count, atoms = len(structures), sum(map(len, structures))
    return {
        "parameters": parameters(network),
        "edges": sum(edges for edges, _ in sizes) / atoms,
        "pairs": sum(pairs for _, pairs in sizes) / atoms,
        "graph": seconds_of_graphs / count,
        "inference": inference / count,
        "training": training / count,
        "memory": _peak() - before + 4 * parameters(network) / 2**20,
    }


def point(measured: Measured, atoms: Atoms) -> dict[str, float]:
    """Measure one evaluation of one crystal, for the fits of exponents."""
    start = time.process_time()
    graph = measured.graph(atoms)
    graph_seconds = time.process_time() - start
    edges, pairs = measured.sizes(graph)
    measured.network.eval()
    batch = measured.join([graph])
    with torch.no_grad():
        seconds = cpu_seconds(lambda: measured.output(batch), repeats=5, budget=1.0)
    count = len(atoms)
    return {"atoms": count, "edges": edges / count, "pairs": pairs / count, "graph": graph_seconds, "network": seconds}


def _peak() -> float:
    """Peak memory of the process, MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _resident() -> float:
    """Memory of the process now, MiB; its peak where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20 if status.exists() else _peak()
