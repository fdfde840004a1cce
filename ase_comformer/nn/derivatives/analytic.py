"""The derivative of a potential in the edge vectors, written out: 0.6 of the time of autograd for small cells.

They cost what the number of operations and calls costs, so this is what relaxations and dynamics run on; training,
which differentiates once more, uses autograd (``potential.derivatives``), and tests compare the two.
Everything is arranged as in ``cartesian``; a prefix ``d_`` marks the derivative of the energy in what follows it. Index
letters: N nodes, n and e nodes and edges of one part of the graph, P pairs, H hidden width, C channels. Features are
(8, n, C), three components of vectors before five of tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, pad, silu

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.architectures.potential import Potential, PotentialResult, result_of
from ase_comformer.nn.derivatives.edge_gradient import EdgeParts
from ase_comformer.nn.derivatives.graph_notes import kept_beside
from ase_comformer.nn.derivatives.layer_gradient import LayerGradient, ends_of, silu_backward
from ase_comformer.nn.derivatives.layer_weights import LayerWeights
from ase_comformer.nn.electrostatics import (
    DipoleInteraction,
    dipole_interaction,
    is_interacting,
    limited,
    limited_backward,
    on_atoms,
    on_nodes,
)
from ase_comformer.nn.operations.sum_topology import SumTopology


@dataclass
class _FixedNodes:
    """What depends on the elements alone.

    Scalars (n, C0) that layers start from, energies (n,) eV of isolated atoms and of binding; of a node the number of
    atoms (n,) of its orbit, of an edge the distance (E,) A below which nuclei repel.
    """

    start: Tensor
    isolated: Tensor
    binding: Tensor
    size: Tensor
    reach: Tensor


@dataclass
class _Forward:
    """What ``AnalyticPotential`` has computed of n nodes on the way to their energies.

    ``inner`` (n, C) is the readout before its activation, ``bound`` (n,) eV the energy that neighbours share out,
    ``share`` (n,) the part of it that an atom has, ``energy`` (n,) eV; ``close`` are the edges with a repulsion and
    ``slopes`` its derivatives in their lengths.
    """

    fixed: "_FixedNodes"
    parts: EdgeParts
    layers: list[LayerGradient]
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
            topologies: of ``graph``, or of the parts of a large plain one; of ``GraphParts`` nothing is kept, and
                memory grows with the atoms only.
            fidelity: (B,) see ``Potential.forward``.
        """
        network, found = self.network, self._forward(graph, topologies, fidelity, keep=True)
        size = found.fixed.size
        first, last = ends_of(network.readout)
        d_inner = silu_backward((size * found.share * network.energy_scale).unsqueeze(1) * last.weight, found.inner)
        d_read = d_inner @ first.weight
        d_scalars: Tensor | None = d_read
        d_features: Tensor | None = None
        dipoles = interaction = None
        if found.with_dipoles and found.features is not None:
            dipoles, interaction, change, d_features = self._of_dipoles(graph, found.scalars, found.features)
            d_scalars = d_read + change
        for layer in reversed(found.layers):
            assert d_scalars is not None
            d_scalars, d_features = layer.backward(d_scalars, d_features)
        gradient = found.parts.gradient(network.trunk.mean_neighbours * size * found.bound * (1 - found.share))
        if len(found.close):
            vector = graph.edge_vector[found.close]
            slopes = found.slopes * size[graph.edge_receiver[found.close]]
            repulsion = slopes.unsqueeze(1) * vector / vector.norm(dim=1, keepdim=True)
            gradient = gradient.index_add(0, found.close, repulsion)
        return result_of(graph, found.energy, found.scalars, gradient, dipoles, interaction)

    @torch.inference_mode()
    def energies(
        self, graph: CrystalGraph, topologies: Sequence[SumTopology], fidelity: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Atomic energies (A,) eV and features (A, C) of ``derivatives``, to the last bit, without the way back."""
        found = self._forward(graph, topologies, fidelity, keep=False)
        energies = found.energy[graph.atom_node]
        if found.with_dipoles and found.features is not None:
            assert self.network.dipole is not None
            first, last = ends_of(self.network.dipole)
            gates = linear(silu(linear(found.scalars, first.weight, first.bias)), last.weight, last.bias)
            own = (gates * found.features[:3]).sum(2).t()
            dipoles = on_atoms(graph, limited(own, self.network.dipole_limit))
            energies = energies + dipole_interaction(graph, dipoles).energies
        return energies, found.scalars[graph.atom_node]

    def _forward(
        self, graph: CrystalGraph, topologies: Sequence[SumTopology], fidelity: Tensor | None, *, keep: bool
    ) -> "_Forward":
        """All that the energy needs and, if it is kept, what the way back to the edges reads."""
        network = self.network
        trunk = network.trunk
        parts = EdgeParts(trunk, graph, topologies)
        if fidelity is None and len(topologies) == 1:
            fixed = kept_beside(topologies[0], self, graph, lambda: self._fixed(graph, None))
        else:
            fixed = self._fixed(graph, fidelity)
        scalars, features = fixed.start, None
        with_dipoles = network.dipole is not None and is_interacting(graph)
        layers = [
            LayerGradient(
                w,
                parts,
                is_last=w is self.layers[-1] and not with_dipoles,
                is_fixed=w is self.layers[0] and fidelity is None,
            )
            for w in self.layers
        ]
        for layer in layers:
            scalars, features = layer.forward(scalars, features, keep=keep)
        # the readout, and what takes an isolated atom to its reference energy
        first, last = ends_of(network.readout)
        inner = linear(scalars, first.weight, first.bias)
        bound = linear(silu(inner), last.weight, last.bias).squeeze(1) * network.energy_scale
        bound += fixed.binding
        share = -torch.expm1(parts.density() * -trunk.mean_neighbours)
        energy = fixed.isolated + bound * share
        distance = parts.distance()
        close, slopes = torch.nonzero(distance < fixed.reach).squeeze(1), share
        if len(close):
            pairs, slopes = network.repulsion.pairs(graph, distance, close)
            energy = energy.index_add(0, graph.edge_receiver[close], pairs)
        return _Forward(
            fixed, parts, layers, scalars, features, with_dipoles, inner, bound, share, energy, close, slopes
        )

    def _fixed(self, graph: CrystalGraph, fidelity: Tensor | None) -> _FixedNodes:
        network, numbers = self.network, graph.numbers
        chosen = torch.zeros_like(numbers) if fidelity is None else fidelity[graph.node_crystal]
        return _FixedNodes(
            start=network.trunk.embedding.weight[numbers] + network.fidelity.weight[chosen],
            isolated=self.isolated[chosen, numbers],
            binding=self.binding[chosen, numbers],
            # a node of a reduced graph counts once for every atom of its orbit
            size=graph.node_weight * graph.atom_count[graph.node_crystal],
            reach=network.repulsion.reach(graph),
        )

    def _of_dipoles(
        self, graph: CrystalGraph, scalars: Tensor, features: Tensor
    ) -> tuple[Tensor, DipoleInteraction, Tensor, Tensor]:
        """Dipoles of atoms (A, 3), their interaction, derivatives of its energy in scalars and features of nodes."""
        assert self.network.dipole is not None
        first, last = ends_of(self.network.dipole)
        inner = linear(scalars, first.weight, first.bias)
        gates = linear(silu(inner), last.weight, last.bias)
        vectors = features[:3]
        own, limit = (gates * vectors).sum(2).t(), self.network.dipole_limit
        dipoles = on_atoms(graph, limited(own, limit))
        interaction = dipole_interaction(graph, dipoles)
        d_dipoles = limited_backward(on_nodes(graph, interaction.d_dipoles), own, limit).t().unsqueeze(2)
        d_scalars = silu_backward((vectors * d_dipoles).sum(0) @ last.weight, inner) @ first.weight
        return dipoles, interaction, d_scalars, pad(d_dipoles * gates, (0, 0, 0, 0, 0, 5))
