"""Equivariant layers: edge harmonics, tensor products, the eComFormer update (default and as published).

Features are real irreps in e3nn's component order (l = 1: x, y, z; l = 2: xz, xy, y^2 - (x^2 + z^2) / 2, yz, (z^2 -
x^2) / 2), harmonics of unit vectors with "component" normalisation. In a symmetry-reduced graph a sender's features
are D(R) f of its node; wherever they are contracted to scalars, D(R) is moved onto the edge vector, (D f) . Y(r) = f
. Y(R^T r), so no feature is ever rotated, and sums are projected on the site group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.layers.attention import scatter_sum
from ase_comformer.nn.layers.tensor_product import TensorProduct


def harmonics_l1_l2(vector: Tensor) -> Tensor:
    """Component-normalised harmonics of the directions: (E, 3) -> (E, 8), first l = 1 (3), then l = 2 (5)."""
    x, y, z = (vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)).unbind(-1)
    root3, root5, root15 = 3.0**0.5, 5.0**0.5, 15.0**0.5
    return torch.stack(
        (
            root3 * x,
            root3 * y,
            root3 * z,
            root15 * x * z,
            root15 * x * y,
            root5 * (y * y - 0.5 * (x * x + z * z)),
            root15 * y * z,
            0.5 * root15 * (z * z - x * x),
        ),
        dim=-1,
    )


@dataclass(frozen=True)
class EdgeHarmonics:
    """Harmonics l = 1, 2 of every edge, (E, 8), in the frame of the crystal and in the frame of the sender's node."""

    crystal: Tensor
    sender: Tensor

    @classmethod
    def from_graph(cls, graph: CrystalGraph) -> "EdgeHarmonics":
        """Evaluate the harmonics of all edges of a graph, once per forward pass."""
        crystal = harmonics_l1_l2(graph.edge_vector)
        rotation = graph.edge_rotation
        if rotation is None:
            return cls(crystal, crystal)
        return cls(crystal, harmonics_l1_l2(torch.einsum("exy,ex->ey", rotation, graph.edge_vector)))


def project_on_site_group(values: Tensor, graph: CrystalGraph) -> Tensor:
    """Average 1o + 2e node features (n, 8, channels) over the site group; unchanged in a plain graph."""
    if graph.site_vector_projector is None or graph.site_tensor_projector is None:
        return values
    return torch.cat(
        (torch.bmm(graph.site_vector_projector, values[:, :3]), torch.bmm(graph.site_tensor_projector, values[:, 3:])),
        dim=1,
    )


def _contract(product: Tensor) -> Tensor:
    """Sum the l = 1 and the l = 2 components: (rows, 8, channels) -> (rows, 2 channels)."""
    vectors, tensors = product.split((3, 5), dim=1)
    return torch.cat((vectors.sum(1), tensors.sum(1)), dim=1)


