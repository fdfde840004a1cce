"""Atoms -> CrystalGraph: neighbours, shells, symmetry reduction, batching.

A ``CrystalGraph`` is always a batch (one crystal is a batch of one). *Nodes* carry features; *atoms* are what the
user sees. In a plain graph they coincide; in a symmetry-reduced graph (DESIGN.md section 6) there is one node per
orbit of atoms and one edge per orbit of directed edges, and an atom is the rotated copy of its node.

Index letters: n nodes, E directed edges, B crystals, A atoms, O point-group operations, F lattice-frame candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.crystals.neighbour_search import pairs_within
from ase_comformer.crystals.space_group import SpaceGroup, edge_orbits
from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.lattice_frame import lattice_frame, primitive_lattice
from ase_comformer.graphs.reciprocal_vectors import RECIPROCAL_FIELDS, equally_many, reciprocal_fields
from ase_comformer.tensors.forms import rotation_l2

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
        reciprocal_cutoff: 1/A, of the reciprocal vectors (``reciprocal_vectors``) that are added to every crystal;
            none where zero.
    """

    kind: str = "radius"
    cutoff: float = 5.5
    neighbours: int = 16
    tolerance: float = 1e-3
    lattice_frame: bool = False
    reciprocal_cutoff: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in GRAPH_KINDS:
            raise UnknownNameError(f"graph kind {self.kind!r} is unknown; choose one of {', '.join(GRAPH_KINDS)}")


def _part(index: str, refers_to: str | None = None, **options: Any) -> Any:
    """A field whose first axis runs over ``index`` and whose values (if any) number ``refers_to``."""
    return field(metadata={"index": index, "refers_to": refers_to}, **options)


@dataclass
class CrystalGraph:
    """A batch of crystals as a graph; see the module docstring for the letters.

    Attributes:
        numbers: (n,) atomic numbers.
        node_crystal: (n,) crystal of each node.
        node_weight: (n,) orbit size / atoms of the crystal; sums to one per crystal.
        edge_receiver: (E,) node.
        edge_atom: (E,) atom whose image sends.
        edge_vector: (E, 3) A, position of the sending image minus position of the receiver.
        edge_weight: (E,) orbit size, 1 in a plain graph.
        atom_node: (A,) node of each atom.
        atom_crystal: (A,) crystal of each atom.
        cell: (B, 3, 3) A, rows are vectors.
        volume: (B,) A^3.
        atom_count: (B,) atoms in the cell.
        atom_rotation: (A, 3, 3) carries the features of the node onto the atom; None in a plain graph.
        site_vector_projector: (n, 3, 3) mean of R over the site group; None in a plain graph.
        site_tensor_projector: (n, 5, 5) mean of D2(R) over the site group; None in a plain graph.
        operation_rotation: (O, 3, 3) point groups of the crystals, one after the other; None in a plain graph.
        operation_crystal: (O,) crystal of each operation.
        edge_image: (E, 3) cell of the sending image; None in a reduced graph.
        frame_vector: (F, 3) A, candidates of the lattice frame (``lattice_frame.py``), with ``frame_slot`` (F,),
            ``frame_weight`` (F,) and ``frame_crystal`` (F,).
        atom_position: (A, 3) A, of graphs with reciprocal vectors.
        reciprocal_vector: (B, K, 3) 1/A, with ``reciprocal_weight`` (B, K) and ``reciprocal_slope`` (B, K, 3), see
            ``reciprocal_vectors``.
        reciprocal_cutoff: (B,) 1/A, of the reciprocal vectors.
        nonperiodic_directions: (B, 3, 3) projector on the directions without periodicity; None means there are none.
    """

    numbers: Tensor = _part("node")
    node_crystal: Tensor = _part("node", "crystal")
    node_weight: Tensor = _part("node")
    edge_receiver: Tensor = _part("edge", "node")
    edge_atom: Tensor = _part("edge", "atom")
    edge_vector: Tensor = _part("edge")
    edge_weight: Tensor = _part("edge")
    atom_node: Tensor = _part("atom", "node")
    atom_crystal: Tensor = _part("atom", "crystal")
    cell: Tensor = _part("crystal")
    volume: Tensor = _part("crystal")
    atom_count: Tensor = _part("crystal")
    atom_rotation: Tensor | None = _part("atom", default=None)
    site_vector_projector: Tensor | None = _part("node", default=None)
    site_tensor_projector: Tensor | None = _part("node", default=None)
    operation_rotation: Tensor | None = _part("operation", default=None)
    operation_crystal: Tensor | None = _part("operation", "crystal", default=None)
    edge_image: Tensor | None = _part("edge", default=None)
    frame_vector: Tensor | None = _part("frame", default=None)
    frame_slot: Tensor | None = _part("frame", default=None)
    frame_weight: Tensor | None = _part("frame", default=None)
    frame_crystal: Tensor | None = _part("frame", "crystal", default=None)
    atom_position: Tensor | None = _part("atom", default=None)
    reciprocal_vector: Tensor | None = _part("crystal", default=None)
    reciprocal_weight: Tensor | None = _part("crystal", default=None)
    reciprocal_slope: Tensor | None = _part("crystal", default=None)
    reciprocal_cutoff: Tensor | None = _part("crystal", default=None)
    nonperiodic_directions: Tensor | None = _part("crystal", default=None)

    @property
    def crystal_count(self) -> int:
        """Number of crystals B."""
        return len(self.volume)

    @property
    def edge_sender(self) -> Tensor:
        """(E,) node that the sending atom is a copy of."""
        return self.atom_node[self.edge_atom]

    @property
    def edge_rotation(self) -> Tensor | None:
        """(E, 3, 3) carries the features of ``edge_sender`` onto the sending image; None in a plain graph."""
        return None if self.atom_rotation is None else self.atom_rotation[self.edge_atom]

    @property
    def is_reduced(self) -> bool:
        """Whether symmetry was used (then nodes are orbit representatives)."""
        return self.atom_rotation is not None

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "CrystalGraph":
        """Floating-point parts in ``dtype`` and everything on ``device``; itself where nothing changes."""
        like = self.edge_vector
        if (dtype is None or dtype == like.dtype) and (device is None or torch.device(device) == like.device):
            return self
        changed = {}
        for part in fields(self):
            value = getattr(self, part.name)
            if value is not None:
                changed[part.name] = value.to(device=device, dtype=dtype if value.is_floating_point() else None)
        return replace(self, **changed)

    def with_geometry(self, positions: Tensor, cell: Tensor) -> "CrystalGraph":
        """The same edges with vectors recomputed, differentiably, from new positions and cells.

        Args:
            positions: (A, 3) A, unwrapped as when the graph was built.
            cell: (B, 3, 3) A.

        Raises:
            ValueError: for a reduced graph, whose atoms cannot move independently, and for one with reciprocal vectors.
        """
        if self.reciprocal_vector is not None or self.edge_image is None:
            kind = (
                "a symmetry-reduced graph"
                if self.edge_image is None
                else "reciprocal vectors: build it with reciprocal_cutoff = 0"
            )
            raise ValueError(f"with_geometry does not move {kind}; use build_graph")
        lattice = cell[self.node_crystal[self.edge_receiver]]
        shift = torch.einsum("ex,exy->ey", self.edge_image.to(cell.dtype), lattice)
        vector = positions[self.edge_atom] - positions[self.edge_receiver] + shift
        return replace(self, edge_vector=vector, cell=cell, volume=torch.linalg.det(cell).abs())


