"""The default network: one Cartesian trunk, one head per property.

``forward`` takes a batch of crystals, plain or symmetry-reduced, and returns the asked properties in their documented
form. Labels of different functionals train one network through a fidelity embedding; a prediction follows the
functional that most labels of the property were computed with (``FUNCTIONALS``).
"""

import copy
import json
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.heads.tensor_heads import BornHead, ElasticHead, HeadInput, LogMatrixHead, PiezoelectricHead, pool
from ase_comformer.nn.layers.cartesian import MAX_ATOMIC_NUMBER, CartesianTrunk, EdgeGeometry
from ase_comformer.nn.layers.stacked import Embedding, Linear, per_row, rows_of, stack_networks

#: Properties with a head, and the functional that predictions follow.
FUNCTIONALS = {
    "dielectric_tensor": "PBEsol",
    "static_dielectric_tensor": "PBEsol",
    "born_effective_charges": "PBEsol",
    "elastic_tensor": "PBE",
    "piezoelectric_tensor": "PBE",
    "formation_energy": "PBE",
}
#: Labels that only teach the trunk; never shipped. Their functional is PBE whatever the record's tensors follow.
AUXILIARY = {"band_gap": "PBE"}
TENSOR_NETWORK_PROPERTIES = (*FUNCTIONALS, *AUXILIARY)
#: All labels of these are PBE, so the fidelity of a record does not apply to them.
_ONE_FUNCTIONAL = ("formation_energy", "band_gap")


