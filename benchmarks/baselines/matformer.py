"""Matformer (Yan, Liu, Lin, Ji, NeurIPS 2022, arXiv:2209.11807): distances, and edges that show the lattice.

Every atom has, beside its neighbours, six edges to its own images whose lengths are those of a, b, c, a + b, a + c, b +
c: they tell the lattice to a network of distances (section 3.3 of the paper). Attention is element by element, with
sigmoids for softmax (section 3.4): with heads h, q_ij = q_i | q_i | q_i, k_ij = k_i | k_j | e_ij,

    m_ij = LayerNorm(Linear(sigmoid(LayerNorm(q_ij * k_ij / sqrt(3 C))) * Linear(v_i | v_j | e_ij)))
    x_i <- softplus(x_i + BatchNorm(Linear(sum over j of m_ij, heads side by side)))

Lengths of the self-connecting edges follow from the cell as given, so that, as in the paper, one reduced primitive cell
has to be chosen; origin, order of atoms, rotation and the choice of images do not matter. Five layers of width 128 and
four heads have 2.7 M parameters by these equations; the paper states 2.9 M.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing, global_mean_pool

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.layers.elements import DESCRIPTOR_SIZE, element_descriptors
from benchmarks.baselines.common import ComponentBaseline, edge_index

#: Combinations of the cell's vectors whose lengths stand for the lattice.
SELF_CONNECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))


class MatformerConv(MessagePassing):
    """One attention layer, see the module."""

    def __init__(self, width: int, heads: int) -> None:
        """Width C of atoms, edges and every head."""
        super().__init__(aggr="sum", node_dim=0)
        self.width, self.heads = width, heads
        self.query, self.key, self.value = (nn.Linear(width, heads * width) for _ in range(3))
        self.edge = nn.Linear(width, heads * width)
        self.update_message = nn.Linear(3 * width, 3 * width)
        self.gate_norm = nn.LayerNorm(3 * width)
        self.out_message = nn.Sequential(nn.Linear(3 * width, width), nn.LayerNorm(width))
        self.concatenate = nn.Linear(heads * width, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor, index: Tensor, edges: Tensor) -> Tensor:
        """Update atoms (n, C) from edges (E, C)."""
        query, key, value, edge = (self._heads(part) for part in (*(f(x) for f in self._of_nodes()), self.edge(edges)))
        # Linear(v_i | v_j | e_ij) in three parts, those of the ends once per atom, as our ComFormer layers do
        receiver, sender, own = self.update_message.weight.split(self.width, dim=1)
        summed = self.propagate(
            index,
            query=query,
            key=key,
            at_receiver=nn.functional.linear(value, receiver),
            at_sender=nn.functional.linear(value, sender),
            edges=edge,
            at_edge=nn.functional.linear(edge, own, self.update_message.bias),
        )
        return nn.functional.softplus(x + self.norm(self.concatenate(summed.flatten(1))))

    def message(
        self,
        query_i: Tensor,
        key_i: Tensor,
        key_j: Tensor,
        at_receiver_i: Tensor,
        at_sender_j: Tensor,
        edges: Tensor,
        at_edge: Tensor,
    ) -> Tensor:
        """Messages (E, heads, C)."""
        keys = torch.cat([key_i, key_j, edges], dim=2)
        gate = torch.sigmoid(self.gate_norm(query_i.repeat(1, 1, 3) * keys / math.sqrt(3 * self.width)))
        return self.out_message(gate * (at_receiver_i + at_sender_j + at_edge))

    def _of_nodes(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.query, self.key, self.value

    def _heads(self, values: Tensor) -> Tensor:
        return values.reshape(-1, self.heads, self.width)


class Matformer(ComponentBaseline):
    """Attention layers, mean over atoms, perceptron."""

    def __init__(
        self,
        property_name: str = "formation_energy",
        *,
        graph_settings: GraphSettings | None = None,
        width: int = 128,
        heads: int = 4,
        layers: int = 5,
    ) -> None:
        """Build the network.

        Args:
            property_name: what it predicts.
            graph_settings: default the 12 nearest neighbours with the rest of their shell, as in the paper.
            width: of atoms, edges and heads.
            heads: of every layer.
            layers: of attention.
        """
        super().__init__(property_name, graph_settings or GraphSettings(kind="shell", neighbours=12))
        self.atom_embedding = nn.Linear(DESCRIPTOR_SIZE, width)
        self.register_buffer("centres", torch.linspace(0.0, 8.0, width))
        self.edge_embedding = nn.Sequential(nn.Linear(width, width), nn.Softplus(), nn.Linear(width, width))
        self.layers = nn.ModuleList(MatformerConv(width, heads) for _ in range(layers))
        self.readout = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, len(self.index)))

    def edges(self, graph: CrystalGraph) -> tuple[Tensor, Tensor]:
        """Index (2, E + 6 n) and length (E + 6 n,) in A of neighbours and of self-connecting edges."""
        combination = graph.cell.new_tensor(SELF_CONNECTIONS)
        lengths = torch.linalg.vector_norm(combination @ graph.cell, dim=-1)[graph.node_crystal]  # (n, 6)
        nodes = torch.arange(len(graph.numbers), device=graph.numbers.device).repeat_interleave(len(combination))
        index = torch.cat([edge_index(graph), nodes.expand(2, -1)], dim=1)
        return index, torch.cat([torch.linalg.vector_norm(graph.edge_vector, dim=-1), lengths.flatten()])

    def components(self, graph: CrystalGraph) -> Tensor:
        """See ``ComponentBaseline``."""
        index, length = self.edges(graph)
        spacing = float(self.centres[1] - self.centres[0])
        edges = self.edge_embedding(torch.exp(-((length[:, None] - self.centres) ** 2) / spacing))
        x = self.atom_embedding(element_descriptors(graph.numbers).to(graph.edge_vector.dtype))
        for layer in self.layers:
            x = layer(x, index, edges)
        return self.readout(global_mean_pool(x, graph.node_crystal, graph.crystal_count))
