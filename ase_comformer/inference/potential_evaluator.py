"""Energy, forces and stress of structures as they are: no idealisation, no projection, any ``pbc``.

The symmetry-reduced graph is used only where every operation maps the structure onto itself within 1e-8 A (DESIGN.md
section 6); it gives the same numbers as the plain one, so nothing depends on which was taken. Members of an ensemble
are averaged; uncertainties join their spread and the errors that each expects of itself (``nn.uncertainty``).
"""

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ase_comformer.crystals.following import FollowedGroup, cell_multiple
from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.crystals.validation import MINIMUM_DISTANCE, TOUCHING, validate_distances
from ase_comformer.devices import single_thread
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.moving import MovingGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.potential import Potential, PotentialResult
from ase_comformer.nn.derivatives.analytic import AnalyticPotential
from ase_comformer.nn.operations.sum_topology import SumTopology

#: Keys of a result; ``stress`` only where the cell has a volume, uncertainties only where there is a source of them.
POTENTIAL_PROPERTIES = ("energy", "free_energy", "energies", "forces", "stress")
UNCERTAINTIES = ("energy_uncertainty", "forces_uncertainty")

#: A, farthest that any operation may miss the structure for the reduced graph to be used.
EXACT_SYMMETRY = 1e-8
#: Novelty (``nn.uncertainty``) of an atom above which a warning says so.
NOVELTY_WARNING = 1.0
#: Edges whose sums are made together; more are taken in parts, which keeps arrays in the caches and memory small.
LARGEST_PART = 10_000
#: Edges below which threads wait for each other longer than they work.
SMALLEST_SHARED = 300
#: Atoms below which the plain graph of a single structure is as fast, and above which looking for symmetry costs more
#: than it saves (spglib is quadratic); atoms below which it costs more in batches.
_SYMMETRY_ATOMS, _SYMMETRY_ATOMS_IN_BATCHES = (16, 200), 9


@dataclass
class PreparedStructure:
    """A structure with its graph.

    Attributes:
        atoms: as passed in, N atoms.
        graph: plain, or reduced and then of the primitive cell.
        rows: (N,) atom of the graph that each input atom repeats.
    """

    atoms: Atoms
    graph: CrystalGraph
    rows: NDArray[np.int64]


