"""The crystals of a batch seen from their lattice frames: what iComFormer's edge update works on.

A view is a crystal beside one of its lattice frames. With joint frames, nodes and edges are copied once per frame after
the edge update and their features averaged at the end, over whole frames; else every crystal has one view, in which
the vectors that tie in a slot are averaged on their own (see ``graphs.joint_frames`` for the difference).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.layers.attention import edge_candidate_pairs, scatter_sum


@dataclass(frozen=True)
class FrameViews:
    """Lattice vectors and copies of nodes and edges; E' edges and n' nodes of all views, F vectors, P pairs.

    Attributes:
        vector: (F, 3) lattice vectors in A, ``slot`` (F,) 0, 1 or 2, ``share`` (F,) their weights.
        pairs: edge (P,) of a view and lattice vector (P,), edges in ascending order.
        cosine: (P,) between the vector from the receiver to the sender and the lattice vector.
        receiver: (E',) and ``sender`` (E',), nodes of the view.
        nodes: n, of the graph.
        edge_copy: (E',) edge of the graph that is copied, None where there is one view of every crystal.
        node_copy: (n',) node of the graph that is copied, and ``node_share`` (n',) the weight of its frame.
    """

    vector: Tensor
    slot: Tensor
    share: Tensor
    pairs: tuple[Tensor, Tensor]
    cosine: Tensor
    receiver: Tensor
    sender: Tensor
    nodes: int
    edge_copy: Tensor | None = None
    node_copy: Tensor | None = None
    node_share: Tensor | None = None

    def of_edges(self, values: Tensor) -> Tensor:
        """Copy values of the edges of the graph (E, ...) to those of the views (E', ...)."""
        return values if self.edge_copy is None else values.index_select(0, self.edge_copy)

    def of_nodes(self, values: Tensor) -> Tensor:
        """Copy values of the nodes of the graph (n, ...) to those of the views (n', ...)."""
        return values if self.node_copy is None else values.index_select(0, self.node_copy)

    def mean(self, values: Tensor) -> Tensor:
        """Average values of the nodes of the views (n', C) over the frames of their crystal to (n, C)."""
        if self.node_copy is None or self.node_share is None:
            return values
        return scatter_sum(values * self.node_share[:, None], self.node_copy, self.nodes)


def frame_views(graph: CrystalGraph) -> FrameViews:
    """Return one view for every joint frame of every crystal; the graph has three vectors of a frame in a row."""
    vector, slot, weight, crystal = _fields(graph)
    frame_crystal, frame_weight = crystal[::3], weight[::3]
    receiver, sender, node_crystal = graph.edge_receiver, graph.edge_sender, graph.node_crystal
    node_copy, frame_of_node = edge_candidate_pairs(node_crystal, frame_crystal, graph.crystal_count)
    edge_crystal = node_crystal.index_select(0, receiver)
    edge_copy, frame_of_edge = edge_candidate_pairs(edge_crystal, frame_crystal, graph.crystal_count)
    frames = torch.bincount(frame_crystal, minlength=graph.crystal_count)
    per_node = frames.index_select(0, node_crystal)
    first_copy = torch.cumsum(per_node, 0) - per_node
    rank = _rank_within(frame_crystal, frames).index_select(0, frame_of_edge)
    edges = len(edge_copy)
    in_slot = torch.arange(3, device=vector.device)
    pairs = (
        torch.arange(edges, device=vector.device).repeat_interleave(3),
        (3 * frame_of_edge[:, None] + in_slot).reshape(-1),
    )
    return FrameViews(
        vector=vector,
        slot=slot,
        share=torch.ones_like(weight),
        pairs=pairs,
        cosine=_cosine(graph.edge_vector, vector, (edge_copy.repeat_interleave(3), pairs[1])),
        receiver=first_copy.index_select(0, receiver.index_select(0, edge_copy)) + rank,
        sender=first_copy.index_select(0, sender.index_select(0, edge_copy)) + rank,
        nodes=len(node_crystal),
        edge_copy=edge_copy,
        node_copy=node_copy,
        node_share=frame_weight.index_select(0, frame_of_node),
    )


def slot_views(graph: CrystalGraph, *, half: bool) -> FrameViews:
    """Return one view of every crystal, with the vectors that tie in each slot.

    ``half``: keep one of each pair v, -v with the weight of both, for even functions of the cosines.
    """
    vector, slot, share, crystal = _fields(graph)
    if half:
        # Any plane that holds no lattice vector separates v from -v; which of the two is kept changes nothing.
        normal = torch.tensor(
            [0.5547001962252291, 0.6349416967636, 0.5377735], dtype=vector.dtype, device=vector.device
        )
        kept = torch.nonzero(vector @ normal > 0)[:, 0]
        vector, slot, share, crystal = vector[kept], slot[kept], 2.0 * share[kept], crystal[kept]
    edge_crystal = graph.node_crystal.index_select(0, graph.edge_receiver)
    pairs = edge_candidate_pairs(edge_crystal, crystal, graph.crystal_count)
    return FrameViews(
        vector=vector,
        slot=slot,
        share=share,
        pairs=pairs,
        cosine=_cosine(graph.edge_vector, vector, pairs),
        receiver=graph.edge_receiver,
        sender=graph.edge_sender,
        nodes=len(graph.node_crystal),
    )


def _rank_within(crystal: Tensor, counts: Tensor) -> Tensor:
    """Number the frames (F,) of each crystal from zero; ``counts`` (B,) of each crystal."""
    order = torch.argsort(crystal, stable=True)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(crystal)
    rank[order] = torch.arange(len(crystal), device=crystal.device) - first.index_select(
        0, crystal.index_select(0, order)
    )
    return rank


def _cosine(edge: Tensor, frame: Tensor, pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Cosines (P,) between edge vectors and lattice vectors of the pairs."""
    edge_unit = nn.functional.normalize(edge, dim=-1).index_select(0, pairs[0])
    frame_unit = nn.functional.normalize(frame, dim=-1).index_select(0, pairs[1])
    return (edge_unit * frame_unit).sum(-1)


def _fields(graph: CrystalGraph) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frame candidates: vectors (F, 3), slots (F,), weights (F,), crystals (F,)."""
    vector, slot, weight, crystal = graph.frame_vector, graph.frame_slot, graph.frame_weight, graph.frame_crystal
    if vector is None or slot is None or weight is None or crystal is None:
        raise ValueError("iComFormer needs the lattice frame; build graphs with GraphSettings(lattice_frame=True)")
    return vector, slot, weight, crystal
