"""Frames that stay in the memory of a GPU, and batches of constant shape put together there.

A captured step (``captured.py``) may not ask for sizes or sort anything: every index of a batch is worked out here from
the indices of single frames, which are sorted once. What comes out is what ``frame_batch.padded`` and ``SumTopology``
make of the same frames on a CPU, except for the places of the atoms, edges and pairs that fill a batch up and count
nothing. Edges of a frame are sorted by receiver, then by sender.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.graphs.building import plain_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.reciprocal_vectors import reciprocal_tensors
from ase_comformer.graphs.schema import GraphField, declarations, padding_rows, present
from ase_comformer.nn.operations.sum_topology import SortedEdges, SumTopology
from ase_comformer.training.data.frame_edges import edges_of, frame_reciprocal_vectors
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.tasks.frame_batch import RESPONSES, Capacity, FrameBatch, labels_of

Topology = dict[str, tuple[Tensor, ...]]


@dataclass
class _Rows:
    """Tells where the rows (atoms, edges or pairs) of a batch come from.

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
        graph: the fields of ``CrystalGraph`` by name, atoms counted within their frame: (A + 1, ...), (E + 1, ...) or
            (F + 1, ...); which crystal an atom belongs to is not kept.
        labels: the labels of ``FrameBatch`` by name, (A + 1, ...) or (F + 1, ...).
        indices: those of ``FrameEdges``, (E + 1,) or (P + 1,).
        is_response: (F + 1,) whether a frame is near rest (``RESPONSES``).
    """

    atom_start: Tensor
    edge_start: Tensor
    pair_start: Tensor
    graph: dict[str, Tensor]
    labels: dict[str, Tensor]
    indices: dict[str, Tensor]
    is_response: Tensor

    def __len__(self) -> int:
        """F."""
        return len(self.is_response) - 1

    @classmethod
    def from_frames(cls, frames: Frames, settings: GraphSettings) -> ResidentFrames:
        """Find the graphs of all frames, by all cores; they are on the CPU until ``to``."""
        found = edges_of(frames, settings)
        further = {}
        if settings.reciprocal_cutoff:
            further = reciprocal_tensors(frame_reciprocal_vectors(frames, settings.reciprocal_cutoff))
            further["atom_position"] = torch.from_numpy(frames.positions)
        none = np.zeros(0, dtype=np.int64)
        atoms_only = plain_graph(frames.numbers, frames.count, frames.cell, (none, none, np.zeros((0, 3))), **further)

        def started(counts: NDArray[np.int64]) -> Tensor:
            # the empty frame begins and ends where the filler is
            return torch.from_numpy(np.concatenate([[0], np.cumsum(counts), [counts.sum()]]).astype(np.int64))

        graph = {}
        owner = torch.from_numpy(np.repeat(frames.start, frames.count))
        for name, declared, value in present(atoms_only.to(dtype=torch.float32)):
            if declared.over == "edge":
                graph[name] = _with_filler(declared, torch.from_numpy(found.graph[name]))
            elif declared.refers_to is None:
                graph[name] = _with_filler(declared, value)
            elif declared.refers_to != "crystal":
                graph[name] = _with_filler(declared, (value - owner).to(torch.int32))
        declarations_of_labels = declarations(FrameBatch)
        return cls(
            atom_start=started(frames.count),
            edge_start=started(found.edge_count),
            pair_start=started(found.pair_count),
            graph=graph,
            labels={
                name: _with_filler(declarations_of_labels[name], torch.from_numpy(values))
                for name, values in labels_of(frames).items()
            },
            indices={name: torch.from_numpy(np.append(values, 0)) for name, values in found.indices.items()},
            is_response=torch.from_numpy(np.append(np.isin(frames.kind, sorted(RESPONSES)), False)),
        )

    def to(self, device: torch.device | str) -> ResidentFrames:
        """Return the same in the memory of a device."""

        def moved(values: Tensor | dict[str, Tensor]) -> Any:
            return {k: v.to(device) for k, v in values.items()} if isinstance(values, dict) else values.to(device)

        return ResidentFrames(**{part.name: moved(getattr(self, part.name)) for part in fields(self)})

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
        edge_group = (edge - edges.total) * groups // more_edges
        pair_group = (pair - pairs.total) * groups // more_pairs

        def first(group: Tensor, more: Tensor) -> Tensor:
            return (group * more + groups - 1) // groups

        rows = {"node": atoms, "atom": atoms, "edge": edges}
        own = torch.arange(capacity.atoms, device=chosen.device)
        parts = {name: rows[over].frame for over, name in (("node", "node_crystal"), ("atom", "atom_crystal"))}
        for name, values in self.graph.items():
            declared = declarations(CrystalGraph)[name]
            if declared.over == "crystal":
                parts[name] = values[chosen]
            elif declared.refers_to is None:
                parts[name] = values[rows[declared.over].source]
            else:
                filler = atoms.total + edge_group if declared.over == "edge" else own
                parts[name] = rows[declared.over].shifted(values, atoms.offset, filler)
        graph = CrystalGraph(**parts)
        index = self.indices
        # the first pair of a group has all its edges
        in_group = first(pair_group + 1, more_edges) - first(pair_group, more_edges)
        filling = torch.where(pair - pairs.total == first(pair_group, more_pairs), in_group, 0)
        topology = (_fused_tensors if fused else _topology)(
            receiver=graph.edge_receiver,
            sender=graph.edge_atom,
            edge_pair=edges.shifted(index["edge_pair"], pairs.offset, pairs.total + first(edge_group, more_pairs)),
            edge_by_sender=edges.shifted(index["edge_by_sender"], edges.offset, edge),
            pair_receiver=pairs.shifted(index["pair_receiver"], atoms.offset, atoms.total + pair_group),
            pair_sender=pairs.shifted(index["pair_sender"], atoms.offset, atoms.total + pair_group),
            pair_size=torch.where(pairs.is_real, index["pair_size"][pairs.source], filling),
            pair_by_sender=pairs.shifted(index["pair_by_sender"], pairs.offset, pair),
            atoms=capacity.atoms,
        )
        labels = {
            name: values[atoms.source if declarations(FrameBatch)[name].over == "atom" else chosen]
            for name, values in self.labels.items()
        }
        batch = FrameBatch(graph=graph, partner=self._partner(chosen, sibling, atoms), sibling=sibling, **labels)
        return batch, topology

    def _partner(self, chosen: Tensor, sibling: Tensor, atoms: _Rows) -> Tensor:
        """(A,) the same atom in the other frame of a pair near rest, A elsewhere."""
        own = torch.arange(len(atoms.source), device=chosen.device)
        other = sibling.clamp(max=len(chosen) - 1)
        paired = (sibling < len(chosen)) & self.is_response[chosen]
        shift = torch.where(paired, atoms.offset[other] - atoms.offset, 0)
        return torch.where(atoms.is_real & paired[atoms.frame], own + shift[atoms.frame], len(own))


def _with_filler(declared: GraphField, rows: Tensor) -> Tensor:
    """Add the row that belongs to no frame."""
    return torch.cat([rows, padding_rows(declared, rows, 1)])


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
    """Compute the tensors that ``fused_topology`` reads."""
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
