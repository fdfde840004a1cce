"""iComFormer and eComFormer (Yan et al., ICLR 2024, arXiv:2403.11857) for formation energies.

Each class has two presets. ``"small"`` (default): smooth radius graph, element embedding, no batch statistics, at
most 1 M parameters, plain and symmetry-reduced graphs give the same result. ``"paper"``: the published equations with
their parameter names, BatchNorm, CGCNN element descriptors, shell graph. ``forward(graph, properties)`` returns
eV/atom, shape (B,). The trainer sets the buffers ``element_reference`` (119,) and ``output_scale`` before training:
output = mean over atoms of element_reference[Z] + output_scale * network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.layers.attention import (
    PaperAttention,
    PaperEdgeUpdate,
    SmoothAttention,
    SmoothEdgeUpdate,
    scatter_sum,
)
from ase_comformer.nn.layers.elements import element_descriptors
from ase_comformer.nn.layers.equivariant import EdgeHarmonics, PaperEquivariantUpdate, SmoothEquivariantUpdate
from ase_comformer.nn.layers.frame_views import frame_views, slot_views
from ase_comformer.nn.layers.radial import BesselBasis, GaussianBasis, LegendreBasis, inverse_distance

#: Atomic numbers run from 1 to 118; row 0 is never used.
ELEMENT_ROWS = 119
_SCALARS = ("formation_energy",)
_PAPER_WIDTH = 256


def crystal_mean(values: Tensor, graph: CrystalGraph) -> Tensor:
    """Mean over atoms of node scalars (n, ...) -> (B, ...)."""
    weight = graph.node_weight.to(values.dtype).reshape(-1, *[1] * (values.dim() - 1))
    return scatter_sum(values * weight, graph.node_crystal, graph.crystal_count)


def resolve_settings(given: GraphSettings | Mapping[str, Any] | None, default: GraphSettings) -> GraphSettings:
    """Graph settings from an instance, a JSON dictionary or None (the default)."""
    if given is None:
        return default
    return given if isinstance(given, GraphSettings) else GraphSettings(**given)


def check_names(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise ``UnknownNameError`` with the valid choices for the first unknown name."""
    for name in names:
        if name not in known:
            raise UnknownNameError(f"{kind} {name!r} is unknown here; choose from {', '.join(known)}")


