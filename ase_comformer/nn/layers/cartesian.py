"""The default trunk: scalars, vectors and symmetric traceless tensors on atoms, smooth in the cut-off.

Features per node: scalars (n, C0), vectors (n, 3, C1) of type 1o, tensors (n, 5, C2) of type 2e in e3nn's order.
Edges carry sums only; products of features are taken on nodes, where they are cheap. Runs on plain and on
symmetry-reduced graphs: weights per edge orbit, sender features rotated onto the image, one projection per site.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.pair_cutoffs import Reach, reach_table
from ase_comformer.nn.layers.radial import BesselBasis
from ase_comformer.nn.layers.stacked import Embedding, LayerNorm, Linear, affine
from ase_comformer.nn.operations.message_sums import MessageSums, message_sums
from ase_comformer.nn.operations.sum_topology import COMPONENTS, SumTopology
from ase_comformer.tensors.forms import spherical_basis_l2

MAX_ATOMIC_NUMBER = 103


@dataclass
class EdgeGeometry:
    """What every layer needs of an edge.

    Distance (E,) A, unit vector (E, 3), type-2e harmonics (E, 5), basis (E, K), weight (E, 1): orbit size times
    cut-off envelope over a typical number of neighbours. ``sums`` are the sums over edges of all layers.
    """

    distance: Tensor
    unit: Tensor
    tensor: Tensor
    basis: Tensor
    weight: Tensor
    sums: MessageSums


@dataclass
class NodeFeatures:
    """Scalars (n, C0), vectors (3, n, C1), tensors (5, n, C1): components first."""

    scalars: Tensor
    vectors: Tensor
    tensors: Tensor


class CartesianBasis(nn.Module):
    """The five orthonormal symmetric traceless matrices, to move between 5-vectors and 3x3 matrices."""

    matrices: Tensor
    turned: Tensor

    def __init__(self) -> None:
        super().__init__()
        basis = spherical_basis_l2(dtype=torch.float64)
        self.register_buffer("matrices", basis, persistent=False)
        turned = torch.einsum("kxy,mij->xiyjkm", basis, basis).reshape(81, 25)
        self.register_buffer("turned", turned, persistent=False)

    def to_matrix(self, tensors: Tensor) -> Tensor:
        """(5, n, C) -> (3, 3, n, C)."""
        matrices = self.matrices.to(tensors.dtype).flatten(1).t() @ tensors.flatten(1)
        return matrices.view(3, 3, *tensors.shape[1:])

    def from_matrix(self, matrices: Tensor) -> Tensor:
        """(3, 3, n, C) -> (5, n, C), dropping trace and antisymmetric part."""
        tensors = self.matrices.to(matrices.dtype).flatten(1) @ matrices.reshape(9, -1)
        return tensors.view(5, *matrices.shape[2:])

    def rotation(self, rotation: Tensor) -> Tensor:
        """(n, 3, 3) -> (n, 5, 5), the 2e representation."""
        entries = rotation.flatten(1)
        products = (entries.unsqueeze(2) * entries.unsqueeze(1)).flatten(1)
        return (products @ self.turned.to(rotation.dtype)).view(-1, 5, 5)

    def harmonics(self, unit: Tensor) -> Tensor:
        """(E, 3) -> (E, 5), the 2e components of the dyads of unit vectors."""
        dyad = (unit.unsqueeze(2) * unit.unsqueeze(1)).flatten(1)
        return dyad @ self.matrices.to(unit.dtype).flatten(1).t()


class NodeProducts(nn.Module):
    """Products of two sets of features (8, n, C), vectors before tensors, as one matrix product.

    Returns (15, n, C): t v (3), t t (5), v v (5), then the invariants v.v and t:t.
    """

    coupling: Tensor

    def __init__(self) -> None:
        super().__init__()
        basis = spherical_basis_l2(dtype=torch.float64)
        coupling = torch.zeros(15, 8, 8, dtype=torch.float64)
        coupling[0:3, 3:, :3] = basis.permute(1, 0, 2)
        coupling[3:8, 3:, 3:] = torch.einsum("kxz,axy,byz->kab", basis, basis, basis)
        coupling[8:13, :3, :3] = basis
        coupling[13, :3, :3] = torch.eye(3)
        coupling[14, 3:, 3:] = torch.eye(5)
        self.register_buffer("coupling", coupling.flatten(1), persistent=False)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """See the class."""
        outer = (left.unsqueeze(1) * right.unsqueeze(0)).view(64, -1)
        return (self.coupling.to(outer.dtype) @ outer).view(15, *left.shape[1:])


class CartesianLayer(nn.Module):
    """One message passing step followed by products of features on the node.

    Vectors and tensors are one array (8, n, C) here, see ``message_sums``.

    Args:
        scalars, vectors: channels; tensors have as many channels as vectors.
        radial: size of the radial basis.
        hidden: width of the edge network.
        update: hidden width of the network that updates nodes.
        incoming: whether senders already carry vectors and tensors (False in the first layer).
    """

    def __init__(self, scalars: int, vectors: int, radial: int, hidden: int, update: int, incoming: bool) -> None:
        super().__init__()
        self.incoming = incoming
        self.parts = [scalars] + [vectors] * (4 if incoming else 2)
        self.receiver = Linear(scalars, hidden)
        self.sender = Linear(scalars, hidden, bias=False)
        self.radial = Linear(radial, hidden, bias=False)
        self.edge = Linear(hidden, sum(self.parts))
        self.scalar_message = Linear(scalars, scalars)
        self.vector_message = Linear(vectors, vectors, bias=False)
        self.tensor_message = Linear(vectors, vectors, bias=False)
        self.vector_pair = Linear(vectors, 2 * vectors, bias=False)
        self.tensor_pair = Linear(vectors, 2 * vectors, bias=False)
        self.norm = LayerNorm(scalars)
        self.update = nn.Sequential(
            Linear(2 * scalars + 4 * vectors, update), nn.SiLU(), Linear(update, scalars + 5 * vectors)
        )
        self.products = NodeProducts()
        self.sizes = [scalars] + [vectors] * 5

    @staticmethod
    def parameter_blocks(parameters: Mapping[str, Tensor]) -> dict[str, tuple[list[int], ...]]:
        """List, of the parameters that hold several maps, sizes of the blocks along each axis."""
        scalars, vectors = len(parameters["scalar_message.weight"]), len(parameters["vector_message.weight"])
        messages = [scalars] + [vectors] * ((len(parameters["edge.bias"]) - scalars) // vectors)
        hidden, update = parameters["edge.weight"].shape[1], len(parameters["update.0.weight"])
        gates = [scalars] + [vectors] * 5
        return {
            "edge.weight": (messages, [hidden]),
            "edge.bias": (messages,),
            "vector_pair.weight": ([vectors] * 2, [vectors]),
            "tensor_pair.weight": ([vectors] * 2, [vectors]),
            "update.0.weight": ([update], [scalars] * 2 + [vectors] * 4),
            "update.2.weight": (gates, [update]),
            "update.2.bias": (gates,),
        }

    def forward(self, scalars: Tensor, features: Tensor | None, edge: EdgeGeometry) -> tuple[Tensor, Tensor]:
        """Scalars (n, C0), features (8, n, C1) (None where they are zero) after one step."""
        scalar_sum, feature_sum = self._messages(scalars, features, edge)
        # split, not slices: their derivative is one concatenation instead of a padded array each
        vectors, tensors = feature_sum.split(COMPONENTS[1:])
        change = torch.cat([self.vector_message(vectors), self.tensor_message(tensors)])
        features = change if features is None else features + change
        vectors, tensors = features.split(COMPONENTS[1:])
        left, right = self._pairs(vectors, tensors)
        with_tensors, vector_dyad, *lengths = self.products(left, right).split((8, 5, 1, 1))
        tensor_vector, tensor_tensor = with_tensors.split(COMPONENTS[1:])
        cubic = [part.sum(0) for part in (left * with_tensors).split(COMPONENTS[1:])]
        invariants = [*(part.squeeze(0) for part in lengths), *cubic]
        update = self.update(torch.cat([self.norm(scalars), self.scalar_message(scalar_sum), *invariants], dim=-1))
        change, *gate = update.split(self.sizes, dim=-1)
        vectors = vectors * (1 + gate[0]) + tensor_vector * gate[1]
        tensors = tensors * (1 + gate[2]) + vector_dyad * gate[3] + tensor_tensor * gate[4]
        return scalars + change, torch.cat([vectors, tensors])

    def _messages(self, scalars: Tensor, features: Tensor | None, edge: EdgeGeometry) -> tuple[Tensor, Tensor]:
        sums = edge.sums
        ends = torch.cat([self.receiver(scalars), self.sender(scalars)], dim=-2)
        hidden = silu(sums.at_ends(ends) + self.radial(edge.basis))
        sizes = [sums.nodes, 3 * sums.nodes, 5 * sums.nodes, sums.pairs]
        moments, totals = sums.sum_over_edges(hidden).split(sizes), sums.totals.split(sizes)
        weights, biases = self.edge.weight.split(self.parts, dim=-2), self.edge.bias.split(self.parts, dim=-1)

        def summed(part: int, weight: Tensor, bias: Tensor) -> Tensor:
            """The sum of what the last layer of the edge network makes of ``hidden``."""
            components = (COMPONENTS[part], -1) if part < len(COMPONENTS) else (1, -1)
            rows, total = (values.unflatten(0, components) for values in (moments[part], totals[part]))
            return affine(rows, weight, bias, total)

        feature_sum = torch.cat([summed(1, weights[1], biases[1]), summed(2, weights[2], biases[2])])
        if features is not None:
            # the edge network's last two parts, next to each other, multiply the sender's features
            first = sum(self.parts[:3])
            pair_weights = summed(3, self.edge.weight[..., first:, :], self.edge.bias[..., first:]).squeeze(0)
            feature_sum = feature_sum + sums.sum_over_senders(features, *pair_weights.chunk(2, dim=1))
        return summed(0, weights[0], biases[0]).squeeze(0), feature_sum

    def _pairs(self, vectors: Tensor, tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Two linear maps of features brought to a size below one, each (8, n, C)."""
        pairs = torch.cat([self.vector_pair(soft_unit(vectors)), self.tensor_pair(soft_unit(tensors))])
        left, right = pairs.chunk(2, dim=-1)
        return left, right


