"""The layers of the papers as torch-geometric modules, for models of anybody's own.

Each module wraps the layer of ``nn.layers`` that our networks use, as its attribute ``layer``: the equations and the
names of the parameters are those, and only the sum over neighbours is torch-geometric's ``propagate``. So weights of a
published or trained network are taken over by ``from_layer`` (the same parameters) or
``conv.layer.load_state_dict(...)``.

Conventions: ``edge_index`` (2, E) holds sources j above targets i; ``edge_vector`` (E, 3) in A points from the target
to the source, as in ``CrystalData``; ``edge_weight`` (E,) multiplies messages, one where it is not given. Index
letters: n nodes, E edges, F lattice vectors, P pairs of an edge and a lattice vector, C width. Modules need plain
graphs: symmetry-reduced ones carry rotations that torch-geometric does not know.

Sources: ComFormer, arXiv:2403.11857, eqs. 3 to 8 (attention, edge update, equivariant update); GMTNet,
arXiv:2406.12888, section 4 (tensor products).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from ase_comformer.nn.architectures.comformer import radial_network
from ase_comformer.nn.layers.attention import PaperAttention, PaperEdgeUpdate
from ase_comformer.nn.layers.equivariant import (
    PaperEquivariantLayer,
    PaperEquivariantStack,
    PaperEquivariantUpdate,
    harmonics_l1_l2,
)
from ase_comformer.nn.layers.radial import GaussianBasis, inverse_distance


def _weight(given: Tensor | None, like: Tensor) -> Tensor:
    """Weights (E, 1) from (E,) or None."""
    return like.new_ones(len(like), 1) if given is None else given.to(like.dtype).reshape(-1, 1)


class EdgeFeatures(nn.Module):
    """Edge features of the papers: Softplus(Linear(Gaussians of -0.75 / distance)), from vectors (E, 3) in A to (E, C).

    ``centers`` Gaussians from -4 to 0; 256 in ComFormer, 512 in GMTNet. Weights of a published network are those of
    its ``rbf``.
    """

    def __init__(self, width: int, centers: int | None = None) -> None:
        """Width C, number of Gaussians (the width where None)."""
        super().__init__()
        centers = width if centers is None else centers
        self.rbf = nn.Sequential(GaussianBasis(-4.0, 0.0, centers), nn.Linear(centers, width), nn.Softplus())

    def forward(self, edge_vector: Tensor) -> Tensor:
        """Evaluate the features of every edge."""
        return radial_network(self.rbf, inverse_distance(torch.linalg.vector_norm(edge_vector, dim=-1)))


class ComFormerConv(MessagePassing):
    """The attention layer of ComFormer and GMTNet.

    x_i <- Softplus(x_i + BatchNorm(Linear(sum_j sigmoid(BatchNorm(q_i k_ij / sqrt(C))) m_ij))), element by element.

    Example:
        >>> conv = ComFormerConv(16)
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> conv(torch.randn(3, 16), edge_index, torch.randn(3, 16)).shape
        torch.Size([3, 16])
    """

    def __init__(self, width: int, *, normalise_output: bool = True) -> None:
        """Width C of nodes and edges; whether the output is normalised (ComFormer) or not (GMTNet)."""
        super().__init__(aggr="sum")
        self.layer = PaperAttention(width, normalise_output=normalise_output)

    @classmethod
    def from_layer(cls, layer: PaperAttention) -> ComFormerConv:
        """Wrap a layer of ``PaperAttention``, whose parameters are shared."""
        conv = cls(1, normalise_output=layer.normalise_output)
        conv.layer = layer
        return conv

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Update nodes x (n, C) from edge features (E, C)."""
        at_receiver, at_sender = self.layer.node_terms(x)
        weight = _weight(edge_weight, edge_attr)
        summed = self.propagate(
            edge_index, at_receiver=at_receiver, at_sender=at_sender, edge_attr=edge_attr, weight=weight
        )
        return self.layer.update(x, summed)

    def message(self, at_receiver_i: Tensor, at_sender_j: Tensor, edge_attr: Tensor, weight: Tensor) -> Tensor:
        """Gated messages (E, C)."""
        return self.layer.messages(at_receiver_i, at_sender_j, edge_attr) * weight