class PotentialEvaluator:
    """Evaluates potentials that share graph settings.

    Args:
        networks: one or more ``Potential``, frozen.
        use_symmetry: take the reduced graph of exactly symmetric crystals.
        skin: A, of the neighbour list that successive calls of ``evaluate`` share.
    """

    def __init__(self, networks: Sequence[Potential], *, use_symmetry: bool = True, skin: float = 0.6) -> None:
        self.networks = list(networks)
        self._analytic = [AnalyticPotential(network) for network in self.networks]
        self.settings: GraphSettings = self.networks[0].graph_settings
        parameter = next(self.networks[0].parameters())
        self.dtype, self.device = parameter.dtype, parameter.device
        self.use_symmetry = use_symmetry
        self._moving = MovingGraph(self.settings, skin, self.dtype, self.device)
        self._followed: FollowedGroup | None = None
        self._last: tuple[CrystalGraph, list[SumTopology]] | None = None
        # Dynamics leave symmetry and do not come back: after a miss, only another composition is examined again.
        self._unsymmetric: bytes | None = None

    def evaluate(self, atoms: Atoms) -> dict[str, Any]:
        """Results of one structure; fast for a sequence of similar ones.

        Raises:
            InvalidStructureError: atoms closer than ``structure.TOUCHING``.
        """
        composition = atoms.numbers.tobytes()
        crystal = None
        if self.use_symmetry and len(atoms) >= _SYMMETRY_ATOMS[0] and self._unsymmetric != composition:
            crystal = self._reduced(atoms)
            self._unsymmetric = composition if crystal is None else None
        if crystal is None:
            crystal = PreparedStructure(atoms, self._moving.graph(atoms), np.arange(len(atoms)))
        _check_close_atoms(crystal)
        return self.evaluate_batch([crystal])[0]

    def prepare(self, atoms: Atoms, *, use_symmetry: bool = True) -> PreparedStructure:
        """The graph of a structure for a batch, reduced where symmetry is exact, allowed and worth it.

        Raises:
            InvalidStructureError: atoms closer than ``structure.TOUCHING``.
        """
        worthwhile = len(atoms) >= _SYMMETRY_ATOMS_IN_BATCHES and self.use_symmetry and use_symmetry
        crystal = self._reduced(atoms) if worthwhile else None
        if crystal is None:
            crystal = PreparedStructure(atoms, build_graph(atoms, self.settings), np.arange(len(atoms)))
        _check_close_atoms(crystal)
        return crystal

    @torch.inference_mode()
    def evaluate_batch(self, crystals: Sequence[PreparedStructure]) -> list[dict[str, Any]]:
        """Per structure: energy (eV), free_energy (the same), energies (N,), forces (N, 3), stress (6,) eV/A^3.

        Where the networks expect errors of themselves, or are several, also energy_uncertainty (eV) and
        forces_uncertainty (N,) eV/A, of one force component: about 68 % of the errors are smaller.
        """
        graph = collate([crystal.graph for crystal in crystals]).to(dtype=self.dtype, device=self.device)
        small = len(graph.edge_receiver) < SMALLEST_SHARED
        with single_thread() if small else contextlib.nullcontext():
            topologies = self._topologies_of(graph)
            members = [potential.derivatives(graph, topologies) for potential in self._analytic]
            errors = self._expected_errors(graph, members)
        energies, forces, stress = (
            torch.stack([getattr(found, name).detach() for found in members]).to("cpu", torch.float64).numpy()
            for name in ("energies", "forces", "stress")
        )
        ends = np.cumsum([len(crystal.graph.atom_node) for crystal in crystals])[:-1]
        parts = zip(
            crystals,
            np.split(energies, ends, axis=1),
            np.split(forces, ends, axis=1),
            stress.swapaxes(0, 1),
            np.split(errors, ends, axis=1),
            strict=True,
        )
        return [_result(*part) for part in parts]

    def _topologies_of(self, graph: CrystalGraph) -> list[SumTopology]:
        """Those of the last call while neighbours stay the same: a sixth of the time of a small cell."""
        if graph.is_reduced:
            return [SumTopology.from_graph(graph)]
        last = self._last
        if last is None or not _same_neighbours(last[0], graph):
            large = len(graph.edge_receiver) > LARGEST_PART
            last = self._last = (
                graph,
                SumTopology.parts(graph, LARGEST_PART) if large else [SumTopology.from_graph(graph)],
            )
        return last[1]

    @property
    def has_uncertainties(self) -> bool:
        """Whether results carry ``UNCERTAINTIES``."""
        return len(self.networks) > 1 or any(network.uncertainty is not None for network in self.networks)

    def _expected_errors(self, graph: CrystalGraph, members: Sequence[PotentialResult]) -> NDArray[np.float64]:
        """(H, A, 3) of the H networks that expect any: eV of atomic energies, eV/A of force components, novelty."""
        numbers = graph.numbers[graph.atom_node]
        found = [
            torch.cat([errors, novelty.unsqueeze(1)], dim=1)
            for network, member in zip(self.networks, members, strict=True)
            if network.uncertainty is not None
            for errors, novelty in [network.uncertainty(numbers, member.features.detach())]
        ]
        if not found:
            return np.zeros((0, len(numbers), 3))
        return torch.stack(found).to("cpu", torch.float64).numpy()

    def _reduced(self, atoms: Atoms) -> PreparedStructure | None:
        if not atoms.pbc.all() or len(atoms) > _SYMMETRY_ATOMS[1]:
            return None
        followed = self._followed
        group = followed.on(atoms, EXACT_SYMMETRY) if followed is not None else None
        if group is None:
            validate_distances(atoms, TOUCHING)  # spglib has no use for overlapping atoms
            group = analyse_space_group(atoms, 1e-5)
            if group.order == 1 or symmetry_error(atoms, group) > EXACT_SYMMETRY:
                return None
            self._followed = FollowedGroup.of(atoms, group)
        return PreparedStructure(atoms, build_reduced_graph(group, self.settings), group.atom_to_primitive)


