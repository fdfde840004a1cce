"""The derivative of a potential in the edge vectors, written out: 0.6 of the time of autograd for small cells.

They cost what the number of operations and calls costs, so this is what relaxations and dynamics run on; training,
which differentiates once more, uses autograd (``potential.derivatives``), and tests compare the two.
Everything is arranged as in ``cartesian``; a prefix ``d_`` marks the derivative of the energy in what follows it. Index
letters: N nodes, n and e nodes and edges of one part of the graph, P pairs, H hidden width, C channels. Features are
(8, n, C), three components of vectors before five of tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad, silu

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.architectures.potential import Potential, PotentialResult, result_of
from ase_comformer.nn.derivatives.edge_gradient import EdgeGradient, PartGradient
from ase_comformer.nn.derivatives.layer_weights import DYAD, LayerWeights
from ase_comformer.nn.electrostatics import (
    DipoleInteraction,
    dipole_interaction,
    is_interacting,
    limited,
    limited_backward,
    on_atoms,
    on_nodes,
)
from ase_comformer.nn.operations.sparse import bare_product, bare_sampled
from ase_comformer.nn.operations.sum_topology import SumTopology

silu_backward = torch.ops.aten.silu_backward
layer_norm_backward = torch.ops.aten.native_layer_norm_backward


@dataclass
class _Forward:
    """What ``AnalyticPotential`` has computed of n nodes on the way to their energies.

    ``inner`` (n, C) is the readout before its activation, ``bound`` (n,) eV the energy that neighbours share out,
    ``share`` (n,) the part of it that an atom has, ``energy`` (n,) eV; ``close`` are the edges with a repulsion and
    ``slopes`` its derivatives in their lengths.
    """

    geometry: EdgeGradient
    parts: list[PartGradient]
    passes: "list[_Pass]"
    scalars: Tensor
    features: Tensor | None
    with_dipoles: bool
    inner: Tensor
    bound: Tensor
    share: Tensor
    energy: Tensor
    close: Tensor
    slopes: Tensor


class AnalyticPotential:
    """Energies and derivatives of one frozen potential; its weights are rearranged once.

    Args:
        network: not stacked. Later changes of its parameters are not seen.
    """

    def __init__(self, network: Potential) -> None:
        self.network = network
        with torch.no_grad():
            self.isolated = network.isolated_energies
            self.binding = network.element_reference - self.isolated
            self.layers = [LayerWeights(layer) for layer in network.trunk.layers]  # type: ignore[arg-type]

    @torch.inference_mode()
    def derivatives(
        self, graph: CrystalGraph, topologies: Sequence[SumTopology], fidelity: Tensor | None = None
    ) -> PotentialResult:
        """Compute what ``potential.derivatives`` does.

        Args:
            graph: plain or reduced.
            topologies: of ``graph``, or of the parts of a large plain one.
            fidelity: (B,) see ``Potential.forward``.
        """
        network, found = self.network, self._forward(graph, topologies, fidelity)
        # a node of a reduced graph counts once for every atom of its orbit
        size = graph.node_weight * graph.atom_count[graph.node_crystal]
        first, last = _ends_of(network.readout)
        d_inner = silu_backward((size * found.share * network.energy_scale).unsqueeze(1) * last.weight, found.inner)
        d_read = d_inner @ first.weight
        d_scalars: Tensor | None = d_read
        d_features: Tensor | None = None
        dipoles = interaction = None
        if found.with_dipoles and found.features is not None:
            dipoles, interaction, change, d_features = self._of_dipoles(graph, found.scalars, found.features)
            d_scalars = d_read + change
        for step in reversed(found.passes):
            d_scalars, d_features = step.backward(d_scalars, d_features)
        d_density = network.trunk.mean_neighbours * size * found.bound * (1 - found.share)
        gradient = found.geometry.backward(found.parts, d_density[graph.edge_receiver])
        if len(found.close):
            receiver = graph.edge_receiver[found.close]
            repulsion = (found.slopes * size[receiver]).unsqueeze(1) * found.geometry.unit[found.close]
            gradient = gradient.index_add(0, found.close, repulsion)
        return result_of(graph, found.energy, found.scalars, gradient, dipoles, interaction)

    @torch.inference_mode()
    def energies(
        self, graph: CrystalGraph, topologies: Sequence[SumTopology], fidelity: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Atomic energies (A,) eV and features (A, C) of ``derivatives``, to the last bit, without the way back."""
        found = self._forward(graph, topologies, fidelity)
        energies = found.energy[graph.atom_node]
        if found.with_dipoles and found.features is not None:
            assert self.network.dipole is not None
            first, last = _ends_of(self.network.dipole)
            gates = linear(silu(linear(found.scalars, first.weight, first.bias)), last.weight, last.bias)
            own = (gates * found.features[:3]).sum(2).t()
            dipoles = on_atoms(graph, limited(own, self.network.dipole_limit))
            energies = energies + dipole_interaction(graph, dipoles).energies
        return energies, found.scalars[graph.atom_node]

    def _forward(self, graph: CrystalGraph, topologies: Sequence[SumTopology], fidelity: Tensor | None) -> "_Forward":
        """All that the energy needs, and the way back to the edges reads."""
        network = self.network
        trunk = network.trunk
        chosen = torch.zeros_like(graph.numbers) if fidelity is None else fidelity[graph.node_crystal]
        geometry = EdgeGradient(trunk, graph)
        parts = [PartGradient(geometry, topology, keep=len(topologies) == 1) for topology in topologies]
        scalars = trunk.embedding.weight[graph.numbers] + network.fidelity.weight[chosen]
        features: Tensor | None = None
        with_dipoles = network.dipole is not None and is_interacting(graph)
        passes = [_Pass(w, parts, w is self.layers[-1] and not with_dipoles) for w in self.layers]
        for step in passes:
            scalars, features = step.forward(scalars, features)
        # the readout, and what takes an isolated atom to its reference energy
        first, last = _ends_of(network.readout)
        inner = linear(scalars, first.weight, first.bias)
        bound = linear(silu(inner), last.weight, last.bias).squeeze(1) * network.energy_scale
        bound += self.binding[chosen, graph.numbers]
        density = torch.zeros_like(bound).index_add_(0, graph.edge_receiver, geometry.weight.squeeze(1))
        share = -torch.expm1(density * -trunk.mean_neighbours)
        energy = self.isolated[chosen, graph.numbers] + bound * share
        close, slopes = network.repulsion.close_pairs(graph, geometry.distance), share
        if len(close):
            pairs, slopes = network.repulsion.pairs(graph, geometry.distance, close)
            energy = energy.index_add(0, graph.edge_receiver[close], pairs)
        return _Forward(
            geometry, parts, passes, scalars, features, with_dipoles, inner, bound, share, energy, close, slopes
        )

    def _of_dipoles(
        self, graph: CrystalGraph, scalars: Tensor, features: Tensor
    ) -> tuple[Tensor, DipoleInteraction, Tensor, Tensor]:
        """Dipoles of atoms (A, 3), their interaction, derivatives of its energy in scalars and features of nodes."""
        assert self.network.dipole is not None
        first, last = _ends_of(self.network.dipole)
        inner = linear(scalars, first.weight, first.bias)
        gates = linear(silu(inner), last.weight, last.bias)
        vectors = features[:3]
        own, limit = (gates * vectors).sum(2).t(), self.network.dipole_limit
        dipoles = on_atoms(graph, limited(own, limit))
        interaction = dipole_interaction(graph, dipoles)
        d_dipoles = limited_backward(on_nodes(graph, interaction.d_dipoles), own, limit).t().unsqueeze(2)
        d_scalars = silu_backward((vectors * d_dipoles).sum(0) @ last.weight, inner) @ first.weight
        return dipoles, interaction, d_scalars, pad(d_dipoles * gates, (0, 0, 0, 0, 0, 5))


