"""Energies, forces and stress of prepared structures: the means over potentials, each on the graph that it reads.

A bundle may name different potentials for energy, forces and stress, and potentials with different graph settings.
Nothing here remembers structures, so one ``PotentialEnsemble`` serves all calculators of a model, in any thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.devices import single_thread
from ase_comformer.errors import warn_user
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.potential import Potential, PotentialResult
from ase_comformer.nn.derivatives.analytic import AnalyticPotential
from ase_comformer.nn.operations.graph_parts import GraphParts
from ase_comformer.nn.operations.sum_topology import SumTopology

#: Keys of a result; ``stress`` only where the cell has a volume, uncertainties only where there is a source of them.
POTENTIAL_PROPERTIES = ("energy", "free_energy", "energies", "forces", "stress")
UNCERTAINTIES = ("energy_uncertainty", "forces_uncertainty")
#: Which potentials of a bundle a property comes from.
QUANTITIES: dict[str, str] = {
    "energy": "energy",
    "free_energy": "energy",
    "energies": "energy",
    "energy_uncertainty": "energy",
    "forces": "forces",
    "forces_uncertainty": "forces",
    "stress": "stress",
}

#: Novelty (``nn.uncertainty``) of an atom above which a warning says so.
NOVELTY_WARNING = 1.0
#: Edges whose sums are made together; more are taken in parts, which keeps arrays in the caches and memory small.
LARGEST_PART = 4_000
#: Edges above which nothing of the parts is kept: memory grows with the atoms, for a third more time.
LARGEST_KEPT = 600_000
#: Edges below which threads wait for each other longer than they work.
SMALLEST_SHARED = 300

Warn = Callable[[str, str], None]
"""Takes what a warning is about and its text; whoever passes it decides how often it is shown."""
TopologyOf = Callable[[CrystalGraph], Sequence[SumTopology]]


@dataclass
class PreparedStructure:
    """A structure with the graphs that potentials read.

    Attributes:
        atoms: as passed in, N atoms.
        graphs: by settings; plain, or all reduced and then of the primitive cell.
        rows: (N,) atom of the graphs that each input atom repeats.
    """

    atoms: Atoms
    graphs: dict[GraphSettings, CrystalGraph]
    rows: NDArray[np.int64]

    @property
    def graph(self) -> CrystalGraph:
        """The graph of the first settings."""
        return next(iter(self.graphs.values()))


@dataclass
class _Member:
    """What one potential says of a batch: numpy arrays in float64; forces and stress are None where not asked for.

    ``errors`` (A, 3): expected errors in eV and eV/A per atom, and novelty; None where the potential has none.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64] | None
    stress: NDArray[np.float64] | None
    errors: NDArray[np.float64] | None