def soft_unit(features: Tensor) -> Tensor:
    """(m, n, C) divided by sqrt(1 + mean squared norm): small features pass, large ones are tamed, equivariantly."""
    size = features.square().mean(-1, keepdim=True).sum(0, keepdim=True)
    return features * torch.rsqrt(1 + size)


class CartesianTrunk(nn.Module):
    """Element embedding and ``layers`` Cartesian layers on a radius graph.

    Args:
        scalars, vectors: channels per node (tensors have ``vectors`` channels).
        layers: message passing steps.
        radial: Bessel functions.
        hidden: width of the edge network.
        update: hidden width of the networks that update nodes, twice ``scalars`` where None.
        cutoff: A, that of the graph; the envelope has two zero derivatives there.
        mean_neighbours: typical sum of envelopes, a fixed scale for the sums.
        reach: A, of large atoms (``reach``): distances between them are read in units of the cut-off of their pair.
    """

    reach: Tensor | None

    def __init__(
        self,
        *,
        scalars: int = 64,
        vectors: int = 32,
        layers: int = 3,
        radial: int = 8,
        hidden: int = 64,
        update: int | None = None,
        cutoff: float = 5.5,
        mean_neighbours: float = 12.0,
        reach: Reach = (),
    ) -> None:
        super().__init__()
        self.scalars, self.vectors, self.cutoff, self.mean_neighbours = scalars, vectors, cutoff, mean_neighbours
        self.register_buffer("reach", torch.tensor(reach_table(reach)) if reach else None, persistent=False)
        self.embedding = Embedding(MAX_ATOMIC_NUMBER + 1, scalars)
        self.radial_basis = BesselBasis(cutoff, radial)
        self.layers = nn.ModuleList(
            CartesianLayer(scalars, vectors, radial, hidden, update or 2 * scalars, incoming=depth > 0)
            for depth in range(layers)
        )
        self.basis = CartesianBasis()

    @property
    def geometry(self) -> tuple[float, int, int, float, tuple[float, ...]]:
        """Name what ``edge_geometry`` depends on beside the graph: trunks that agree in it can share the result."""
        basis = self.radial_basis
        reach = () if self.reach is None else tuple(self.reach.tolist())
        return self.cutoff, basis.count, basis.power, self.mean_neighbours, reach

    def distance_scale(self, graph: CrystalGraph) -> Tensor | None:
        """(E,) the common cut-off over that of the pair, by which distances are multiplied; None where all are one."""
        if self.reach is None:
            return None
        reach = self.reach.to(graph.edge_vector.dtype)[graph.numbers]
        both = reach[graph.edge_receiver] + reach[graph.edge_sender]
        return self.cutoff / both.clamp(min=self.cutoff)

    def edge_geometry(self, graph: CrystalGraph, topology: SumTopology | None = None) -> EdgeGeometry:
        """Unit vectors, harmonics, radial basis, weights and sums of all edges; ``topology`` where it is known."""
        distance = graph.edge_vector.norm(dim=1, keepdim=True)
        unit = graph.edge_vector / distance
        scale = self.distance_scale(graph)
        basis, envelope = self.radial_basis(distance.squeeze(1) if scale is None else distance.squeeze(1) * scale)
        weight = envelope * (graph.edge_weight / self.mean_neighbours).unsqueeze(1)
        tensor = self.basis.harmonics(unit)
        rotation = None if graph.atom_rotation is None else self.basis.rotation(graph.atom_rotation)
        harmonics = torch.cat([weight, weight * unit, weight * tensor], dim=1).t()
        return EdgeGeometry(
            distance=distance.squeeze(1),
            unit=unit,
            tensor=tensor,
            basis=basis,
            weight=weight,
            sums=message_sums(graph, harmonics, rotation, topology or SumTopology.from_graph(graph)),
        )

    def forward(self, graph: CrystalGraph, edge: EdgeGeometry, scalars: Tensor | None = None) -> NodeFeatures:
        """Node features of a batch; ``scalars`` (n, C0) start it, the element embedding where None."""
        if scalars is None:
            scalars = self.embedding(graph.numbers)
        features: Tensor | None = None
        for layer in self.layers:
            scalars, features = layer(scalars, features, edge)
        if features is None:
            features = scalars.new_zeros(8, len(scalars), self.vectors)
        return NodeFeatures(scalars, features[:3], features[3:])
