"""Atoms -> directed edges: which images of which atoms are neighbours, in radius graphs and shell graphs."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.neighbour_search import pairs_within
from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.pair_cutoffs import Reach, longest_cutoff, near_pairs, sorted_reach

GRAPH_KINDS = ("radius", "shell")


@dataclass(frozen=True)
class GraphSettings:
    """How edges are chosen; JSON-able, stored beside the weights that were trained with it.

    Attributes:
        kind: ``"radius"`` (all images within ``cutoff``) or ``"shell"`` (the papers': ``neighbours`` nearest,
            completed to whole shells within ``tolerance``, made symmetric by union).
        cutoff: A, radius graph only.
        neighbours: shell graph only; 16 in GMTNet, 25 in ComFormer.
        tolerance: A, distances closer than this belong to one shell.
        lattice_frame: add iComFormer's lattice frame to every crystal.
        joint_frames: with ``lattice_frame``, add whole frames (``joint_frames``) to average over, not the vectors of
            each slot on their own.
        frame_hands: with ``joint_frames``, ``"both"`` or ``"right"``: whether left-handed frames count too.
        reciprocal_cutoff: 1/A, of the reciprocal vectors (``reciprocal_vectors``) that are added to every crystal;
            none where zero.
        reach: A, of elements whose atoms see each other further than ``cutoff`` (``pair_cutoffs``), radius graph only;
            a mapping of symbols is turned into sorted pairs.
        site_operations: add the site groups to reduced graphs, for per-atom tensors of rank 3 and more.
    """

    kind: str = "radius"
    cutoff: float = 5.5
    neighbours: int = 16
    tolerance: float = 1e-3
    lattice_frame: bool = False
    joint_frames: bool = False
    frame_hands: str = "both"
    reciprocal_cutoff: float = 0.0
    reach: Reach = ()
    site_operations: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reach", sorted_reach(self.reach))
        if self.kind not in GRAPH_KINDS:
            raise UnknownNameError(f"graph kind {self.kind!r} is unknown; choose one of {', '.join(GRAPH_KINDS)}")


Neighbours = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def neighbours(atoms: Atoms, settings: GraphSettings) -> Neighbours:
    """Directed edges, each exactly once: receiver (E,), sender (E,), image (E, 3), vector (E, 3) in A."""
    if settings.kind == "radius":
        found = pairs_within(atoms, longest_cutoff(settings.reach, settings.cutoff, atoms.numbers))
        near = near_pairs(settings.reach, settings.cutoff, atoms.numbers, found[0], found[1], found[3])
        return found if near is None else (found[0][near], found[1][near], found[2][near], found[3][near])
    return _shells(atoms, settings.neighbours, settings.tolerance)


def _shells(atoms: Atoms, count: int, tolerance: float) -> Neighbours:
    """``count`` nearest neighbours of each atom, completed to whole shells, made symmetric by union."""
    if not atoms.pbc.all():
        raise ValueError(f"the shell graph needs three periodic directions, pbc is {atoms.pbc}; use kind='radius'")
    # A sphere that holds ``count`` atoms at the mean density, grown until every atom sees its last shell end.
    cutoff = (0.75 / np.pi * (count + 1) * atoms.cell.volume / len(atoms)) ** (1 / 3) * 1.3
    while True:
        receiver, sender, image, vector = pairs_within(atoms, cutoff)
        distance = np.linalg.norm(vector, axis=1)
        radius = _shell_radius(receiver, distance, len(atoms), count, tolerance)
        if radius is not None and radius.max() + tolerance < cutoff:
            kept = distance <= np.maximum(radius[receiver], radius[sender]) + tolerance / 2
            return receiver[kept], sender[kept], image[kept], vector[kept]
        cutoff *= 1.3


def _shell_radius(
    receiver: NDArray[np.int64], distance: NDArray[np.float64], atoms: int, count: int, tolerance: float
) -> NDArray[np.float64] | None:
    """(atoms,) A, distance of the last member of the shell that holds neighbour ``count``; None if not all are seen."""
    order = np.lexsort((distance, receiver))
    receiver, distance = receiver[order], distance[order]
    start = np.searchsorted(receiver, np.arange(atoms))
    stop = np.append(start[1:], len(receiver))
    if (stop - start < count).any():
        return None
    shell_ends = np.append((np.diff(distance) > tolerance) | (np.diff(receiver) != 0), True)
    ends = np.flatnonzero(shell_ends)
    return distance[ends[np.searchsorted(ends, start + count - 1)]]
