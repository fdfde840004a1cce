"""The sums over neighbours of a message passing step, as sparse matrices that all layers of a trunk share.

A message is linear in the output of the edge network, so its last linear layer is moved behind the sum: layers sum
hidden features (E, H) times w Y_m(r), the nine components m of l = 0, 1, 2, and apply the linear layer on nodes. What
multiplies the sender's own vectors and tensors is summed over the images of one sender first (*pairs* of receiving
node and sending atom, P of them). Components stand first: arrays are (3 + 5, n, C), vectors 1o before tensors 2e.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.operations.sparse import SparsePattern, sparse_product

#: Components of scalars, vectors and tensors.
COMPONENTS = (1, 3, 5)
_PATTERNS = ("ends", "moments", "carried", "arriving")


@dataclass
class SumTopology:
    """The indices of the sums of one batch: which atoms are neighbours, not where they are.

    Of a large plain graph there may be several, each for the edges to some of the nodes.

    Attributes:
        receiver: (E,) and ``sender_atom`` (E,) of the graph; receivers count from the first node of a part.
        edges: (E,) which edges of the graph they are, None where they are all.
        nodes: n, those that receive.
        is_reduced: whether the graph is.
        order: (E,) edges sorted by receiver, those of one pair together.
        starts: (n,) the first of each receiver's edges in that order.
        pair_receiver: (P,) node and ``pair_atom`` (P,) of every pair.
        ends: (E, 2N) picks receiver and sender of every edge from two tables of all N nodes, one below the other.
        moments: (9n + P, E), weighted harmonics of the edges of every node and weights of the edges of every pair.
        carried: (8P, 8N) carries the features of a node onto the sender of every pair.
        arriving: (8n, 8P) sums over the pairs of every node.
    """

    receiver: Tensor
    sender_atom: Tensor
    edges: Tensor | None
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

    @classmethod
    def from_graph(cls, graph: CrystalGraph, pairs: int | None = None, part: range | None = None) -> SumTopology:
        """That of a graph.

        Args:
            graph: plain or reduced.
            pairs: add empty pairs of the last node until there are so many.
            part: the nodes that receive, in a plain graph; all where None.
        """
        every, atoms = len(graph.numbers), len(graph.atom_node)
        receiver, sender_atom, edges = graph.edge_receiver, graph.edge_atom, None
        nodes, first = every, 0
        if part is not None:
            nodes, first = len(part), part.start
            edges = torch.nonzero((receiver >= first) & (receiver < part.stop)).squeeze(1)
            receiver, sender_atom = receiver[edges] - first, sender_atom[edges]
        device = receiver.device
        ends = SparsePattern(
            torch.stack([receiver + first, every + graph.atom_node[sender_atom]], dim=1).flatten(),
            torch.arange(0, 2 * len(receiver), 2, device=device),
            2 * every,
        )
        key, order = torch.sort(receiver * atoms + sender_atom, stable=True)
        pair_key, pair_of_sorted, pair_size = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
        pair_receiver = torch.div(pair_key, max(atoms, 1), rounding_mode="floor")
        pair_atom = pair_key - pair_receiver * atoms
        if pairs is not None:
            more = pairs - len(pair_key)
            pair_receiver = torch.cat([pair_receiver, pair_receiver.new_full((more,), nodes - 1)])
            pair_atom = torch.cat([pair_atom, pair_atom.new_full((more,), atoms - 1)])
            pair_size = torch.cat([pair_size, pair_size.new_zeros(more)])
        starts = _starts(receiver, nodes)
        sender = graph.atom_node[pair_atom]
        return cls(
            receiver=receiver,
            sender_atom=sender_atom,
            edges=edges,
            nodes=nodes,
            is_reduced=graph.is_reduced,
            order=order,
            starts=starts,
            pair_receiver=pair_receiver,
            pair_atom=pair_atom,
            ends=ends,
            moments=_moments(receiver, order, starts, pair_of_sorted, pair_size),
            carried=_turned(sender, every) if graph.is_reduced else _picked(sender, every),
            arriving=_arriving(pair_receiver, nodes),
        )

    @classmethod
    def parts(cls, graph: CrystalGraph, largest: int) -> list[SumTopology]:
        """Topologies for neighbouring nodes of a plain graph, of at most ``largest`` edges where a node has no more."""
        count = torch.bincount(graph.edge_receiver, minlength=len(graph.numbers)).tolist()
        bounds, edges = [0], 0
        for node, more in enumerate(count):
            if edges and edges + more > largest:
                bounds.append(node)
                edges = 0
            edges += more
        bounds.append(len(count))
        return [cls.from_graph(graph, part=range(a, b)) for a, b in itertools.pairwise(bounds)]

    def tensors(self) -> dict[str, tuple[Tensor, ...]]:
        """All index tensors, from which ``from_tensors`` makes the same topology of the same graph."""
        plain = {name: (getattr(self, name),) for name in ("order", "starts", "pair_receiver", "pair_atom")}
        return plain | {name: getattr(self, name).tensors() for name in _PATTERNS}

    @classmethod
    def from_tensors(cls, tensors: dict[str, tuple[Tensor, ...]], graph: CrystalGraph) -> SumTopology:
        """That of a plain graph from ``tensors``: no index is looked for, so that a tracer sees products only."""
        nodes, edges, pairs = (len(x) for x in (graph.numbers, graph.edge_receiver, tensors["pair_atom"][0]))
        widths = {"ends": 2 * nodes, "moments": edges, "carried": 8 * nodes, "arriving": 8 * pairs}
        order, starts, receiver, atom = (tensors[name][0] for name in ("order", "starts", "pair_receiver", "pair_atom"))
        return cls(
            receiver=graph.edge_receiver,
            sender_atom=graph.edge_atom,
            edges=None,
            nodes=nodes,
            is_reduced=False,
            order=order,
            starts=starts,
            pair_receiver=receiver,
            pair_atom=atom,
            **{name: SparsePattern.from_tensors(tensors[name], widths[name]) for name in _PATTERNS},
        )


@dataclass
class MessageSums:
    """Sums over edges and pairs of one batch.

    Attributes:
        topology: the indices.
        moment_values: non-zeros of ``topology.moments``.
        carried_values: non-zeros of ``topology.carried``, rotations times projection on the receiver's site group.
    """

    topology: SumTopology
    moment_values: Tensor
    carried_values: Tensor | None

    @functools.cached_property
    def totals(self) -> Tensor:
        """(9n + P, 1) row sums of ``topology.moments``."""
        ones = self.moment_values.new_ones(len(self.topology.receiver), 1)
        return sparse_product(self.topology.moments, self.moment_values, ones)

    @property
    def nodes(self) -> int:
        """Number of nodes n."""
        return self.topology.nodes

    @property
    def pairs(self) -> int:
        """Number of pairs P."""
        return len(self.topology.pair_atom)

    def at_ends(self, ends: Tensor) -> Tensor:
        """(2N, C), a table for receivers above one for senders -> (E, C), their sum for every edge."""
        return sparse_product(self.topology.ends, None, ends)

    def sum_over_edges(self, hidden: Tensor) -> Tensor:
        """(E, C) -> (9n + P, C): moments of every node, scalars (n), vectors (3n), tensors (5n), then pairs (P)."""
        return sparse_product(self.topology.moments, self.moment_values, hidden)

    def sum_harmonics(self, harmonics: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the edges of every node of other weighted harmonics (E, m) times hidden features (E, C).

        Returns (m, n, C), and the sums (m, n, 1) of the harmonics alone. Not projected on the site group.
        """
        edges, components = harmonics.shape
        order = self.topology.order
        pattern = SparsePattern(order.repeat(components), _blocks(self.topology.starts, edges, components), edges)
        values = harmonics[order].t().flatten()
        shape = (components, self.nodes, -1)
        totals = sparse_product(pattern, values, values.new_ones(edges, 1))
        return sparse_product(pattern, values, hidden).view(shape), totals.view(shape)

    def sum_over_senders(self, features: Tensor, vector_weight: Tensor, tensor_weight: Tensor) -> Tensor:
        """Features (8, N, C) of senders times weights (P, C) of pairs, summed: (8, n, C)."""
        channels = features.shape[2]
        sent = sparse_product(self.topology.carried, self.carried_values, features.reshape(-1, channels))
        vectors, tensors = sent.view(8, self.pairs, channels).split(COMPONENTS[1:])
        weighted = torch.cat([vectors * vector_weight, tensors * tensor_weight])
        return sparse_product(self.topology.arriving, None, weighted.view(-1, channels)).view(8, self.nodes, channels)


