"""Many structures that move, evaluated together step after step: relaxations and dynamics in batches.

What one step leaves for the next makes it fast: neighbour lists with a skin, of which edges beyond the cut-off weigh
nothing, so that the same sums over edges serve as long as no atom has gone far; and space groups, whose operations
stay what they are where displacements and strains keep them (``crystals.symmetric_motion``).

A structure of p atoms has places r = F (r0 + u), with the places r0 that it was made with, displacements u and a
symmetric deformation F of the cell. Index letters: A atoms and E edges of all structures, B structures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.lattice_reduction import without_skew
from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.graphs.building import build_graph, build_reduced_graph, crystal_parts
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pair_cutoffs import longest_cutoff
from ase_comformer.graphs.reciprocal_vectors import batched_reciprocal_vectors, reciprocal_fields, reciprocal_tensors
from ase_comformer.inference.potential_ensemble import PotentialEnsemble, sum_topologies
from ase_comformer.nn.operations.sum_topology import SumTopology

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MovingStructure:
    """A structure before it moves.

    Attributes:
        atoms: the places r0 and the cell.
        group: under which all displacements and strains stay invariant, and ``atoms`` are its primitive cell; None
            where nothing is known of them.
    """

    atoms: Atoms
    group: SpaceGroup | None = None

    @property
    def is_symmetric(self) -> bool:
        """Whether there is more than the identity to make use of."""
        return self.group is not None and self.group.order > 1

    def moved(self, displacements: Array, deformation: Array) -> Atoms:
        """The structure with displacements (p, 3) A and deformation (3, 3)."""
        moved = self.atoms.copy()
        moved.set_cell(self.atoms.cell.array @ deformation.T)
        moved.positions = (self.atoms.positions + displacements) @ deformation.T
        return moved


@dataclass(frozen=True)
class Evaluated:
    """What is known of all structures in one place.

    Attributes:
        energies: (B,) eV.
        forces: (A, 3) eV/A.
        stress: (B, 3, 3) eV/A^3.
        novelty: (A,) above one where atoms are outside the training domain, see ``nn.uncertainty``.
        shortest: (B,) A, the shortest distance of two atoms.
        counts: (B,) atoms of each structure.
    """

    energies: Array
    forces: Array
    stress: Array
    novelty: Array
    shortest: Array
    counts: NDArray[np.int64]

    def divided(self) -> list[Evaluated]:
        """The same, structure by structure."""
        ends = np.cumsum(self.counts)[:-1]
        of_atoms = zip(np.split(self.forces, ends), np.split(self.novelty, ends), strict=True)
        return [
            Evaluated(self.energies[k : k + 1], forces, self.stress[k : k + 1], novelty, *self._ends(k))
            for k, (forces, novelty) in enumerate(of_atoms)
        ]

    def _ends(self, number: int) -> tuple[Array, NDArray[np.int64]]:
        return self.shortest[number : number + 1], self.counts[number : number + 1]


class MovingBatch:
    """Structures that are evaluated together; they are all symmetric, or none is.

    Args:
        ensemble: the potentials.
        structures: B of them.
        skin: A, of neighbour lists; a wider one lasts longer and has more edges.

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.inference.predictor import Predictor
        >>> ensemble = Predictor().potential.ensemble
        >>> batch = MovingBatch(ensemble, [MovingStructure(bulk("Cu")), MovingStructure(bulk("Al"))])
        >>> batch.evaluate(np.zeros((2, 3))).energies.shape
        (2,)
    """

    def __init__(self, ensemble: PotentialEnsemble, structures: Sequence[MovingStructure], skin: float = 0.3) -> None:
        self.ensemble, self.structures = ensemble, structures
        self.counts = np.array([len(structure.atoms) for structure in structures])
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])
        self.places = np.concatenate([structure.atoms.positions for structure in structures])
        self.cells = np.stack([structure.atoms.cell.complete().array for structure in structures])
        self._parts = [_Listed(settings, self, skin) for settings in ensemble.settings]

    def evaluate(self, displacements: Array, deformations: Array | None = None) -> Evaluated:
        """Evaluate all structures.

        Args:
            displacements: (A, 3) A.
            deformations: (B, 3, 3) symmetric; none where None.
        """
        if deformations is None:
            deformations = np.broadcast_to(np.eye(3), (len(self.structures), 3, 3))
        graphs = {part.settings: part.graph(displacements, deformations) for part in self._parts}
        sums = {part.settings: part.topologies for part in self._parts}
        return Evaluated(*self.ensemble.means(graphs, sums), self._parts[0].shortest, self.counts)

    def atoms_of(self, values: Array) -> list[Array]:
        """Divide (A, ...) by structure."""
        return np.split(values, self.starts[1:-1])


class _Listed:
    """The graph of a batch for potentials of one kind, whose neighbour lists are renewed one by one."""

    def __init__(self, settings: GraphSettings, batch: MovingBatch, skin: float) -> None:
        self.settings, self.batch, self.skin = settings, batch, skin
        wide = tuple((symbol, reach + skin) for symbol, reach in settings.reach)
        self._wide = replace(settings, cutoff=settings.cutoff + skin, reach=wide, reciprocal_cutoff=0.0)
        self._graphs: list[CrystalGraph] = [None] * len(batch.structures)  # type: ignore[list-item]
        self._base: CrystalGraph | None = None
        # displacements and deformations that the lists were found for
        self._displacements = np.zeros_like(batch.places)
        self._deformations = np.broadcast_to(np.eye(3), batch.cells.shape).copy()
        self._waves: dict[str, torch.Tensor] = {}
        self._waves_of: Array | None = None
        atoms = [structure.atoms for structure in batch.structures]
        self._are_bulk = all(each.pbc.all() for each in atoms)
        longest = [longest_cutoff(settings.reach, settings.cutoff, each.numbers) for each in atoms]
        self._cutoffs = np.stack([np.full(len(atoms), settings.cutoff), longest])
        self._skewless = [without_skew(cell)[1] if self._are_bulk else None for cell in batch.cells]

    def graph(self, displacements: Array, deformations: Array) -> CrystalGraph:
        """The graph of the moved structures; finds neighbours where the lists no longer cover them."""
        self._renew(displacements, deformations)
        assert self._base is not None
        moved = displacements - self._displacements
        vectors = self._vectors + moved[self._sender] - moved[self._receiver]
        is_deformed = not np.array_equal(deformations, np.broadcast_to(np.eye(3), deformations.shape))
        if is_deformed:
            vectors = np.einsum("exy,ey->ex", deformations[self._crystal], vectors)
        lengths = np.sqrt(np.einsum("ex,ex->e", vectors, vectors))
        self.shortest = np.full(len(self.batch.structures), np.inf)
        np.minimum.at(self.shortest, self._crystal, lengths)
        cells = self.batch.cells @ np.swapaxes(deformations, 1, 2)
        fields = {"edge_vector": torch.from_numpy(vectors), **crystal_parts(cells, self.batch.counts)}
        if self.settings.reciprocal_cutoff:
            fields |= self._reciprocal(displacements, deformations, cells)
        dtype, device = self.batch.ensemble.dtype, self.batch.ensemble.device
        floating = {name: part.to(device, dtype) for name, part in fields.items() if part.is_floating_point()}
        return replace(self._base, **floating)

    def _renew(self, displacements: Array, deformations: Array) -> None:
        """Find the neighbours of the structures whose lists may miss some, and join all lists again."""
        covered = self._covered(displacements, deformations)
        if self._base is not None and covered.all():
            return
        starts = self.batch.starts
        for number in range(len(self.batch.structures)) if self._base is None else np.flatnonzero(~covered).tolist():
            own = slice(starts[number], starts[number + 1])
            structure, deformation = self.batch.structures[number], deformations[number]
            moved = structure.moved(displacements[own], deformation)
            if structure.is_symmetric and structure.group is not None:
                self._graphs[number] = build_reduced_graph(replace(structure.group, primitive=moved), self._wide)
            else:
                self._graphs[number] = build_graph(moved, self._wide)
            self._displacements[own], self._deformations[number] = displacements[own], deformation
        self._join()

    def _join(self) -> None:
        base = collate(self._graphs)
        nodes = [
            structure.group.representatives
            if structure.is_symmetric and structure.group is not None
            else np.arange(len(structure.atoms))
            for structure in self.batch.structures
        ]
        atom_of_node = np.concatenate([start + own for start, own in zip(self.batch.starts, nodes, strict=False)])
        self._receiver = atom_of_node[base.edge_receiver.numpy()]
        self._sender = base.edge_atom.numpy()
        self._crystal = base.node_crystal[base.edge_receiver].numpy()
        back = np.linalg.inv(self._deformations)
        self._vectors = np.einsum("exy,ey->ex", back[self._crystal], base.edge_vector.numpy())
        self._base = base.to(self.batch.ensemble.dtype, self.batch.ensemble.device)
        self.topologies: Sequence[SumTopology] = sum_topologies(self._base)

    def _covered(self, displacements: Array, deformations: Array) -> NDArray[np.bool_]:
        """(B,) of which structures the lists hold all neighbours, see ``graphs.moving``."""
        moved = np.linalg.norm(displacements - self._displacements, axis=1)
        farthest = np.maximum.reduceat(moved, self.batch.starts[:-1])
        since = deformations @ np.linalg.inv(self._deformations)
        stretches = np.linalg.svd(since, compute_uv=False)
        sizes = np.linalg.norm(deformations, ord=2, axis=(1, 2))
        left = (self._cutoffs + self.skin) * stretches[:, 2] - 2 * farthest * sizes
        return np.asarray((left >= self._cutoffs).all(axis=0))

    def _reciprocal(self, displacements: Array, deformations: Array, cells: Array) -> dict[str, torch.Tensor]:
        """Reciprocal vectors of the deformed cells, made anew where these have changed."""
        places = np.einsum(
            "axy,ay->ax", np.repeat(deformations, self.batch.counts, axis=0), self.batch.places + displacements
        )
        if self._are_bulk:
            if self._waves_of is None or not np.array_equal(self._waves_of, cells):
                searched = [c if m is None else m @ c for c, m in zip(cells, self._skewless, strict=True)]
                found = batched_reciprocal_vectors(np.stack(searched), self.settings.reciprocal_cutoff)
                count = len(cells)
                self._waves = {
                    **reciprocal_tensors(found),
                    "reciprocal_cutoff": torch.full((count,), self.settings.reciprocal_cutoff, dtype=torch.float64),
                    "nonperiodic_directions": torch.zeros(count, 3, 3, dtype=torch.float64),
                }
                self._waves_of = cells.copy()
            return {"atom_position": torch.from_numpy(places), **self._waves}
        structures = zip(self.batch.structures, self.batch.atoms_of(displacements), deformations, strict=True)
        fields = [
            reciprocal_fields(structure.moved(own, deformation), self.settings.reciprocal_cutoff)
            for structure, own, deformation in structures
        ]
        most = max(each["reciprocal_vector"].shape[1] for each in fields)
        joined = {}
        for name in fields[0]:
            parts = [each[name] for each in fields]
            if name in ("reciprocal_vector", "reciprocal_weight", "reciprocal_slope"):
                parts = [
                    torch.cat([part, part.new_zeros(1, most - part.shape[1], *part.shape[2:])], dim=1) for part in parts
                ]
            joined[name] = torch.cat(parts)
        return joined