class SmoothEquivariantUpdate(nn.Module):
    """eComFormer's equivariant update of the default networks: scalars -> 0e + 1o + 2e -> scalars, depthwise.

    Step 1 sums radial weight * sender scalar * Y_l(r) into D vectors and D tensors per atom. Step 2 contracts the
    senders' vectors and tensors with Y_l(r) and sums again; together with the atom's own quadratic invariants (v .
    v', t : t') they update h through an MLP. Messages carry ``weight`` (orbit size times envelope).
    """

    def __init__(self, width: int, radial_width: int, channels: int, *, message_scale: float = 0.1) -> None:
        """Node width C, size of the radial basis, vectors and tensors D per atom, constant factor on sums."""
        super().__init__()
        self.channels, self.message_scale = channels, message_scale
        self.norm = nn.LayerNorm(width)
        self.node = nn.Linear(width, 2 * channels)
        self.radial = nn.Linear(radial_width, 4 * channels, bias=False)
        self.mix = nn.Parameter(torch.randn(2, channels, 3 * channels) / channels**0.5)
        self.update = nn.Sequential(nn.Linear(4 * channels + width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, h: Tensor, radial: Tensor, harmonics: EdgeHarmonics, weight: Tensor, graph: CrystalGraph
    ) -> Tensor:
        """Update h (n, C), radial basis (E, radial_width), harmonics of the edges, weight (E, 1) -> h (n, C)."""
        channels, size = self.channels, h.shape[0]
        receiver, sender = graph.edge_receiver, graph.edge_sender
        normalised = self.norm(h)
        radial_1, radial_2 = (self.radial(radial) * (weight * self.message_scale)).split(2 * channels, dim=1)
        message = radial_1 * self.node(normalised).index_select(0, sender)
        to_vectors, to_tensors = message[:, None].split(channels, dim=2)
        outer = torch.cat((to_vectors.expand(-1, 3, -1), to_tensors.expand(-1, 5, -1)), dim=1)
        x = scatter_sum(outer * harmonics.crystal[:, :, None], receiver, size)
        x = project_on_site_group(x, graph)
        mixed = torch.cat((x[:, :3] @ self.mix[0], x[:, 3:] @ self.mix[1]), dim=1)  # (n, 8, 3 D)
        left, right, sent = mixed.split(channels, dim=2)
        invariants = _contract(left * right)
        contracted = _contract(sent.index_select(0, sender) * harmonics.sender[:, :, None])
        summed = scatter_sum(radial_2 * contracted, receiver, size)
        return h + self.update(torch.cat((normalised, invariants, summed), dim=1))


class PaperEquivariantLayer(nn.Module):
    """Mean over edges of FullyConnectedTensorProduct(x_sender, Y(r); weights = MLP(edge features)), as published.

    ``fc`` = Linear, Softplus, Linear, one weight set per edge. A residual layer adds the input padded with zeros.
    """

    def __init__(
        self, irreps_in: str, irreps_out: str, edge_width: int, *, residual: bool, rounded: bool = False
    ) -> None:
        """Irreps of input and output (e3nn's notation), edge width, whether to add the input, rounded couplings."""
        super().__init__()
        self.residual = residual
        self.product = TensorProduct(irreps_in, "0e+1o+2e", irreps_out, rounded=rounded)
        self.fc = nn.Sequential(
            nn.Linear(edge_width, edge_width), nn.Softplus(), nn.Linear(edge_width, self.product.weight_count)
        )

    def forward(
        self, x: Tensor, edges: Tensor, harmonics: Tensor, receiver: Tensor, sender: Tensor, weight: Tensor
    ) -> Tensor:
        """Evaluate the layer.

        x (n, dim_in), edges (E, edge_width), harmonics (E, 9) with l = 0, 1, 2, receiver and sender (E,), weight (E,
        1) -> (n, dim_out).
        """
        message = self.messages(x.index_select(0, sender), edges, harmonics)
        total = scatter_sum(weight, receiver, x.shape[0])
        return self.update(x, scatter_sum(message * weight, receiver, x.shape[0]), total)

    def messages(self, sent: Tensor, edges: Tensor, harmonics: Tensor) -> Tensor:
        """Features of the senders (E, dim_in), edges (E, edge_width), harmonics (E, 9) -> messages (E, dim_out)."""
        product, last = self.product, self.fc[2]
        assert isinstance(last, nn.Linear)
        order = product.order.to(edges.device)
        weights = nn.functional.linear(self.fc[1](self.fc[0](edges)), last.weight[order], last.bias[order])
        return product.evaluate(sent, harmonics, weights)

    def update(self, x: Tensor, summed: Tensor, total: Tensor) -> Tensor:
        """Nodes x (n, dim_in), their summed messages (n, dim_out) and sums of weights (n, 1) -> (n, dim_out)."""
        out = summed / total.clamp(min=1e-12)
        if self.residual:
            out = out + nn.functional.pad(x, (0, out.shape[1] - x.shape[1]))
        return out


class PaperEquivariantUpdate(nn.Module):
    """eComFormer's equivariant update as published: 64x0e -> 64x0e + 8x1o + 8x2e -> 64x0e, BatchNorm, skip."""

    def __init__(self, width: int, scalars: int = 64, channels: int = 8) -> None:
        """Node and edge width C, scalars and l = 1, 2 channels inside."""
        super().__init__()
        inner = f"{scalars}x0e+{channels}x1o+{channels}x2e"
        self.scalars, self.channels = scalars, channels
        self.node_linear = nn.Linear(width, scalars)
        self.skip_linear = nn.Linear(width, width)
        self.nlayer_1 = PaperEquivariantLayer(f"{scalars}x0e", inner, width, residual=True)
        self.nlayer_2 = PaperEquivariantLayer(inner, f"{scalars}x0e", width, residual=False)
        self.bn = nn.BatchNorm1d(scalars)
        self.node_linear_2 = nn.Linear(scalars, width)

    def forward(
        self, h: Tensor, edges: Tensor, harmonics: EdgeHarmonics, weight: Tensor, graph: CrystalGraph
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Update h (n, C), edges (E, C), weight (E, 1) -> h (n, C) and the outputs of the two tensor products."""
        receiver, sender = graph.edge_receiver, graph.edge_sender
        ones = torch.ones_like(weight)
        crystal, at_sender = (torch.cat((ones, y), dim=1) for y in (harmonics.crystal, harmonics.sender))
        first = self.nlayer_1(self.node_linear(h), edges, crystal, receiver, sender, weight)
        first = self._project(first, graph)
        second = self.nlayer_2(first, edges, at_sender, receiver, sender, weight)
        return self.update(h, second), (first, second)

    def update(self, h: Tensor, scalars: Tensor) -> Tensor:
        """Nodes h (n, C) and the output of the second tensor product (n, scalars) -> h (n, C)."""
        softplus = nn.functional.softplus
        return softplus(self.node_linear_2(softplus(self.bn(scalars)))) + self.skip_linear(h)

    def _project(self, x: Tensor, graph: CrystalGraph) -> Tensor:
        if graph.site_vector_projector is None:
            return x
        scalars, vectors, tensors = x.split((self.scalars, 3 * self.channels, 5 * self.channels), dim=1)
        split = (vectors.reshape(-1, self.channels, 3), tensors.reshape(-1, self.channels, 5))
        stacked = project_on_site_group(torch.cat(split, dim=2).transpose(1, 2), graph).transpose(1, 2)
        return torch.cat((scalars, stacked[:, :, :3].flatten(1), stacked[:, :, 3:].flatten(1)), dim=1)


class PaperEquivariantStack(nn.Module):
    """GMTNet's equivariant part as published: Linear to scalars, then three tensor-product layers."""

    def __init__(self, width: int, scalars: int, channels: int, irreps_out: str, *, rounded: bool = False) -> None:
        """Node and edge width C, scalars and channels of each other irrep inside, output irreps, rounded couplings."""
        super().__init__()
        first = f"{scalars}x0e+{channels}x1o+{channels}x2e"
        second = f"{scalars}x0e+{channels}x1o+{channels}x1e+{channels}x2e+{channels}x2o"
        self.node_linear = nn.Linear(width, scalars)
        self.nlayer_1 = PaperEquivariantLayer(f"{scalars}x0e", first, width, residual=True, rounded=rounded)
        self.nlayer_2 = PaperEquivariantLayer(first, second, width, residual=False, rounded=rounded)
        self.nlayer_3 = PaperEquivariantLayer(second, irreps_out, width, residual=False, rounded=rounded)

    @property
    def products(self) -> tuple[PaperEquivariantLayer, ...]:
        """The three layers in order."""
        return self.nlayer_1, self.nlayer_2, self.nlayer_3

    def forward(
        self, h: Tensor, edges: Tensor, harmonics: Tensor, receiver: Tensor, sender: Tensor, weight: Tensor
    ) -> Tensor:
        """Evaluate h (n, C), edges (E, C), harmonics (E, 9), weight (E, 1) -> (n, dimension of the output)."""
        x = self.node_linear(h)
        for layer in self.products:
            x = layer(x, edges, harmonics, receiver, sender, weight)
        return x
