"""Formation energies: the energy of a potential, referred to the elements, and what a small network adds.

A potential knows how strongly atoms bind. A formation energy of a data set differs from its energy by a number for each
element and by what the data set corrects (gases, anions, mixtures of PBE and PBE+U); both are learned, from the
features of the potential's atoms. The potential is the *foundation*: its parameters stay as they are, are not among
those of this network and are attached after construction. Networks on one foundation evaluate it once.
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.nn.electrostatics import dipole_interaction, on_atoms
from ase_comformer.nn.heads.common import pool, sum_rows
from ase_comformer.nn.layers.cartesian import MAX_ATOMIC_NUMBER

#: A^3 per atom at which the logarithmic density that the network sees is zero.
_USUAL_VOLUME = 20.0


class Readings(NamedTuple):
    """What the network reads off its foundation: features (n, C) of nodes, energies (B,) in eV/atom."""

    features: Tensor
    energy: Tensor


class ReferredEnergy(nn.Module):
    """Corrects the energy per atom of a potential; see the module docstring.

    Args:
        foundation: name of the weights of the potential.
        features: width of the features of the potential's atoms.
        width: of the hidden layers.
        elements: width of the embedding of the elements.
        dropout: in the layers that see whole crystals, in training only.

    Attributes:
        element_reference: (Z,) eV/atom, what is added for each element.
    """

    supports_reduced_graphs = True
    element_reference: Tensor
    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        *,
        foundation: str = "potential-12",
        features: int = 96,
        width: int = 128,
        elements: int = 32,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.properties = ("formation_energy",)
        self.foundation = foundation
        self.graph_settings = GraphSettings()  # until the foundation is attached, whose settings it takes over
        self.arguments: dict[str, Any] = {
            "foundation": foundation,
            "features": features,
            "width": width,
            "elements": elements,
            "dropout": dropout,
        }
        self._attached: list[Potential] = []  # in a list, so that its parameters are not those of this module
        self.register_buffer("element_reference", torch.zeros(MAX_ATOMIC_NUMBER + 1))
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_scale", torch.ones(features))
        self.element = nn.Embedding(MAX_ATOMIC_NUMBER + 1, elements)
        self.atom = nn.Sequential(nn.Linear(features + elements, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.of_atom = nn.Linear(width, 1)
        self.of_element = nn.Embedding(MAX_ATOMIC_NUMBER + 1, 1)
        last = nn.Linear(width, 1)
        self.of_crystal = nn.Sequential(
            *(nn.Linear(2 * width + 1, width), nn.SiLU(), nn.Dropout(dropout)),
            *(nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout)),
            last,
        )
        for parameter in (self.of_atom.weight, self.of_element.weight, last.weight):
            nn.init.zeros_(parameter)  # training begins with the energies of the potential

    def attach(self, potential: nn.Module) -> None:
        """Read this potential from now on.

        Raises:
            UnknownNameError: it is no ``Potential`` with features of the right width.
        """
        width = self.arguments["features"]
        if not isinstance(potential, Potential) or potential.arguments["scalars"] != width:
            found = getattr(potential, "arguments", {}).get("scalars", "none")
            raise UnknownNameError(
                f"foundation {self.foundation!r} is a {type(potential).__name__} with {found} scalars: give a "
                f"Potential with features = {width}"
            )
        self._attached[:] = [potential]
        self.graph_settings = potential.graph_settings

    @property
    def potential(self) -> Potential:
        """The attached foundation.

        Raises:
            RuntimeError: nothing is attached yet.
        """
        if not self._attached:
            raise RuntimeError(f"attach the potential {self.foundation!r} first (network.attach(potential))")
        return self._attached[0]

    @property
    def geometry(self) -> Hashable:
        """Networks on one foundation share ``edge_geometry``."""
        return "readings", id(self.potential)

    @torch.no_grad()
    def edge_geometry(self, graph: CrystalGraph) -> Readings:
        """Evaluate the foundation, which all that this network sees comes from."""
        node = self.potential(graph)
        energies = node.energy[graph.atom_node].double()
        if node.dipole is not None:
            energies = energies + dipole_interaction(graph, on_atoms(graph, node.dipole)).energies.double()
        energy = sum_rows(energies, graph.atom_crystal, graph.crystal_count) / graph.atom_count
        return Readings(node.features, energy.to(node.features.dtype))

    def forward(
        self, graph: CrystalGraph, properties: Sequence[str] = (), edge: Readings | None = None
    ) -> dict[str, Tensor]:
        """Predict the formation energy, (B,) eV/atom.

        Args:
            graph: B crystals; edges are not read where ``edge`` is given.
            properties: there is one only, whatever they are.
            edge: what ``edge_geometry`` made of ``graph``, or that of a network with the same ``geometry``.
        """
        readings = self.edge_geometry(graph) if edge is None else edge
        features = (readings.features - self.feature_mean) / self.feature_scale
        atoms = self.atom(torch.cat([features, self.element(graph.numbers)], dim=1))
        mean = pool(graph, atoms)
        variance = pool(graph, (atoms - mean[graph.node_crystal]).square())
        density = torch.log(graph.volume / graph.atom_count / _USUAL_VOLUME).to(mean.dtype).unsqueeze(1)
        crystal = self.of_crystal(torch.cat([mean, (variance + 1e-6).sqrt(), density], dim=1))
        of_elements = self.element_reference[graph.numbers].unsqueeze(1) + self.of_element(graph.numbers)
        added = crystal + pool(graph, self.of_atom(atoms) + of_elements)
        return {"formation_energy": readings.energy + added.squeeze(1)}
