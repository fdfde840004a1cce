"""ComFormer attention: the node layer and iComFormer's edge update, smooth (default) and as published (``Paper*``).

Both compute key = MLP([k_i, k_j, t]), message = MLP([v_i, v_j, t]), gate = sigmoid(norm(q_i * key / sqrt(C))) element
by element (no softmax) and sum gate * message over senders j (ComFormer, arXiv:2403.11857, eqs. 3-6). The first
Linear(3C -> C) of each MLP is split into receiver, sender and edge parts, so that the first two are evaluated per
node, not per edge: the same function at a third of the cost. Indices: i receiver, j sender; E edges, n nodes, C
width. ``weight`` (E, 1) multiplies messages: orbit sizes of a reduced graph, times the envelope in the smooth layers.
"""

import math

import torch
from torch import Tensor, nn


def scatter_sum(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum rows of ``values`` (E, ...) into ``size`` rows by ``index`` (E,)."""
    return values.new_zeros((size, *values.shape[1:])).index_add_(0, index, values)


class SmoothAttention(nn.Module):
    """Attention layer of the default networks: no batch statistics, messages vanish at the cut-off.

    h <- h + Linear(sum_j w_ij gate_ij * message_ij), then h <- h + MLP(LayerNorm(h)). Queries, keys and values come
    from LayerNorm(h); edge features enter through one Linear without hidden layer.
    """

    def __init__(self, width: int, edge_width: int, *, message_scale: float = 0.1, expansion: int = 2) -> None:
        """Node width C, edge width, constant factor on the sum of messages, width factor of the node MLP."""
        super().__init__()
        self.width, self.message_scale = width, message_scale
        self.norm = nn.LayerNorm(width)
        self.node = nn.Linear(width, 5 * width)
        self.edge = nn.Linear(edge_width, 2 * width, bias=False)
        self.key = nn.Linear(width, width)
        self.message = nn.Linear(width, width)
        self.gate_bias = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, width)
        self.update = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.SiLU(),
            nn.Linear(expansion * width, width),
        )

    def forward(self, h: Tensor, edges: Tensor, receiver: Tensor, sender: Tensor, weight: Tensor) -> Tensor:
        """Update h (n, C), edges (E, edge_width), receiver and sender (E,), weight (E, 1) -> h (n, C)."""
        width = self.width
        # split, not slices: the backward pass of a slice fills a tensor of zeros
        to_receiver, to_sender = self.node(self.norm(h)).split((3 * width, 2 * width), dim=1)
        query, hidden = to_receiver.index_select(0, receiver).split((width, 2 * width), dim=1)
        hidden = hidden + to_sender.index_select(0, sender) + self.edge(edges)
        key_hidden, message_hidden = nn.functional.silu(hidden).split(width, dim=1)
        key, message = self.key(key_hidden), self.message(message_hidden)
        gate = torch.sigmoid(torch.addcmul(self.gate_bias, query, key, value=1.0 / math.sqrt(width)))
        summed = scatter_sum(gate * message * weight, receiver, h.shape[0])
        h = h + self.out(summed * self.message_scale)
        return h + self.update(h)


class SmoothEdgeUpdate(nn.Module):
    """iComFormer's edge update on a ragged list of lattice-frame candidates, at a narrow pair width D.

    For every edge and every candidate of its crystal: hidden = SiLU(edge part + candidate part of its slot + angle
    part), gate and message as in attention; e <- e + Linear(sum over candidates of frame_weight * gate * message).
    The frame weights of one slot sum to one, so tied lattice vectors are averaged.
    """

    def __init__(self, edge_width: int, length_features: int, angle_features: int, pair_width: int) -> None:
        """Edge width, size of the length and angle bases of the frame, pair width D."""
        super().__init__()
        self.pair_width = pair_width
        self.edge = nn.Linear(edge_width, 3 * pair_width)
        self.length = nn.Linear(length_features, 3 * 2 * pair_width)
        self.angle = nn.Linear(angle_features, 2 * pair_width, bias=False)
        self.key = nn.Linear(pair_width, pair_width)
        self.message = nn.Linear(pair_width, pair_width)
        self.gate_bias = nn.Parameter(torch.zeros(pair_width))
        self.out = nn.Linear(pair_width, edge_width)

    def forward(
        self, edges: Tensor, lengths: Tensor, angles: Tensor, slot: Tensor, weight: Tensor, pairs: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Update edge features.

        edges (E, edge_width), lengths (F, length_features), angles (P, angle_features) of the pairs, slot (F,) in
        0..2, weight (F, 1), pairs = (edge index, candidate index) each (P,) -> (E, edge_width).
        """
        width = self.pair_width
        edge_of, candidate_of = pairs
        query, by_edge = self.edge(edges).index_select(0, edge_of).split((width, 2 * width), dim=1)
        by_slot = self.length(lengths).view(-1, 3, 2 * width)
        by_candidate = by_slot[torch.arange(len(slot), device=slot.device), slot].index_select(0, candidate_of)
        hidden = nn.functional.silu(by_edge + by_candidate + self.angle(angles))
        key_hidden, message_hidden = hidden.split(width, dim=1)
        key, message = self.key(key_hidden), self.message(message_hidden)
        gate = torch.sigmoid(torch.addcmul(self.gate_bias, query, key, value=1.0 / math.sqrt(width)))
        summed = scatter_sum(gate * message * weight.index_select(0, candidate_of), edge_of, edges.shape[0])
        return edges + self.out(summed)


def edge_candidate_pairs(edge_crystal: Tensor, candidate_crystal: Tensor, crystals: int) -> tuple[Tensor, Tensor]:
    """All (edge, candidate) pairs of the same crystal.

    edge_crystal (E,), candidate_crystal (F,) -> edge index (P,), candidate index (P,), edges in ascending order.
    """
    order = torch.argsort(candidate_crystal, stable=True)
    counts = torch.bincount(candidate_crystal, minlength=crystals)
    first = torch.cumsum(counts, 0) - counts
    per_edge = counts.index_select(0, edge_crystal)
    edge_of = torch.repeat_interleave(per_edge)
    start = torch.cumsum(per_edge, 0) - per_edge
    rank = torch.arange(len(edge_of), device=edge_of.device) - start.index_select(0, edge_of)
    return edge_of, order.index_select(0, first.index_select(0, edge_crystal).index_select(0, edge_of) + rank)


def _split_first(mlp: nn.Sequential, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Receiver, sender and edge blocks (C, C) of the MLP's first Linear(3C -> C), and its bias."""
    first = mlp[0]
    assert isinstance(first, nn.Linear)
    receiver, sender, edge = first.weight.split(width, dim=1)
    return receiver, sender, edge, first.bias


class _PaperAttentionBase(nn.Module):
    """Parameters that the published node and edge layers share, under their published names."""

    def __init__(self, width: int, *, edge_bias: bool) -> None:
        super().__init__()
        self.width = width
        self.lin_key = nn.Linear(width, width)
        self.lin_query = nn.Linear(width, width)
        self.lin_value = nn.Linear(width, width)
        self.lin_edge = nn.Linear(width, width, bias=edge_bias)
        self.lin_concate = nn.Linear(width, width)
        self.lin_msg_update = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.key_update = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.bn = nn.BatchNorm1d(width)
        self.bn_att = nn.BatchNorm1d(width)
        self.softplus = nn.Softplus()

    def _gated(self, query: Tensor, key_hidden: Tensor, message_hidden: Tensor) -> Tensor:
        key = self.key_update[2](nn.functional.silu(key_hidden))
        message = self.lin_msg_update[2](nn.functional.silu(message_hidden))
        return torch.sigmoid(self.bn_att(query * key / math.sqrt(self.width))) * message


class PaperAttention(_PaperAttentionBase):
    """Attention layer as published: BatchNorm on the gate, Softplus residual.

    ComFormer: h <- Softplus(h + BatchNorm(out)); GMTNet: h <- Softplus(h + out), its ``bn`` exists unused
    (``normalise_output=False``).
    """

    def __init__(self, width: int, *, normalise_output: bool = True) -> None:
        """Width C; whether the second BatchNorm acts (ComFormer) or not (GMTNet)."""
        super().__init__(width, edge_bias=True)
        self.normalise_output = normalise_output

    def forward(self, h: Tensor, edges: Tensor, receiver: Tensor, sender: Tensor, weight: Tensor) -> Tensor:
        """Update h (n, C), edges (E, C), receiver and sender (E,), weight (E, 1) -> h (n, C)."""
        at_receiver, at_sender = self.node_terms(h)
        gated = self.messages(at_receiver.index_select(0, receiver), at_sender.index_select(0, sender), edges)
        return self.update(h, scatter_sum(gated * weight, receiver, h.shape[0]))

    def node_terms(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes h (n, C) -> what they contribute as receivers, (n, 3C): query, key, value, and as senders, (n, 2C)."""
        at_receiver: list[Tensor] = [self.lin_query(h)]
        at_sender: list[Tensor] = []
        for projection, mlp in ((self.lin_key, self.key_update), (self.lin_value, self.lin_msg_update)):
            receiver_weight, sender_weight, _, _ = _split_first(mlp, self.width)
            part = nn.functional.linear(projection(h), torch.cat((receiver_weight, sender_weight)))
            for terms, term in zip((at_receiver, at_sender), part.split(self.width, dim=1), strict=True):
                terms.append(term)
        return torch.cat(at_receiver, dim=1), torch.cat(at_sender, dim=1)

    def messages(self, at_receiver: Tensor, at_sender: Tensor, edges: Tensor) -> Tensor:
        """Terms of the two ends of every edge, (E, 3C) and (E, 2C), and edges (E, C) -> gated messages (E, C)."""
        query, *received = at_receiver.split(self.width, dim=1)
        hidden = []
        for mlp, receiver, sender in zip(
            (self.key_update, self.lin_msg_update), received, at_sender.split(self.width, dim=1), strict=True
        ):
            _, _, at_edge, bias = _split_first(mlp, self.width)
            # Linear of Linear: one (C, C) product of weights instead of a second pass over all edges
            edge_part = nn.functional.linear(edges, at_edge @ self.lin_edge.weight, bias + at_edge @ self.lin_edge.bias)
            hidden.append(edge_part + receiver + sender)
        return self._gated(query, hidden[0], hidden[1])

    def update(self, h: Tensor, summed: Tensor) -> Tensor:
        """Nodes h (n, C) and the sums of their messages (n, C) -> h (n, C)."""
        out = self.lin_concate(summed)
        return self.softplus(h + (self.bn(out) if self.normalise_output else out))


class PaperEdgeUpdate(_PaperAttentionBase):
    """iComFormer's edge update as published, on lattice-frame candidates (three of weight 1 in the paper).

    ``lemb`` and ``lin_edge_len`` exist in the published state dict and are unused there; they are not kept.
    """

    def __init__(self, width: int) -> None:
        """Width C."""
        super().__init__(width, edge_bias=False)
        for slot in (1, 2, 3):
            setattr(self, f"lin_key_e{slot}", nn.Linear(width, width))
            setattr(self, f"lin_value_e{slot}", nn.Linear(width, width))

    def forward(
        self, edges: Tensor, lengths: Tensor, angles: Tensor, slot: Tensor, weight: Tensor, pairs: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Update edge features.

        edges (E, C), lengths (F, C) and angles (P, C) after their radial networks, slot (F,) in 0..2, weight (F, 1),
        pairs = (edge index, candidate index) each (P,) -> (E, C).
        """
        edge_of, candidate_of = pairs
        at_edge, at_candidate = self.edge_terms(edges), self.candidate_terms(lengths, slot)
        gated = self.messages(at_edge.index_select(0, edge_of), at_candidate.index_select(0, candidate_of), angles)
        weighted = weight.index_select(0, candidate_of)
        total = scatter_sum(weighted, edge_of, edges.shape[0])
        return self.update(edges, scatter_sum(gated * weighted, edge_of, edges.shape[0]), total)

    def edge_terms(self, edges: Tensor) -> Tensor:
        """Edges (E, C) -> query, key and value (E, 3C)."""
        terms = [self.lin_query(edges)]
        for projection, mlp in ((self.lin_key, self.key_update), (self.lin_value, self.lin_msg_update)):
            terms.append(projection(edges) @ _split_first(mlp, self.width)[0].T)
        return torch.cat(terms, dim=1)

    def candidate_terms(self, lengths: Tensor, slot: Tensor) -> Tensor:
        """Features of the lengths of frame candidates (F, C) and their slots (F,) -> key and value (F, 2C)."""
        terms = []
        row = torch.arange(len(slot), device=slot.device)
        for name, mlp in (("lin_key_e", self.key_update), ("lin_value_e", self.lin_msg_update)):
            by_slot = torch.stack([self.get_submodule(f"{name}{s}")(lengths) for s in (1, 2, 3)], dim=1)
            terms.append(by_slot[row, slot] @ _split_first(mlp, self.width)[1].T)
        return torch.cat(terms, dim=1)

    def messages(self, at_edge: Tensor, at_candidate: Tensor, angles: Tensor) -> Tensor:
        """Terms of the edge (P, 3C) and the candidate (P, 2C) of every pair, angles (P, C) -> messages (P, C)."""
        query, *by_edge = at_edge.split(self.width, dim=1)
        hidden = []
        for mlp, edge, candidate in zip(
            (self.key_update, self.lin_msg_update), by_edge, at_candidate.split(self.width, dim=1), strict=True
        ):
            _, _, at_angle, bias = _split_first(mlp, self.width)
            by_angle = nn.functional.linear(angles, at_angle @ self.lin_edge.weight, bias)
            hidden.append(by_angle + edge + candidate)
        return self._gated(query, hidden[0], hidden[1])

    def update(self, edges: Tensor, summed: Tensor, total: Tensor) -> Tensor:
        """Edges (E, C), their summed messages (E, C) and the sum of the weights (E, 1) -> edges (E, C)."""
        # the published layer sums Linear(gated) over the three vectors: its bias counts once per vector
        out = nn.functional.linear(summed, self.lin_concate.weight) + total * self.lin_concate.bias
        return self.softplus(edges + self.bn(out))
