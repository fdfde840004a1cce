"""The default trunk: scalars, vectors and symmetric traceless tensors on atoms, smooth in the cut-off.

Features per node: scalars (n, C0), vectors (n, 3, C1) of type 1o, tensors (n, 5, C2) of type 2e in e3nn's order.
Edges carry sums only; products of features are taken on nodes, where they are cheap. Runs on plain and on
symmetry-reduced graphs: weights per edge orbit, sender features rotated onto the image, one projection per site.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ase_comformer.graph import CrystalGraph
from ase_comformer.nn.radial import BesselBasis
from ase_comformer.tensors import spherical_basis_l2

MAX_ATOMIC_NUMBER = 103


@dataclass
class EdgeGeometry:
    """What every layer needs of an edge.

    Distance (E,) A, unit vector (E, 3), type-2e harmonics (E, 5), basis (E, K), weight (E, 1): orbit size times
    cut-off envelope over a typical number of neighbours.
    """

    distance: Tensor
    unit: Tensor
    tensor: Tensor
    basis: Tensor
    weight: Tensor


@dataclass
class NodeFeatures:
    """Scalars (n, C0), vectors (n, 3, C1), tensors (n, 5, C2)."""

    scalars: Tensor
    vectors: Tensor
    tensors: Tensor


class CartesianBasis(nn.Module):
    """The five orthonormal symmetric traceless matrices, to move between 5-vectors and 3x3 matrices."""

    matrices: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrices", spherical_basis_l2(dtype=torch.float64), persistent=False)

    def to_matrix(self, tensors: Tensor) -> Tensor:
        """(n, 5, C) -> (n, 3, 3, C)."""
        return torch.einsum("nmc,mxy->nxyc", tensors, self.matrices.to(tensors.dtype))

    def from_matrix(self, matrices: Tensor) -> Tensor:
        """(n, 3, 3, C) -> (n, 5, C), dropping trace and antisymmetric part."""
        return torch.einsum("nxyc,mxy->nmc", matrices, self.matrices.to(matrices.dtype))

    def rotation(self, rotation: Tensor) -> Tensor:
        """(n, 3, 3) -> (n, 5, 5), the 2e representation."""
        basis = self.matrices.to(rotation.dtype)
        rotated = torch.einsum("nxi,mij,nyj->nmxy", rotation, basis, rotation)
        return torch.einsum("kxy,nmxy->nkm", basis, rotated)


class CartesianLayer(nn.Module):
    """One message passing step followed by products of features on the node.

    Args:
        scalars, vectors: channels; tensors have as many channels as vectors.
        radial: size of the radial basis.
        hidden: width of the edge network.
        incoming: whether senders already carry vectors and tensors (False in the first layer).
    """

    def __init__(self, scalars: int, vectors: int, radial: int, hidden: int, incoming: bool) -> None:
        super().__init__()
        self.incoming = incoming
        self.parts = [scalars] + [vectors] * (4 if incoming else 2)
        self.receiver = nn.Linear(scalars, hidden)
        self.sender = nn.Linear(scalars, hidden, bias=False)
        self.radial = nn.Linear(radial, hidden, bias=False)
        self.edge = nn.Linear(hidden, sum(self.parts))
        self.scalar_message = nn.Linear(scalars, scalars)
        self.vector_message = nn.Linear(vectors, vectors, bias=False)
        self.tensor_message = nn.Linear(vectors, vectors, bias=False)
        self.vector_pair = nn.Linear(vectors, 2 * vectors, bias=False)
        self.tensor_pair = nn.Linear(vectors, 2 * vectors, bias=False)
        self.norm = nn.LayerNorm(scalars)
        self.update = nn.Sequential(
            nn.Linear(2 * scalars + 4 * vectors, 2 * scalars), nn.SiLU(), nn.Linear(2 * scalars, scalars + 5 * vectors)
        )
        self.basis = CartesianBasis()
        self.sizes = [scalars] + [vectors] * 5

    def forward(
        self, node: NodeFeatures, edge: EdgeGeometry, graph: CrystalGraph, rotation: Tensor | None
    ) -> NodeFeatures:
        """One step; ``rotation`` (A, 5, 5) is the 2e representation of ``graph.atom_rotation``."""
        scalar_sum, vector_sum, tensor_sum = self._messages(node, edge, graph, rotation)
        scalars = node.scalars
        vectors = node.vectors + self.vector_message(vector_sum)
        tensors = node.tensors + self.tensor_message(tensor_sum)
        invariants, products = self._products(vectors, tensors)
        update = self.update(torch.cat([self.norm(scalars), self.scalar_message(scalar_sum), *invariants], dim=-1))
        change, *gates = update.split(self.sizes, dim=-1)
        gate = [value.unsqueeze(1) for value in gates]
        vectors = vectors * (1 + gate[0]) + products[0] * gate[1]
        tensors = tensors * (1 + gate[2]) + products[1] * gate[3] + products[2] * gate[4]
        return NodeFeatures(scalars + change, vectors, tensors)

    def _messages(
        self, node: NodeFeatures, edge: EdgeGeometry, graph: CrystalGraph, rotation: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        sender = graph.edge_sender
        hidden = silu(
            self.receiver(node.scalars)[graph.edge_receiver]
            + self.sender(node.scalars)[sender]
            + self.radial(edge.basis)
        )
        weights = (self.edge(hidden) * edge.weight).split(self.parts, dim=-1)
        vector = edge.unit.unsqueeze(-1) * weights[1].unsqueeze(1)
        tensor = edge.tensor.unsqueeze(-1) * weights[2].unsqueeze(1)
        if self.incoming:
            sent_vectors, sent_tensors = node.vectors[graph.atom_node], node.tensors[graph.atom_node]
            if rotation is not None:
                assert graph.atom_rotation is not None
                sent_vectors, sent_tensors = graph.atom_rotation @ sent_vectors, rotation @ sent_tensors
            vector = vector + sent_vectors[graph.edge_atom] * weights[3].unsqueeze(1)
            tensor = tensor + sent_tensors[graph.edge_atom] * weights[4].unsqueeze(1)
        count = len(graph.numbers)
        sums = [
            value.new_zeros((count, *value.shape[1:])).index_add(0, graph.edge_receiver, value)
            for value in (weights[0], vector, tensor)
        ]
        if graph.site_vector_projector is not None and graph.site_tensor_projector is not None:
            sums[1] = graph.site_vector_projector @ sums[1]
            sums[2] = graph.site_tensor_projector @ sums[2]
        return sums[0], sums[1], sums[2]

    def _products(self, vectors: Tensor, tensors: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Invariants (n, C1) v.v, t:t, v.t.v, tr t^3 and products t v, v v, t t of scaled features."""
        left, right = self.vector_pair(soft_unit(vectors)).chunk(2, dim=-1)
        first, second = self.tensor_pair(soft_unit(tensors)).chunk(2, dim=-1)
        matrix, other = self.basis.to_matrix(first), self.basis.to_matrix(second)
        turned = torch.einsum("nxyc,nyc->nxc", matrix, right)
        squared = self.basis.from_matrix(torch.einsum("nxyc,nyzc->nxzc", matrix, other))
        dyad = self.basis.from_matrix(left.unsqueeze(2) * right.unsqueeze(1))
        invariants = [
            (left * right).sum(1),
            (first * second).sum(1),
            (left * turned).sum(1),
            (squared * first).sum(1),
        ]
        return invariants, [turned, dyad, squared]


