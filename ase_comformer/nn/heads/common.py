"""What the heads are made of: their input, pooling over atoms, products of irreps, densities of neighbours.

A head turns node features into the tensor of one property: it pools over atoms with learned weights, forms exactly the
irreps of its tensor, averages them over the point group of the crystal where the graph carries one, and only then
applies a function that is not linear.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.layers.cartesian import EdgeGeometry, NodeFeatures
from ase_comformer.nn.layers.stacked import Linear, affine
from ase_comformer.tensors.forms import spherical_basis_l2
from ase_comformer.tensors.irreps import spherical_harmonics, wigner_3j


class Widths(TypedDict):
    """Sizes of what a head sees.

    Channels of node scalars and of vectors (and tensors), pooled crystal scalars, radial basis, hidden layer of the
    edge network, and channels of the l = 3 and l = 4 densities.
    """

    scalars: int
    vectors: int
    crystal: int
    radial: int
    hidden: int
    high: int


@dataclass
class HeadInput:
    """What a head sees.

    Attributes:
        graph: a batch of B crystals.
        edge: geometry of its edges.
        node: features of its nodes.
        crystal: (B, C) pooled crystal scalars.
        element_reference: (Z,) energies of the elements in eV/atom, (members, Z) of stacked networks.
        earlier: predictions that the property is built on.
    """

    graph: CrystalGraph
    edge: EdgeGeometry
    node: NodeFeatures
    crystal: Tensor
    element_reference: Tensor
    earlier: Mapping[str, Tensor] = field(default_factory=dict)


def pool(graph: CrystalGraph, values: Tensor) -> Tensor:
    """Mean over the atoms of each crystal: (n, ...) -> (B, ...), orbits counted with their multiplicity."""
    weighted = values.flatten(1) * graph.node_weight.unsqueeze(1) if values.dim() > 1 else values * graph.node_weight
    return sum_rows(weighted, graph.node_crystal, graph.crystal_count).view(-1, *values.shape[1:])


def sum_rows(values: Tensor, owner: Tensor, count: int) -> Tensor:
    """(k, ...) -> (count, ...), the sum over the rows of each owner (k,); fast on a CPU in two dimensions only."""
    flat = values.flatten(1) if values.dim() > 2 else values
    return flat.new_zeros(count, *flat.shape[1:]).index_add(0, owner, flat).view(count, *values.shape[1:])


def mean_over_point_group(graph: CrystalGraph, left: Tensor, right: Tensor, values: Tensor) -> Tensor:
    """Mean of ``left v right^T`` over the operations of each crystal (Reynolds operator): (B, p, q) -> (B, p, q).

    left: (O, p, p), right: (O, q, q), representation matrices of ``graph.operation_rotation``.
    """
    assert graph.operation_crystal is not None
    owner = graph.operation_crystal
    turned = left @ values.index_select(0, owner) @ right.transpose(1, 2)
    order = torch.bincount(owner, minlength=graph.crystal_count).to(values.dtype)
    return sum_rows(turned, owner, graph.crystal_count) / order[:, None, None]


class Product(nn.Module):
    """Channel-wise product of two irreps, (2a+1, n, C) x (2b+1, n, C) -> (2c+1, n, C), component normalised."""

    coupling: Tensor

    def __init__(self, first: int, second: int, result: int) -> None:
        super().__init__()
        coupling = wigner_3j(first, second, result) * (2 * result + 1) ** 0.5
        self.register_buffer("coupling", coupling.flatten(0, 1).t().contiguous(), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """See the class."""
        outer = (first.unsqueeze(1) * second.unsqueeze(0)).flatten(0, 1)
        return (self.coupling.to(first.dtype) @ outer.flatten(1)).view(-1, *first.shape[1:])


class EdgeHarmonics(nn.Module):
    """Component-normalised harmonics Y_l of l = 3 or 4 from those of lower degree, (E, 3) and (E, 5) -> (E, 2l+1)."""

    coupling: Tensor

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.first = degree - 2
        coupling = wigner_3j(self.first, 2, degree).flatten(0, 1)
        direction = torch.tensor([[2.0, 3.0, 6.0]], dtype=torch.float64) / 7.0
        tensor = direction.unsqueeze(2) * direction.unsqueeze(1)
        tensor = torch.einsum("nxy,mxy->nm", tensor, spherical_basis_l2(dtype=torch.float64))
        wanted = spherical_harmonics(degree, direction)
        got = self._outer(direction, tensor) @ coupling
        factor = (wanted * got).sum() / got.square().sum()
        self.register_buffer("coupling", coupling * factor, persistent=False)

    def _outer(self, unit: Tensor, tensor: Tensor) -> Tensor:
        first = unit if self.first == 1 else tensor
        return (first.unsqueeze(2) * tensor.unsqueeze(1)).flatten(1)

    def forward(self, unit: Tensor, tensor: Tensor) -> Tensor:
        """See the class."""
        return self._outer(unit, tensor) @ self.coupling.to(unit.dtype)


class EdgeDensity(nn.Module):
    """sum_j w(h_i, h_j, r) Y_l(r_ij): the harmonics beyond l = 2 that the trunk does not carry, (2l+1, n, C)."""

    def __init__(self, degree: int, scalars: int, radial: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.receiver = Linear(scalars, hidden)
        self.sender = Linear(scalars, hidden, bias=False)
        self.radial = Linear(radial, hidden, bias=False)
        self.edge = Linear(hidden, channels)
        self.harmonics = EdgeHarmonics(degree)

    def forward(self, given: HeadInput) -> Tensor:
        """(2l+1, n, C); not projected on the site group: the point-group mean of the head does that."""
        edge, scalars = given.edge, given.node.scalars
        ends = edge.sums.at_ends(torch.cat([self.receiver(scalars), self.sender(scalars)], dim=-2))
        hidden = nn.functional.silu(ends + self.radial(edge.basis))
        harmonics = self.harmonics(edge.unit, edge.tensor) * edge.weight
        moments, totals = edge.sums.sum_harmonics(harmonics, hidden)
        return affine(moments, self.edge.weight, self.edge.bias, totals)


class PooledChannels(nn.Module):
    """Pool channels of one irrep with atom gates, then mix them with crystal gates into ``copies`` irreps.

    (2l+1, n, C) -> (B, copies, 2l+1).
    """

    def __init__(self, channels: int, scalars: int, crystal: int, copies: int) -> None:
        super().__init__()
        self.copies = copies
        self.atom_gate = Linear(scalars, channels)
        self.crystal_gate = Linear(crystal, channels * copies)
        self.scale = 1.0 / channels**0.5

    def forward(self, given: HeadInput, values: Tensor) -> Tensor:
        """See the class."""
        gated = (values * self.atom_gate(given.node.scalars)).transpose(0, 1)
        pooled = pool(given.graph, gated)
        mixing = self.crystal_gate(given.crystal).reshape(len(pooled), self.copies, -1)
        return mixing @ pooled.transpose(1, 2) * self.scale


def soft_bound(values: Tensor, limit: float) -> Tensor:
    """(B, ...) scaled to a norm below ``limit``, smoothly and equivariantly; small values pass unchanged."""
    squared = values.flatten(1).square().sum(1).reshape(-1, *[1] * (values.dim() - 1))
    return values * torch.rsqrt(1 + squared / limit**2)


def impose_sum_rule(graph: CrystalGraph, values: Tensor, weight: Tensor) -> Tensor:
    """Atom tensors (A, ...) shifted so that they sum to zero over each crystal, by shares of learned size.

    ``weight`` (n, 1) of the nodes, of any sign and size.
    """
    # the small constant keeps the shares defined where softplus underflows on every atom
    share = (nn.functional.softplus(weight) + 1e-6)[graph.atom_node]
    share = share.view(-1, *[1] * (values.dim() - 1))
    totals = [sum_rows(each, graph.atom_crystal, graph.crystal_count) for each in (values, share)]
    return values - share * (totals[0] / totals[1])[graph.atom_crystal]