def _same_neighbours(first: CrystalGraph, second: CrystalGraph) -> bool:
    """Whether two plain graphs have the same edges between the same atoms."""
    if first.edge_receiver is second.edge_receiver:
        return True
    return (
        len(first.numbers) == len(second.numbers)
        and torch.equal(first.edge_receiver, second.edge_receiver)
        and torch.equal(first.edge_atom, second.edge_atom)
    )


def _check_close_atoms(crystal: PreparedStructure) -> None:
    """Refuse atoms that overlap, warn about those that nearly do."""
    vectors = crystal.graph.edge_vector
    shortest = float(vectors.square().sum(1).min()) ** 0.5 if len(vectors) else np.inf
    if shortest < TOUCHING:
        validate_distances(crystal.atoms, TOUCHING)  # says which atoms
    if shortest < MINIMUM_DISTANCE:
        warnings.warn(
            f"{crystal.atoms.get_chemical_formula()}: atoms {shortest:.3g} Å apart are outside the training "
            f"domain (limit {MINIMUM_DISTANCE} Å); only the screened nuclear repulsion describes them.",
            UserWarning,
            stacklevel=2,
        )


def symmetry_error(atoms: Atoms, group: SpaceGroup) -> float:
    """A, how far the idealised structure is from the given one: atoms and lattice vectors."""
    strain = np.abs(cell_multiple(atoms, group) @ group.primitive.cell.array - atoms.cell.array).max()
    return float(max(strain, group.idealisation_displacement))


def _warn_about_novelty(atoms: Atoms, novelty: NDArray[np.float64]) -> None:
    """Novelty (N,); no numbers in the message, so that a trajectory warns once."""
    if len(novelty) and novelty.max() > NOVELTY_WARNING:
        symbol = atoms.get_chemical_symbols()[int(novelty.argmax())]
        warnings.warn(
            f"{atoms.get_chemical_formula()}: the surroundings of {symbol} are far outside the training domain "
            "(extreme strain, distances or coordination); energies and forces are extrapolated. "
            "See energy_uncertainty and forces_uncertainty.",
            UserWarning,
            stacklevel=2,
        )


def _result(
    crystal: PreparedStructure,
    energies: NDArray[np.float64],
    forces: NDArray[np.float64],
    stress: NDArray[np.float64],
    errors: NDArray[np.float64],
) -> dict[str, Any]:
    """Mean and uncertainty over members (axis 0) on the input atoms."""
    energies, forces, errors = energies[:, crystal.rows], forces[:, crystal.rows], errors[:, crystal.rows]
    totals = energies.sum(axis=1)
    result: dict[str, Any] = {
        "energy": float(totals.mean()),
        "free_energy": float(totals.mean()),
        "energies": energies.mean(axis=0),
        "forces": forces.mean(axis=0),
    }
    if crystal.atoms.cell.rank == 3 and crystal.atoms.pbc.any():
        result["stress"] = full_3x3_to_voigt_6_stress(stress.mean(axis=0))
    if len(errors) or len(energies) > 1:
        # variance of a mixture: mean of the variances and variance of the means
        energy_variance, forces_variance = 0.0, np.zeros(len(crystal.atoms))
        if len(errors):
            energy_variance += np.square(errors[..., 0].sum(axis=1)).mean()
            forces_variance += np.square(errors[..., 1]).mean(axis=0)
            _warn_about_novelty(crystal.atoms, errors[..., 2].max(axis=0))
        if len(energies) > 1:
            energy_variance += totals.var(ddof=1)
            forces_variance += forces.var(axis=0, ddof=1).mean(axis=1)
        result["energy_uncertainty"] = float(np.sqrt(energy_variance))
        result["forces_uncertainty"] = np.sqrt(forces_variance)
    return result
