"""One ``CartesianLayer`` there and back, on all nodes or part by part; conventions and letters as in ``analytic``.

What a layer has computed is kept from the way there to the way back; of large graphs only what belongs to nodes, and
edges are computed again; of parts that are not kept, everything is.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad, silu

from ase_comformer.nn.derivatives.edge_gradient import EdgeGradient, EdgeParts
from ase_comformer.nn.derivatives.graph_notes import kept_beside
from ase_comformer.nn.derivatives.layer_weights import DYAD, LayerWeights
from ase_comformer.nn.operations.sparse import bare_product, bare_sampled
from ase_comformer.nn.operations.sum_topology import SumTopology

silu_backward = torch.ops.aten.silu_backward
layer_norm_backward = torch.ops.aten.native_layer_norm_backward


def ends_of(perceptron: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    """First and last layer of a perceptron with one hidden layer."""
    first, _, last = perceptron
    return cast(nn.Linear, first), cast(nn.Linear, last)


class LayerGradient:
    """A layer on all parts of a graph.

    Args:
        weights: of the layer.
        parts: of the graph.
        is_last: of the last layer only the scalars are read.
        is_fixed: whether the scalars that it is given depend on elements alone.
    """

    def __init__(self, weights: LayerWeights, parts: EdgeParts, *, is_last: bool, is_fixed: bool) -> None:
        self.weights, self.parts, self.is_last, self.is_fixed = weights, parts, is_last, is_fixed
        self._steps: list[_Step] = []

    def forward(self, scalars: Tensor, features: Tensor | None, *, keep: bool) -> tuple[Tensor, Tensor | None]:
        """See ``CartesianLayer.forward``; ``keep`` what ``backward`` needs."""
        w, single = self.weights, len(self.parts) == 1
        self.scalars, self.start = scalars, features
        if not (self.is_fixed and self.parts.is_whole):
            self.ends = w.table(scalars)
        found = []
        for part in self.parts:
            step = self._step(part)
            found.append(step.forward(keep_edges=self.parts.keeps_edges and keep))
            if self.parts.are_kept and keep:
                self._steps.append(step)
        if single:
            return found[0]
        scalars = torch.cat([own for own, _ in found])
        return scalars, None if self.is_last else torch.cat([own for _, own in found if own is not None], dim=1)

    def backward(self, d_scalars: Tensor, d_features: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Derivatives in what ``forward`` returned -> in what it was given; None where that was constant."""
        total: _Found | None = None
        for number, part in enumerate(self.parts):
            found = self._of_part(number, part, d_scalars, d_features)
            self.parts.leave(part)
            if found is not None:
                total = found if part.topology.senders is None else self._added(total, found, part.topology)
        if total is None:
            return None, None
        return total.d_scalars + torch.cat(total.d_ends.chunk(2), dim=1) @ self.weights.ends, total.d_features

    def _step(self, part: EdgeGradient) -> "_Step":
        topology = part.topology
        if topology.senders is None:
            step = _Step(self.weights, part, self.is_last, self.scalars, self.start, self.start)
            if self.is_fixed:
                w, scalars = self.weights, self.scalars
                step.fixed = kept_beside(topology, w, part.whole, lambda: _Fixed.of(w, scalars, topology))
            else:
                step.ends = self.ends
            return step
        nodes, rows, senders = len(self.scalars), topology.rows, topology.senders
        ends = torch.cat([self.ends[rows], self.ends[nodes:].index_select(0, senders)])
        start, sent = None, None
        if self.start is not None:
            start, sent = self.start[:, rows], self.start.index_select(1, senders)
        step = _Step(self.weights, part, self.is_last, self.scalars[rows], start, sent)
        step.ends = ends
        return step

    def _of_part(
        self, number: int, part: EdgeGradient, d_scalars: Tensor, d_features: Tensor | None
    ) -> "_Found | None":
        if self._steps:
            step = self._steps[number]
        else:
            step = self._step(part)
            step.forward(keep_edges=True)
        rows = part.topology.rows
        return step.backward(d_scalars[rows], None if d_features is None else d_features[:, rows])

    def _added(self, total: "_Found | None", found: "_Found", topology: SumTopology) -> "_Found":
        """Derivatives in all nodes, with those that a part has found."""
        assert self.start is not None
        assert topology.senders is not None
        if total is None:
            total = _Found(*(torch.zeros_like(part) for part in (self.scalars, self.start, self.ends)))
        rows, senders, nodes = topology.rows, topology.senders, len(self.scalars)
        total.d_scalars[rows] = found.d_scalars
        total.d_features[:, rows] += found.d_features
        total.d_ends[rows] += found.d_ends[: topology.nodes]
        total.d_ends[nodes:].index_add_(0, senders, found.d_ends[topology.nodes :])
        if found.d_sent is not None:
            total.d_features.index_add_(1, senders, found.d_sent)
        return total


