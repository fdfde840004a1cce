"""The potential energy surface: atomic energies of a smooth Cartesian trunk, forces and stress by differentiation.

E = sum_i [ isolated(Z_i) + (1 - exp(-density_i)) (binding(Z_i) + e(h_i)) + sum_j ZBL(r_ij) / 2 ] + E(dipoles): an
isolated atom has exactly its reference energy, and atoms cannot fuse. The binding is what an atom of the element gains
in crystals on average, so networks learn differences from that wherever atoms have neighbours. Atomic energies and
dipoles depend on edge vectors only, so of these parts forces and stress follow from one derivative per edge, on plain
and on symmetry-reduced graphs (docs/architecture.md section 6). Dipoles are there where the graph has reciprocal
vectors; their
interaction
(``electrostatics``) depends on positions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.electrostatics import DipoleInteraction, dipole_interaction, limited, on_atoms
from ase_comformer.nn.layers.cartesian import MAX_ATOMIC_NUMBER, CartesianLayer, CartesianTrunk
from ase_comformer.nn.layers.repulsion import ZBLRepulsion
from ase_comformer.nn.operations.sum_topology import SumTopology
from ase_comformer.nn.uncertainty import Uncertainty

#: The energy surface that a prediction follows, first of the fidelities.
FIDELITIES = ("PBE labelled", "PBE", "PBEsol")


@dataclass
class PotentialResult:
    """What ``derivatives`` finds.

    Energy (B,) eV in float64, atomic energies (A,) eV, forces (A, 3) eV/A, stress (B, 3, 3) eV/A^3 in ASE's sign, the
    invariant features (A, C) of the atoms that energies are read from, and their dipoles (A, 3) e A, None without.
    """

    energy: Tensor
    energies: Tensor
    forces: Tensor
    stress: Tensor
    features: Tensor
    dipoles: Tensor | None


@dataclass
class NodeOutputs:
    """Of every node: energy (n,) eV, invariant features (n, C) it is read from, dipole (n, 3) e A or None."""

    energy: Tensor
    features: Tensor
    dipole: Tensor | None


class Potential(nn.Module):
    """Trunk, readout and repulsion; see the module docstring.

    Args:
        graph_settings: the radius graph it reads, as a dict or ``GraphSettings``; with reciprocal vectors, atoms have
            dipoles.
        scalars, vectors, layers, radial, hidden, update: the trunk (``CartesianTrunk``).
        fidelities: names of the energy surfaces that training labels came from; predictions follow the first.
        uncertainty: whether it carries expected errors (``nn.uncertainty``), fitted after training.
        isolated: whether isolated atoms have energies of their own, instead of the average ones in crystals.
        dipole_limit: e A, at which dipoles saturate; no limit where zero.

    Attributes:
        element_reference: (F, Z) eV, average energies of the elements in crystals, for every fidelity.
        isolated_reference: (Z,) eV, energies of isolated atoms; not read without ``isolated``.
    """

    supports_reduced_graphs = True
    element_reference: Tensor
    isolated_reference: Tensor
    energy_scale: Tensor

    def __init__(
        self,
        *,
        graph_settings: GraphSettings | dict[str, Any] | None = None,
        scalars: int = 64,
        vectors: int = 16,
        layers: int = 3,
        radial: int = 8,
        hidden: int = 64,
        update: int | None = None,
        fidelities: Sequence[str] = FIDELITIES,
        uncertainty: bool = False,
        isolated: bool = False,
        dipole_limit: float = 0.0,
    ) -> None:
        super().__init__()
        settings = GraphSettings(**graph_settings) if isinstance(graph_settings, dict) else graph_settings
        self.graph_settings = settings or GraphSettings(cutoff=5.0)
        if self.graph_settings.kind != "radius":
            raise UnknownNameError(f"the potential needs a radius graph, not {self.graph_settings.kind!r}")
        self.fidelities = tuple(fidelities)
        self.properties = ("energy", "forces", "stress")
        self.arguments: dict[str, Any] = {
            "graph_settings": {
                "kind": "radius",
                "cutoff": self.graph_settings.cutoff,
                "reciprocal_cutoff": self.graph_settings.reciprocal_cutoff,
                **({"reach": dict(self.graph_settings.reach)} if self.graph_settings.reach else {}),
            },
            "scalars": scalars,
            "vectors": vectors,
            "layers": layers,
            "radial": radial,
            "hidden": hidden,
            "update": update,
            "fidelities": list(self.fidelities),
            "uncertainty": uncertainty,
            "isolated": isolated,
            **({"dipole_limit": dipole_limit} if dipole_limit else {}),
        }
        self.dipole_limit = dipole_limit
        cutoff = self.graph_settings.cutoff
        self.trunk = CartesianTrunk(
            scalars=scalars,
            vectors=vectors,
            layers=layers,
            radial=radial,
            hidden=hidden,
            update=update,
            cutoff=cutoff,
            reach=self.graph_settings.reach,
        )
        self.fidelity = nn.Embedding(len(self.fidelities), scalars)
        nn.init.zeros_(self.fidelity.weight)
        self.readout = nn.Sequential(nn.Linear(scalars, scalars), nn.SiLU(), nn.Linear(scalars, 1))
        self.dipole = _dipole_gates(scalars, vectors) if self.graph_settings.reciprocal_cutoff else None
        self.repulsion = ZBLRepulsion()
        self.register_buffer("element_reference", torch.zeros(len(self.fidelities), MAX_ATOMIC_NUMBER + 1))
        self.register_buffer("isolated_reference", torch.zeros(MAX_ATOMIC_NUMBER + 1), persistent=isolated)
        self.register_buffer("energy_scale", torch.ones(()))
        self.uncertainty = Uncertainty(scalars) if uncertainty else None

    def attach_uncertainty(self, fitted: Uncertainty) -> None:
        """Carry these expected errors, in ``arguments`` and parameters too."""
        self.uncertainty, self.arguments["uncertainty"] = fitted, True

    @property
    def isolated_energies(self) -> Tensor:
        """(F, Z) eV, energies of atoms without neighbours, for every fidelity."""
        if self.arguments["isolated"]:
            return self.isolated_reference.expand_as(self.element_reference)
        return self.element_reference

    @staticmethod
    def parameter_blocks(parameters: Mapping[str, Tensor]) -> dict[str, tuple[list[int], ...]]:
        """Return the sizes of the blocks of parameters that hold several maps, along each axis."""
        found: dict[str, tuple[list[int], ...]] = {}
        layers = {name.split(".")[2] for name in parameters if name.startswith("trunk.layers.")}
        for prefix in (f"trunk.layers.{depth}." for depth in sorted(layers)):
            own = {name.removeprefix(prefix): x for name, x in parameters.items() if name.startswith(prefix)}
            found |= {prefix + name: sizes for name, sizes in CartesianLayer.parameter_blocks(own).items()}
        return found

    def forward(
        self, graph: CrystalGraph, fidelity: Tensor | None = None, topology: SumTopology | None = None
    ) -> NodeOutputs:
        """Compute what ``derivatives`` differentiates.

        Args:
            graph: plain or reduced.
            fidelity: (B,) index into ``fidelities``; the first where None.
            topology: of ``graph``, where the caller has it.
        """
        chosen = torch.zeros_like(graph.numbers) if fidelity is None else fidelity[graph.node_crystal]
        edge = self.trunk.edge_geometry(graph, topology)
        start = self.trunk.embedding(graph.numbers) + self.fidelity(chosen)
        node = self.trunk(graph, edge, start)
        density = edge.weight.new_zeros(len(start)).index_add(
            0, graph.edge_receiver, edge.weight.squeeze(1) * self.trunk.mean_neighbours
        )
        isolated = self.isolated_energies[chosen, graph.numbers]
        bound = self.element_reference[chosen, graph.numbers] - isolated
        bound = bound + self.readout(node.scalars).squeeze(1) * self.energy_scale
        energy = isolated + bound * -torch.expm1(-density) + self.repulsion(graph, edge)
        dipole = None
        if self.dipole is not None and graph.reciprocal_vector is not None:
            dipole = limited((self.dipole(node.scalars) * node.vectors).sum(2).t(), self.dipole_limit)
        return NodeOutputs(energy, node.scalars, dipole)


def _dipole_gates(scalars: int, vectors: int) -> nn.Sequential:
    """Make what the vectors of an atom are summed with; zero before training."""
    gates = nn.Sequential(nn.Linear(scalars, scalars), nn.SiLU(), nn.Linear(scalars, vectors))
    for parameter in gates[2].parameters():
        nn.init.zeros_(parameter)
    return gates


def derivatives(
    network: Callable[..., NodeOutputs],
    graph: CrystalGraph,
    fidelity: Tensor | None = None,
    *,
    topology: SumTopology | None = None,
    create_graph: bool = False,
) -> PotentialResult:
    """Energy, forces and stress of a batch.

    Args:
        network: ``Potential`` or anything that maps (graph, fidelity, topology) to what it does.
        graph: plain or reduced; a reduced graph must be of an exactly symmetric structure (forces are those of the
            idealised one).
        fidelity: (B,) see ``Potential.forward``.
        topology: of ``graph``, where the caller has it.
        create_graph: keep what a loss on forces and stress needs.
    """
    orbit_size = graph.node_weight * graph.atom_count[graph.node_crystal]
    vectors = graph.edge_vector.detach().requires_grad_(True)
    with torch.enable_grad():
        node = network(replace(graph, edge_vector=vectors), fidelity, topology)
        total = (node.energy * orbit_size).sum()
        dipoles = interaction = None
        if node.dipole is not None:
            dipoles = on_atoms(graph, node.dipole)
            interaction = dipole_interaction(graph, dipoles)
            total = total + interaction.energies.sum()
        gradient: Tensor | None = None
        if len(vectors) and total.requires_grad:
            (gradient,) = torch.autograd.grad(total, vectors, create_graph=create_graph, allow_unused=True)
    gradient = torch.zeros_like(vectors) if gradient is None else gradient
    return result_of(graph, node.energy, node.features, gradient, dipoles, interaction)


def result_of(
    graph: CrystalGraph,
    node_energy: Tensor,
    features: Tensor,
    gradient: Tensor,
    dipoles: Tensor | None,
    interaction: DipoleInteraction | None,
) -> PotentialResult:
    """Energies, forces and stresses from what is known of nodes, edges and dipoles.

    Args:
        graph: plain or reduced.
        node_energy: (n,) eV.
        features: (n, C) of nodes.
        gradient: (E, 3) derivative of the energies of whole crystals in the edge vectors, that of dipoles included.
        dipoles: (A, 3) e A, None where atoms have none.
        interaction: of the dipoles.
    """
    energies = node_energy[graph.atom_node]
    orbit_size = graph.node_weight * graph.atom_count[graph.node_crystal]
    forces, stress = _forces(graph, gradient, orbit_size), _stress(graph, gradient)
    if interaction is not None:
        energies = energies + interaction.energies
        forces, stress = forces + interaction.forces, stress + interaction.stress
    # totals are large numbers whose differences matter: in float64 whatever the network's precision
    energy = energies.new_zeros(graph.crystal_count, dtype=torch.float64).index_add(
        0, graph.atom_crystal, energies.double()
    )
    return PotentialResult(energy, energies, forces, stress, features[graph.atom_node], dipoles)


def _forces(graph: CrystalGraph, gradient: Tensor, orbit_size: Tensor) -> Tensor:
    """(A, 3): on receivers + dE/dr, on senders - D(g)^T dE/dr, projected on the site group, carried to all atoms."""
    back = gradient
    if graph.edge_rotation is not None:
        back = torch.einsum("exy,ex->ey", graph.edge_rotation, gradient)
    on_node = gradient.new_zeros(len(graph.numbers), 3)
    on_node = on_node.index_add(0, graph.edge_receiver, gradient).index_add(0, graph.edge_sender, -back)
    if graph.site_vector_projector is None or graph.atom_rotation is None:
        return on_node
    on_node = torch.einsum("nxy,ny->nx", graph.site_vector_projector, on_node) / orbit_size.unsqueeze(1)
    return torch.einsum("axy,ay->ax", graph.atom_rotation, on_node[graph.atom_node])


def _stress(graph: CrystalGraph, gradient: Tensor) -> Tensor:
    """(B, 3, 3) sum over edges of r (x) dE/dr over the volume, averaged over the point group."""
    crystal = graph.node_crystal[graph.edge_receiver]
    virial = gradient.new_zeros(graph.crystal_count, 3, 3).index_add(
        0, crystal, gradient.unsqueeze(2) * graph.edge_vector.detach().unsqueeze(1)
    )
    virial = (virial + virial.transpose(1, 2)) / (2 * graph.volume[:, None, None].to(virial.dtype))
    rotation, owner = graph.operation_rotation, graph.operation_crystal
    if rotation is None or owner is None:
        return virial
    turned = rotation @ virial[owner] @ rotation.transpose(1, 2)
    order = torch.bincount(owner, minlength=graph.crystal_count).to(virial.dtype)
    return torch.zeros_like(virial).index_add(0, owner, turned) / order[:, None, None]