class PotentialEnsemble:
    """Potentials behind energy, forces and stress; their weights are rearranged once.

    Args:
        members: frozen potentials by quantity (``energy``, ``forces``, ``stress``); where there is no entry for forces
            or stress, those of the energy give them. A sequence stands for all three.
    """

    def __init__(self, members: Mapping[str, Sequence[Potential]] | Sequence[Potential]) -> None:
        if not isinstance(members, Mapping):
            members = {"energy": members}
        first = members.get("energy") or members.get("forces") or members.get("stress")
        if not first:
            raise ValueError("a potential ensemble needs at least one potential for energy, forces or stress")
        self.members: dict[str, tuple[Potential, ...]] = {}
        for quantity in ("energy", "forces", "stress"):
            own = members.get(quantity) or (members.get("energy") if "energy" in members else None)
            if own:
                self.members[quantity] = tuple(own)
        self.networks = list(dict.fromkeys(network for networks in self.members.values() for network in networks))
        self.settings = tuple(dict.fromkeys(network.graph_settings for network in self.networks))
        self._analytic = {network: AnalyticPotential(network) for network in self.networks}
        parameter = next(self.networks[0].parameters())
        self.dtype, self.device = parameter.dtype, parameter.device

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of what results can have."""
        names = [name for name in POTENTIAL_PROPERTIES if QUANTITIES[name] in self.members]
        return (*names, *(name for name in UNCERTAINTIES if self._has_uncertainty(QUANTITIES[name])))

    def _has_uncertainty(self, quantity: str) -> bool:
        networks = self.members.get(quantity, ())
        return len(networks) > 1 or any(network.uncertainty is not None for network in networks)

    def evaluate_batch(
        self,
        crystals: Sequence[PreparedStructure],
        names: Sequence[str] | None = None,
        *,
        topologies_of: TopologyOf | None = None,
        warn: Warn | None = None,
    ) -> list[dict[str, Any]]:
        """Evaluate structures together.

        Args:
            crystals: each with the graphs of all ``settings``.
            names: what is asked for; everything where None. Energies and expected errors alone take a forward pass;
                with forces or stress comes all that costs nothing more.
            topologies_of: finds the sums of a batched graph, where the caller keeps them.
            warn: shows warnings.

        Returns:
            Per structure: energy (eV), free_energy (the same), energies (N,), forces (N, 3), stress (6,) eV/A^3. Where
            potentials expect errors of themselves, or are several, also energy_uncertainty (eV) and forces_uncertainty
            (N,) eV/A of one force component: about 68 % of the errors are smaller.
        """
        quantities, evaluated, differentiated = self._plan(names)
        found: dict[Potential, _Member] = {}
        for settings in self.settings:
            own = [network for network in evaluated if network.graph_settings == settings]
            if own:
                graph = collate([crystal.graphs[settings] for crystal in crystals])
                graph = graph.to(dtype=self.dtype, device=self.device)
                found |= self._members(own, graph, differentiated, topologies_of or sum_topologies)
        starts = np.cumsum([0, *(len(crystal.graph.atom_node) for crystal in crystals)])
        return [
            self._result(crystal.atoms, start + crystal.rows, number, found, quantities, warn or show_each_time)
            for number, (crystal, start) in enumerate(zip(crystals, starts, strict=False))
        ]

    def means(
        self, graphs: Mapping[GraphSettings, CrystalGraph], topologies: Mapping[GraphSettings, Sequence[SumTopology]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate batches whose graphs and sums the caller keeps; no warnings, no expected errors.

        Args:
            graphs: of all ``settings``, on the device and in the precision of the potentials.
            topologies: of these graphs.

        Returns:
            Energies (B,) eV, forces (A, 3) eV/A and stress (B, 3, 3) eV/A^3, means over the potentials, and how far
            atoms are from the training domain (A,), see ``nn.uncertainty``.
        """
        wanted = {network for networks in self.members.values() for network in networks}
        found: dict[Potential, PotentialResult] = {}
        novelty = torch.zeros(len(next(iter(graphs.values())).atom_node))
        for settings, graph in graphs.items():
            small = len(graph.edge_receiver) < SMALLEST_SHARED
            with torch.inference_mode(), single_thread() if small else contextlib.nullcontext():
                for network in self.networks:
                    if network in wanted and network.graph_settings == settings:
                        found[network] = every = self._analytic[network].derivatives(graph, topologies[settings])
                        if network.uncertainty is not None:
                            white = network.uncertainty.whitened(graph.numbers[graph.atom_node], every.features)
                            novelty = torch.maximum(novelty, network.uncertainty.novelty(white).cpu())
        energies, forces, stress = (
            np.mean([_array(getattr(found[network], name)) for network in self.members[name]], axis=0)
            for name in ("energy", "forces", "stress")
        )
        return energies, forces, stress, _array(novelty)

    def _plan(self, names: Sequence[str] | None) -> tuple[list[str], list[Potential], set[Potential]]:
        """Quantities of the result, potentials to evaluate, and those of which derivatives are needed."""
        names = tuple(QUANTITIES) if names is None else tuple(names)
        wanted = {QUANTITIES[name] for name in names if name in QUANTITIES} & set(self.members)
        steep = wanted & {"forces", "stress"} & set(names)
        if "forces_uncertainty" in names and len(self.members.get("forces", ())) > 1:
            steep.add("forces")
        evaluated = {network for quantity in wanted for network in self.members[quantity]}
        differentiated = {network for quantity in steep for network in self.members[quantity]}
        quantities = []
        for quantity, networks in self.members.items():
            # with derivatives comes whatever else these potentials have said
            known = evaluated if quantity == "energy" else differentiated
            if quantity in wanted or (steep and known.issuperset(networks)):
                quantities.append(quantity)
        return quantities, [network for network in self.networks if network in evaluated], differentiated

    def _members(
        self,
        networks: Sequence[Potential],
        graph: CrystalGraph,
        differentiated: set[Potential],
        topologies_of: TopologyOf,
    ) -> dict[Potential, _Member]:
        """Ask each network about a batch, on one graph."""
        small = len(graph.edge_receiver) < SMALLEST_SHARED
        found: dict[Potential, _Member] = {}
        with torch.inference_mode(), single_thread() if small else contextlib.nullcontext():
            topologies = topologies_of(graph)
            numbers = graph.numbers[graph.atom_node]
            for network in networks:
                forces = stress = errors = None
                if network in differentiated:
                    every = self._analytic[network].derivatives(graph, topologies)
                    energies, features, forces, stress = every.energies, every.features, every.forces, every.stress
                else:
                    energies, features = self._analytic[network].energies(graph, topologies)
                if network.uncertainty is not None:
                    expected, novelty = network.uncertainty(numbers, features)
                    errors = torch.cat([expected, novelty.unsqueeze(1)], dim=1)
                arrays = (None if part is None else _array(part) for part in (energies, forces, stress, errors))
                found[network] = _Member(*arrays)  # type: ignore[arg-type]
        return found

    def _result(
        self,
        atoms: Atoms,
        rows: NDArray[np.int64],
        number: int,
        found: Mapping[Potential, _Member],
        quantities: Sequence[str],
        warn: Warn,
    ) -> dict[str, Any]:
        """Means and expected errors over members on the input atoms, whose rows in the batch are given."""
        result: dict[str, Any] = {}
        novelty = np.zeros(len(rows))
        for quantity in quantities:
            members = [found[network] for network in self.members[quantity]]
            errors = [member.errors[rows] for member in members if member.errors is not None]
            novelty = np.maximum(novelty, np.max([each[:, 2] for each in errors], axis=0)) if errors else novelty
            if quantity == "energy":
                energies = np.stack([member.energies[rows] for member in members])
                totals = energies.sum(axis=1)
                result |= {"energy": float(totals.mean()), "free_energy": float(totals.mean())}
                result["energies"] = energies.mean(axis=0)
                if self._has_uncertainty(quantity):
                    variance = np.mean([each[:, 0].sum() ** 2 for each in errors]) if errors else 0.0
                    variance += totals.var(ddof=1) if len(members) > 1 else 0.0
                    result["energy_uncertainty"] = float(np.sqrt(variance))
            elif quantity == "forces":
                forces = [member.forces[rows] for member in members if member.forces is not None]
                if forces:
                    result["forces"] = np.mean(forces, axis=0)
                if self._has_uncertainty(quantity) and (forces or len(members) == 1):
                    # variance of a mixture: mean of the variances and variance of the means
                    variances = np.mean([each[:, 1] ** 2 for each in errors], axis=0) if errors else np.zeros(len(rows))
                    if len(forces) > 1:
                        variances = variances + np.var(forces, axis=0, ddof=1).mean(axis=1)
                    result["forces_uncertainty"] = np.sqrt(variances)
            elif atoms.cell.rank == 3 and atoms.pbc.any():
                stress = [member.stress[number] for member in members if member.stress is not None]
                if stress:
                    result["stress"] = full_3x3_to_voigt_6_stress(np.mean(stress, axis=0))
        warn_about_novelty(atoms, novelty, warn)
        return result


