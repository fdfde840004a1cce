"""The default network: one Cartesian trunk, one head per property.

``forward`` takes a batch of crystals, plain or symmetry-reduced, and returns the asked properties in their documented
form. Labels of different functionals train one network through a fidelity embedding; a prediction follows the
functional of the property's registry entry. Which properties there are, and their heads, is read from the registry.
"""

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.heads.common import HeadInput, Widths, pool
from ase_comformer.nn.layers.cartesian import MAX_ATOMIC_NUMBER, CartesianTrunk, EdgeGeometry
from ase_comformer.nn.layers.stacked import Embedding, Linear, per_row, stack_networks
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import PROPERTIES, SHIPPED_HEADS, tensor_property


class TensorNetwork(nn.Module):
    """Trunk and heads; see the module docstring.

    Args:
        properties: which heads it has, names of registered properties with a head.
        graph_settings: the graph it reads (radius), as a dict or ``GraphSettings``.
        scalars, vectors, layers, radial, hidden, update: the trunk (``CartesianTrunk``).
        crystal: width of the pooled crystal features.
        high: channels of l = 3 and 4.
        fidelities: functionals of the training labels.
        dropout: on the crystal features, in training only.
    """

    supports_reduced_graphs = True

    def __init__(
        self,
        *,
        properties: Sequence[str] = SHIPPED_HEADS,
        graph_settings: GraphSettings | dict[str, Any] | None = None,
        scalars: int = 64,
        vectors: int = 32,
        layers: int = 3,
        radial: int = 8,
        hidden: int = 64,
        update: int | None = None,
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
        entries = _entries_with_heads(self.properties)
        unknown = [entry.functional for entry in entries if entry.functional not in self.fidelities]
        if unknown:
            raise UnknownNameError(
                f"predictions follow the functionals {sorted(set(unknown))}, which are not among fidelities = "
                f"{list(self.fidelities)}: add them there"
            )
        if self.graph_settings.kind != "radius":
            raise UnknownNameError(f"the default network needs a radius graph, not {self.graph_settings.kind!r}")
        self.arguments: dict[str, Any] = {
            "properties": list(self.properties),
            "graph_settings": {
                "kind": "radius",
                "cutoff": self.graph_settings.cutoff,
                **({"reach": dict(self.graph_settings.reach)} if self.graph_settings.reach else {}),
            },
            "scalars": scalars,
            "vectors": vectors,
            "layers": layers,
            "radial": radial,
            "hidden": hidden,
            **({"update": update} if update else {}),
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
            update=update,
            cutoff=self.graph_settings.cutoff,
            reach=self.graph_settings.reach,
        )
        self.atom_scalars = nn.Sequential(Linear(scalars, crystal), nn.SiLU())
        self.fidelity = Embedding(len(self.fidelities), crystal)
        nn.init.zeros_(self.fidelity.weight)
        self.crystal = nn.Sequential(
            Linear(crystal + 1, crystal), nn.SiLU(), nn.Dropout(dropout), Linear(crystal, crystal)
        )
        widths = Widths(scalars=scalars, vectors=vectors, crystal=crystal, radial=radial, hidden=hidden, high=high)
        self.heads = nn.ModuleDict(
            {entry.name: entry.head.load()(entry, widths) for entry in entries if entry.head is not None}
        )
        if any(getattr(head, "needs_site_operations", False) for head in self.heads.values()):
            self.graph_settings = replace(self.graph_settings, site_operations=True)
        self.element_reference: Tensor
        self.register_buffer("element_reference", torch.zeros(MAX_ATOMIC_NUMBER + 1))

    @property
    def geometry(self) -> tuple[float, int, int, float, tuple[float, ...]]:
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
        """Compute what the network needs to know of the edges; independent of the parameters."""
        return self.trunk.edge_geometry(graph)

    def forward(
        self,
        graph: CrystalGraph,
        properties: Sequence[str],
        fidelity: Tensor | None = None,
        edge: EdgeGeometry | None = None,
        functional: str = "",
    ) -> dict[str, Tensor]:
        """Predict ``properties``.

        Args:
            graph: B crystals with A atoms.
            properties: from ``self.properties``.
            fidelity: (B,) index into ``fidelities``; where None, each property follows the functional of its entry.
            functional: what properties with a choice follow, where ``fidelity`` is None; the first where empty.
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

        result: dict[str, Tensor] = {}

        def evaluate(name: str) -> None:
            entry = tensor_property(name)
            for other in entry.built_on:
                if other not in result:
                    evaluate(other)
            if fidelity is None or entry.has_one_functional:
                token = self.fidelity.weight[..., self.fidelities.index(entry.functional_of(functional)), :]
                token = per_row(token, len(crystal), dimensions=1)
            else:
                token = self.fidelity(fidelity)
            given = HeadInput(graph, edge, node, nn.functional.silu(crystal + token), self.element_reference, result)
            result[name] = self.heads[name](given)

        for name in properties:
            if name not in result:
                evaluate(name)
        return {name: result[name] for name in properties}


def _entries_with_heads(names: Sequence[str]) -> list[TensorProperty]:
    """Registry entries of properties, in the order of the registry whatever that of ``names``.

    Raises:
        UnknownNameError: a name has no head, or something that it is built on is missing.
    """
    unknown = [name for name in names if tensor_property(name).head is None]
    if unknown:
        choices = (name for name, entry in PROPERTIES.items() if entry.head is not None)
        raise UnknownNameError(f"no head for {unknown}; choose from {', '.join(choices)}")
    entries = [entry for name, entry in PROPERTIES.items() if name in names]
    for entry in entries:
        missing = [name for name in entry.built_on if name not in names]
        if missing:
            raise UnknownNameError(
                f"{entry.name} is built on {', '.join(missing)}: give the network that head beside it"
            )
    return entries