class TensorNetwork(nn.Module):
    """Trunk and heads; see the module docstring.

    Args:
        properties: which heads it has, from ``TENSOR_NETWORK_PROPERTIES``.
        graph_settings: the graph it reads (radius), as a dict or ``GraphSettings``.
        scalars, vectors, layers, radial, hidden: the trunk (``CartesianTrunk``).
        crystal: width of the pooled crystal features.
        high: channels of l = 3 and 4.
        fidelities: functionals of the training labels.
        dropout: on the crystal features, in training only.
    """

    def __init__(
        self,
        *,
        properties: Sequence[str] = tuple(FUNCTIONALS),
        graph_settings: GraphSettings | dict[str, Any] | None = None,
        scalars: int = 64,
        vectors: int = 32,
        layers: int = 3,
        radial: int = 8,
        hidden: int = 64,
        crystal: int = 96,
        high: int = 16,
        fidelities: Sequence[str] = ("PBEsol", "PBE"),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        settings = GraphSettings(**graph_settings) if isinstance(graph_settings, dict) else graph_settings
        self.graph_settings = settings or GraphSettings()
        self.properties = tuple(properties)
        self.fidelities = tuple(fidelities)
        unknown = [name for name in self.properties if name not in TENSOR_NETWORK_PROPERTIES]
        if unknown:
            raise UnknownNameError(f"no head for {unknown}; choose from {', '.join(TENSOR_NETWORK_PROPERTIES)}")
        if self.graph_settings.kind != "radius":
            raise UnknownNameError(f"the default network needs a radius graph, not {self.graph_settings.kind!r}")
        self.arguments: dict[str, Any] = {
            "properties": list(self.properties),
            "graph_settings": {"kind": "radius", "cutoff": self.graph_settings.cutoff},
            "scalars": scalars,
            "vectors": vectors,
            "layers": layers,
            "radial": radial,
            "hidden": hidden,
            "crystal": crystal,
            "high": high,
            "fidelities": list(self.fidelities),
            "dropout": dropout,
        }
        self.trunk = CartesianTrunk(
            scalars=scalars,
            vectors=vectors,
            layers=layers,
            radial=radial,
            hidden=hidden,
            cutoff=self.graph_settings.cutoff,
        )
        self.atom_scalars = nn.Sequential(Linear(scalars, crystal), nn.SiLU())
        self.fidelity = Embedding(len(self.fidelities), crystal)
        nn.init.zeros_(self.fidelity.weight)
        self.crystal = nn.Sequential(
            Linear(crystal + 1, crystal), nn.SiLU(), nn.Dropout(dropout), Linear(crystal, crystal)
        )
        widths = {"scalars": scalars, "vectors": vectors, "crystal": crystal}
        edge_widths = {**widths, "radial": radial, "hidden": hidden, "high": high}
        makers = {
            # geometric mean of eps - 1: e^1.2 = 3.3, between e^-1.0 and e^3.4; no eigenvalue of eps beyond 96
            "dielectric_tensor": lambda: LogMatrixHead(**widths, centre=1.2, span=2.2),
            # ionic part: e^1.5 = 4.5, between e^-3.5 and e^6.5
            "static_dielectric_tensor": lambda: LogMatrixHead(**widths, centre=1.5, span=5.0, anisotropy=3.0),
            "born_effective_charges": lambda: BornHead(**widths),
            "elastic_tensor": lambda: ElasticHead(**edge_widths),
            "piezoelectric_tensor": lambda: PiezoelectricHead(**edge_widths),
            "formation_energy": lambda: _scalar_head(crystal),
            "band_gap": lambda: _scalar_head(crystal),
        }
        needed = [name for name in TENSOR_NETWORK_PROPERTIES if name in self.properties]
        if "static_dielectric_tensor" in needed and "dielectric_tensor" not in needed:
            raise UnknownNameError("static_dielectric_tensor = electronic + ionic needs dielectric_tensor beside it")
        self.heads = nn.ModuleDict({name: makers[name]() for name in needed})
        self.element_reference: Tensor
        self.register_buffer("element_reference", torch.zeros(MAX_ATOMIC_NUMBER + 1))

    @property
    def geometry(self) -> tuple[float, int, int, float]:
        """Networks that agree in it can share ``edge_geometry``."""
        return self.trunk.geometry

    @property
    def stacking_key(self) -> str:
        """Networks that agree in it can be evaluated as one, see ``stacked``."""
        kept = {name: value for name, value in self.arguments.items() if name not in ("properties", "dropout")}
        return json.dumps([type(self).__name__, kept], sort_keys=True)

    @staticmethod
    def stacked(networks: "Sequence[TensorNetwork]") -> "TensorNetwork":
        """One network for the properties that all members have; outputs are those of member 0, then 1, ...

        It reads ``nn.stacked.repeated`` graphs: (members x B, ...) or (members x A, ...).
        """
        first = copy.deepcopy(networks[0])
        first.properties = tuple(
            name for name in first.properties if all(name in network.properties for network in networks)
        )
        first.heads = nn.ModuleDict({name: first.heads[name] for name in first.properties})
        return cast(TensorNetwork, stack_networks([first, *networks[1:]]))

    def edge_geometry(self, graph: CrystalGraph) -> EdgeGeometry:
        """What the network needs to know of the edges; independent of the parameters."""
        return self.trunk.edge_geometry(graph)

    def forward(
        self,
        graph: CrystalGraph,
        properties: Sequence[str],
        fidelity: Tensor | None = None,
        edge: EdgeGeometry | None = None,
    ) -> dict[str, Tensor]:
        """Predict ``properties``.

        Args:
            graph: B crystals with A atoms.
            properties: from ``self.properties``.
            fidelity: (B,) index into ``fidelities``; where None, each property follows ``FUNCTIONALS``.
            edge: what ``edge_geometry`` made of ``graph``, or that of a network with the same ``geometry``.

        Returns:
            Documented Voigt or Cartesian forms, (B, ...) or (A, 3, 3) for Born charges.
        """
        missing = [name for name in properties if name not in self.properties]
        if missing:
            raise UnknownNameError(f"this network has no head for {missing}; it has {', '.join(self.properties)}")
        edge = self.trunk.edge_geometry(graph) if edge is None else edge
        node = self.trunk(graph, edge)
        pooled = pool(graph, self.atom_scalars(node.scalars))
        density = torch.log(graph.volume / graph.atom_count) - math.log(20.0)
        crystal = self.crystal(torch.cat([pooled, density.unsqueeze(1).to(pooled.dtype)], dim=1)) + pooled

        def given(name: str) -> HeadInput:
            if fidelity is None or name in _ONE_FUNCTIONAL:
                functional = FUNCTIONALS.get(name) or AUXILIARY[name]
                token = self.fidelity.weight[..., self.fidelities.index(functional), :]
                token = per_row(token, len(crystal), dimensions=1)
            else:
                token = self.fidelity(fidelity)
            return HeadInput(graph, edge, node, nn.functional.silu(crystal + token))

        result: dict[str, Tensor] = {}
        if "dielectric_tensor" in properties or "static_dielectric_tensor" in properties:
            identity = torch.eye(3, dtype=pooled.dtype, device=pooled.device)
            result["dielectric_tensor"] = identity + self.heads["dielectric_tensor"](given("dielectric_tensor"))
        for name in properties:
            if name == "static_dielectric_tensor":
                result[name] = result["dielectric_tensor"] + self.heads[name](given(name))
            elif name == "formation_energy":
                energies = self.element_reference
                of_atoms = energies[graph.numbers] if energies.dim() == 1 else rows_of(energies, graph.numbers)
                reference = pool(graph, of_atoms)
                result[name] = self.heads[name](given(name).crystal).squeeze(1) + reference
            elif name == "band_gap":
                result[name] = nn.functional.softplus(self.heads[name](given(name).crystal).squeeze(1))
            elif name != "dielectric_tensor":
                result[name] = self.heads[name](given(name))
        return {name: result[name] for name in properties}


def _scalar_head(width: int) -> nn.Sequential:
    return nn.Sequential(Linear(width, width), nn.SiLU(), Linear(width, 1))