def message_sums(graph: CrystalGraph, harmonics: Tensor, rotation: Tensor | None, topology: SumTopology) -> MessageSums:
    """Prepare the sums of a batch.

    Args:
        graph: N nodes.
        harmonics: (9, E) weighted harmonics of l = 0, 1, 2, of the edges of ``topology``.
        rotation: (A, 5, 5) the 2e representation of ``graph.atom_rotation``, None in a plain graph.
        topology: of ``graph`` or of a part of it.
    """
    receiver = topology.receiver
    if graph.site_vector_projector is not None and graph.site_tensor_projector is not None:
        vector, tensor = graph.site_vector_projector[receiver], graph.site_tensor_projector[receiver]
        projected = [
            (vector * harmonics[1:4].t().unsqueeze(1)).sum(2).t(),
            (tensor * harmonics[4:].t().unsqueeze(1)).sum(2).t(),
        ]
        harmonics = torch.cat([harmonics[:1], *projected])
    values = torch.cat([harmonics, harmonics[:1]])[:, topology.order].flatten()
    return MessageSums(
        topology=topology,
        moment_values=values,
        carried_values=_carried_values(graph, rotation, topology),
    )


def _starts(owner: Tensor, count: int) -> Tensor:
    """(count,) where the entries of each owner begin once they are sorted."""
    sizes = torch.bincount(owner, minlength=count)
    return torch.cumsum(sizes, 0) - sizes