@dataclass
class _Fixed:
    """What the first layer makes of elements alone.

    What both ends add to the edge network (e, H); scalars after their normalisation (n, C0).
    """

    ends: Tensor
    normal: Tensor

    @classmethod
    def of(cls, weights: LayerWeights, scalars: Tensor, topology: SumTopology) -> "_Fixed":
        """For the scalars (n, C0) of all nodes."""
        ends = bare_product(topology.ends, None, weights.table(scalars))
        return cls(ends, weights.layer.norm(scalars))


@dataclass
class _Kept:
    """What a layer computed of the edges of one part.

    Before the activation (e, H), after it with a column of ones (e, H + 1), features of senders (8, P, C) and their
    weights (2, P, C); of the first layer the last two are None.
    """

    before: Tensor
    hidden: Tensor
    sent: Tensor | None
    weight: Tensor | None


@dataclass
class _Found:
    """Derivatives in what a step was given.

    ``d_scalars`` (n, C0) and ``d_features`` (8, n, C) of the nodes that receive, without what goes by the edges;
    ``d_ends`` (n + U, H), and ``d_sent`` (8, U, C) of the nodes that send, where these are others.
    """

    d_scalars: Tensor
    d_features: Tensor
    d_ends: Tensor
    d_sent: Tensor | None = None


