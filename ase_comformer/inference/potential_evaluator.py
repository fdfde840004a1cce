"""Energy, forces and stress of structures as they are: no idealisation, no projection, any ``pbc``.

The symmetry-reduced graph is used only where every operation maps the structure onto itself within 1e-8 A
(docs/architecture.md section 6); it gives the same numbers as the plain one, so nothing depends on which was taken.
``PotentialEvaluator`` remembers the last structure, which makes steps of relaxations and dynamics fast;
``potential_ensemble`` evaluates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ase import Atoms

from ase_comformer.crystals.following import FollowedGroup, cell_multiple
from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.crystals.validation import MINIMUM_DISTANCE, TOUCHING, validate_distances
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.moving import MovingGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.inference.potential_ensemble import (
    POTENTIAL_PROPERTIES,
    UNCERTAINTIES,
    PotentialEnsemble,
    PreparedStructure,
    Warn,
    show_each_time,
    sum_topologies,
)
from ase_comformer.inference.recent import Recent
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.nn.operations.sum_topology import SumTopology

__all__ = ["POTENTIAL_PROPERTIES", "UNCERTAINTIES", "PotentialEvaluator", "PreparedStructure", "symmetry_error"]

#: A, farthest that any operation may miss the structure for the reduced graph to be used.
EXACT_SYMMETRY = 1e-8
#: Atoms below which the plain graph of a single structure is as fast, and above which looking for symmetry costs more
#: than it saves (spglib is quadratic); atoms below which it costs more in batches.
_SYMMETRY_ATOMS, _SYMMETRY_ATOMS_IN_BATCHES = (16, 200), 9


@dataclass
class _Memory:
    """What the last structures have left for the next one.

    Attributes:
        moving: neighbour lists and graphs, by settings.
        followed: the space group of the last exactly symmetric structure.
        unsymmetric: composition of the last structure without symmetry. Dynamics leave symmetry and do not come back:
            after a miss, only another composition is examined again.
        sums: the last graph of each settings and its sums: a sixth of the time of a small cell.
    """

    moving: dict[GraphSettings, MovingGraph]
    followed: FollowedGroup | None = None
    unsymmetric: bytes | None = None
    sums: dict[int, tuple[CrystalGraph, Sequence[SumTopology]]] = field(default_factory=dict)

    def topologies_of(self, graph: CrystalGraph) -> Sequence[SumTopology]:
        """Return those of the last call while neighbours stay the same."""
        if graph.is_reduced:
            return sum_topologies(graph)
        for number, (last, topologies) in self.sums.items():
            if _same_neighbours(last, graph):
                self.sums[number] = graph, topologies
                return topologies
        topologies = sum_topologies(graph)
        if len(self.sums) >= len(self.moving):
            self.sums.clear()
        self.sums[len(self.sums)] = graph, topologies
        return topologies


class PotentialEvaluator:
    """Evaluates potentials on one structure after the other; not for several threads at once.

    Args:
        potentials: an ensemble, or what makes one (frozen ``Potential``, by quantity or for all).
        use_symmetry: take the reduced graph of exactly symmetric crystals.
        skin: A, of the neighbour list that successive calls of ``evaluate`` share.
        recent: keeps the memories of evaluators; one of its own where None.
    """

    def __init__(
        self,
        potentials: PotentialEnsemble | Mapping[str, Sequence[Potential]] | Sequence[Potential],
        *,
        use_symmetry: bool = True,
        skin: float = 0.6,
        recent: Recent[_Memory] | None = None,
    ) -> None:
        self.ensemble = potentials if isinstance(potentials, PotentialEnsemble) else PotentialEnsemble(potentials)
        self.use_symmetry, self.skin = use_symmetry, skin
        self._recent = Recent(1) if recent is None else recent
        self._token = object()

    @property
    def networks(self) -> list[Potential]:
        """All potentials."""
        return self.ensemble.networks

    @property
    def _memory(self) -> _Memory:
        def fresh() -> _Memory:
            dtype, device = self.ensemble.dtype, self.ensemble.device
            return _Memory({s: MovingGraph(s, self.skin, dtype, device) for s in self.ensemble.settings})

        return self._recent.of(self._token, fresh)

    def evaluate(self, atoms: Atoms, names: Sequence[str] | None = None, *, warn: Warn | None = None) -> dict[str, Any]:
        """Evaluate one structure; fast for a sequence of similar ones.

        Args:
            atoms: any ``pbc``.
            names: as in ``PotentialEnsemble.evaluate_batch``.
            warn: shows warnings.

        Raises:
            InvalidStructureError: atoms closer than ``validation.TOUCHING``.
        """
        memory, composition = self._memory, atoms.numbers.tobytes()
        crystal = None
        if self.use_symmetry and len(atoms) >= _SYMMETRY_ATOMS[0] and memory.unsymmetric != composition:
            crystal = self._reduced(atoms, memory)
            memory.unsymmetric = composition if crystal is None else None
        if crystal is None:
            graphs = {settings: moving.graph(atoms) for settings, moving in memory.moving.items()}
            crystal = PreparedStructure(atoms, graphs, np.arange(len(atoms)))
        _check_close_atoms(crystal, warn or show_each_time)
        (found,) = self.ensemble.evaluate_batch([crystal], names, topologies_of=memory.topologies_of, warn=warn)
        return found

    def prepare(self, atoms: Atoms, *, use_symmetry: bool = True, warn: Warn | None = None) -> PreparedStructure:
        """Make the graphs of a structure for a batch, reduced where symmetry is exact, allowed and worth it.

        Raises:
            InvalidStructureError: atoms closer than ``validation.TOUCHING``.
        """
        worthwhile = len(atoms) >= _SYMMETRY_ATOMS_IN_BATCHES and self.use_symmetry and use_symmetry
        crystal = self._reduced(atoms, self._memory) if worthwhile else None
        if crystal is None:
            graphs = {settings: build_graph(atoms, settings) for settings in self.ensemble.settings}
            crystal = PreparedStructure(atoms, graphs, np.arange(len(atoms)))
        _check_close_atoms(crystal, warn or show_each_time)
        return crystal

    def prepare_symmetric(self, group: SpaceGroup, *, warn: Warn | None = None) -> PreparedStructure:
        """Make the graphs of ``group.primitive``, on which the group is known to act exactly, for a batch."""
        build = build_reduced_graph if group.order > 1 and self.use_symmetry else _plain_graph
        graphs = {settings: build(group, settings) for settings in self.ensemble.settings}
        crystal = PreparedStructure(group.primitive, graphs, np.arange(len(group.primitive)))
        _check_close_atoms(crystal, warn or show_each_time)
        return crystal

    def evaluate_batch(
        self, crystals: Sequence[PreparedStructure], names: Sequence[str] | None = None, *, warn: Warn | None = None
    ) -> list[dict[str, Any]]:
        """Evaluate as ``PotentialEnsemble.evaluate_batch``."""
        return self.ensemble.evaluate_batch(crystals, names, warn=warn)

    def _reduced(self, atoms: Atoms, memory: _Memory) -> PreparedStructure | None:
        if not atoms.pbc.all() or len(atoms) > _SYMMETRY_ATOMS[1]:
            return None
        followed = memory.followed
        group = followed.on(atoms, EXACT_SYMMETRY) if followed is not None else None
        if group is None:
            validate_distances(atoms, TOUCHING)  # spglib has no use for overlapping atoms
            group = analyse_space_group(atoms, 1e-5)
            if group.order == 1 or symmetry_error(atoms, group) > EXACT_SYMMETRY:
                return None
            memory.followed = FollowedGroup.of(atoms, group)
        graphs = {settings: build_reduced_graph(group, settings) for settings in self.ensemble.settings}
        return PreparedStructure(atoms, graphs, group.atom_to_primitive)


def _plain_graph(group: SpaceGroup, settings: GraphSettings) -> CrystalGraph:
    return build_graph(group.primitive, settings)


def _same_neighbours(first: CrystalGraph, second: CrystalGraph) -> bool:
    """Whether two plain graphs have the same edges between the same atoms."""
    if first.edge_receiver is second.edge_receiver:
        return True
    return (
        len(first.numbers) == len(second.numbers)
        and torch.equal(first.edge_receiver, second.edge_receiver)
        and torch.equal(first.edge_atom, second.edge_atom)
    )


def _check_close_atoms(crystal: PreparedStructure, warn: Warn) -> None:
    """Refuse atoms that overlap, warn about those that nearly do (without the distance: each step has another)."""
    vectors = crystal.graph.edge_vector
    shortest = float(vectors.square().sum(1).min()) ** 0.5 if len(vectors) else np.inf
    if shortest < TOUCHING:
        validate_distances(crystal.atoms, TOUCHING)  # says which atoms
    if shortest < MINIMUM_DISTANCE:
        formula = crystal.atoms.get_chemical_formula()
        warn(
            f"close atoms {formula}",
            f"{formula}: atoms closer than {MINIMUM_DISTANCE} Å are outside the training domain; only the screened "
            "nuclear repulsion describes them.",
        )


def symmetry_error(atoms: Atoms, group: SpaceGroup) -> float:
    """A, how far the idealised structure is from the given one: atoms and lattice vectors."""
    strain = np.abs(cell_multiple(atoms, group) @ group.primitive.cell.array - atoms.cell.array).max()
    return float(max(strain, group.idealisation_displacement))
