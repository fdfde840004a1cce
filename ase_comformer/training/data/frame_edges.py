"""Neighbours of frames, sorted once: edges by receiver and sender, and the pairs of atoms that they connect."""

import multiprocessing
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.reciprocal_vectors import ReciprocalVectors, batched_reciprocal_vectors
from ase_comformer.graphs.schema import present
from ase_comformer.training.data.frames import Frames


@dataclass
class FrameEdges:
    """Edges and pairs of some frames, sorted by receiver and then by sender, one frame after the other.

    Attributes:
        edge_count, pair_count: (F,) of every frame.
        graph: the fields of ``CrystalGraph`` that run over edges, by name; atoms count within their frame.
        indices: int32, counted within the frame: edge_pair (E,), edge_by_sender (E,), pair_receiver (P,),
            pair_sender (P,), pair_size (P,), pair_by_sender (P,), see ``SortedEdges``.
    """

    edge_count: NDArray[np.int64]
    pair_count: NDArray[np.int64]
    graph: dict[str, NDArray[Any]]
    indices: dict[str, NDArray[np.int32]]


def _edges_of_part(task: tuple[Frames, GraphSettings]) -> FrameEdges:
    frames, settings = task
    graph = frames.graph(replace(settings, reciprocal_cutoff=0.0))
    receiver, sender = graph.edge_receiver.numpy(), graph.edge_atom.numpy()
    order = np.lexsort((sender, receiver))
    receiver, sender = receiver[order], sender[order]
    begins = np.append(True, (np.diff(receiver) != 0) | (np.diff(sender) != 0))[: len(order)]
    pair_receiver, pair_sender = receiver[begins], sender[begins]
    size = np.diff(np.append(np.flatnonzero(begins), len(order)))

    # frames stand one after the other, so what is sorted for all of them is sorted within each
    owner = np.repeat(np.arange(len(frames)), frames.count)
    edge_count, pair_count = (np.bincount(owner[ends], minlength=len(frames)) for ends in (receiver, pair_receiver))
    edge_start, pair_start = (np.cumsum(counts) - counts for counts in (edge_count, pair_count))
    edge_frame, pair_frame = owner[receiver], owner[pair_receiver]
    starts = {"node": frames.start, "atom": frames.start, "edge": edge_start}
    of_graph = {}
    for name, declared, value in present(graph):
        if declared.over == "edge":
            sorted_value = value.numpy()[order]
            if declared.refers_to is not None:
                sorted_value = (sorted_value - starts[declared.refers_to][edge_frame]).astype(np.int32)
            of_graph[name] = sorted_value
    indices = {
        "edge_pair": np.cumsum(begins) - 1 - pair_start[edge_frame],
        "edge_by_sender": np.argsort(sender, kind="stable") - edge_start[edge_frame],
        "pair_receiver": pair_receiver - frames.start[pair_frame],
        "pair_sender": pair_sender - frames.start[pair_frame],
        "pair_size": size,
        "pair_by_sender": np.argsort(pair_sender, kind="stable") - pair_start[pair_frame],
    }
    return FrameEdges(
        edge_count, pair_count, of_graph, {name: values.astype(np.int32) for name, values in indices.items()}
    )


def edges_of(frames: Frames, settings: GraphSettings, smallest: int = 2000) -> FrameEdges:
    """Find and sort the edges of every frame, in several processes from ``smallest`` frames on."""
    if len(frames) < smallest:
        return _edges_of_part((frames, settings))
    cores = len(os.sched_getaffinity(0))
    parts = [(frames.take(rows), settings) for rows in np.array_split(np.arange(len(frames)), 4 * cores)]
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        found = pool.map(_edges_of_part, parts, chunksize=1)
    return FrameEdges(
        np.concatenate([part.edge_count for part in found]),
        np.concatenate([part.pair_count for part in found]),
        {name: np.concatenate([part.graph[name] for part in found]) for name in found[0].graph},
        {name: np.concatenate([part.indices[name] for part in found]) for name in found[0].indices},
    )


def frame_reciprocal_vectors(frames: Frames, cutoff: float, together: int = 128) -> ReciprocalVectors:
    """Find those of every frame, in float32; cells of like shape together, as all share the reach of the longest."""
    order = np.argsort(np.linalg.norm(frames.cell, axis=2).prod(axis=1), kind="stable")
    rows = np.split(order, range(together, len(order), together))
    parts = [batched_reciprocal_vectors(frames.cell[part], cutoff) for part in rows]
    most = max((part.weight.shape[1] for part in parts), default=0)

    def joined(name: str) -> NDArray[np.float32]:
        values = np.zeros((len(frames), most, *getattr(parts[0], name).shape[2:]), dtype=np.float32)
        for part, reciprocal_vectors in zip(rows, parts, strict=True):
            found = getattr(reciprocal_vectors, name)
            values[part, : found.shape[1]] = found
        return values

    return ReciprocalVectors(joined("vector"), joined("weight"), joined("slope"))