def build_graph(atoms: Atoms, settings: GraphSettings, edges: "Neighbours | None" = None) -> CrystalGraph:
    """The plain graph of a structure as it is (any ``pbc``), float64 on the CPU; ``edges`` where they are known."""
    count = len(atoms)
    receiver, sender, image, vector = neighbours(atoms, settings) if edges is None else edges
    frame_cell = primitive_lattice(atoms) if settings.lattice_frame else None
    return CrystalGraph(
        numbers=torch.as_tensor(atoms.numbers.astype(np.int64)),
        node_crystal=torch.zeros(count, dtype=torch.int64),
        node_weight=torch.full((count,), 1.0 / max(count, 1), dtype=torch.float64),
        edge_receiver=torch.from_numpy(receiver),
        edge_atom=torch.from_numpy(sender),
        edge_vector=torch.from_numpy(vector),
        edge_weight=torch.ones(len(receiver), dtype=torch.float64),
        edge_image=torch.from_numpy(image),
        atom_node=torch.arange(count),
        atom_crystal=torch.zeros(count, dtype=torch.int64),
        **crystal_parts(atoms),
        **_frame_parts(frame_cell),
        **reciprocal_fields(atoms, settings.reciprocal_cutoff),
    )


def build_reduced_graph(group: SpaceGroup, settings: GraphSettings) -> CrystalGraph:
    """The graph of the idealised primitive cell with one edge per orbit (DESIGN.md section 6), float64 on the CPU."""
    primitive = group.primitive
    receiver, sender, image, vector = neighbours(primitive, settings)
    orbits = edge_orbits(group, receiver, sender, image)
    chosen = orbits.representative
    representatives = group.representatives
    node_of_atom = np.searchsorted(representatives, group.permutations.min(axis=0))
    in_site_group = group.site_groups[:, representatives].astype(float)  # (G, n)
    share = (in_site_group / in_site_group.sum(axis=0)).T
    order, nodes = group.order, len(representatives)
    vector_mean = share @ group.rotations.reshape(order, 9)
    tensor_mean = share @ rotation_l2(group.rotations).reshape(order, 25)
    return CrystalGraph(
        numbers=torch.from_numpy(primitive.numbers[representatives].astype(np.int64)),
        node_crystal=torch.zeros(nodes, dtype=torch.int64),
        node_weight=torch.from_numpy(np.bincount(node_of_atom) / len(primitive)),
        edge_receiver=torch.from_numpy(node_of_atom[receiver[chosen]]),
        edge_atom=torch.from_numpy(sender[chosen]),
        edge_vector=torch.from_numpy(vector[chosen]),
        edge_weight=torch.from_numpy(orbits.size.astype(np.float64)),
        atom_node=torch.from_numpy(node_of_atom),
        atom_crystal=torch.zeros(len(primitive), dtype=torch.int64),
        atom_rotation=torch.from_numpy(group.rotations[group.carrier]),
        site_vector_projector=torch.from_numpy(vector_mean.reshape(nodes, 3, 3)),
        site_tensor_projector=torch.from_numpy(tensor_mean.reshape(nodes, 5, 5)),
        operation_rotation=torch.from_numpy(group.rotations),
        operation_crystal=torch.zeros(order, dtype=torch.int64),
        **crystal_parts(primitive),
        **_frame_parts(primitive.cell.array if settings.lattice_frame else None),
        **reciprocal_fields(primitive, settings.reciprocal_cutoff),
    )


