"""Edge vectors to weighted harmonics and radial basis, and derivatives of the energy in these back to the vectors.

The outermost part of ``analytic``; conventions and index letters as there.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.layers.cartesian import CartesianTrunk
from ase_comformer.nn.layers.radial import BesselBasis, polynomial_envelope_slope
from ase_comformer.nn.operations.message_sums import message_sums
from ase_comformer.nn.operations.sparse import bare_product
from ase_comformer.nn.operations.sum_topology import SumTopology


class EdgeGradient:
    """Edge vectors to weighted harmonics (9, E) and radial basis (E, K), and back."""

    def __init__(self, trunk: CartesianTrunk, graph: CrystalGraph) -> None:
        self.trunk, self.graph = trunk, graph
        distance = graph.edge_vector.norm(dim=1, keepdim=True)
        self.distance, self.unit = distance.squeeze(1), graph.edge_vector / distance
        # distances in units of the cut-off of their pair
        self.distance_scale = trunk.distance_scale(graph)
        self.scaled = self.distance if self.distance_scale is None else self.distance * self.distance_scale
        self.basis, self.envelope = trunk.radial_basis(self.scaled)
        self.scale = (graph.edge_weight / trunk.mean_neighbours).unsqueeze(1)
        self.weight = self.envelope * self.scale
        self.tensor = trunk.basis.harmonics(self.unit)
        one = torch.ones_like(distance)
        self.rotation = None if graph.atom_rotation is None else trunk.basis.rotation(graph.atom_rotation)
        self.harmonics = (self.weight * torch.cat([one, self.unit, self.tensor], dim=1)).t()

    def backward(self, parts: Sequence["PartGradient"], d_weight: Tensor) -> Tensor:
        """(E, 3) from what the parts have gathered and the derivative (E,) in the weight alone."""
        if len(parts) == 1:
            d_harmonics, d_basis = parts[0].d_harmonics(), parts[0].d_basis
        else:
            d_harmonics, d_basis = torch.empty_like(self.harmonics.t()), torch.empty_like(self.basis)
            for part in parts:
                d_harmonics[part.topology.edges], d_basis[part.topology.edges] = part.d_harmonics(), part.d_basis
        scalar, vector, tensor = d_harmonics.split((1, 3, 5), dim=1)
        # the dyad of the unit vector, twice, with the matrices of the harmonics
        matrices = (tensor @ self.trunk.basis.matrices.to(tensor.dtype).flatten(1)).view(-1, 3, 3)
        turned = (matrices @ self.unit.unsqueeze(2)).squeeze(2)
        along = ((vector + turned) * self.unit).sum(1, keepdim=True)
        d_unit = self.weight * (vector + 2 * turned)
        slopes, envelope_slope = _radial_slopes(self.trunk.radial_basis, self.scaled, self.basis, self.envelope)
        d_envelope = (d_weight.unsqueeze(1) + scalar + along) * self.scale
        d_distance = d_envelope * envelope_slope + (d_basis * slopes).sum(1, keepdim=True)
        if self.distance_scale is not None:
            d_distance = d_distance * self.distance_scale.unsqueeze(1)
        d_unit = d_unit / self.distance.unsqueeze(1)
        return d_unit + (d_distance - (d_unit * self.unit).sum(1, keepdim=True)) * self.unit


def _radial_slopes(radial: BesselBasis, distance: Tensor, basis: Tensor, envelope: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives in the distance (E,) of the basis (E, K) and of its envelope (E, 1)."""
    cutoff = radial.cutoff
    slope = polynomial_envelope_slope(distance.unsqueeze(1), cutoff, radial.power)
    x = (distance / cutoff).clamp(max=1.0).unsqueeze(1)
    order = torch.arange(1, radial.count + 1, dtype=distance.dtype, device=distance.device) * math.pi
    phase = x * order
    # b = sqrt(2) sin(phase) / (pi x) envelope
    change = torch.cos(phase) * (order * (envelope / cutoff)) + torch.sin(phase) * slope
    return change * (math.sqrt(2.0) / math.pi / x) - basis / distance.unsqueeze(1), slope


class PartGradient:
    """The edges to some of the nodes: their basis, harmonics, and what layers gather of derivatives in them.

    ``keep`` stores what a layer has computed of edges; otherwise it is computed again on the way back.
    """

    def __init__(self, geometry: EdgeGradient, topology: SumTopology, keep: bool) -> None:
        self.topology, self.keep, self.graph = topology, keep, geometry.graph
        own = slice(None) if topology.edges is None else topology.edges
        self.basis = geometry.basis[own]
        sums = message_sums(geometry.graph, geometry.harmonics[:, own], geometry.rotation, topology)
        self.values, self.carried_values = sums.moment_values, sums.carried_values
        self._d_values: Tensor | None = None
        self.d_basis = torch.zeros(())

    def add(self, d_values: Tensor, d_basis: Tensor) -> None:
        """Derivatives of one layer."""
        if self._d_values is None:
            self._d_values, self.d_basis = d_values, d_basis
        else:
            self._d_values, self.d_basis = self._d_values + d_values, self.d_basis + d_basis

    def d_harmonics(self) -> Tensor:
        """(e, 9), before the projection on site groups: the last block of values, of pairs, is the first harmonic."""
        assert self._d_values is not None
        blocks = self._d_values.view(10, -1).t()
        found = torch.empty_like(blocks)
        found[self.topology.order] = blocks
        found[:, 0] += found[:, 9]
        projectors = (self.graph.site_vector_projector, self.graph.site_tensor_projector)
        for projector, columns in zip(projectors, (slice(1, 4), slice(4, 9)), strict=True):
            if projector is not None:
                turned = projector[self.topology.receiver].transpose(1, 2) @ found[:, columns].unsqueeze(2)
                found[:, columns] = turned.squeeze(2)
        return found[:, :9]

    def sent(self, features: Tensor) -> Tensor:
        """(8, N, C) -> (8, P, C), what the sender of every pair has."""
        carried, rows = self.topology.carried, features.reshape(-1, features.shape[2])
        if self.carried_values is None:
            found = rows.index_select(0, carried.columns)
        else:
            found = bare_product(carried, self.carried_values, rows)
        return found.view(8, -1, features.shape[2])

    def received(self, d_sent: Tensor) -> Tensor:
        """The derivative (8, P, C) in what was sent -> (8N, C), in features."""
        back, order = self.topology.carried.transposed
        values = None if self.carried_values is None else self.carried_values[order]
        return bare_product(back, values, d_sent.reshape(-1, d_sent.shape[2]))
