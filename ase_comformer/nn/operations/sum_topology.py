"""The indices of the sums over neighbours of one batch, as the patterns of four sparse matrices.

They depend on which atoms are neighbours, not on where the atoms are, so they are kept while neighbours stay the same.
``SumTopology.from_sorted`` builds all of them; ``from_graph`` sorts the edges of a graph for it, resident frames
(``training.engines.resident``) know the order already. Index letters: n nodes that receive, N all nodes, E edges, P
pairs of receiving node and sending atom.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.operations.sparse import SparsePattern

#: Components of scalars, vectors and tensors.
COMPONENTS = (1, 3, 5)
_PATTERNS = ("ends", "moments", "carried", "arriving")


@dataclass
class SortedEdges:
    """The edges of a batch and the orders in which they are summed.

    Attributes:
        receiver: (E,) node, ``sender_atom`` (E,) atom and ``sender`` (E,) its node, in the order of the graph.
        order: (E,) edges sorted by receiver, those of one pair together.
        edge_pair: (E,) pair of every edge, in the order of the graph.
        pair_receiver: (P,) node, ascending, ``pair_atom`` (P,) atom, ``pair_sender`` (P,) its node and ``pair_size``
            (P,) number of edges of every pair.
        edge_by_sender: (E,) edges sorted by sending node; found when it is needed where None.
        pair_by_sender: (P,) pairs sorted by sending node; found when it is needed where None.
    """

    receiver: Tensor
    sender_atom: Tensor
    sender: Tensor
    order: Tensor
    edge_pair: Tensor
    pair_receiver: Tensor
    pair_atom: Tensor
    pair_sender: Tensor
    pair_size: Tensor
    edge_by_sender: Tensor | None = None
    pair_by_sender: Tensor | None = None


@dataclass
class SumTopology:
    """The indices of the sums of one batch: which atoms are neighbours, not where they are.

    Of a large plain graph there may be several, each for the edges to some of the nodes (``GraphParts``).

    Attributes:
        receiver: (E,) and ``sender_atom`` (E,) of the graph; receivers count from the first node of a part.
        edges: (E,) which edges of the graph they are, None where they are all.
        rows: the nodes of the graph that receive.
        senders: (U,) the nodes of the graph that send, None where all N do, of a whole graph.
        nodes: n, those that receive.
        is_reduced: whether the graph is.
        order: (E,) edges sorted by receiver, those of one pair together.
        starts: (n,) the first of each receiver's edges in that order.
        pair_receiver: (P,) node and ``pair_atom`` (P,) of every pair.
        ends: (E, n + U) picks receiver and sender of every edge from a table of the nodes that receive and, below it,
            one of those that send.
        moments: (9n + P, E), weighted harmonics of the edges of every node and weights of the edges of every pair.
        carried: (8P, 8U) carries the features of a node onto the sender of every pair.
        arriving: (8n, 8P) sums over the pairs of every node.
        notes: what users of the topology have derived from it and keep as long as it is kept.
    """

    receiver: Tensor
    sender_atom: Tensor
    edges: Tensor | None
    rows: slice
    senders: Tensor | None
    nodes: int
    is_reduced: bool
    order: Tensor
    starts: Tensor
    pair_receiver: Tensor
    pair_atom: Tensor
    ends: SparsePattern
    moments: SparsePattern
    carried: SparsePattern
    arriving: SparsePattern
    notes: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_graph(cls, graph: CrystalGraph, pairs: int | None = None) -> SumTopology:
        """Sort the edges of a graph and build its topology.

        Args:
            graph: plain or reduced.
            pairs: add empty pairs of the last node until there are so many.
        """
        found = sorted_edges(graph.edge_receiver, graph.edge_atom, len(graph.atom_node), graph.atom_node)
        if pairs is not None:
            more, last = pairs - len(found.pair_size), len(graph.numbers) - 1
            found.pair_receiver = torch.cat([found.pair_receiver, found.pair_receiver.new_full((more,), last)])
            atom = found.pair_atom.new_full((more,), len(graph.atom_node) - 1)
            found.pair_atom = torch.cat([found.pair_atom, atom])
            found.pair_sender = graph.atom_node[found.pair_atom]
            found.pair_size = torch.cat([found.pair_size, found.pair_size.new_zeros(more)])
        return cls.from_sorted(found, len(graph.numbers), is_reduced=graph.is_reduced)

    @classmethod
    def from_sorted(
        cls,
        found: SortedEdges,
        nodes: int,
        *,
        rows: slice = slice(None),
        senders: Tensor | None = None,
        edges: Tensor | None = None,
        is_reduced: bool = False,
    ) -> SumTopology:
        """Build the topology of edges whose order is known; every topology is built here.

        Sizes are those of the given tensors, so nothing waits for a GPU.

        Args:
            found: the edges, and how they are sorted.
            nodes: n, those that receive.
            rows: the nodes of the graph that receive.
            senders: (U,) nodes of the graph that the senders of ``found`` number, None where these are its own nodes.
            edges: (E,) which edges of the graph they are, None where they are all.
            is_reduced: whether the graph is.
        """
        sending = nodes if senders is None else len(senders)
        receiver = found.receiver[found.order]
        starts = _sorted_starts(receiver, nodes)
        return cls(
            receiver=found.receiver,
            sender_atom=found.sender_atom,
            edges=edges,
            rows=rows,
            senders=senders,
            nodes=nodes,
            is_reduced=is_reduced,
            order=found.order,
            starts=starts,
            pair_receiver=found.pair_receiver,
            pair_atom=found.pair_atom,
            ends=_ends(found, nodes, sending),
            moments=_moments(found, receiver, starts),
            carried=_turned(found, sending) if is_reduced else _picked(found, sending),
            arriving=_arriving(found.pair_receiver, nodes),
        )

    def tensors(self) -> dict[str, tuple[Tensor, ...]]:
        """Take the topology apart into its index tensors, for ``from_tensors`` and the same graph."""
        plain = {name: (getattr(self, name),) for name in ("order", "starts", "pair_receiver", "pair_atom")}
        return plain | {name: getattr(self, name).tensors() for name in _PATTERNS}

    @classmethod
    def from_tensors(cls, tensors: dict[str, tuple[Tensor, ...]], graph: CrystalGraph) -> SumTopology:
        """Put the topology of a plain graph together from ``tensors``: no index is searched, a tracer sees products."""
        nodes, edges, pairs = (len(x) for x in (graph.numbers, graph.edge_receiver, tensors["pair_atom"][0]))
        widths = {"ends": 2 * nodes, "moments": edges, "carried": 8 * nodes, "arriving": 8 * pairs}

        def pattern(name: str) -> SparsePattern:
            return SparsePattern.from_tensors(tensors[name], widths[name])

        order, starts, receiver, atom = (tensors[name][0] for name in ("order", "starts", "pair_receiver", "pair_atom"))
        return cls(
            receiver=graph.edge_receiver,
            sender_atom=graph.edge_atom,
            edges=None,
            rows=slice(None),
            senders=None,
            nodes=nodes,
            is_reduced=False,
            order=order,
            starts=starts,
            pair_receiver=receiver,
            pair_atom=atom,
            ends=pattern("ends"),
            moments=pattern("moments"),
            carried=pattern("carried"),
            arriving=pattern("arriving"),
        )


def sorted_edges(receiver: Tensor, sender_atom: Tensor, atoms: int, atom_node: Tensor | None) -> SortedEdges:
    """Sort edges (E,) by receiver and by one of ``atoms`` senders; ``atom_node`` is None where atoms are nodes."""
    key, order = torch.sort(receiver * atoms + sender_atom, stable=True)
    pair_key, sorted_pair, pair_size = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
    pair_receiver = torch.div(pair_key, max(atoms, 1), rounding_mode="floor")
    pair_atom = pair_key - pair_receiver * atoms
    return SortedEdges(
        receiver=receiver,
        sender_atom=sender_atom,
        sender=sender_atom if atom_node is None else atom_node[sender_atom],
        order=order,
        edge_pair=torch.empty_like(order).scatter_(0, order, sorted_pair),
        pair_receiver=pair_receiver,
        pair_atom=pair_atom,
        pair_sender=pair_atom if atom_node is None else atom_node[pair_atom],
        pair_size=pair_size,
    )


def _sorted_starts(owner: Tensor, count: int) -> Tensor:
    """Return where the entries of each of ``count`` owners begin, (count,), given the ascending owners."""
    return torch.searchsorted(owner, torch.arange(count, device=owner.device))


def _by_sender(sender: Tensor, known: Tensor | None) -> Tensor:
    """Return the order in which senders ascend."""
    return torch.argsort(sender, stable=True) if known is None else known


def component_blocks(starts: Tensor, length: int, count: int) -> Tensor:
    """Return the offsets of ``count`` blocks of ``length`` non-zeros, one after the other."""
    return (torch.arange(count, device=starts.device).unsqueeze(1) * length + starts).flatten()


def _ends(found: SortedEdges, nodes: int, sending: int) -> SparsePattern:
    """Pick the rows of receiver and sender of every edge from two tables, one below the other."""
    edges, device = len(found.receiver), found.receiver.device
    receiver, sender = found.receiver, found.sender
    both = torch.arange(2 * edges, device=device)

    def transposed() -> tuple[SparsePattern, Tensor]:
        order, by_sender = found.order, _by_sender(sender, found.edge_by_sender)
        rows = receiver[order], sender[by_sender]
        starts = torch.cat([_sorted_starts(rows[0], nodes), edges + _sorted_starts(rows[1], sending)])
        pattern = SparsePattern(
            torch.cat([order, by_sender]), starts, edges, rows=lambda: torch.cat([rows[0], nodes + rows[1]])
        )
        return pattern, torch.cat([2 * order, 2 * by_sender + 1])

    columns = torch.stack([receiver, nodes + sender], dim=1).flatten()
    offsets = torch.arange(0, 2 * edges, 2, device=device)
    return SparsePattern(columns, offsets, nodes + sending, transposed, rows=lambda: both // 2)


def _moments(found: SortedEdges, receiver: Tensor, starts: Tensor) -> SparsePattern:
    """Sum over the edges of every node, once for each component of the harmonics, then over those of every pair."""
    order, edge_pair, pair_size = found.order, found.edge_pair, found.pair_size
    edges, pairs, nodes, components = len(order), len(pair_size), len(starts), sum(COMPONENTS)
    offsets = torch.cat(
        [
            component_blocks(starts, edges, components),
            torch.cumsum(pair_size, 0) - pair_size + components * edges,
        ]
    )

    def rows() -> Tensor:
        return torch.cat([component_blocks(receiver, nodes, components), edge_pair[order] + components * nodes])

    def transposed() -> tuple[SparsePattern, Tensor]:
        edge = torch.arange(edges, device=order.device)
        component = torch.arange(components + 1, device=order.device)
        position = torch.empty_like(order).scatter_(0, order, edge)
        row = found.receiver.unsqueeze(1) + component[:-1] * nodes
        columns = torch.cat([row, (edge_pair + components * nodes).unsqueeze(1)], dim=1).flatten()
        back = (position.unsqueeze(1) + component * edges).flatten()
        size = components + 1
        pattern = SparsePattern(
            columns,
            edge * size,
            components * nodes + pairs,
            rows=lambda: torch.arange(edges * size, device=order.device) // size,
        )
        return pattern, back

    return SparsePattern(order.repeat(components + 1), offsets, edges, transposed, rows=rows)


def _arriving(pair_receiver: Tensor, nodes: int) -> SparsePattern:
    """Sum over the pairs of every node, for each of eight components."""
    pairs = len(pair_receiver)
    every, rows = torch.arange(8 * pairs, device=pair_receiver.device), component_blocks(pair_receiver, nodes, 8)

    def transposed() -> tuple[SparsePattern, Tensor]:
        return SparsePattern(rows, every, 8 * nodes, rows=lambda: every), every

    starts = component_blocks(_sorted_starts(pair_receiver, nodes), pairs, 8)
    return SparsePattern(every, starts, 8 * pairs, transposed, rows=lambda: rows)


def _picked(found: SortedEdges, nodes: int) -> SparsePattern:
    """Pick the row of the sender of every pair, for each of eight components."""
    sender, pairs = found.pair_sender, len(found.pair_sender)
    every, columns = torch.arange(8 * pairs, device=sender.device), component_blocks(sender, nodes, 8)

    def transposed() -> tuple[SparsePattern, Tensor]:
        by_sender = _by_sender(sender, found.pair_by_sender)
        back = component_blocks(by_sender, pairs, 8)
        starts = component_blocks(_sorted_starts(sender[by_sender], nodes), pairs, 8)
        return SparsePattern(back, starts, 8 * pairs, rows=lambda: columns[back]), back

    return SparsePattern(columns, every, 8 * nodes, transposed, rows=lambda: every)


def _turned(found: SortedEdges, nodes: int) -> SparsePattern:
    """Turn the features of the sender of every pair: rows (x, pair), columns (y, node), first three x, y, then five."""
    sender, pairs, device = found.pair_sender, len(found.pair_sender), found.pair_sender.device
    columns, offsets = [], []
    for first, size in ((0, 3), (3, 5)):
        component = torch.arange(first, first + size, device=device)
        columns.append((sender.unsqueeze(1) + component * nodes).expand(size, -1, -1).flatten())
        offsets.append(torch.arange(size * pairs, device=device) * size + (9 * pairs if first else 0))

    def transposed() -> tuple[SparsePattern, Tensor]:
        order = _by_sender(sender, found.pair_by_sender)
        starts = _sorted_starts(sender[order], nodes)
        turned, back, begin = [], [], []
        for first, size in ((0, 3), (3, 5)):
            component = torch.arange(size, device=device)
            row = (order.unsqueeze(1) + component * pairs).flatten()  # (pair, x) in the order of the senders
            turned.append((row + first * pairs).repeat(size))
            back.append((row * size + component.unsqueeze(1)).flatten() + (9 * pairs if first else 0))
            begin.append(component_blocks(starts * size, size * pairs, size) + (9 * pairs if first else 0))
        return SparsePattern(torch.cat(turned), torch.cat(begin), 8 * pairs), torch.cat(back)

    return SparsePattern(torch.cat(columns), torch.cat(offsets), 8 * nodes, transposed)
