"""Frames with energies, forces and stresses in one flat form, batched into graphs on the fly.

``frame_sources`` reads them. Index letters: F frames, A atoms of all frames. Neighbours are found per batch: that
takes little of a training step, and nothing large is kept in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from vesin import NeighborList

from ase_comformer.graphs.building import plain_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pair_cutoffs import longest_cutoff, near_pairs
from ase_comformer.graphs.reciprocal_vectors import batched_reciprocal_vectors, reciprocal_tensors
from ase_comformer.training.data.records import place_in_curve


@dataclass
class Frames:
    """Frames of one or several sources.

    Attributes:
        numbers (A,), positions (A, 3) A, forces (A, 3) eV/A, NaN where unknown.
        cell: (F, 3, 3) A, rows are vectors.
        count: (F,) atoms.
        energy: (F,) eV total, NaN where unknown.
        stress: (F, 3, 3) eV/A^3 in ASE's sign, NaN where unknown.
        fidelity: (F,) index into ``potential.FIDELITIES``.
        kind: (F,) variant or source tag, for reporting.
        group: (F,) frames of one crystal share it.
        displacement: (A, 3) A, of harmonic frames from the crystal at rest, else zero.
        polarisation: (F, 3) e A, what ``training.polarisation`` makes of it, NaN where unknown.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    forces: NDArray[np.float32]
    cell: NDArray[np.float64]
    count: NDArray[np.int64]
    energy: NDArray[np.float64]
    stress: NDArray[np.float32]
    fidelity: NDArray[np.int64]
    kind: NDArray[np.str_]
    group: NDArray[np.str_]
    displacement: NDArray[np.float32]
    polarisation: NDArray[np.float32]

    def __post_init__(self) -> None:
        self.start = np.cumsum(self.count) - self.count

    def __len__(self) -> int:
        return len(self.count)

    def take(self, chosen: NDArray[np.int64]) -> "Frames":
        """These frames (k,), in this order."""
        rows = self.atom_rows(chosen)
        return Frames(
            **{part.name: getattr(self, part.name)[rows if part.name in _PER_ATOM else chosen] for part in fields(self)}
        )

    def atom_rows(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the per-atom arrays that belong to these frames."""
        count = self.count[chosen]
        before = np.cumsum(count) - count
        return np.arange(count.sum()) + np.repeat(self.start[chosen] - before, count)

    def part(self, fraction: float) -> "Frames":
        """The frames of a fraction of the crystals, always the same ones, smaller parts within larger ones."""
        groups, group = np.unique(self.group, return_inverse=True)
        kept = np.array([place_in_curve(name) < fraction for name in groups], dtype=bool)
        return self.take(np.flatnonzero(kept[group]))

    def at_rest(self) -> "Frames":
        """The same crystals without their displacements."""
        return replace(self, positions=self.positions - self.displacement)

    def opposite(self) -> "Frames":
        """The same crystals with the opposite displacements and forces."""
        positions = self.positions - 2 * self.displacement
        return replace(self, positions=positions, forces=-self.forces, displacement=-self.displacement)

    def pairs(self) -> NDArray[np.int64]:
        """(F / 2, 2) the frames two by two, as opposite displacements follow each other."""
        return np.arange(len(self)).reshape(-1, 2)

    def siblings(self) -> NDArray[np.int64]:
        """(U, 2) every frame with the next one of the same crystal, the first one following the last."""
        order = np.lexsort((np.arange(len(self)), self.count, self.group))
        group, count = self.group[order], self.count[order]
        starts = np.flatnonzero(np.r_[True, (group[1:] != group[:-1]) | (count[1:] != count[:-1])])
        sizes = np.diff(np.r_[starts, len(self)])
        first, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
        following = first + (np.arange(len(self)) - first + 1) % size
        found = np.stack([order, order[following]], axis=1)
        return found[found[:, 0] != found[:, 1]]

    def edge_counts(self, settings: GraphSettings) -> NDArray[np.int64]:
        """(F,) edges of the radius graph of every frame."""
        return np.array([len(receiver) for receiver, _, _ in self._edges(settings)], dtype=np.int64)

    def _edges(
        self, settings: GraphSettings
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
        """Yield the edges of every frame: receiver (e,), sender (e,), counted within the frame, vector (e, 3) A."""
        finders: dict[float, NeighborList] = {}
        for start, count, cell in zip(self.start, self.count, self.cell, strict=True):
            numbers, points = self.numbers[start : start + count], self.positions[start : start + count]
            longest = longest_cutoff(settings.reach, settings.cutoff, numbers)
            if longest not in finders:
                finders[longest] = NeighborList(cutoff=longest, full_list=True)
            receiver, sender, vector = finders[longest].compute(points, cell, periodic=True, quantities="ijD")
            receiver, sender = receiver.astype(np.int64), sender.astype(np.int64)
            near = near_pairs(settings.reach, settings.cutoff, numbers, receiver, sender, vector)
            # copies, as the finder reuses its memory
            yield (receiver, sender, vector.copy()) if near is None else (receiver[near], sender[near], vector[near])

    def graph(self, settings: GraphSettings, dtype: torch.dtype = torch.float32) -> CrystalGraph:
        """The plain radius graph of all frames as one batch, periodic in three directions."""
        parts = [(r + start, s + start, v) for (r, s, v), start in zip(self._edges(settings), self.start, strict=True)]
        receiver, sender, vector = (np.concatenate(values) for values in zip(*parts, strict=True))
        further = {}
        if settings.reciprocal_cutoff:
            further = reciprocal_tensors(batched_reciprocal_vectors(self.cell, settings.reciprocal_cutoff))
            further["atom_position"] = torch.from_numpy(self.positions)
        return plain_graph(self.numbers, self.count, self.cell, (receiver, sender, vector), **further).to(dtype=dtype)


_PER_ATOM = frozenset({"numbers", "positions", "forces", "displacement"})


def join(parts: Sequence[Frames]) -> Frames:
    """All frames of several sets, one after the other."""
    return Frames(**{part.name: np.concatenate([getattr(p, part.name) for p in parts]) for part in fields(Frames)})
