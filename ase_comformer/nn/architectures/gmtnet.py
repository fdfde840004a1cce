"""GMTNet (Yan et al., ICML 2024, arXiv:2406.12888) as published: attention trunk, tensor products, response head.

Two attention layers of width 128, Linear to 16 scalars, three tensor-product layers with edge harmonics l <= 2 (mean
over edges), mean over atoms = crystal feature. The head is linear in the field or strain, so its derivative is taken
by feeding it the basis of fields or strains. One property per network, as in the paper. It has BatchNorm, CGCNN
descriptors and a shell graph, and needs plain graphs: features of both parities cannot be projected with what a
reduced graph holds. ``forward(graph, properties)`` returns the documented form: leading
axis B, symmetrised.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.comformer import (
    check_names,
    crystal_mean,
    paper_features,
    radial_network,
    resolve_settings,
)
from ase_comformer.nn.layers.attention import PaperAttention
from ase_comformer.nn.layers.equivariant import EdgeHarmonics, PaperEquivariantStack
from ase_comformer.nn.layers.radial import GaussianBasis, inverse_distance
from ase_comformer.nn.layers.tensor_product import TensorProduct
from ase_comformer.tensors.forms import spherical_basis_l2
from ase_comformer.tensors.voigt import mandel_basis, mandel_to_voigt

_FEATURE = "0e+0o+1e+1o+2e+2o+3e+3o"
_DOUBLED = "2x0e+2x0o+2x1e+2x1o+2x2e+2x2o+2x3e+2x3o"
#: Irreps of the crystal feature for each property.
CRYSTAL_FEATURES = {
    "dielectric_tensor": _FEATURE,
    "static_dielectric_tensor": _FEATURE,
    "piezoelectric_tensor": _DOUBLED,
    "elastic_tensor": _DOUBLED + "+4e",
}


class DielectricHead(nn.Module):
    """D_i = TP(feature, Y_1(E), 1o) with all weights one; eps_ij = dD_i / dE_j, (B, 3, 3) before symmetrisation."""

    def __init__(self, irreps: str, *, rounded: bool = False) -> None:
        """Irreps of the crystal feature; rounded couplings."""
        super().__init__()
        self.product = TensorProduct(irreps, "1o", "1o", rounded=rounded)

    def forward(self, feature: Tensor) -> Tensor:
        """Crystal feature (B, dim) -> (B, 3, 3)."""
        crystals = len(feature)
        # Y_1 without normalisation of the vector, "integral" normalisation: linear in the field
        fields = math.sqrt(3.0 / (4.0 * math.pi)) * torch.eye(3, dtype=feature.dtype, device=feature.device)
        ones = feature.new_ones((1, self.product.weight_count))
        out = self.product(feature.repeat_interleave(3, 0), fields.repeat(crystals, 1), ones)
        return out.view(crystals, 3, 3).transpose(1, 2)


class StrainHead(nn.Module):
    """Response to strain: TP(feature, strain as 0e + 2e, out) with trained weights, differentiated by the strain.

    ``out`` = "1o": piezoelectric e (B, 3, 6); "0e+2e": elastic C (B, 6, 6), GPa, without major symmetry, as published.
    """

    def __init__(self, irreps: str, out: str) -> None:
        """Irreps of the crystal feature and of the response."""
        super().__init__()
        self.product = TensorProduct(irreps, "0e+2e", out)
        self.weight = nn.Parameter(torch.randn(self.product.weight_count))

    def forward(self, feature: Tensor) -> Tensor:
        """Crystal feature (B, dim) -> response to each Mandel strain, (B, response, 6); stress in Mandel form too."""
        crystals = len(feature)
        basis = _mandel_to_irreps(feature.dtype, feature.device)  # (irreps 6, mandel 6)
        out = self.product(feature.repeat_interleave(6, 0), basis.T.repeat(crystals, 1), self.weight[None])
        out = out.view(crystals, 6, -1).transpose(1, 2)
        return out if out.shape[1] == 3 else basis.T @ out


def _mandel_to_irreps(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Orthogonal (6, 6): Mandel components of a symmetric matrix -> 0e + 2e components."""
    trace = torch.eye(3, dtype=torch.float64)[None] / math.sqrt(3.0)
    irreps = torch.cat((trace, spherical_basis_l2(dtype=torch.float64)))
    mandel = torch.as_tensor(mandel_basis(), dtype=torch.float64)
    return torch.einsum("axy,bxy->ab", irreps, mandel).to(dtype=dtype, device=device)


