"""Neighbours of frames, sorted once: edges by receiver and sender, and the pairs of atoms that they connect."""

import multiprocessing
import os
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from vesin import NeighborList

from ase_comformer.training.frames import Frames

#: Indices of ``FrameEdges``; atoms, edges and pairs are counted within their frame.
INDICES = (
    "receiver",
    "sender",
    "edge_pair",
    "edge_by_sender",
    "pair_receiver",
    "pair_sender",
    "pair_size",
    "pair_by_sender",
)


@dataclass
class FrameEdges:
    """Edges and pairs of some frames, one after the other, see ``ResidentFrames``, and their numbers per frame."""

    edge_count: NDArray[np.int64]
    pair_count: NDArray[np.int64]
    vector: NDArray[np.float32]
    receiver: NDArray[np.int32]
    sender: NDArray[np.int32]
    edge_pair: NDArray[np.int32]
    edge_by_sender: NDArray[np.int32]
    pair_receiver: NDArray[np.int32]
    pair_sender: NDArray[np.int32]
    pair_size: NDArray[np.int32]
    pair_by_sender: NDArray[np.int32]


def _edges_of_part(task: tuple[Frames, float]) -> FrameEdges:
    frames, cutoff = task
    finder = NeighborList(cutoff=cutoff, full_list=True)
    found = []
    for start, count, cell in zip(frames.start, frames.count, frames.cell, strict=True):
        points = frames.positions[start : start + count]
        receiver, sender, vector = finder.compute(points=points, box=cell, periodic=True, quantities="ijD")
        key = receiver.astype(np.int64) * count + sender.astype(np.int64)
        order = np.argsort(key, kind="stable")
        pairs, edge_pair, size = np.unique(key[order], return_inverse=True, return_counts=True)
        pair_sender, edge_sender = pairs % count, key[order] % count
        by_sender = [np.argsort(values, kind="stable") for values in (edge_sender, pair_sender)]
        of_edges = (vector[order], key[order] // count, edge_sender, edge_pair, by_sender[0])
        found.append((*of_edges, pairs // count, pair_sender, size, by_sender[1]))
    vectors, *indices = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return FrameEdges(
        np.array([len(parts[0]) for parts in found]),
        np.array([len(parts[5]) for parts in found]),
        vectors.astype(np.float32),
        *(values.astype(np.int32) for values in indices),
    )


def edges_of(frames: Frames, cutoff: float, smallest: int = 2000) -> FrameEdges:
    """Of every frame; in several processes from ``smallest`` frames on."""
    if len(frames) < smallest:
        return _edges_of_part((frames, cutoff))
    cores = len(os.sched_getaffinity(0))
    parts = [(frames.take(rows), cutoff) for rows in np.array_split(np.arange(len(frames)), 4 * cores)]
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        found = pool.map(_edges_of_part, parts, chunksize=1)
    return FrameEdges(*(np.concatenate([getattr(part, f.name) for part in found]) for f in fields(FrameEdges)))
