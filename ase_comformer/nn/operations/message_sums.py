"""The sums over neighbours of a message passing step, as sparse matrices that all layers of a trunk share.

A message is linear in the output of the edge network, so its last linear layer is moved behind the sum: layers sum
hidden features (E, H) times w Y_m(r), the nine components m of l = 0, 1, 2, and apply the linear layer on nodes. What
multiplies the sender's own vectors and tensors is summed over the images of one sender first (*pairs* of receiving
node and sending atom, P of them). Components stand first: arrays are (3 + 5, n, C), vectors 1o before tensors 2e.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.operations.sparse import SparsePattern, sparse_product
from ase_comformer.nn.operations.sum_topology import COMPONENTS, SumTopology, component_blocks


@dataclass
class MessageSums:
    """The sums over edges and pairs of one batch, which all layers of a trunk take.

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
        """Sum the weighted harmonics themselves: (9n + P, 1), the row sums of ``topology.moments``."""
        ones = self.moment_values.new_ones(len(self.topology.receiver), 1)
        return sparse_product(self.topology.moments, self.moment_values, ones)

    @property
    def nodes(self) -> int:
        """Give the number n of nodes that receive."""
        return self.topology.nodes

    @property
    def pairs(self) -> int:
        """Give the number P of pairs."""
        return len(self.topology.pair_atom)

    def at_ends(self, ends: Tensor) -> Tensor:
        """Add what the two ends of every edge contribute.

        Args:
            ends: (2N, C), a table for receivers above one for senders.

        Returns:
            (E, C).
        """
        return sparse_product(self.topology.ends, None, ends)

    def sum_over_edges(self, hidden: Tensor) -> Tensor:
        """Sum features of edges times weighted harmonics over the edges of every node and of every pair.

        Args:
            hidden: (E, C).

        Returns:
            (9n + P, C): the moments of every node, scalars (n), vectors (3n) and tensors (5n), component by component,
            then the sums with the weights alone over the edges of every pair (P).
        """
        return sparse_product(self.topology.moments, self.moment_values, hidden)

    def sum_harmonics(self, harmonics: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Sum other weighted harmonics times features of edges over the edges of every node.

        Args:
            harmonics: (E, m).
            hidden: (E, C).

        Returns:
            (m, n, C), and the sums (m, n, 1) of the harmonics alone; neither is projected on the site group.
        """
        edges, components = harmonics.shape
        order = self.topology.order
        pattern = SparsePattern(
            order.repeat(components), component_blocks(self.topology.starts, edges, components), edges
        )
        values = harmonics[order].t().flatten()
        shape = (components, self.nodes, -1)
        totals = sparse_product(pattern, values, values.new_ones(edges, 1))
        return sparse_product(pattern, values, hidden).view(shape), totals.view(shape)

    def sum_over_senders(self, features: Tensor, vector_weight: Tensor, tensor_weight: Tensor) -> Tensor:
        """Sum the features of senders, carried onto their images, times weights of pairs over the pairs of every node.

        Args:
            features: (8, N, C) of nodes, vectors before tensors.
            vector_weight: (P, C).
            tensor_weight: (P, C).

        Returns:
            (8, n, C).
        """
        channels = features.shape[2]
        sent = sparse_product(self.topology.carried, self.carried_values, features.reshape(-1, channels))
        vectors, tensors = sent.view(8, self.pairs, channels).split(COMPONENTS[1:])
        weighted = torch.cat([vectors * vector_weight, tensors * tensor_weight])
        return sparse_product(self.topology.arriving, None, weighted.view(-1, channels)).view(8, self.nodes, channels)


def message_sums(graph: CrystalGraph, harmonics: Tensor, rotation: Tensor | None, topology: SumTopology) -> MessageSums:
    """Prepare the sums of a batch: harmonics become the non-zeros of the matrices.

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


def _carried_values(graph: CrystalGraph, rotation: Tensor | None, topology: SumTopology) -> Tensor | None:
    """Make the non-zeros of ``topology.carried``, all one (None) in a plain graph."""
    if rotation is None or graph.atom_rotation is None:
        return None
    atom, receiver = topology.pair_atom, topology.pair_receiver
    matrices = [graph.atom_rotation[atom], rotation[atom]]
    if graph.site_vector_projector is not None and graph.site_tensor_projector is not None:
        # what a pair sends is projected on the receiver's site group with the rest of the sum
        projectors = (graph.site_vector_projector, graph.site_tensor_projector)
        matrices = [projector[receiver] @ matrix for projector, matrix in zip(projectors, matrices, strict=True)]
    return torch.cat([matrix.transpose(0, 1).flatten() for matrix in matrices])