def _ends_of(perceptron: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    """First and last layer of a perceptron with one hidden layer."""
    first, _, last = perceptron
    return cast(nn.Linear, first), cast(nn.Linear, last)


@dataclass
class _Kept:
    """What a layer computed of one part.

    Before the activation (e, H), after it with a column of ones (e, H + 1), features of senders (8, P, C) and their
    weights (2, P, C); of an outer layer the last two are None.
    """

    before: Tensor
    hidden: Tensor
    sent: Tensor | None
    weight: Tensor | None


class _Pass:
    """One ``CartesianLayer`` on all parts, forth and back; of the last one only the scalars are read."""

    def __init__(self, weights: LayerWeights, parts: Sequence[PartGradient], is_last: bool) -> None:
        self.weights, self.layer, self.parts, self.is_last = weights, weights.layer, parts, is_last
        self.kept: list[_Kept | None] = []
        self.pair_sums: list[Tensor] = []

    def forward(self, scalars: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """See ``CartesianLayer.forward``."""
        w, layer = self.weights, self.layer
        self.scalars, self.start = scalars, features
        # (N, 2H) -> (2N, H): a table for receivers above one for senders
        self.ends = torch.cat(linear(scalars, w.ends, w.ends_bias).chunk(2, dim=1))
        sums = [self._part_forward(part) for part in self.parts]
        scalar_sum, feature_sum = sums[0]
        if len(sums) > 1:
            scalar_sum, feature_sum = torch.cat([s for s, _ in sums]), torch.cat([f for _, f in sums], dim=1)
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
        normal, mean, deviation = torch.native_layer_norm(
            scalars, norm.normalized_shape, norm.weight, norm.bias, norm.eps
        )
        message = linear(scalar_sum, layer.scalar_message.weight, layer.scalar_message.bias)
        first, last = _ends_of(layer.update)
        inner = linear(torch.cat([normal, message, invariants], dim=1), first.weight, first.bias)
        self.middle, self.rate, self.unit, self.left, self.right = middle, rate, unit, left, right
        self.products, self.normal, self.inner = products, (mean, deviation), inner
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

    def backward(self, d_scalars: Tensor | None, d_features: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Derivatives in what ``forward`` returned -> in what it was given; None where it was constant."""
        w, layer = self.weights, self.layer
        assert d_scalars is not None
        first, last = _ends_of(layer.update)
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
        # the first layer starts from constants
        d_ends, d_start = (None, None) if self.start is None else (torch.zeros_like(self.ends), d_middle)
        at = 0
        for number, part in enumerate(self.parts):
            rows = slice(at, at + part.topology.nodes)
            d_start = self._part_backward(number, d_message[rows], d_sum[:, rows], d_ends, d_start)
            at = rows.stop
        if d_ends is None:
            return None, None
        norm = layer.norm
        d_norm: Tensor = layer_norm_backward(
            d_normal.contiguous(), self.scalars, norm.normalized_shape, *self.normal,
            norm.weight, norm.bias, [True, False, False],
        )[0]  # fmt: skip
        return d_scalars + d_norm + torch.cat(d_ends.chunk(2), dim=1) @ w.ends, d_start

    def _edges(self, part: PartGradient, pair_sums: Tensor | None = None) -> _Kept:
        """All of ``_Kept`` where the sums of pairs are known, else without senders."""
        ends = bare_product(part.topology.ends, None, self.ends)
        before = torch.addmm(ends, part.basis, self.layer.radial.weight.t())
        kept = _Kept(before, pad(silu(before), (0, 1), value=1.0), None, None)
        if pair_sums is not None:
            self._add_senders(kept, part, pair_sums)
        return kept

    def _add_senders(self, kept: _Kept, part: PartGradient, pair_sums: Tensor) -> None:
        w = self.weights
        if self.start is None or w.to_pairs is None:
            return
        kept.sent = part.sent(self.start)
        kept.weight = torch.stack((pair_sums @ w.to_pairs.t()).chunk(2, dim=1))

    def _part_forward(self, part: PartGradient) -> tuple[Tensor, Tensor]:
        w, topology = self.weights, part.topology
        kept = self._edges(part)
        sizes = [topology.nodes, 8 * topology.nodes, len(topology.pair_atom)]
        node_sums, moments, pair_sums = bare_product(topology.moments, part.values, kept.hidden).split(sizes)
        feature_sum = torch.bmm(moments.view(8, topology.nodes, -1), w.to_features_transposed)
        self._add_senders(kept, part, pair_sums)
        if kept.sent is not None and kept.weight is not None:
            weighted = (kept.sent * w.spread(kept.weight)).view(-1, w.channels)
            feature_sum += bare_product(topology.arriving, None, weighted).view_as(feature_sum)
        self.kept.append(kept if part.keep else None)
        self.pair_sums.append(pair_sums)
        return node_sums @ w.to_scalars.t(), feature_sum

    def _part_backward(
        self, number: int, d_scalar_sum: Tensor, d_feature_sum: Tensor, d_ends: Tensor | None, d_start: Tensor | None
    ) -> Tensor | None:
        """Adds to ``d_ends`` (2N, H) and to what the part gathers; returns ``d_start`` (8, N, C) with its share."""
        w, part = self.weights, self.parts[number]
        topology = part.topology
        kept = self.kept[number] or self._edges(part, self.pair_sums[number])
        d_moments = torch.bmm(d_feature_sum, w.to_features).flatten(0, 1)
        if kept.sent is None or kept.weight is None or w.to_pairs is None or d_start is None:
            d_pair_sums = d_moments.new_zeros(len(topology.pair_atom), d_moments.shape[1])
        else:
            d_weighted = d_feature_sum.index_select(1, topology.pair_receiver)
            d_weight = w.summed(d_weighted * kept.sent)
            d_pair_sums = d_weight.transpose(0, 1).flatten(1) @ w.to_pairs
            d_sent = d_weighted.mul_(w.spread(kept.weight))
            d_start = d_start + part.received(d_sent).view_as(d_start)
        d_edge_sums = torch.cat([d_scalar_sum @ w.to_scalars, d_moments, d_pair_sums])
        back, order = topology.moments.transposed
        d_hidden = bare_product(back, part.values[order], d_edge_sums)[:, :-1]
        d_before = silu_backward(d_hidden, kept.before)
        part.add(bare_sampled(topology.moments, d_edge_sums, kept.hidden), d_before @ self.layer.radial.weight)
        if d_ends is not None:
            d_ends += bare_product(topology.ends.transposed[0], None, d_before)
        return d_start
