"""From edge vectors to what the layers of a potential read of edges, and derivatives of the energy back to vectors.

A graph is taken as a whole or in parts (``nn.operations.graph_parts``), each with its own edges. Parts of moderately
large graphs are kept from the way there to the way back; those of very large ones are made anew whenever they are
needed, so that memory grows with the atoms and hardly with their edges.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.derivatives.graph_notes import kept_beside
from ase_comformer.nn.derivatives.radial_gradient import RadialGradient
from ase_comformer.nn.layers.cartesian import CartesianTrunk
from ase_comformer.nn.operations.graph_parts import GraphParts
from ase_comformer.nn.operations.message_sums import message_sums
from ase_comformer.nn.operations.sparse import bare_product
from ase_comformer.nn.operations.sum_topology import SumTopology

#: Edges of a graph in parts of which layers keep some kilobytes each; of more they compute them again.
_MOST_EDGES = 100_000


@dataclass
class _FixedEdges:
    """What of edges does not change while atoms move.

    Factors (E, 1) of distances, None where all are one, and of envelopes, and ones (E, 1).
    """

    distance_scale: Tensor | None
    scale: Tensor
    one: Tensor

    @classmethod
    def of(cls, trunk: CartesianTrunk, graph: CrystalGraph) -> "_FixedEdges":
        """For the edges of a graph, or of a part of it."""
        scale = trunk.distance_scale(graph)
        if scale is not None:
            scale = None if bool((scale == 1).all()) else scale.unsqueeze(1)
        weight = (graph.edge_weight / trunk.mean_neighbours).unsqueeze(1)
        return cls(scale, weight, torch.ones_like(weight))


class EdgeGradient:
    """The edges of one part: their basis and harmonics, and what layers gather of derivatives in them.

    Args:
        trunk: whose radial basis is meant.
        graph: the whole graph.
        topology: of the part, or of all.
    """

    def __init__(self, trunk: CartesianTrunk, graph: CrystalGraph, topology: SumTopology) -> None:
        whole = graph
        if topology.edges is not None:
            names = ("edge_receiver", "edge_atom", "edge_vector", "edge_weight")
            graph = replace(graph, **{name: getattr(graph, name)[topology.edges] for name in names})
        self.trunk, self.whole, self.graph, self.topology = trunk, whole, graph, topology
        distance = graph.edge_vector.norm(dim=1, keepdim=True)
        self.distance, self.unit = distance.squeeze(1), graph.edge_vector / distance
        fixed = kept_beside(topology, trunk, whole, lambda: _FixedEdges.of(trunk, graph))
        # distances in units of the cut-off of their pair
        self.distance_scale, self.scale = fixed.distance_scale, fixed.scale
        self.radial = RadialGradient(trunk.radial_basis, distance, fixed.distance_scale)
        self.basis, self.weight = self.radial.basis, self.radial.envelope * self.scale
        one, tensor = fixed.one, trunk.basis.harmonics(self.unit)
        rotation = None if graph.atom_rotation is None else trunk.basis.rotation(graph.atom_rotation)
        harmonics = (self.weight * torch.cat([one, self.unit, tensor], dim=1)).t()
        sums = message_sums(graph, harmonics, rotation, topology)
        self.values, self.carried_values = sums.moment_values, sums.carried_values
        self._d_values: Tensor | None = None
        self._d_basis: Tensor | None = None

    def add(self, d_values: Tensor, d_basis: Tensor) -> None:
        """Gather the derivatives of one layer in ``values`` and ``basis``."""
        if self._d_values is None or self._d_basis is None:
            self._d_values, self._d_basis = d_values, d_basis
        else:
            self._d_values, self._d_basis = self._d_values + d_values, self._d_basis + d_basis

    def gradient(self, d_weight: Tensor | None = None) -> Tensor:
        """(e, 3) in the edge vectors, from what was gathered and the derivative (e,) in the weight alone."""
        d_harmonics = self._d_harmonics()
        scalar, vector, tensor = d_harmonics.split((1, 3, 5), dim=1)
        # the dyad of the unit vector, twice, with the matrices of the harmonics
        matrices = (tensor @ self.trunk.basis.matrices.to(tensor.dtype).flatten(1)).view(-1, 3, 3)
        turned = (matrices @ self.unit.unsqueeze(2)).squeeze(2)
        along = ((vector + turned) * self.unit).sum(1, keepdim=True)
        d_unit = self.weight * (vector + 2 * turned)
        d_envelope = scalar + along if d_weight is None else d_weight.unsqueeze(1) + scalar + along
        d_distance = self.radial.backward(d_envelope * self.scale, self._d_basis)
        d_unit = d_unit / self.distance.unsqueeze(1)
        return d_unit + (d_distance - (d_unit * self.unit).sum(1, keepdim=True)) * self.unit

    def _d_harmonics(self) -> Tensor:
        """(e, 9), before the projection on site groups: the last block of values, of pairs, is the first harmonic."""
        if self._d_values is None:
            return self.unit.new_zeros(len(self.unit), 9)
        found = self._d_values.view(10, -1).t().index_select(0, self._back)
        found[:, 0] += found[:, 9]
        projectors = (self.graph.site_vector_projector, self.graph.site_tensor_projector)
        for projector, columns in zip(projectors, (slice(1, 4), slice(4, 9)), strict=True):
            if projector is not None:
                turned = projector[self.topology.receiver].transpose(1, 2) @ found[:, columns].unsqueeze(2)
                found[:, columns] = turned.squeeze(2)
        return found[:, :9]

    @property
    def _back(self) -> Tensor:
        """(e,) where each edge stands among the sorted ones."""
        order, notes = self.topology.order, self.topology.notes
        if "back" not in notes:
            notes["back"] = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        found: Tensor = notes["back"]
        return found

    @functools.cached_property
    def values_by_edge(self) -> Tensor:
        """The non-zeros of the transposed ``topology.moments``."""
        return self.values[self.topology.moments.transposed[1]]

    def sent(self, features: Tensor) -> Tensor:
        """(8, U, C) of the nodes that send -> (8, P, C), what the sender of every pair has."""
        carried, rows = self.topology.carried, features.reshape(-1, features.shape[2])
        if self.carried_values is None:
            found = rows.index_select(0, carried.columns)
        else:
            found = bare_product(carried, self.carried_values, rows)
        return found.view(8, -1, features.shape[2])

    def received(self, d_sent: Tensor) -> Tensor:
        """The derivative (8, P, C) in what was sent -> (8, U, C), in features."""
        back, order = self.topology.carried.transposed
        values = None if self.carried_values is None else self.carried_values[order]
        channels = d_sent.shape[2]
        return bare_product(back, values, d_sent.reshape(-1, channels)).view(8, -1, channels)


class EdgeParts:
    """All parts of a graph.

    Args:
        trunk: whose radial basis is meant.
        graph: the whole graph.
        topologies: of its parts; of ``GraphParts`` nothing is kept.

    Attributes:
        are_kept: whether iterating gives the same parts each time.
        is_whole: whether there is one, the graph itself.
        keeps_edges: whether layers keep what they have computed of edges, too.
    """

    def __init__(self, trunk: CartesianTrunk, graph: CrystalGraph, topologies: Sequence[SumTopology]) -> None:
        self._trunk, self._graph, self._topologies = trunk, graph, topologies
        self.are_kept = not isinstance(topologies, GraphParts)
        self._kept = [EdgeGradient(trunk, graph, topology) for topology in topologies] if self.are_kept else []
        self.is_whole = self.are_kept and topologies[0].edges is None
        self.keeps_edges = self.is_whole or (self.are_kept and len(graph.edge_receiver) <= _MOST_EDGES)
        self._gradient: Tensor | None = None

    def __len__(self) -> int:
        return len(self._topologies)

    def __iter__(self) -> Iterator[EdgeGradient]:
        if self.are_kept:
            return iter(self._kept)
        return (EdgeGradient(self._trunk, self._graph, topology) for topology in self._topologies)

    def distance(self) -> Tensor:
        """(E,) A, of all edges."""
        return self._kept[0].distance if self.is_whole else self._graph.edge_vector.norm(dim=1)

    def density(self) -> Tensor:
        """(n,) the sum of the weights of the edges of every node."""
        found = []
        for part in self:
            zeros = part.weight.new_zeros(part.topology.nodes)
            found.append(zeros.index_add_(0, part.topology.receiver, part.weight.squeeze(1)))
        return found[0] if len(found) == 1 else torch.cat(found)

    def leave(self, part: EdgeGradient) -> None:
        """Take what a layer has gathered out of a part that will not be kept."""
        if not self.are_kept:
            self._collect(part, part.gradient())

    def gradient(self, d_density: Tensor) -> Tensor:
        """(E, 3) in the edge vectors, from what was gathered and the derivative (n,) in ``density``."""
        for part in self:
            own = part.gradient(d_density[part.topology.rows][part.topology.receiver])
            if part.topology.edges is None:
                return own
            self._collect(part, own)
        assert self._gradient is not None
        return self._gradient

    def _collect(self, part: EdgeGradient, own: Tensor) -> None:
        if self._gradient is None:
            self._gradient = torch.zeros_like(self._graph.edge_vector)
        self._gradient[part.topology.edges] += own
