"""Colour refinement (Weisfeiler and Leman) of crystal graphs: what message passing can tell apart at most.

Atoms start with their element as colour; in every round an atom takes in the colours of its edges and their other ends.
``sums`` of angles: an atom takes in all pairs of its edges with their angle as well. ``edges`` with angles: an edge
takes in the other edges of its receiver and the angles with them first, which tells more apart. Two crystals whose
shares of colours agree are the same to every network that sees no more than that, whatever its weights.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_comformer.graphs.crystal_graph import CrystalGraph, collate

IntArray = NDArray[np.int64]
#: Lengths (A) and cosines closer than this are equal.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class _Angles:
    """All pairs of edges of one receiver, and a number for the angle between them."""

    edge: IntArray
    other: IntArray
    angle: IntArray


def look_the_same(first: CrystalGraph, second: CrystalGraph, *, angles: str | None = None, rounds: int = 6) -> bool:
    """Return whether two plain graphs have the same shares of colours after some rounds.

    ``angles`` is None, ``"sums"`` or ``"edges"``.
    """
    graph = collate([first, second])
    receiver, sender = graph.edge_receiver.numpy(), graph.edge_sender.numpy()
    vector = graph.edge_vector.numpy()
    bond = _labels(np.linalg.norm(vector, axis=1))
    pairs = _angles(receiver, vector) if angles else None
    nodes = graph.numbers.numpy()
    edges = _numbered(np.column_stack([bond, nodes[receiver], nodes[sender]]))
    for _ in range(rounds):
        if pairs is not None and angles == "edges":
            seen = _multisets(pairs.edge, np.column_stack([pairs.angle, edges[pairs.other]]), len(edges))
            edges = _numbered(np.column_stack([edges, seen]))
        elif pairs is not None:
            terms = np.column_stack([pairs.angle, edges[pairs.edge], edges[pairs.other]])
            nodes = _numbered(np.column_stack([nodes, _multisets(receiver[pairs.edge], terms, len(nodes))]))
        nodes = _numbered(
            np.column_stack([nodes, _multisets(receiver, np.column_stack([edges, nodes[sender]]), len(nodes))])
        )
        edges = _numbered(np.column_stack([edges, nodes[receiver], nodes[sender]]))
    crystal = graph.node_crystal.numpy()
    counts = [Counter(nodes[crystal == index].tolist()) for index in (0, 1)]
    totals = [count.total() for count in counts]
    return all(counts[0][c] * totals[1] == counts[1][c] * totals[0] for c in {*counts[0], *counts[1]})


def without_low_moments(graph: CrystalGraph, tolerance: float = 1e-6) -> bool:
    """Return whether the neighbours of every atom, one element and distance at a time, look isotropic up to l = 2.

    Their directions then sum to zero, and so do the traceless squares: a network of vectors and l = 2 tensors has
    nothing but zeros beside its scalars, and sees distances only.
    """
    receiver, sender, vector = graph.edge_receiver.numpy(), graph.edge_sender.numpy(), graph.edge_vector.numpy()
    length = np.linalg.norm(vector, axis=1)
    unit = vector / length[:, None]
    kind = _numbered(np.column_stack([receiver, graph.numbers.numpy()[sender], _labels(length)]))
    square = np.einsum("ei,ej->eij", unit, unit) - np.eye(3) / 3
    moments = np.column_stack([unit, square.reshape(-1, 9)])
    sums = np.zeros((kind.max() + 1, 12))
    np.add.at(sums, kind, moments)
    return bool(np.abs(sums).max() < tolerance)


def _angles(receiver: IntArray, vector: NDArray[np.float64]) -> _Angles:
    unit = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    edge, other = np.nonzero(receiver[:, None] == receiver[None, :])
    return _Angles(edge, other, _labels((unit[edge] * unit[other]).sum(axis=1)))


def _labels(values: NDArray[np.float64]) -> IntArray:
    """Number values so that those within the tolerance share a number."""
    order = np.argsort(values)
    labels = np.empty(len(values), dtype=np.int64)
    labels[order] = np.cumsum(np.concatenate([[0], np.diff(values[order]) > TOLERANCE]))
    return labels


def _numbered(rows: IntArray) -> IntArray:
    """Give equal rows the same number."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _multisets(owner: IntArray, rows: IntArray, owners: int) -> IntArray:
    """Give owners (owners,) of the same multiset of rows (m, k) the same number."""
    colour = _numbered(rows)
    held: list[list[int]] = [[] for _ in range(owners)]
    for one, of in zip(owner.tolist(), colour.tolist(), strict=True):
        held[one].append(of)
    known: dict[tuple[int, ...], int] = {}
    return np.array([known.setdefault(tuple(sorted(colours)), len(known)) for colours in held], dtype=np.int64)
