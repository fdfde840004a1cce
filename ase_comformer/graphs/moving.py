"""Neighbours and graphs of structures that move, as in dynamics and relaxations.

A neighbour list with a skin is found once and reused while nothing can have come closer.

A pair that was at least ``cutoff + skin`` apart, with the cut-off of its elements, cannot be nearer than
(cutoff + skin) s - 2 u after the cell was deformed with smallest stretch s and atoms moved at most u beyond that
deformation; while this exceeds the cut-off the stored pairs contain all neighbours.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.graphs.building import build_graph, crystal_parts
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings, Neighbours, neighbours
from ase_comformer.graphs.pair_cutoffs import Reach, longest_cutoff, pair_cutoffs
from ase_comformer.graphs.reciprocal_vectors import reciprocal_fields


@dataclass
class _Pairs:
    """Pairs within cutoff + skin, the squares of their cut-offs (A^2), and the structure that they were found for."""

    numbers: NDArray[np.int64]
    pbc: NDArray[np.bool_]
    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    receiver: NDArray[np.int64]
    sender: NDArray[np.int64]
    image: NDArray[np.int64]
    square: NDArray[np.float64] | float


@dataclass
class _Near:
    """Which pairs were neighbours in the last call: a mask, and their receivers, senders and images."""

    pairs: _Pairs
    chosen: NDArray[np.bool_]
    edges: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


class SkinNeighbours:
    """Directed edges within ``cutoff`` of successive structures; their arrays but the vectors are not to be changed.

    Args:
        cutoff: A.
        skin: A; 0 finds neighbours anew in every call.
        reach: of large atoms, whose pairs have longer cut-offs.
    """

    def __init__(self, cutoff: float, skin: float = 0.6, reach: Reach = ()) -> None:
        if skin < 0:
            raise ValueError(f"skin must not be negative, got {skin}; 0 switches it off")
        self.cutoff, self.skin, self.reach = cutoff, skin, reach
        self._pairs: _Pairs | None = None
        self._near: _Near | None = None

    def edges(self, atoms: Atoms) -> Neighbours:
        """Receiver (E,), sender (E,), image (E, 3), vector (E, 3) in A, each directed edge exactly once.

        While the edges stay the same, all but the vectors are the same objects.
        """
        pairs = self._pairs
        if pairs is None or not self._covers(pairs, atoms):
            pairs = self._pairs = self._found(atoms)
        receiver, sender, image = pairs.receiver, pairs.sender, pairs.image
        vector = atoms.positions[sender] - atoms.positions[receiver] + image @ atoms.cell.array
        near = np.einsum("ex,ex->e", vector, vector) < pairs.square
        last = self._near  # read once: another thread may change it
        if last is None or last.pairs is not pairs or not np.array_equal(last.chosen, near):
            last = self._near = _Near(pairs, near, (receiver[near], sender[near], image[near]))
        return *last.edges, vector[near]

    def _found(self, atoms: Atoms) -> _Pairs:
        numbers = atoms.numbers.copy()
        longest = longest_cutoff(self.reach, self.cutoff, numbers)
        receiver, sender, image, vector = neighbours(atoms, GraphSettings(cutoff=longest + self.skin))
        square: NDArray[np.float64] | float = self.cutoff**2
        if longest > self.cutoff:
            cutoffs = pair_cutoffs(self.reach, self.cutoff, numbers[receiver], numbers[sender])
            kept = np.einsum("ex,ex->e", vector, vector) < (cutoffs + self.skin) ** 2
            receiver, sender, image, square = receiver[kept], sender[kept], image[kept], cutoffs[kept] ** 2
        cell, positions = atoms.cell.complete().array, atoms.positions.copy()
        return _Pairs(numbers, atoms.pbc.copy(), cell, positions, receiver, sender, image, square)

    def _covers(self, pairs: _Pairs, atoms: Atoms) -> bool:
        same = np.array_equal(pairs.numbers, atoms.numbers) and np.array_equal(pairs.pbc, atoms.pbc)
        if not same or self.skin == 0:
            return False
        cell, expected, stretch = atoms.cell.complete().array, pairs.positions, 1.0
        if not np.array_equal(cell, pairs.cell):
            deformation = np.linalg.solve(pairs.cell, cell)
            expected = expected @ deformation
            stretch = np.linalg.svd(deformation, compute_uv=False).min()
        moved = np.linalg.norm(atoms.positions - expected, axis=1).max(initial=0.0)
        # what a stretch below one takes from the skin is most for the longest cut-off
        longest = longest_cutoff(self.reach, self.cutoff, atoms.numbers)
        return all(bool((r + self.skin) * stretch - 2 * moved >= r) for r in (self.cutoff, longest))


class MovingGraph:
    """Plain graphs of successive structures; while neighbours stay the same only the geometry is made anew.

    Args:
        settings: of a radius graph.
        skin: A, of the neighbour list.
        dtype, device: of the graphs.
    """

    def __init__(self, settings: GraphSettings, skin: float, dtype: torch.dtype, device: torch.device) -> None:
        self.settings, self.dtype, self.device = settings, dtype, device
        self._neighbours = SkinNeighbours(settings.cutoff, skin, settings.reach)
        # receivers, cell and graph of the last call; one assignment, so never parts of two
        self._last: tuple[NDArray[np.int64], NDArray[np.float64], CrystalGraph] | None = None

    def graph(self, atoms: Atoms) -> CrystalGraph:
        """Return the graph of a structure; index tensors are those of the last call while neighbours stay."""
        edges, cell, last = self._neighbours.edges(atoms), atoms.cell.array, self._last
        if last is None or last[0] is not edges[0]:
            graph = build_graph(atoms, self.settings, edges).to(self.dtype, self.device)
        else:
            graph = self._moved(atoms, edges[3], same_cell=np.array_equal(cell, last[1]), last=last[2])
        self._last = edges[0], cell.copy(), graph
        return graph

    def _moved(self, atoms: Atoms, vectors: NDArray[np.float64], same_cell: bool, last: CrystalGraph) -> CrystalGraph:
        moved = {"edge_vector": torch.from_numpy(vectors)}
        if not (same_cell and atoms.pbc.all()):
            moved |= crystal_parts(atoms.cell.array[None], np.array([len(atoms)]))
            moved |= reciprocal_fields(atoms, self.settings.reciprocal_cutoff)
        elif self.settings.reciprocal_cutoff:
            # reciprocal vectors depend on positions only where a direction is not periodic
            moved["atom_position"] = torch.from_numpy(atoms.positions.copy())
        floating = {name: part.to(self.device, self.dtype) for name, part in moved.items() if part.is_floating_point()}
        return replace(last, **floating)
