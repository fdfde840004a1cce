"""ETGNN, tensors from edges (Zhong, Yu, Gong, Xiang, arXiv:2201.05770; J. Phys. Chem. Lett. 14, 6339, 2023).

Eqs. 1 and 2 with clusters of one neighbour: T = mean over atoms j of the sum over neighbours k of t_kj e_kj x ... x
e_kj, as many factors as the tensor has indices, e_kj the unit vector of the edge. The coefficients t are invariant, so
T turns with the crystal and, on a graph with whole shells, has its symmetry. But a power of one vector is symmetric
under every exchange of indices: of the 18 components of a piezoelectric tensor 10 can be reached, of the 21 elastic
ones 15 (Cauchy's relations C12 = C66, ...), whatever the coefficients are. The coefficients come from an invariant
network, here gated convolutions with edge updates (Xie and Grossman, PRL 120, 145301, eq. 5); the paper's own has
angles too, which change t, not what can be reached.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing, global_mean_pool

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.layers.radial import BesselBasis
from ase_comformer.tensors.voigt import cartesian_to_voigt
from benchmarks.baselines.common import Baseline, edge_index


class GatedConvolution(MessagePassing):
    """v_i + sum_j sigmoid(z W_1) * softplus(z W_2), z = v_i, v_j and e_ij; edges take up z as well."""

    def __init__(self, width: int) -> None:
        """Width of atoms and edges."""
        super().__init__(aggr="sum")
        self.gate, self.core = nn.Linear(3 * width, width), nn.Linear(3 * width, width)
        self.edge = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, v: Tensor, e: Tensor, index: Tensor, envelope: Tensor) -> tuple[Tensor, Tensor]:
        """Update atoms (n, C) and edges (E, C); messages carry ``envelope`` (E, 1)."""
        v = v + self.norm(self.propagate(index, v=v, e=e, envelope=envelope))
        return v, e + self.edge_updater(index, v=v, e=e)

    def message(self, v_i: Tensor, v_j: Tensor, e: Tensor, envelope: Tensor) -> Tensor:
        """Gated messages (E, C)."""
        z = torch.cat([v_i, v_j, e], dim=1)
        return torch.sigmoid(self.gate(z)) * nn.functional.softplus(self.core(z)) * envelope

    def edge_update(self, v_i: Tensor, v_j: Tensor, e: Tensor) -> Tensor:
        """What edges add, (E, C)."""
        return self.edge(torch.cat([v_i, v_j, e], dim=1))


class TensorFromEdges(MessagePassing):
    """T_i = sum over edges of t_ij e_ij x ... x e_ij: (E,), (E, 3) -> (n, 3, ..., 3)."""

    def __init__(self, rank: int) -> None:
        """Number of indices; zero for scalars."""
        super().__init__(aggr="sum")
        self.rank = rank

    def forward(self, coefficient: Tensor, unit: Tensor, index: Tensor, nodes: int) -> Tensor:
        """Evaluate eq. 2."""
        flat = self.propagate(index, coefficient=coefficient, unit=unit, size=(nodes, nodes))
        return flat.reshape(nodes, *(3,) * self.rank)

    def message(self, coefficient: Tensor, unit: Tensor) -> Tensor:
        """(E, 3^rank)."""
        power = coefficient[:, None]
        for _ in range(self.rank):
            power = (power[:, :, None] * unit[:, None, :]).flatten(1)
        return power


class ETGNN(Baseline):
    """Invariant trunk, one coefficient per edge, powers of edge vectors."""

    def __init__(
        self,
        property_name: str = "dielectric_tensor",
        *,
        graph_settings: GraphSettings | None = None,
        width: int = 64,
        layers: int = 3,
        radial: int = 16,
    ) -> None:
        """Build the network.

        Args:
            property_name: what it predicts.
            graph_settings: default radius 5.0 A.
            width: of atoms and edges.
            layers: gated convolutions.
            radial: size of the Bessel basis.
        """
        super().__init__(property_name, graph_settings or GraphSettings(kind="radius", cutoff=5.0), outputs=1)
        self.embedding = nn.Embedding(119, width)
        self.basis = BesselBasis(self.graph_settings.cutoff, radial)
        self.edge_embedding = nn.Linear(radial, width)
        self.layers = nn.ModuleList(GatedConvolution(width) for _ in range(layers))
        self.coefficient = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, 1))
        self.tensors = TensorFromEdges(self.entry.rank)

    def set_statistics(self, labels: Tensor) -> None:
        """Take the mean norm of the labels: a shift by components would not turn with the crystal."""
        norms = labels.reshape(len(labels), -1).norm(dim=1)
        self.scale.fill_(float(norms.mean()))

    def coefficients(self, graph: CrystalGraph) -> Tensor:
        """Invariant coefficients t of the edges, (E,); they vanish at the cut-off."""
        radial, envelope = self.basis(torch.linalg.vector_norm(graph.edge_vector, dim=-1))
        index = edge_index(graph)
        v, e = self.embedding(graph.numbers), self.edge_embedding(radial)
        for layer in self.layers:
            v, e = layer(v, e, index, envelope)
        ends = torch.cat([v[graph.edge_receiver], v[graph.edge_sender], e], dim=1)
        return (self.coefficient(ends) * envelope)[:, 0]

    def tensor(self, graph: CrystalGraph) -> Tensor:
        """See ``Baseline``."""
        unit = nn.functional.normalize(graph.edge_vector, dim=-1)
        atoms = self.tensors(self.coefficients(graph), unit, edge_index(graph), len(graph.numbers))
        mean = global_mean_pool(atoms.flatten(1) if self.entry.rank else atoms[:, None], graph.node_crystal)
        tensor = (mean * self.scale).reshape(-1, *self.entry.cartesian_shape)
        return tensor if self.entry.voigt is None else cartesian_to_voigt(tensor, self.entry.voigt)