class _Step:
    """A layer on the n nodes of one part that receive, of U that send.

    Args:
        weights: of the layer.
        part: its edges.
        is_last: whether only the scalars are read.
        scalars: (n, C0) of the nodes that receive.
        start: (8, n, C) their features, None in the first layer.
        sending: (8, U, C) features of the nodes that send, None in the first layer.

    Attributes:
        ends: (n + U, H) what both ends add to the edge network, where ``fixed`` is None.
        fixed: what depends on elements alone.
    """

    ends: Tensor
    fixed: _Fixed | None

    def __init__(
        self,
        weights: LayerWeights,
        part: EdgeGradient,
        is_last: bool,
        scalars: Tensor,
        start: Tensor | None,
        sending: Tensor | None,
    ) -> None:
        self.weights, self.layer, self.part, self.is_last = weights, weights.layer, part, is_last
        self.scalars, self.start, self.sending, self.fixed = scalars, start, sending, None

    def forward(self, *, keep_edges: bool) -> tuple[Tensor, Tensor | None]:
        """Scalars (n, C0) and, unless it is the last layer, features (8, n, C) of the nodes."""
        w, layer, scalars, features = self.weights, self.layer, self.scalars, self.start
        scalar_sum, feature_sum = self._sums(keep_edges)
        middle = torch.bmm(feature_sum, w.message_transposed)
        if features is not None:
            middle += features
        # features of a size below one, and two linear maps of them
        rate = (w.mean_size(middle.square()) + 1).rsqrt_()
        unit = middle * rate
        left, right = torch.bmm(unit, w.pair_transposed).chunk(2, dim=2)
        nodes = middle.shape[1:]
        products = (w.coupling @ (left.unsqueeze(1) * right.unsqueeze(0)).view(64, -1)).view(15, *nodes)
        with_tensors = products[:8]
        invariants = torch.cat([products[13:], w.summed(left * with_tensors)]).transpose(0, 1).flatten(1)
        norm = layer.norm
        if self.fixed is not None:
            normal = self.fixed.normal
        else:
            normal, *self.normal = torch.native_layer_norm(
                scalars, norm.normalized_shape, norm.weight, norm.bias, norm.eps
            )
        message = linear(scalar_sum, layer.scalar_message.weight, layer.scalar_message.bias)
        first, last = ends_of(layer.update)
        inner = linear(torch.cat([normal, message, invariants], dim=1), first.weight, first.bias)
        self.middle, self.rate, self.unit, self.left, self.right = middle, rate, unit, left, right
        self.products, self.inner = products, inner
        width = scalars.shape[1]
        if self.is_last:
            return scalars + linear(silu(inner), last.weight[:width], last.bias[:width]), None
        update = linear(silu(inner), last.weight, last.bias)
        updates = update[:, width:].view(-1, 5, w.channels).transpose(0, 1)
        gate, mix = updates.index_select(0, w.gate_rows).add_(1), updates.index_select(0, w.mix_rows)
        result = torch.addcmul(middle * gate, with_tensors, mix)
        result[3:].addcmul_(products[8:13], updates[DYAD])
        self.gate, self.mix, self.dyad_mix = gate, mix, updates[DYAD]
        return scalars + update[:, :width], result

    def backward(self, d_scalars: Tensor, d_features: Tensor | None) -> _Found | None:
        """Derivatives in what ``forward`` returned -> in what was given; None in the first layer, given constants."""
        w, layer = self.weights, self.layer
        first, last = ends_of(layer.update)
        width, nodes = self.scalars.shape[1], self.middle.shape[1:]
        with_tensors = self.products[:8]
        if d_features is None:  # nobody reads the features of the last layer
            d_update = d_scalars @ last.weight[:width]
        else:
            products = torch.cat(
                [d_features * self.middle, d_features * with_tensors, d_features[3:] * self.products[8:13]]
            )
            d_updates = (w.updates @ products.flatten(1)).view(5, *nodes).transpose(0, 1).flatten(1)
            d_update = torch.cat([d_scalars, d_updates], dim=1) @ last.weight
        d_inner = silu_backward(d_update, self.inner) @ first.weight
        d_normal, d_message, d_invariants = d_inner.split([width, width, 4 * w.channels], dim=1)
        d_lengths, d_cubic = d_invariants.view(-1, 4, w.channels).transpose(0, 1).chunk(2)
        cubic = w.spread(d_cubic)
        d_with = self.left * cubic
        if d_features is None:
            d_products = torch.cat([d_with, d_with.new_zeros(5, *nodes), d_lengths])
        else:
            d_with.addcmul_(d_features, self.mix)
            d_products = torch.cat([d_with, d_features[3:] * self.dyad_mix, d_lengths])
        d_outer = (w.coupling.t() @ d_products.flatten(1)).view(8, 8, *nodes)
        d_left = (d_outer * self.right.unsqueeze(0)).sum(1).addcmul_(with_tensors, cubic)
        d_right = (d_outer * self.left.unsqueeze(1)).sum(0)
        d_unit = torch.bmm(torch.cat([d_left, d_right], dim=2), w.pair)
        # features times a rate, which depends on their squares
        d_middle = (d_unit - self.unit * w.mean_size(d_unit * self.unit)).mul_(self.rate)
        if d_features is not None:
            d_middle.addcmul_(d_features, self.gate)
        d_sum = torch.bmm(d_middle, w.message)
        d_message = d_message @ layer.scalar_message.weight
        d_before, d_sent = self._edges_backward(d_message, d_sum)
        if self.start is None:
            return None
        d_ends = bare_product(self.part.topology.ends.transposed[0], None, d_before)
        if d_sent is not None and self.part.topology.senders is None:
            d_middle, d_sent = d_middle + d_sent, None
        norm = layer.norm
        d_norm: Tensor = layer_norm_backward(
            d_normal.contiguous(), self.scalars, norm.normalized_shape, *self.normal,
            norm.weight, norm.bias, [True, False, False],
        )[0]  # fmt: skip
        return _Found(d_scalars + d_norm, d_middle, d_ends, d_sent)

    def _edges(self) -> _Kept:
        """All of ``_Kept`` that does not need the sums of pairs."""
        part = self.part
        ends = bare_product(part.topology.ends, None, self.ends) if self.fixed is None else self.fixed.ends
        before = torch.addmm(ends, part.basis, self.layer.radial.weight.t())
        return _Kept(before, pad(silu(before), (0, 1), value=1.0), None, None)

    def _add_senders(self, kept: _Kept) -> None:
        w = self.weights
        if self.sending is not None and w.to_pairs is not None:
            kept.sent = self.part.sent(self.sending)
            kept.weight = torch.stack((self.pair_sums @ w.to_pairs.t()).chunk(2, dim=1))

    def _sums(self, keep_edges: bool) -> tuple[Tensor, Tensor]:
        """Sums over neighbours (n, C0) and (8, n, C)."""
        w, part, topology = self.weights, self.part, self.part.topology
        kept = self._edges()
        sizes = [topology.nodes, 8 * topology.nodes, len(topology.pair_atom)]
        node_sums, moments, self.pair_sums = bare_product(topology.moments, part.values, kept.hidden).split(sizes)
        feature_sum = torch.bmm(moments.view(8, topology.nodes, -1), w.to_features_transposed)
        self._add_senders(kept)
        if kept.sent is not None and kept.weight is not None:
            weighted = (kept.sent * w.spread(kept.weight)).view(-1, w.channels)
            feature_sum += bare_product(topology.arriving, None, weighted).view_as(feature_sum)
        self._kept = kept if keep_edges else None
        return node_sums @ w.to_scalars.t(), feature_sum

    def _edges_backward(self, d_scalar_sum: Tensor, d_feature_sum: Tensor) -> tuple[Tensor, Tensor | None]:
        """Add to what the part gathers; return derivatives before the activation (e, H) and ``d_sent`` (8, U, C)."""
        w, part, topology, kept = self.weights, self.part, self.part.topology, self._kept
        if kept is None:
            kept = self._edges()
            self._add_senders(kept)
        d_moments = torch.bmm(d_feature_sum, w.to_features).flatten(0, 1)
        d_received = None
        if kept.sent is None or kept.weight is None or w.to_pairs is None:
            d_pair_sums = d_moments.new_zeros(len(topology.pair_atom), d_moments.shape[1])
        else:
            d_weighted = d_feature_sum.index_select(1, topology.pair_receiver)
            d_weight = w.summed(d_weighted * kept.sent)
            d_pair_sums = d_weight.transpose(0, 1).flatten(1) @ w.to_pairs
            d_received = part.received(d_weighted.mul_(w.spread(kept.weight)))
        d_edge_sums = torch.cat([d_scalar_sum @ w.to_scalars, d_moments, d_pair_sums])
        d_hidden = bare_product(topology.moments.transposed[0], part.values_by_edge, d_edge_sums)[:, :-1]
        d_before = silu_backward(d_hidden, kept.before)
        part.add(bare_sampled(topology.moments, d_edge_sums, kept.hidden), d_before @ self.layer.radial.weight)
        return d_before, d_received
