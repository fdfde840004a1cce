"""A neighbour list with a skin, for dynamics and relaxations: found once, reused while nothing can have come closer.

A pair that was at least ``cutoff + skin`` apart cannot be nearer than (cutoff + skin) s - 2 u after the cell was
deformed with smallest stretch s and atoms moved at most u beyond that deformation; while this exceeds the cut-off the
stored pairs contain all neighbours.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.graph import GraphSettings, Neighbours, neighbours


@dataclass
class _Pairs:
    """Pairs within cutoff + skin, and the structure that they were found for."""

    numbers: NDArray[np.int64]
    pbc: NDArray[np.bool_]
    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    receiver: NDArray[np.int64]
    sender: NDArray[np.int64]
    image: NDArray[np.int64]


class SkinNeighbours:
    """Directed edges within ``cutoff`` of successive structures.

    Args:
        cutoff: A.
        skin: A; 0 finds neighbours anew in every call.
    """

    def __init__(self, cutoff: float, skin: float = 0.6) -> None:
        if skin < 0:
            raise ValueError(f"skin must not be negative, got {skin}; 0 switches it off")
        self.cutoff, self.skin = cutoff, skin
        self._pairs: _Pairs | None = None

    def edges(self, atoms: Atoms) -> Neighbours:
        """Receiver (E,), sender (E,), image (E, 3), vector (E, 3) in A, each directed edge exactly once."""
        pairs = self._pairs
        if pairs is None or not self._covers(pairs, atoms):
            wide = GraphSettings(cutoff=self.cutoff + self.skin)
            receiver, sender, image, _ = neighbours(atoms, wide)
            cell, positions = atoms.cell.complete().array, atoms.positions.copy()
            pairs = _Pairs(atoms.numbers.copy(), atoms.pbc.copy(), cell, positions, receiver, sender, image)
            self._pairs = pairs
        receiver, sender, image = pairs.receiver, pairs.sender, pairs.image
        vector = atoms.positions[sender] - atoms.positions[receiver] + image @ atoms.cell.array
        near = np.einsum("ex,ex->e", vector, vector) < self.cutoff**2
        return receiver[near], sender[near], image[near], vector[near]

    def _covers(self, pairs: _Pairs, atoms: Atoms) -> bool:
        same = np.array_equal(pairs.numbers, atoms.numbers) and np.array_equal(pairs.pbc, atoms.pbc)
        if not same or self.skin == 0:
            return False
        deformation = np.linalg.solve(pairs.cell, atoms.cell.complete().array)
        moved = np.linalg.norm(atoms.positions - pairs.positions @ deformation, axis=1).max(initial=0.0)
        stretch = np.linalg.svd(deformation, compute_uv=False).min()
        return bool((self.cutoff + self.skin) * stretch - 2 * moved >= self.cutoff)
