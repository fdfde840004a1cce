"""Graphs of a whole data set in one flat CrystalGraph, sliced into batches by crystal index.

Building graphs and finding symmetry takes longer than an epoch of a reduced network, so it is done once, in parallel,
and kept on disk as safetensors keyed by everything it depends on.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings

logger = logging.getLogger(__name__)

#: Change when graphs or symmetry analysis change, so that stale caches are not read.
CACHE_VERSION = 1


class GraphStore:
    """Many crystals as one graph, with random access.

    Args:
        graph: the batch of all crystals, each contiguous (as ``collate`` makes it).
    """

    def __init__(self, graph: CrystalGraph) -> None:
        self.graph = graph
        owners = {
            "node": graph.node_crystal,
            "edge": graph.node_crystal[graph.edge_receiver],
            "atom": graph.atom_crystal,
            "crystal": torch.arange(graph.crystal_count),
            "operation": graph.operation_crystal,
            "frame": graph.frame_crystal,
        }
        self.counts = {
            name: torch.bincount(owner, minlength=graph.crystal_count)
            for name, owner in owners.items()
            if owner is not None
        }
        self.starts = {name: torch.cumsum(count, 0) - count for name, count in self.counts.items()}

    def __len__(self) -> int:
        return self.graph.crystal_count

    def atom_rows(self, crystals: Tensor) -> Tensor:
        """Rows of all-atom arrays that belong to ``crystals`` (b,), in the order of ``batch``."""
        return self._rows("atom", crystals)

    def _rows(self, index: str, crystals: Tensor) -> Tensor:
        count, start = self.counts[index][crystals], self.starts[index][crystals]
        before = torch.cumsum(count, 0) - count
        return torch.arange(int(count.sum())) + torch.repeat_interleave(start - before, count)

    def batch(self, crystals: Tensor) -> CrystalGraph:
        """The crystals with these indices (b,), as a graph of b crystals."""
        rows = {name: self._rows(name, crystals) for name in self.counts}
        parts: dict[str, Tensor | None] = {}
        for part in fields(CrystalGraph):
            value = getattr(self.graph, part.name)
            if value is None:
                continue
            index, refers_to = part.metadata["index"], part.metadata["refers_to"]
            value = value[rows[index]]
            if refers_to is not None:
                new_count = self.counts[refers_to][crystals]
                shift = torch.cumsum(new_count, 0) - new_count - self.starts[refers_to][crystals]
                value = value + torch.repeat_interleave(shift, self.counts[index][crystals])
            parts[part.name] = value
        return CrystalGraph(**parts)  # type: ignore[arg-type]


def _build(atoms: Atoms, settings: GraphSettings, reduced: bool, symprec: float) -> dict[str, NDArray[Any]]:
    """Parts of one graph as numpy arrays: torch tensors would each hold a file descriptor on the way back."""
    torch.set_num_threads(1)
    if reduced:
        graph = build_reduced_graph(analyse_space_group(atoms, symprec), settings)
    else:
        graph = build_graph(atoms, settings)
    parts = {part.name: getattr(graph.to(dtype=torch.float32), part.name) for part in fields(graph)}
    return {name: value.numpy() for name, value in parts.items() if value is not None}


def build_store(
    structures: Sequence[Atoms],
    settings: GraphSettings,
    *,
    reduced: bool = True,
    symprec: float = 1e-2,
    cache: Path | None = None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> GraphStore:
    """Graphs (float32) of all structures, from ``cache`` where an identical request was built before.

    Args:
        structures: crystals, in the order of the store.
        settings: kind of graph.
        reduced: symmetry-reduced graphs of the idealised primitive cells, else plain ones.
        symprec: A, tolerance of the symmetry analysis.
        cache: folder for the safetensors file; None builds without keeping.
        workers: processes.
        progress: called with (done, total).
    """
    name = f"graphs-{_fingerprint(structures, settings, reduced, symprec)}.safetensors"
    path = None if cache is None else cache / name
    if path is not None and path.exists():
        return GraphStore(CrystalGraph(**load_file(path)))  # type: ignore[arg-type]
    build = partial(_build, settings=settings, reduced=reduced, symprec=symprec)
    graphs = []
    with ProcessPoolExecutor(workers) as pool:
        for parts in pool.map(build, structures, chunksize=32):
            graphs.append(CrystalGraph(**{name: torch.from_numpy(value) for name, value in parts.items()}))
            if progress is not None:
                progress(len(graphs), len(structures))
    joined = collate(graphs)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {part.name: getattr(joined, part.name) for part in fields(joined)}
        save_file({name: value.contiguous() for name, value in tensors.items() if value is not None}, path)
    return GraphStore(joined)


def _fingerprint(structures: Sequence[Atoms], settings: GraphSettings, reduced: bool, symprec: float) -> str:
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, asdict(settings), reduced, symprec]).encode())
    for atoms in structures:
        digest.update(np.asarray(atoms.numbers, dtype=np.int64).tobytes())
        digest.update(atoms.positions.tobytes() + atoms.cell.array.tobytes())
    return digest.hexdigest()[:16]