def sum_topologies(graph: CrystalGraph) -> Sequence[SumTopology]:
    """Make the sums over the edges of a batch; those of a large plain graph in parts, which are kept unless many."""
    edges = len(graph.edge_receiver)
    if graph.is_reduced or edges <= LARGEST_PART:
        return [SumTopology.from_graph(graph)]
    parts = GraphParts(graph, LARGEST_PART)
    return list(parts) if edges <= LARGEST_KEPT else parts


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().to("cpu", torch.float64).numpy()


def show_each_time(kind: str, message: str) -> None:
    """Show a warning each time; Python itself leaves out the same text from the same line."""
    warn_user(message)


def warn_about_novelty(atoms: Atoms, novelty: NDArray[np.float64], warn: Warn) -> None:
    """Novelty (N,); no numbers in the message, so that a trajectory warns once."""
    if len(novelty) and novelty.max() > NOVELTY_WARNING:
        symbol = atoms.get_chemical_symbols()[int(novelty.argmax())]
        formula = atoms.get_chemical_formula()
        warn(
            f"novelty {formula}",
            f"{formula}: the surroundings of {symbol} are far outside the training domain (extreme strain, distances "
            "or coordination); energies and forces are extrapolated. See energy_uncertainty and forces_uncertainty.",
        )