class _ScalarNetwork(nn.Module):
    """What both networks share: arguments, element reference, pooling, the property dictionary."""

    element_reference: Tensor
    output_scale: Tensor
    supports_reduced_graphs = True

    def __init__(self, preset: str, properties: Sequence[str], settings: GraphSettings, **arguments: Any) -> None:
        super().__init__()
        check_names("preset", [preset], ("small", "paper"))
        check_names("property", properties, _SCALARS)
        self.preset, self.properties, self.graph_settings = preset, tuple(properties), settings
        self.arguments: dict[str, Any] = {
            "preset": preset,
            "properties": list(properties),
            "graph_settings": asdict(settings),
            **arguments,
        }
        self.register_buffer("element_reference", torch.zeros(ELEMENT_ROWS))
        self.register_buffer("output_scale", torch.ones(()))

    def stages(self, graph: CrystalGraph, node_features: Tensor | None = None) -> dict[str, Tensor]:
        """Intermediate values by name; ``output`` (B, 1) is the network's value before scale and reference."""
        raise NotImplementedError

    def forward(self, graph: CrystalGraph, properties: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Evaluate: {"formation_energy": (B,) eV/atom}."""
        wanted = self.properties if properties is None else tuple(properties)
        check_names("property", wanted, self.properties)
        output = self.stages(graph)["output"][:, 0] * self.output_scale
        reference = crystal_mean(self.element_reference.index_select(0, graph.numbers), graph)
        return dict.fromkeys(wanted, output + reference)


def _readout(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))


class EComFormer(_ScalarNetwork):
    """eComFormer: attention, equivariant update, further attentions, mean pool, MLP."""

    def __init__(
        self,
        preset: str = "small",
        *,
        properties: Sequence[str] = ("formation_energy",),
        graph_settings: GraphSettings | Mapping[str, Any] | None = None,
        width: int | None = None,
        layers: int | None = None,
        radial: int = 16,
        channels: int | None = None,
        scalars: int = 64,
        equivariant_after: Sequence[int] = (0, 1),
        message_scale: float = 0.1,
    ) -> None:
        """Build the network.

        Args:
            preset: ``"small"`` or ``"paper"``.
            properties: names to predict; ``("formation_energy",)``.
            graph_settings: graph it is evaluated on; default radius 5.0 A (small) or 25-neighbour shells (paper).
            width: node width; default 64 (small), 256 (paper).
            layers: attention layers; default 3.
            radial: size of the Bessel basis (small).
            channels: vectors and l = 2 tensors inside the equivariant update; default 16 (small), 8 (paper).
            scalars: inside the equivariant update (paper): 64 is the paper's eComFormer-half with 5.6 M parameters,
                128 its eComFormer with 12.4 M.
            equivariant_after: attention layers followed by an equivariant update (small; layer 0 in the paper).
            message_scale: constant factor on sums over neighbours (small).
        """
        paper = preset == "paper"
        width = width or (_PAPER_WIDTH if paper else 64)
        layers, channels = layers or 3, channels or (8 if paper else 16)
        default = GraphSettings(kind="shell", neighbours=25) if paper else GraphSettings(kind="radius", cutoff=5.0)
        super().__init__(
            preset,
            properties,
            resolve_settings(graph_settings, default),
            width=width,
            layers=layers,
            radial=radial,
            channels=channels,
            scalars=scalars,
            equivariant_after=list(equivariant_after),
            message_scale=message_scale,
        )
        if paper:
            self.atom_embedding: nn.Module = nn.Linear(92, width)
            self.rbf = nn.Sequential(GaussianBasis(-4.0, 0.0, width), nn.Linear(width, width), nn.Softplus())
            self.att_layers = nn.ModuleList(PaperAttention(width) for _ in range(layers))
            self.equi_update = PaperEquivariantUpdate(width, scalars, channels)
            self.fc = nn.Sequential(nn.Linear(width, width), nn.SiLU())
            self.fc_out = nn.Linear(width, 1)
            return
        self.atom_embedding = nn.Embedding(ELEMENT_ROWS, width)
        self.basis = BesselBasis(self.graph_settings.cutoff, radial)
        self.attentions = nn.ModuleList(
            SmoothAttention(width, radial, message_scale=message_scale) for _ in range(layers)
        )
        self.equivariant = nn.ModuleDict(
            {
                str(i): SmoothEquivariantUpdate(width, radial, channels, message_scale=message_scale)
                for i in equivariant_after
            }
        )
        self.readout = _readout(width)

    def stages(self, graph: CrystalGraph, node_features: Tensor | None = None) -> dict[str, Tensor]:
        """Intermediate values by name; ``node_features`` (n, 92) replaces the element descriptors (paper)."""
        return self._paper(graph, node_features) if self.preset == "paper" else self._small(graph)

    def _small(self, graph: CrystalGraph) -> dict[str, Tensor]:
        receiver, sender = graph.edge_receiver, graph.edge_sender
        radial, envelope = self.basis(torch.linalg.vector_norm(graph.edge_vector, dim=-1))
        weight = envelope * graph.edge_weight[:, None]
        harmonics = EdgeHarmonics.from_graph(graph)
        h = self.atom_embedding(graph.numbers)
        for index, attention in enumerate(self.attentions):
            h = attention(h, radial, receiver, sender, weight)
            if str(index) in self.equivariant:
                h = self.equivariant[str(index)](h, radial, harmonics, weight, graph)
        pooled = crystal_mean(h, graph)
        return {"nodes": h, "pooled": pooled, "output": self.readout(pooled)}

    def _paper(self, graph: CrystalGraph, node_features: Tensor | None) -> dict[str, Tensor]:
        receiver, sender, weight = graph.edge_receiver, graph.edge_sender, graph.edge_weight[:, None]
        stages: dict[str, Tensor] = {}
        h = stages["atom_embedding"] = self.atom_embedding(paper_features(graph, node_features))
        edges = stages["edge_features"] = radial_network(self.rbf, inverse_distance(_length(graph.edge_vector)))
        harmonics = EdgeHarmonics.from_graph(graph)
        for index, attention in enumerate(self.att_layers):
            h = stages[f"attention_{index}"] = attention(h, edges, receiver, sender, weight)
            if index == 0:
                h, products = self.equi_update(h, edges, harmonics, weight, graph)
                stages["tensor_product_1"], stages["tensor_product_2"] = products
                stages["equivariant_update"] = h
        stages["fc"] = self.fc(crystal_mean(h, graph))
        stages["output"] = self.fc_out(stages["fc"])
        return stages


class IComFormer(_ScalarNetwork):
    """iComFormer: attention, edge update with the lattice frame, further attentions, mean pool, MLP.

    Needs graphs with ``GraphSettings(lattice_frame=True)``. With ``joint_frames`` (the default) the features of nodes
    are averaged over the lattice frames that tie, and the network is geometrically complete; the paper preset takes
    right-handed frames only, as published. Without, each slot is averaged on its own inside the edge update, and the
    small preset uses even functions of the angles and evaluates one of each pair v, -v.
    """

    def __init__(
        self,
        preset: str = "small",
        *,
        properties: Sequence[str] = ("formation_energy",),
        graph_settings: GraphSettings | Mapping[str, Any] | None = None,
        width: int | None = None,
        layers: int | None = None,
        radial: int = 16,
        angular: int = 5,
        pair_width: int = 32,
        message_scale: float = 0.1,
    ) -> None:
        """Build the network.

        Args:
            preset: ``"small"`` or ``"paper"``.
            properties: names to predict; ``("formation_energy",)``.
            graph_settings: graph it is evaluated on; default radius 5.0 A (small) or 25-neighbour shells (paper).
            width: node and edge width; default 64 (small), 256 (paper).
            layers: attention layers; default 4.
            radial: size of the Bessel basis (small).
            angular: number of even Legendre polynomials of the angles (small); with joint frames as many odd ones too.
            pair_width: width of the (edge, lattice vector) features (small).
            message_scale: constant factor on sums over neighbours (small).
        """
        paper = preset == "paper"
        width, layers = width or (_PAPER_WIDTH if paper else 64), layers or 4
        default = (
            GraphSettings(kind="shell", neighbours=25, lattice_frame=True, joint_frames=True, frame_hands="right")
            if paper
            else GraphSettings(kind="radius", cutoff=5.0, lattice_frame=True, joint_frames=True)
        )
        super().__init__(
            preset,
            properties,
            resolve_settings(graph_settings, default),
            width=width,
            layers=layers,
            radial=radial,
            angular=angular,
            pair_width=pair_width,
            message_scale=message_scale,
        )
        if paper:
            self.atom_embedding: nn.Module = nn.Linear(92, width)
            self.rbf = nn.Sequential(GaussianBasis(-4.0, 0.0, width), nn.Linear(width, width), nn.Softplus())
            self.rbf_angle = nn.Sequential(GaussianBasis(-1.0, 1.0, width), nn.Linear(width, width), nn.Softplus())
            self.att_layers = nn.ModuleList(PaperAttention(width) for _ in range(layers))
            self.edge_update_layer = PaperEdgeUpdate(width)
            self.fc = nn.Sequential(nn.Linear(width, width), nn.SiLU())
            self.fc_out = nn.Linear(width, 1)
            return
        self.atom_embedding = nn.Embedding(ELEMENT_ROWS, width)
        self.basis = BesselBasis(self.graph_settings.cutoff, radial)
        self.edge_embedding = nn.Linear(radial, width)
        self.frame_basis = GaussianBasis(-0.5, 0.0, radial)
        self.angle_basis = LegendreBasis(2 * angular)
        self.first = SmoothAttention(width, radial, message_scale=message_scale)
        even_and_odd = 2 * angular if self.graph_settings.joint_frames else angular
        self.edge_update = SmoothEdgeUpdate(width, radial, even_and_odd, pair_width)
        self.edge_activation = nn.SiLU()
        self.attentions = nn.ModuleList(
            SmoothAttention(width, width, message_scale=message_scale) for _ in range(layers - 1)
        )
        self.readout = _readout(width)

    def stages(self, graph: CrystalGraph, node_features: Tensor | None = None) -> dict[str, Tensor]:
        """Intermediate values by name; ``node_features`` (n, 92) replaces the element descriptors (paper)."""
        return self._paper(graph, node_features) if self.preset == "paper" else self._small(graph)

    def _small(self, graph: CrystalGraph) -> dict[str, Tensor]:
        receiver, sender = graph.edge_receiver, graph.edge_sender
        radial, envelope = self.basis(_length(graph.edge_vector))
        weight = envelope * graph.edge_weight[:, None]
        h = self.first(self.atom_embedding(graph.numbers), radial, receiver, sender, weight)
        joint = self.graph_settings.joint_frames
        views = frame_views(graph) if joint else slot_views(graph, half=True)
        angles = self.angle_basis(views.cosine)
        angles = angles if joint else angles[:, ::2]
        lengths = self.frame_basis(inverse_distance(_length(views.vector)))
        edges = views.of_edges(self.edge_embedding(radial))
        edges = self.edge_update(edges, lengths, angles, views.slot, views.share[:, None], views.pairs)
        edges, weight, h = self.edge_activation(edges), views.of_edges(weight), views.of_nodes(h)
        for attention in self.attentions:
            h = attention(h, edges, views.receiver, views.sender, weight)
        h = views.mean(h)
        pooled = crystal_mean(h, graph)
        return {"nodes": h, "pooled": pooled, "output": self.readout(pooled)}

    def _paper(self, graph: CrystalGraph, node_features: Tensor | None) -> dict[str, Tensor]:
        receiver, sender, weight = graph.edge_receiver, graph.edge_sender, graph.edge_weight[:, None]
        stages: dict[str, Tensor] = {}
        h = stages["atom_embedding"] = self.atom_embedding(paper_features(graph, node_features))
        edges = stages["edge_features"] = radial_network(self.rbf, inverse_distance(_length(graph.edge_vector)))
        views = frame_views(graph) if self.graph_settings.joint_frames else slot_views(graph, half=False)
        lengths = radial_network(self.rbf, inverse_distance(_length(views.vector)))
        # The published edge vector points from sender to receiver.
        angles = radial_network(self.rbf_angle, -views.cosine)
        h = stages["attention_0"] = self.att_layers[0](h, edges, receiver, sender, weight)
        edges = stages["edge_update"] = self.edge_update_layer(
            views.of_edges(edges), lengths, angles, views.slot, views.share[:, None], views.pairs
        )
        h, weight = views.of_nodes(h), views.of_edges(weight)
        for index in range(1, len(self.att_layers)):
            attention = self.att_layers[index]
            h = stages[f"attention_{index}"] = attention(h, edges, views.receiver, views.sender, weight)
        h = views.mean(h)
        stages["fc"] = self.fc(crystal_mean(h, graph))
        stages["output"] = self.fc_out(stages["fc"])
        return stages


def paper_features(graph: CrystalGraph, node_features: Tensor | None) -> Tensor:
    """CGCNN descriptors of the nodes (n, 92) in the dtype of the graph, unless given."""
    if node_features is not None:
        return node_features
    return element_descriptors(graph.numbers).to(graph.edge_vector.dtype)


def radial_network(network: nn.Sequential, values: Tensor) -> Tensor:
    """``network`` = GaussianBasis, Linear, Softplus, with the first two fused: (...) -> (..., C)."""
    basis, linear, activation = network
    assert isinstance(basis, GaussianBasis)
    assert isinstance(linear, nn.Linear)
    return activation(basis.linear(values, linear))


def _length(vector: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vector, dim=-1)
