"""The graph of a batch of crystals: what it consists of, and how batches are joined.

A ``CrystalGraph`` is always a batch (one crystal is a batch of one). *Nodes* carry features; *atoms* are what the
user sees. In a plain graph they coincide; in a symmetry-reduced graph (docs/architecture.md section 6) there is one
node per
orbit of atoms and one edge per orbit of directed edges, and an atom is the rotated copy of its node.

Index letters: n nodes, E directed edges, B crystals, A atoms, O point-group operations, F lattice-frame candidates,
K reciprocal vectors.

A new field of a graph takes one line in ``CrystalGraph`` and the place in ``building.py`` where its value is made:
joining, choosing crystals, padding, devices, stores on disk and torch-geometric read the declarations (``schema.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ase_comformer.graphs.schema import convert, graph_field, join


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
        site_rotation: (S, 3, 3) site groups of the nodes, one after the other; None in a plain graph, and where the
            settings do not ask for them.
        site_node: (S,) node of each operation of a site group.
        frame_vector: (F, 3) A, candidates of the lattice frame (``lattice_frame.py``), with ``frame_slot`` (F,),
            ``frame_weight`` (F,) and ``frame_crystal`` (F,).
        atom_position: (A, 3) A, of graphs with reciprocal vectors.
        reciprocal_vector: (B, K, 3) 1/A, with ``reciprocal_weight`` (B, K) and ``reciprocal_slope`` (B, K, 3), see
            ``reciprocal_vectors``.
        reciprocal_cutoff: (B,) 1/A, of the reciprocal vectors.
        nonperiodic_directions: (B, 3, 3) projector on the directions without periodicity; None means there are none.
    """

    numbers: Tensor = graph_field("node", padding=1)
    node_crystal: Tensor = graph_field("node", "crystal", padding="last")
    node_weight: Tensor = graph_field("node")
    edge_receiver: Tensor = graph_field("edge", "node", padding="first")
    edge_atom: Tensor = graph_field("edge", "atom", padding="first")
    edge_vector: Tensor = graph_field("edge", padding=1)
    edge_weight: Tensor = graph_field("edge")
    atom_node: Tensor = graph_field("atom", "node", padding="same")
    atom_crystal: Tensor = graph_field("atom", "crystal", padding="last")
    cell: Tensor = graph_field("crystal", padding="identity")
    volume: Tensor = graph_field("crystal", padding=1)
    atom_count: Tensor = graph_field("crystal", padding=1)
    atom_rotation: Tensor | None = graph_field("atom", padding="identity", optional=True)
    site_vector_projector: Tensor | None = graph_field("node", padding="identity", optional=True)
    site_tensor_projector: Tensor | None = graph_field("node", padding="identity", optional=True)
    operation_rotation: Tensor | None = graph_field("operation", padding="identity", optional=True)
    operation_crystal: Tensor | None = graph_field("operation", "crystal", padding="last", optional=True)
    site_rotation: Tensor | None = graph_field("site", padding="identity", optional=True)
    site_node: Tensor | None = graph_field("site", "node", padding="last", optional=True)
    frame_vector: Tensor | None = graph_field("frame", padding=1, optional=True)
    frame_slot: Tensor | None = graph_field("frame", optional=True)
    frame_weight: Tensor | None = graph_field("frame", optional=True)
    frame_crystal: Tensor | None = graph_field("frame", "crystal", padding="last", optional=True)
    atom_position: Tensor | None = graph_field("atom", optional=True)
    reciprocal_vector: Tensor | None = graph_field("crystal", ragged="reciprocal", optional=True)
    reciprocal_weight: Tensor | None = graph_field("crystal", ragged="reciprocal", optional=True)
    reciprocal_slope: Tensor | None = graph_field("crystal", ragged="reciprocal", optional=True)
    reciprocal_cutoff: Tensor | None = graph_field("crystal", optional=True)
    nonperiodic_directions: Tensor | None = graph_field("crystal", missing="zeros", optional=True)

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
        """Return the graph with floating-point fields in ``dtype`` and everything on ``device``.

        It is the same object where nothing changes.
        """
        like = self.edge_vector
        if (dtype is None or dtype == like.dtype) and (device is None or torch.device(device) == like.device):
            return self
        return convert(self, dtype, device)

    def with_identities(self) -> "CrystalGraph":
        """Write a plain graph as the reduced graph of a crystal without symmetry; a reduced graph is returned as is."""
        if self.is_reduced:
            return self

        def identities(count: int, size: int) -> Tensor:
            return torch.eye(size, dtype=self.edge_vector.dtype, device=self.edge_vector.device).expand(count, -1, -1)

        return replace(
            self,
            atom_rotation=identities(len(self.atom_node), 3),
            site_vector_projector=identities(len(self.numbers), 3),
            site_tensor_projector=identities(len(self.numbers), 5),
            operation_rotation=identities(self.crystal_count, 3),
            operation_crystal=torch.arange(self.crystal_count, device=self.edge_vector.device),
        )


def collate(graphs: Sequence[CrystalGraph]) -> CrystalGraph:
    """Join batches into one; plain and reduced graphs may be mixed (plain ones get identity rotations).

    Raises:
        ValueError: for an empty sequence, or if only some graphs carry a lattice frame or reciprocal vectors.

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.graphs.building import build_graph
        >>> from ase_comformer.graphs.neighbours import GraphSettings
        >>> graphs = [build_graph(bulk(name), GraphSettings(cutoff=5.0)) for name in ("Si", "Cu")]
        >>> collate(graphs).atom_count.tolist()
        [2, 1]
    """
    if not graphs:
        raise ValueError("collate got no graphs; pass at least one")
    if len(graphs) == 1:
        return graphs[0]
    if any(graph.is_reduced for graph in graphs):
        graphs = [graph.with_identities() for graph in graphs]
    return join(graphs)
