"""MEGNet (Chen, Ye, Zuo, Zheng, Ong, Chem. Mater. 31, 3564, 2019), eqs. 1 to 6, for components of tensors.

Edges, atoms and a global state update each other in turn: e' = phi_e(v_s + v_r + e + u), v' = phi_v(mean of e' + v +
u), u' = phi_u(mean of e', mean of v', u), "+" for concatenation, with residuals around blocks; two Set2Set and a
multilayer perceptron read out. It sees distances only: a tensor that it predicts cannot turn with the crystal, which is
what the papers show with it. Parameters are as many as those of the published network for formation energies.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing, global_mean_pool
from torch_geometric.nn.aggr import Set2Set

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from benchmarks.baselines.common import ComponentBaseline, edge_index


class ShiftedSoftplus(nn.Module):
    """log((1 + exp(x)) / 2), the paper's activation."""

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate element by element."""
        return nn.functional.softplus(x) - math.log(2.0)


def perceptron(*sizes: int, last: bool = True) -> nn.Sequential:
    """Linear layers of these sizes with the activation after each; ``last``: after the last one too."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), ShiftedSoftplus()]
    return nn.Sequential(*layers if last else layers[:-1])


class MEGNetBlock(MessagePassing):
    """One block: dense layers, the three updates, residuals (figure 2 of the paper)."""

    def __init__(self, sizes: tuple[int, int, int], *, has_dense: bool) -> None:
        """Sizes of the updates; whether dense layers come before (in all blocks but the first)."""
        super().__init__(aggr="mean")
        width, hidden, out = sizes[2], sizes[:2], sizes[2]
        self.dense = nn.ModuleList(perceptron(width, sizes[0], width) if has_dense else nn.Identity() for _ in range(3))
        self.phi_edge = perceptron(4 * width, *hidden, out)
        self.phi_node = perceptron(3 * width, *hidden, out)
        self.phi_state = perceptron(3 * width, *hidden, out)

    def forward(
        self, v: Tensor, e: Tensor, u: Tensor, index: Tensor, batch: Tensor, edge_batch: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update atoms (n, C), edges (E, C) and states (B, C)."""
        before = v, e, u
        v, e, u = (dense(values) for dense, values in zip(self.dense, before, strict=True))
        e = self.edge_updater(index, v=v, e=e, u=u[edge_batch])
        v = self.phi_node(torch.cat([v, self.propagate(index, e=e, size=(len(v), len(v))), u[batch]], dim=1))
        means = global_mean_pool(e, edge_batch, len(u)), global_mean_pool(v, batch, len(u))
        u = self.phi_state(torch.cat([u, *means], dim=1))
        return v + before[0], e + before[1], u + before[2]

    def edge_update(self, v_i: Tensor, v_j: Tensor, e: Tensor, u: Tensor) -> Tensor:
        """Evaluate eq. 1."""
        return self.phi_edge(torch.cat([v_i, v_j, e, u], dim=1))

    def message(self, e: Tensor) -> Tensor:
        """Edges are averaged at their receivers, eq. 2."""
        return e


class MEGNet(ComponentBaseline):
    """MEGNet with one output per independent component."""

    def __init__(
        self,
        property_name: str = "formation_energy",
        *,
        graph_settings: GraphSettings | None = None,
        blocks: int = 3,
        embedding: int = 16,
        gaussians: int = 100,
        sizes: tuple[int, int, int] = (64, 64, 32),
    ) -> None:
        """Build the network.

        Args:
            property_name: what it predicts.
            graph_settings: default radius 4.0 A, as the published network for formation energies.
            blocks: how many.
            embedding: size of the vectors of elements.
            gaussians: of the distances, from 0 to the cut-off and 1 A, of width 0.5 A.
            sizes: of the layers of every update.
        """
        super().__init__(property_name, graph_settings or GraphSettings(kind="radius", cutoff=4.0))
        width = sizes[2]
        self.embedding = nn.Embedding(119, embedding)
        self.register_buffer("centres", torch.linspace(0.0, self.graph_settings.cutoff + 1.0, gaussians))
        self.first = nn.ModuleList(perceptron(size, sizes[0], width) for size in (embedding, gaussians, 2))
        self.blocks = nn.ModuleList(MEGNetBlock(sizes, has_dense=k > 0) for k in range(blocks))
        self.node_set = Set2Set(width, processing_steps=2)
        self.edge_set = Set2Set(width, processing_steps=2)
        self.readout = perceptron(5 * width, width, 16, len(self.index), last=False)

    def features(self, graph: CrystalGraph) -> tuple[Tensor, Tensor, Tensor]:
        """Atoms (n, C), edges (E, C) and states (B, C) after the blocks."""
        edge_batch = graph.node_crystal[graph.edge_receiver]
        distance = torch.linalg.vector_norm(graph.edge_vector, dim=-1)
        gaussians = torch.exp(-((distance[:, None] - self.centres) ** 2) / 0.5**2)
        start = self.embedding(graph.numbers), gaussians, gaussians.new_zeros(graph.crystal_count, 2)
        v, e, u = (layer(values) for layer, values in zip(self.first, start, strict=True))
        for block in self.blocks:
            v, e, u = block(v, e, u, edge_index(graph), graph.node_crystal, edge_batch)
        return v, e, u

    def components(self, graph: CrystalGraph) -> Tensor:
        """See ``ComponentBaseline``."""
        v, e, u = self.features(graph)
        edge_batch, size = graph.node_crystal[graph.edge_receiver], graph.crystal_count
        pooled = self.node_set(v, graph.node_crystal, dim_size=size), self.edge_set(e, edge_batch, dim_size=size)
        return self.readout(torch.cat([*pooled, u], dim=1))