class GMTNet(nn.Module):
    """The published network for one of dielectric, static dielectric, piezoelectric or elastic tensors."""

    supports_reduced_graphs = False

    def __init__(
        self,
        preset: str = "paper",
        *,
        properties: Sequence[str] = ("dielectric_tensor",),
        graph_settings: GraphSettings | Mapping[str, Any] | None = None,
        width: int = 128,
        layers: int = 2,
        centers: int = 512,
        scalars: int = 16,
        channels: int = 2,
        rounded_couplings: bool = False,
    ) -> None:
        """Build the network.

        Args:
            preset: ``"paper"``, the only one.
            properties: exactly one name of ``CRYSTAL_FEATURES``.
            graph_settings: default 16-neighbour shells.
            width: width of nodes and edges.
            layers: attention layers.
            centers: Gaussians of the radial basis.
            scalars: scalars in the tensor-product layers.
            channels: channels of each l > 0 irrep there.
            rounded_couplings: Clebsch-Gordan tensors rounded to float32, as in the published checkpoint; set by
                ``convert``. Costs 1e-8 of equivariance in float64.
        """
        super().__init__()
        check_names("preset", [preset], ("paper",))
        check_names("property", properties, tuple(CRYSTAL_FEATURES))
        if len(properties) != 1:
            raise ValueError(
                f"GMTNet predicts one property per network, got {tuple(properties)}; train one network each"
            )
        self.preset, self.properties = preset, tuple(properties)
        self.graph_settings = resolve_settings(graph_settings, GraphSettings(kind="shell", neighbours=16))
        self.arguments: dict[str, Any] = {
            "preset": preset,
            "properties": list(properties),
            "graph_settings": asdict(self.graph_settings),
            "width": width,
            "layers": layers,
            "centers": centers,
            "scalars": scalars,
            "channels": channels,
            "rounded_couplings": rounded_couplings,
        }
        irreps = CRYSTAL_FEATURES[properties[0]]
        self.atom_embedding = nn.Linear(92, width)
        self.rbf = nn.Sequential(GaussianBasis(-4.0, 0.0, centers), nn.Linear(centers, width), nn.Softplus())
        self.att_layers = nn.ModuleList(PaperAttention(width, normalise_output=False) for _ in range(layers))
        self.equi_update = PaperEquivariantStack(width, scalars, channels, irreps, rounded=rounded_couplings)
        self.output_block: nn.Module
        if properties[0] == "piezoelectric_tensor":
            self.output_block = StrainHead(irreps, "1o")
        elif properties[0] == "elastic_tensor":
            self.output_block = StrainHead(irreps, "0e+2e")
        else:
            self.output_block = DielectricHead(irreps, rounded=rounded_couplings)

    def stages(self, graph: CrystalGraph, node_features: Tensor | None = None) -> dict[str, Tensor]:
        """Intermediate values by name; ``raw`` is the head's output before symmetrisation.

        ``node_features`` (n, 92) replaces the element descriptors.

        Raises:
            ValueError: for a symmetry-reduced graph.
        """
        if graph.edge_rotation is not None:
            raise ValueError("GMTNet needs a plain graph, got a symmetry-reduced one; use graph.build_graph")
        stages: dict[str, Tensor] = {}
        h = stages["atom_embedding"] = self.atom_embedding(paper_features(graph, node_features))
        distance = torch.linalg.vector_norm(graph.edge_vector, dim=-1)
        edges = stages["edge_features"] = radial_network(self.rbf, inverse_distance(distance))
        weight = graph.edge_weight[:, None]
        for index, attention in enumerate(self.att_layers):
            h = attention(h, edges, graph.edge_receiver, graph.edge_sender, weight)
            stages[f"attention_{index}"] = h
        harmonics = torch.cat((torch.ones_like(weight), EdgeHarmonics.from_graph(graph).crystal), dim=1)
        x = self.equi_update(h, edges, harmonics, graph.edge_receiver, graph.edge_sender, weight)
        stages["crystal_feature"] = crystal_mean(x, graph)
        stages["raw"] = self.output_block(stages["crystal_feature"])
        return stages

    def forward(self, graph: CrystalGraph, properties: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Evaluate: dielectric (B, 3, 3), piezoelectric (B, 3, 6) Voigt C/m^2, or elastic (B, 6, 6) Voigt GPa."""
        wanted = self.properties if properties is None else tuple(properties)
        check_names("property", wanted, self.properties)
        raw = self.stages(graph)["raw"]
        if self.properties[0] == "piezoelectric_tensor":
            value = mandel_to_voigt(raw, "piezoelectric_stress")
        elif self.properties[0] == "elastic_tensor":
            value = mandel_to_voigt(0.5 * (raw + raw.transpose(1, 2)), "stiffness")
        else:
            value = 0.5 * (raw + raw.transpose(1, 2))
        return dict.fromkeys(wanted, value)