def _blocks(starts: Tensor, length: int, count: int) -> Tensor:
    """The offsets of ``count`` blocks of ``length`` non-zeros, one after the other."""
    return (torch.arange(count, device=starts.device).unsqueeze(1) * length + starts).flatten()


def _moments(
    receiver: Tensor, order: Tensor, starts: Tensor, pair_of_sorted: Tensor, pair_size: Tensor
) -> SparsePattern:
    edges, pairs, nodes, components = len(order), len(pair_size), len(starts), sum(COMPONENTS)
    offsets = torch.cat(
        [
            _blocks(starts, edges, components),
            torch.cumsum(pair_size, 0) - pair_size + components * edges,
        ]
    )

    def transposed() -> tuple[SparsePattern, Tensor]:
        component = torch.arange(components + 1, device=order.device)
        position = torch.empty_like(order)
        position[order] = torch.arange(edges, device=order.device)
        row = receiver.unsqueeze(1) + component[:-1] * nodes
        pair = pair_of_sorted[position] + components * nodes
        columns = torch.cat([row, pair.unsqueeze(1)], dim=1).flatten()
        starts = torch.arange(edges, device=order.device) * (components + 1)
        back = (position.unsqueeze(1) + component * edges).flatten()
        return SparsePattern(columns, starts, components * nodes + pairs), back

    return SparsePattern(order.repeat(components + 1), offsets, edges, transposed)


def _arriving(pair_receiver: Tensor, nodes: int) -> SparsePattern:
    pairs, device = len(pair_receiver), pair_receiver.device

    def transposed() -> tuple[SparsePattern, Tensor]:
        every = torch.arange(8 * pairs, device=device)
        return SparsePattern(_blocks(pair_receiver, nodes, 8), every, 8 * nodes), every

    starts = _blocks(_starts(pair_receiver, nodes), pairs, 8)
    return SparsePattern(torch.arange(8 * pairs, device=device), starts, 8 * pairs, transposed)


def _picked(sender: Tensor, nodes: int) -> SparsePattern:
    pairs, device = len(sender), sender.device

    def transposed() -> tuple[SparsePattern, Tensor]:
        back = _blocks(torch.argsort(sender, stable=True), pairs, 8)
        return SparsePattern(back, _blocks(_starts(sender, nodes), pairs, 8), 8 * pairs), back

    return SparsePattern(_blocks(sender, nodes, 8), torch.arange(8 * pairs, device=device), 8 * nodes, transposed)


def _turned(sender: Tensor, nodes: int) -> SparsePattern:
    """Non-zeros by row (x, pair), column (y, node): x and y run over three components, then over five."""
    pairs, device = len(sender), sender.device
    columns, offsets = [], []
    for first, size in ((0, 3), (3, 5)):
        component = torch.arange(first, first + size, device=device)
        columns.append((sender.unsqueeze(1) + component * nodes).expand(size, -1, -1).flatten())
        offsets.append(torch.arange(size * pairs, device=device) * size + (9 * pairs if first else 0))

    def transposed() -> tuple[SparsePattern, Tensor]:
        order = torch.argsort(sender, stable=True)
        starts = _starts(sender, nodes)
        turned, back, begin = [], [], []
        for first, size in ((0, 3), (3, 5)):
            component = torch.arange(size, device=device)
            row = (order.unsqueeze(1) + component * pairs).flatten()  # (pair, x) in the order of the senders
            turned.append((row + first * pairs).repeat(size))
            back.append((row * size + component.unsqueeze(1)).flatten() + (9 * pairs if first else 0))
            begin.append(_blocks(starts * size, size * pairs, size) + (9 * pairs if first else 0))
        return SparsePattern(torch.cat(turned), torch.cat(begin), 8 * pairs), torch.cat(back)

    return SparsePattern(torch.cat(columns), torch.cat(offsets), 8 * nodes, transposed)


def _carried_values(graph: CrystalGraph, rotation: Tensor | None, topology: SumTopology) -> Tensor | None:
    """Non-zeros of ``topology.carried``, all one (None) in a plain graph."""
    if rotation is None or graph.atom_rotation is None:
        return None
    atom, receiver = topology.pair_atom, topology.pair_receiver
    matrices = [graph.atom_rotation[atom], rotation[atom]]
    if graph.site_vector_projector is not None and graph.site_tensor_projector is not None:
        # what a pair sends is projected on the receiver's site group with the rest of the sum
        projectors = (graph.site_vector_projector, graph.site_tensor_projector)
        matrices = [projector[receiver] @ matrix for projector, matrix in zip(projectors, matrices, strict=True)]
    return torch.cat([matrix.transpose(0, 1).flatten() for matrix in matrices])
