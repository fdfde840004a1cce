"""Graphs of a whole data set in one flat CrystalGraph, sliced into batches by crystal index.

Building graphs and finding symmetry takes longer than an epoch of a reduced network, so it is done once, in parallel,
and kept on disk as safetensors keyed by everything it depends on.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
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
from ase_comformer.graphs.schema import Layout, present, take

logger = logging.getLogger(__name__)

#: Change when graphs or symmetry analysis change, so that stale caches are not read.
CACHE_VERSION = 2


class GraphStore:
    """Many crystals as one graph, with random access.

    Args:
        graph: the batch of all crystals, each contiguous (as ``collate`` makes it).

    Attributes:
        counts, starts: name of ``schema.COUNTED`` -> (B,) rows of each crystal, and the first of them.
    """

    def __init__(self, graph: CrystalGraph) -> None:
        self.graph = graph
        self._layout = Layout(graph)
        self.counts, self.starts = self._layout.counts, self._layout.starts

    def __len__(self) -> int:
        return self.graph.crystal_count

    def rows(self, name: str, crystals: Tensor) -> Tensor:
        """Return the rows of one of ``schema.COUNTED`` that belong to ``crystals`` (b,), in the order of ``batch``."""
        return self._layout.rows(name, crystals)

    def batch(self, crystals: Tensor) -> CrystalGraph:
        """Return the crystals with these indices (b,) as a graph of b crystals."""
        return take(self.graph, crystals, self._layout)

    def stream(self, batches: Sequence[Tensor]) -> Iterator[CrystalGraph]:
        """Give the graphs of batches of indices one after the other."""
        return (self.batch(crystals) for crystals in batches)


def _build(atoms: Atoms, settings: GraphSettings, reduced: bool, symprec: float) -> dict[str, NDArray[Any]]:
    """Parts of one graph as numpy arrays: torch tensors would each hold a file descriptor on the way back."""
    torch.set_num_threads(1)
    if reduced:
        graph = build_reduced_graph(analyse_space_group(atoms, symprec), settings)
    else:
        graph = build_graph(atoms, settings)
    return {name: value.numpy() for name, _, value in present(graph.to(dtype=torch.float32))}


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
        save_file({name: value.contiguous() for name, _, value in present(joined)}, path)
    return GraphStore(joined)


def _fingerprint(structures: Sequence[Atoms], settings: GraphSettings, reduced: bool, symprec: float) -> str:
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, asdict(settings), reduced, symprec]).encode())
    for atoms in structures:
        digest.update(np.asarray(atoms.numbers, dtype=np.int64).tobytes())
        digest.update(atoms.positions.tobytes() + atoms.cell.array.tobytes())
    return digest.hexdigest()[:16]