def crystal_parts(atoms: Atoms) -> dict[str, Tensor]:
    """What a graph has of the cell of a structure."""
    cell = atoms.cell.array.copy()
    return {
        "cell": torch.from_numpy(cell)[None],
        "volume": torch.tensor([abs(np.linalg.det(cell))], dtype=torch.float64),
        "atom_count": torch.tensor([len(atoms)]),
    }


def _frame_parts(primitive_cell: NDArray[np.float64] | None) -> dict[str, Tensor]:
    if primitive_cell is None:
        return {}
    frame = lattice_frame(primitive_cell)
    return {
        "frame_vector": torch.from_numpy(frame.vectors),
        "frame_slot": torch.from_numpy(frame.slots),
        "frame_weight": torch.from_numpy(frame.weights),
        "frame_crystal": torch.zeros(len(frame.slots), dtype=torch.int64),
    }


Neighbours = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def neighbours(atoms: Atoms, settings: GraphSettings) -> Neighbours:
    """Directed edges, each exactly once: receiver (E,), sender (E,), image (E, 3), vector (E, 3) in A."""
    if settings.kind == "radius":
        return _within(atoms, settings.cutoff)
    return _shells(atoms, settings.neighbours, settings.tolerance)


def _within(atoms: Atoms, cutoff: float) -> Neighbours:
    return pairs_within(atoms, cutoff)


def _shells(atoms: Atoms, count: int, tolerance: float) -> Neighbours:
    """``count`` nearest neighbours of each atom, completed to whole shells, made symmetric by union."""
    if not atoms.pbc.all():
        raise ValueError(f"the shell graph needs three periodic directions, pbc is {atoms.pbc}; use kind='radius'")
    # A sphere that holds ``count`` atoms at the mean density, grown until every atom sees its last shell end.
    cutoff = (0.75 / np.pi * (count + 1) * atoms.cell.volume / len(atoms)) ** (1 / 3) * 1.3
    while True:
        receiver, sender, image, vector = _within(atoms, cutoff)
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


def collate(graphs: Sequence[CrystalGraph]) -> CrystalGraph:
    """Join batches into one; plain and reduced graphs may be mixed (plain ones get identity rotations).

    Raises:
        ValueError: for an empty sequence, or if only some graphs carry a lattice frame or reciprocal vectors.
    """
    if not graphs:
        raise ValueError("collate got no graphs; pass at least one")
    if len(graphs) == 1:
        return graphs[0]
    if any(graph.is_reduced for graph in graphs) and not all(graph.is_reduced for graph in graphs):
        graphs = [graph if graph.is_reduced else _with_identities(graph) for graph in graphs]
    counts = {
        "node": [len(graph.numbers) for graph in graphs],
        "atom": [len(graph.atom_node) for graph in graphs],
        "crystal": [graph.crystal_count for graph in graphs],
    }
    offsets = {name: [0, *np.cumsum(values[:-1]).tolist()] for name, values in counts.items()}
    joined: dict[str, Tensor | None] = {}
    for part in fields(CrystalGraph):
        values = [getattr(graph, part.name) for graph in graphs]
        if any(value is None for value in values):
            if part.name.startswith(("frame_", "reciprocal_")) and not all(value is None for value in values):
                raise ValueError(f"some graphs have {part.name} and some do not; build all with the same settings")
            joined[part.name] = None
            continue
        if part.name in RECIPROCAL_FIELDS:
            values = equally_many(values)
        shift = offsets.get(part.metadata["refers_to"] or "")
        joined[part.name] = torch.cat(
            values if shift is None else [value + start for value, start in zip(values, shift, strict=True)]
        )
    return CrystalGraph(**joined)  # type: ignore[arg-type]


def _with_identities(graph: CrystalGraph) -> CrystalGraph:
    """A plain graph written as a reduced one of P1."""

    def identities(count: int, size: int) -> Tensor:
        return torch.eye(size, dtype=graph.edge_vector.dtype, device=graph.edge_vector.device).expand(count, -1, -1)

    return replace(
        graph,
        atom_rotation=identities(len(graph.atom_node), 3),
        site_vector_projector=identities(len(graph.numbers), 3),
        site_tensor_projector=identities(len(graph.numbers), 5),
        operation_rotation=identities(graph.crystal_count, 3),
        operation_crystal=torch.arange(graph.crystal_count, device=graph.edge_vector.device),
        edge_image=None,
    )
