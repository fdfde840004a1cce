"""Frames that stay in the memory of a GPU, and batches of constant shape put together there.

A captured step (``captured.py``) may not ask for sizes or sort anything: every index of a batch is worked out here from
the indices of single frames, which are sorted once. What comes out is what ``frame_batch.padded`` and ``SumTopology``
make of the same frames on a CPU, except for the places of the atoms, edges and pairs that fill a batch up and count
nothing. Edges of a frame are sorted by receiver, then by sender.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.reciprocal_vectors import reciprocal_tensors
from ase_comformer.nn.operations.sum_topology import SortedEdges, SumTopology
from ase_comformer.training.data.frame_edges import INDICES, edges_of, frame_reciprocal_vectors
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.tasks.frame_batch import RESPONSES, Capacity, FrameBatch, labels_of

Topology = dict[str, tuple[Tensor, ...]]


@dataclass
class _Rows:
    """Where the rows (atoms, edges or pairs) of a batch come from.

    Attributes:
        source: (S,) row of the resident table, its last row (the filler) behind ``total``.
        is_real: (S,) whether a row belongs to a frame.
        frame: (S,) frame of the batch, the last one behind ``total``.
        offset: (B,) first row of every frame.
        total: () rows of all frames.
    """

    source: Tensor
    is_real: Tensor
    frame: Tensor
    offset: Tensor
    total: Tensor

    @classmethod
    def from_starts(cls, start: Tensor, chosen: Tensor, size: int) -> _Rows:
        """``start`` (F + 2,) of the frames and of the filler in the table, ``chosen`` (B,) frames, S = ``size``."""
        count = start[chosen + 1] - start[chosen]
        end = torch.cumsum(count, 0)
        slot = torch.arange(size, device=start.device)
        frame = torch.searchsorted(end, slot, right=True).clamp(max=len(chosen) - 1)
        offset, is_real = end - count, slot < end[-1]
        source = torch.where(is_real, start[chosen][frame] + slot - offset[frame], start[-1])
        return cls(source, is_real, frame, offset, end[-1])

    def shifted(self, local: Tensor, offset: Tensor, filler: Tensor) -> Tensor:
        """(S,) values of a table that count from the start of a frame, as they count in the batch."""
        return torch.where(self.is_real, local[self.source] + offset[self.frame], filler)


@dataclass
class ResidentFrames:
    """F frames and an empty one behind them, which fills batches up; the last row of every table belongs to none.

    Attributes:
        atom_start, edge_start, pair_start: (F + 2,) where the rows of each frame begin.
        numbers (A,), mass (A,) u, forces (A, 3) eV/A, positions (A, 3) A.
        receiver (E,), sender (E,), vector (E, 3) A: of edges, atoms counted within their frame.
        edge_pair: (E,) pair of every edge, counted within the frame.
        edge_by_sender: (E,) the edges of a frame sorted by sender.
        pair_receiver (P,), pair_sender (P,): atoms of pairs; pair_size (P,) edges; pair_by_sender (P,) as for edges.
        energy (F + 1,) eV in float64, stress (F + 1, 3, 3), polarisation (F + 1, 3), cell (F + 1, 3, 3), volume,
            fidelity, has_forces, has_energy, has_stress, has_polarisation, is_response (F + 1,): as in ``FrameBatch``.
        reciprocal vectors: (F + 1, K, ...) tensors of the graphs, none where the graphs have no reciprocal vectors.
    """

    atom_start: Tensor
    edge_start: Tensor
    pair_start: Tensor
    numbers: Tensor
    mass: Tensor
    forces: Tensor
    positions: Tensor
    receiver: Tensor
    sender: Tensor
    vector: Tensor
    edge_pair: Tensor
    edge_by_sender: Tensor
    pair_receiver: Tensor
    pair_sender: Tensor
    pair_size: Tensor
    pair_by_sender: Tensor
    energy: Tensor
    stress: Tensor
    polarisation: Tensor
    cell: Tensor
    volume: Tensor
    fidelity: Tensor
    has_forces: Tensor
    has_energy: Tensor
    has_stress: Tensor
    has_polarisation: Tensor
    is_response: Tensor
    reciprocal_vectors: dict[str, Tensor]

    def __len__(self) -> int:
        """F."""
        return len(self.energy) - 1

    @classmethod
    def from_frames(cls, frames: Frames, settings: GraphSettings) -> ResidentFrames:
        """Graphs of all frames, found by all cores; on the CPU until ``to``."""
        found = edges_of(frames, settings)
        reciprocal_vectors = (
            reciprocal_tensors(frame_reciprocal_vectors(frames, settings.reciprocal_cutoff))
            if settings.reciprocal_cutoff
            else {}
        )

        def started(counts: NDArray[np.int64]) -> Tensor:
            # the empty frame begins and ends where the filler is
            return torch.from_numpy(np.concatenate([[0], np.cumsum(counts), [counts.sum()]]).astype(np.int64))

        def table(values: NDArray[np.generic], filler: float = 0.0) -> Tensor:
            rows = torch.from_numpy(values)
            return torch.cat([rows, rows.new_full((1, *rows.shape[1:]), filler)])

        cell = np.concatenate([frames.cell, np.eye(3)[None]]).astype(np.float32)
        labels = labels_of(frames)
        return cls(
            atom_start=started(frames.count),
            edge_start=started(found.edge_count),
            pair_start=started(found.pair_count),
            numbers=table(frames.numbers, 1),
            mass=table(labels.pop("mass"), 1.0),
            positions=table(frames.positions.astype(np.float32)),
            vector=table(found.vector, 1.0),
            **{name: table(getattr(found, name)) for name in INDICES},
            **{name: table(values) for name, values in labels.items()},
            cell=torch.from_numpy(cell),
            volume=table(np.abs(np.linalg.det(frames.cell)).astype(np.float32), 1.0),
            is_response=table(np.isin(frames.kind, sorted(RESPONSES)), False),
            reciprocal_vectors={name: table(values.numpy()) for name, values in reciprocal_vectors.items()},
        )

    def to(self, device: torch.device | str) -> ResidentFrames:
        """The same in the memory of a device."""
        tensors = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "reciprocal_vectors"}
        reciprocal_vectors = {name: values.to(device) for name, values in self.reciprocal_vectors.items()}
        return ResidentFrames(
            **{name: values.to(device) for name, values in tensors.items()}, reciprocal_vectors=reciprocal_vectors
        )

    def sizes(self) -> NDArray[np.int64]:
        """(F, 4) frames (one), atoms, edges and pairs of every frame."""
        starts = torch.stack([self.atom_start, self.edge_start, self.pair_start], dim=1)[:-1]
        counts = torch.diff(starts, dim=0).cpu().numpy()
        return np.concatenate([np.ones((len(counts), 1), dtype=np.int64), counts], axis=1)

    def batch(
        self, chosen: Tensor, sibling: Tensor, capacity: Capacity, fused: bool = False
    ) -> tuple[FrameBatch, Topology]:
        """These frames as one batch filled up to ``capacity``, and the tensors of its ``SumTopology``.

        Args:
            chosen: (B,) of frames, F where there is none; B is that of the capacity, and the last one is F.
            sibling: (B,) position in ``chosen`` of the other frame of a pair, B where a frame stands alone.
            capacity: above the sum of the sizes in atoms, edges and pairs.
            fused: tensors of a ``fused_topology`` instead.
        """
        atoms = _Rows.from_starts(self.atom_start, chosen, capacity.atoms)
        edges = _Rows.from_starts(self.edge_start, chosen, capacity.edges)
        pairs = _Rows.from_starts(self.pair_start, chosen, capacity.pairs)
        # what fills a batch up goes from atoms behind the frames to themselves, in groups as equal as can be: sums over
        # the edges and pairs of one atom are loops, and a single long one would keep the GPU waiting
        edge, pair = (torch.arange(size, device=chosen.device) for size in (capacity.edges, capacity.pairs))
        more_edges, more_pairs = capacity.edges - edges.total, capacity.pairs - pairs.total
        groups = torch.minimum(capacity.atoms - atoms.total, torch.minimum(more_edges, more_pairs))
        of_edge = (edge - edges.total) * groups // more_edges
        of_pair = (pair - pairs.total) * groups // more_pairs

        def first(group: Tensor, more: Tensor) -> Tensor:
            return (group * more + groups - 1) // groups

        receiver = edges.shifted(self.receiver, atoms.offset, atoms.total + of_edge)
        sender = edges.shifted(self.sender, atoms.offset, atoms.total + of_edge)
        # the first pair of a group has all its edges
        in_group = first(of_pair + 1, more_edges) - first(of_pair, more_edges)
        filling = torch.where(pair - pairs.total == first(of_pair, more_pairs), in_group, 0)
        topology = (_fused_tensors if fused else _topology)(
            receiver=receiver,
            sender=sender,
            edge_pair=edges.shifted(self.edge_pair, pairs.offset, pairs.total + first(of_edge, more_pairs)),
            edge_by_sender=edges.shifted(self.edge_by_sender, edges.offset, edge),
            pair_receiver=pairs.shifted(self.pair_receiver, atoms.offset, atoms.total + of_pair),
            pair_sender=pairs.shifted(self.pair_sender, atoms.offset, atoms.total + of_pair),
            pair_size=torch.where(pairs.is_real, self.pair_size[pairs.source], filling),
            pair_by_sender=pairs.shifted(self.pair_by_sender, pairs.offset, pair),
            atoms=capacity.atoms,
        )
        count = (self.atom_start[chosen + 1] - self.atom_start[chosen]).clamp(min=1)
        own = torch.arange(capacity.atoms, device=chosen.device)
        graph = CrystalGraph(
            numbers=self.numbers[atoms.source],
            node_crystal=atoms.frame,
            node_weight=torch.where(atoms.is_real, 1.0 / count[atoms.frame], 0.0),
            edge_receiver=receiver,
            edge_atom=sender,
            edge_vector=self.vector[edges.source],
            edge_weight=edges.is_real.to(self.vector.dtype),
            atom_node=own,
            atom_crystal=atoms.frame,
            cell=self.cell[chosen],
            volume=self.volume[chosen],
            atom_count=count,
            **{name: values[chosen] for name, values in self.reciprocal_vectors.items()},
            atom_position=self.positions[atoms.source] if self.reciprocal_vectors else None,
        )
        batch = FrameBatch(
            graph=graph,
            energy=self.energy[chosen],
            forces=self.forces[atoms.source],
            mass=self.mass[atoms.source],
            stress=self.stress[chosen],
            polarisation=self.polarisation[chosen],
            fidelity=self.fidelity[chosen],
            partner=self._partner(chosen, sibling, atoms),
            sibling=sibling,
            has_forces=self.has_forces[chosen],
            has_energy=self.has_energy[chosen],
            has_stress=self.has_stress[chosen],
            has_polarisation=self.has_polarisation[chosen],
        )
        return batch, topology

    def _partner(self, chosen: Tensor, sibling: Tensor, atoms: _Rows) -> Tensor:
        """(A,) the same atom in the other frame of a pair near rest, A elsewhere."""
        own = torch.arange(len(atoms.source), device=chosen.device)
        other = sibling.clamp(max=len(chosen) - 1)
        paired = (sibling < len(chosen)) & self.is_response[chosen]
        shift = torch.where(paired, atoms.offset[other] - atoms.offset, 0)
        return torch.where(atoms.is_real & paired[atoms.frame], own + shift[atoms.frame], len(own))


def _topology(
    *,
    receiver: Tensor,
    sender: Tensor,
    edge_pair: Tensor,
    edge_by_sender: Tensor,
    pair_receiver: Tensor,
    pair_sender: Tensor,
    pair_size: Tensor,
    pair_by_sender: Tensor,
    atoms: int,
) -> Topology:
    """Build the tensors of the ``SumTopology`` of a plain batch whose edges are sorted by receiver, then by sender."""
    found = SortedEdges(
        receiver=receiver,
        sender_atom=sender,
        sender=sender,
        order=torch.arange(len(receiver), device=receiver.device),
        edge_pair=edge_pair,
        pair_receiver=pair_receiver,
        pair_atom=pair_sender,
        pair_sender=pair_sender,
        pair_size=pair_size,
        edge_by_sender=edge_by_sender,
        pair_by_sender=pair_by_sender,
    )
    return SumTopology.from_sorted(found, atoms).tensors()


def _fused_tensors(
    *,
    receiver: Tensor,
    sender: Tensor,
    edge_pair: Tensor,
    edge_by_sender: Tensor,
    pair_receiver: Tensor,
    pair_sender: Tensor,
    pair_size: Tensor,
    pair_by_sender: Tensor,
    atoms: int,
) -> Topology:
    """What ``fused_topology`` reads."""
    edges, pairs = len(receiver), len(pair_receiver)
    edge, pair = (torch.arange(size, device=receiver.device) for size in (edges, pairs))
    atom = torch.arange(atoms + 1, device=receiver.device)
    starts = torch.searchsorted(receiver, atom)
    zero = pair_size.new_zeros(1, dtype=torch.int64)
    found = {
        "starts": starts,
        "edge_pair": edge_pair,
        "pair_starts": torch.cat([zero, torch.cumsum(pair_size, 0)]),
        "pair_receiver": pair_receiver,
        "pair_atom": pair_sender,
        "ends_columns": torch.cat([edge, edge_by_sender]),
        "ends_starts": torch.cat([starts[:-1], edges + torch.searchsorted(sender[edge_by_sender], atom)]),
        "pair_order": pair,
        "receiver_starts": torch.searchsorted(pair_receiver, atom),
        "pair_by_sender": pair_by_sender,
        "sender_starts": torch.searchsorted(pair_sender[pair_by_sender], atom),
    }
    return {name: (value,) for name, value in found.items()}