class EdgeUpdateConv(MessagePassing):
    """iComFormer's edge update: every edge receives messages from the three vectors of the lattice frame.

    The graph is bipartite, from lattice vectors (sources) to edges (targets); ``nn.layers.attention`` has
    ``edge_candidate_pairs`` to make its index. Vectors that tie are averaged by their ``weight``.
    """

    def __init__(self, width: int) -> None:
        """Width C of edges and lattice vectors."""
        super().__init__(aggr="sum")
        self.layer = PaperEdgeUpdate(width)

    @classmethod
    def from_layer(cls, layer: PaperEdgeUpdate) -> EdgeUpdateConv:
        """Wrap a layer of ``PaperEdgeUpdate``, whose parameters are shared."""
        conv = cls(1)
        conv.layer = layer
        return conv

    def forward(
        self,
        edge_attr: Tensor,
        frame_edge_index: Tensor,
        lengths: Tensor,
        angles: Tensor,
        slot: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Update edge features.

        Args:
            edge_attr: (E, C).
            frame_edge_index: (2, P) lattice vector above edge of every pair of one crystal.
            lengths: (F, C) features of the lengths of the lattice vectors.
            angles: (P, C) features of the angles between the edge and the lattice vector.
            slot: (F,) 0, 1 or 2: first, second or third vector of the frame.
            weight: (F,) share among vectors that tie, one where None.
        """
        at_edge, at_candidate = self.layer.edge_terms(edge_attr), self.layer.candidate_terms(lengths, slot)
        summed = self.propagate(
            frame_edge_index,
            size=(len(lengths), len(edge_attr)),
            at_edge=(None, at_edge),
            at_candidate=(at_candidate, None),
            angles=angles,
            weight=(_weight(weight, lengths), None),
        )
        messages, total = summed.split((summed.shape[1] - 1, 1), dim=1)
        return self.layer.update(edge_attr, messages, total)

    def message(self, at_edge_i: Tensor, at_candidate_j: Tensor, angles: Tensor, weight_j: Tensor) -> Tensor:
        """Weighted messages (P, C) beside their weights (P, 1)."""
        return torch.cat([self.layer.messages(at_edge_i, at_candidate_j, angles) * weight_j, weight_j], dim=1)


class _TensorProductPassing(MessagePassing):
    """The mean over neighbours of a tensor product of sender features and edge harmonics."""

    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def _mean(
        self,
        layer: PaperEquivariantLayer,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        harmonics: Tensor,
        weight: Tensor,
    ) -> Tensor:
        self._product = [layer]  # in a list, so that it is no second owner of the parameters
        summed = self.propagate(edge_index, x=x, edge_attr=edge_attr, harmonics=harmonics, weight=weight)
        messages, total = summed.split((summed.shape[1] - 1, 1), dim=1)
        return layer.update(x, messages, total)

    def message(self, x_j: Tensor, edge_attr: Tensor, harmonics: Tensor, weight: Tensor) -> Tensor:
        """Weighted messages (E, dim_out) beside their weights (E, 1)."""
        return torch.cat([self._product[0].messages(x_j, edge_attr, harmonics) * weight, weight], dim=1)


def edge_harmonics(edge_vector: Tensor) -> Tensor:
    """Harmonics l = 0, 1, 2 of the directions of edges, (E, 3) -> (E, 9), component-normalised, e3nn's order."""
    return torch.cat([torch.ones_like(edge_vector[:, :1]), harmonics_l1_l2(edge_vector)], dim=1)


class TensorProductConv(_TensorProductPassing):
    """One equivariant layer of GMTNet and eComFormer: mean over j of x_j (x) Y(r_ij), weights from the edge features.

    Features are irreps in e3nn's notation and order.
    """

    def __init__(self, irreps_in: str, irreps_out: str, edge_width: int, *, residual: bool = False) -> None:
        """Irreps of input and output, width of edge features, whether the input is added (padded with zeros)."""
        super().__init__()
        self.layer = PaperEquivariantLayer(irreps_in, irreps_out, edge_width, residual=residual)

    @classmethod
    def from_layer(cls, layer: PaperEquivariantLayer) -> TensorProductConv:
        """Wrap a layer of ``PaperEquivariantLayer``, whose parameters are shared."""
        conv = cls("0e", "0e", 1)
        conv.layer = layer
        return conv

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        edge_vector: Tensor,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """Evaluate: x (n, dim_in), edge features (E, edge_width), vectors (E, 3) in A -> (n, dim_out)."""
        weight = _weight(edge_weight, edge_attr)
        return self._mean(self.layer, x, edge_index, edge_attr, edge_harmonics(edge_vector), weight)


class EquivariantUpdateConv(_TensorProductPassing):
    """eComFormer's equivariant update: scalars -> scalars, vectors and l = 2 tensors -> scalars, and a skip path."""

    def __init__(self, width: int, scalars: int = 64, channels: int = 8) -> None:
        """Width C of nodes and edges; scalars, and vectors and tensors, inside."""
        super().__init__()
        self.layer = PaperEquivariantUpdate(width, scalars, channels)

    @classmethod
    def from_layer(cls, layer: PaperEquivariantUpdate) -> EquivariantUpdateConv:
        """Wrap a layer of ``PaperEquivariantUpdate``, whose parameters are shared."""
        conv = cls(1, 1, 1)
        conv.layer = layer
        return conv

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        edge_vector: Tensor,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """Update nodes x (n, C) from edge features (E, C) and vectors (E, 3) in A."""
        layer, weight, harmonics = self.layer, _weight(edge_weight, edge_attr), edge_harmonics(edge_vector)
        first = self._mean(layer.nlayer_1, layer.node_linear(x), edge_index, edge_attr, harmonics, weight)
        return layer.update(x, self._mean(layer.nlayer_2, first, edge_index, edge_attr, harmonics, weight))


class GMTNetConv(_TensorProductPassing):
    """GMTNet's equivariant part: Linear to scalars and three tensor products, to the irreps of the crystal feature."""

    def __init__(self, width: int, irreps_out: str, scalars: int = 16, channels: int = 2) -> None:
        """Width C of nodes and edges, irreps of the output; scalars, and channels of every other irrep, inside."""
        super().__init__()
        self.layer = PaperEquivariantStack(width, scalars, channels, irreps_out)

    @classmethod
    def from_layer(cls, layer: PaperEquivariantStack) -> GMTNetConv:
        """Wrap the layers of a GMTNet (``equi_update``), whose parameters are shared."""
        conv = cls(1, "0e", 1, 1)
        conv.layer = layer
        return conv

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        edge_vector: Tensor,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """Evaluate: x (n, C), edge features (E, C), vectors (E, 3) in A -> (n, dimension of ``irreps_out``)."""
        weight, harmonics = _weight(edge_weight, edge_attr), edge_harmonics(edge_vector)
        x = self.layer.node_linear(x)
        for product in self.layer.products:
            x = self._mean(product, x, edge_index, edge_attr, harmonics, weight)
        return x