def soft_unit(features: Tensor) -> Tensor:
    """(n, m, C) divided by sqrt(1 + mean squared norm): small features pass, large ones are tamed, equivariantly."""
    size = features.square().sum(1, keepdim=True).mean(-1, keepdim=True)
    return features * torch.rsqrt(1 + size)


class CartesianTrunk(nn.Module):
    """Element embedding and ``layers`` Cartesian layers on a radius graph.

    Args:
        scalars, vectors: channels per node (tensors have ``vectors`` channels).
        layers: message passing steps.
        radial: Bessel functions.
        hidden: width of the edge network.
        cutoff: A, that of the graph; the envelope has two zero derivatives there.
        mean_neighbours: typical sum of envelopes, a fixed scale for the sums.
    """

    def __init__(
        self,
        *,
        scalars: int = 64,
        vectors: int = 32,
        layers: int = 3,
        radial: int = 8,
        hidden: int = 64,
        cutoff: float = 5.5,
        mean_neighbours: float = 12.0,
    ) -> None:
        super().__init__()
        self.scalars, self.vectors, self.cutoff, self.mean_neighbours = scalars, vectors, cutoff, mean_neighbours
        self.embedding = nn.Embedding(MAX_ATOMIC_NUMBER + 1, scalars)
        self.radial_basis = BesselBasis(cutoff, radial)
        self.layers = nn.ModuleList(
            CartesianLayer(scalars, vectors, radial, hidden, incoming=depth > 0) for depth in range(layers)
        )
        self.basis = CartesianBasis()

    def edge_geometry(self, graph: CrystalGraph) -> EdgeGeometry:
        """Unit vectors, harmonics, radial basis and weights of all edges."""
        distance = graph.edge_vector.norm(dim=1, keepdim=True)
        unit = graph.edge_vector / distance
        dyad = (unit.unsqueeze(2) * unit.unsqueeze(1)).unsqueeze(-1)
        basis, envelope = self.radial_basis(distance.squeeze(1))
        return EdgeGeometry(
            distance=distance.squeeze(1),
            unit=unit,
            tensor=self.basis.from_matrix(dyad).squeeze(-1),
            basis=basis,
            weight=envelope * graph.edge_weight.unsqueeze(1) / self.mean_neighbours,
        )

    def forward(self, graph: CrystalGraph, edge: EdgeGeometry, scalars: Tensor | None = None) -> NodeFeatures:
        """Node features of a batch; ``scalars`` (n, C0) start it, the element embedding where None."""
        rotation = None if graph.atom_rotation is None else self.basis.rotation(graph.atom_rotation)
        if scalars is None:
            scalars = self.embedding(graph.numbers)
        count = len(scalars)
        node = NodeFeatures(
            scalars, scalars.new_zeros(count, 3, self.vectors), scalars.new_zeros(count, 5, self.vectors)
        )
        for layer in self.layers:
            node = layer(node, edge, graph, rotation)
        return node
