"""Heads of the default network: node features -> crystal or atom tensors, built from exactly the irreps of each.

Every head pools over atoms with learned weights, forms the few irreps of its tensor, averages them over the point
group of the crystal where the graph carries one, and only then applies a matrix function. Dielectric tensors are
``1 + exp(S)`` and elastic tensors ``exp(A)`` in the Mandel basis: positive definite by construction, bounded, and
the errors become relative. ``torch.linalg.matrix_exp`` has a gradient at degenerate eigenvalues, ``eigh`` has none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.layers.cartesian import CartesianBasis, EdgeGeometry, NodeFeatures, soft_unit
from ase_comformer.nn.layers.stacked import Linear, affine
from ase_comformer.tensors.forms import change_of_basis, spherical_basis_l2
from ase_comformer.tensors.irreps import spherical_harmonics, wigner_3j
from ase_comformer.tensors.voigt import cartesian_to_mandel, mandel_rotation, mandel_to_voigt


@dataclass
class HeadInput:
    """What a head sees: the graph, node features and pooled crystal scalars (B, C)."""

    graph: CrystalGraph
    edge: EdgeGeometry
    node: NodeFeatures
    crystal: Tensor


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


class LogMatrixHead(nn.Module):
    """exp(S) with S = s 1 + symmetric traceless: a positive definite 3x3 tensor with bounded eigenvalues.

    Args:
        scalars, vectors, crystal: widths of its input.
        centre, span: log of the geometric mean eigenvalue lies in (centre - span, centre + span).
        anisotropy: bound of the Frobenius norm of the traceless part of S.
    """

    def __init__(
        self, *, scalars: int, vectors: int, crystal: int, centre: float, span: float, anisotropy: float = 1.4
    ) -> None:
        super().__init__()
        self.centre, self.span, self.anisotropy = centre, span, anisotropy
        self.trace = nn.Sequential(Linear(crystal, crystal), nn.SiLU(), Linear(crystal, 1))
        self.traceless = PooledChannels(vectors, scalars, crystal, copies=1)
        self.basis = CartesianBasis()

    def forward(self, given: HeadInput) -> Tensor:
        """(B, 3, 3)."""
        trace = self.centre + self.span * torch.tanh(self.trace(given.crystal) / self.span)
        pooled = self.traceless(given, given.node.tensors)
        matrix = (pooled.squeeze(1) @ self.basis.matrices.to(pooled.dtype).flatten(1)).view(-1, 3, 3)
        rotation = given.graph.operation_rotation
        if rotation is not None:
            matrix = mean_over_point_group(given.graph, rotation, rotation, matrix)
        matrix = soft_bound(matrix, self.anisotropy)  # not linear, hence after the mean
        identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
        return torch.linalg.matrix_exp(matrix + trace.unsqueeze(-1) * identity)


class BornHead(nn.Module):
    """Born charges 0e + 1e + 2e per atom with the acoustic sum rule imposed by learned weights.

    The antisymmetric part 1e comes from v x v' and the commutator of two tensors, as no channel carries it.
    """

    def __init__(self, *, scalars: int, vectors: int, crystal: int) -> None:
        super().__init__()
        self.charge = nn.Sequential(Linear(scalars + crystal, scalars), nn.SiLU(), Linear(scalars, 1))
        self.gates = nn.Sequential(Linear(scalars + crystal, scalars), nn.SiLU(), Linear(scalars, 4 * vectors))
        self.weight = Linear(scalars, 1)
        self.vector_pair = Linear(vectors, 2 * vectors, bias=False)
        self.tensor_pair = Linear(vectors, 2 * vectors, bias=False)
        self.commutator = Product(2, 2, 1)
        self.basis = CartesianBasis()
        self.scale = 1.0 / vectors**0.5

    def forward(self, given: HeadInput) -> Tensor:
        """(A, 3, 3) in e, field index first."""
        graph, node = given.graph, given.node
        context = torch.cat([node.scalars, given.crystal[graph.node_crystal]], dim=1)
        gate = (self.gates(context) * self.scale).chunk(4, dim=1)
        left, right = self.vector_pair(soft_unit(node.vectors)).chunk(2, dim=-1)
        first, second = self.tensor_pair(soft_unit(node.tensors)).chunk(2, dim=-1)
        axial = torch.linalg.cross(left, right, dim=0) * gate[0] + self.commutator(first, second) * gate[1]
        dyads = self.basis.from_matrix(left.unsqueeze(1) * right.unsqueeze(0))
        tensors = (node.tensors * gate[2] + dyads * gate[3]).sum(-1)  # (5, n)
        symmetric = (tensors.t() @ self.basis.matrices.to(tensors.dtype).flatten(1)).view(-1, 3, 3)
        identity = torch.eye(3, dtype=symmetric.dtype, device=symmetric.device)
        born = symmetric + self.charge(context).unsqueeze(-1) * identity + cross_matrix(axial.sum(-1).t())
        if graph.atom_rotation is not None:
            rotation = graph.atom_rotation
            born = rotation @ born[graph.atom_node] @ rotation.transpose(1, 2)
        # the small constant keeps the shares defined where softplus underflows on every atom
        share = (nn.functional.softplus(self.weight(node.scalars)) + 1e-6)[graph.atom_node].unsqueeze(-1)
        totals = [sum_rows(value, graph.atom_crystal, graph.crystal_count) for value in (born, share)]
        return born - share * (totals[0] / totals[1])[graph.atom_crystal]


def cross_matrix(axial: Tensor) -> Tensor:
    """(n, 3) -> (n, 3, 3) antisymmetric."""
    x, y, z = axial.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)


class ElasticHead(nn.Module):
    """Stiffness exp(A) in the Mandel basis, A from 2x0e + 2x2e + 4e; GPa, Voigt form.

    Args:
        scalars, vectors, crystal, radial, hidden: widths of its input and of its edge network.
        high: channels of the l = 3 and l = 4 densities.
    """

    basis: Tensor

    def __init__(self, *, scalars: int, vectors: int, crystal: int, radial: int, hidden: int, high: int = 16) -> None:
        super().__init__()
        self.isotropic = nn.Sequential(Linear(crystal, crystal), nn.SiLU(), Linear(crystal, 2))
        self.tensor_pair = Linear(vectors, 2 * vectors, bias=False)
        self.second = PooledChannels(vectors, scalars, crystal, copies=2)
        self.square = Product(2, 2, 4)
        self.squares = PooledChannels(vectors, scalars, crystal, copies=1)
        self.density = EdgeDensity(4, scalars, radial, hidden, high)
        self.densities = PooledChannels(high, scalars, crystal, copies=1)
        # (21, 6, 6) symmetric Mandel matrices of the irreps 2x0e + 2x2e + 4e, orthonormal.
        self.register_buffer("basis", mandel_stiffness_basis(), persistent=False)

    def forward(self, given: HeadInput) -> Tensor:
        """(B, 6, 6) GPa, Voigt."""
        first, second = self.tensor_pair(soft_unit(given.node.tensors)).chunk(2, dim=-1)
        fourth = self.squares(given, self.square(first, second)) + self.densities(given, self.density(given))
        traceless = torch.cat([self.second(given, given.node.tensors).flatten(1), fourth.flatten(1)], dim=1)
        # Isotropic eigenvalues 3K (basis 0 has norm 1 on one) and 2G (basis 1 spreads norm 1 over five): each
        # within a factor e^+-4 of e^4 = 55 GPa.
        isotropic = 4.0 * torch.tanh(self.isotropic(given.crystal) / 4.0)
        isotropic = isotropic * isotropic.new_tensor([1.0, 5.0**0.5])
        basis = self.basis.to(traceless.dtype)
        matrix = (traceless @ basis[2:].flatten(1)).view(-1, 6, 6)
        if given.graph.operation_rotation is not None:
            rotation = mandel_rotation(given.graph.operation_rotation)
            matrix = mean_over_point_group(given.graph, rotation, rotation, matrix)
        matrix = soft_bound(matrix, 3.0)  # not linear, hence after the mean
        matrix = matrix + (isotropic @ basis[:2].flatten(1)).view(-1, 6, 6)
        matrix = matrix + 4.0 * torch.eye(6, dtype=matrix.dtype, device=matrix.device)
        return mandel_to_voigt(torch.linalg.matrix_exp(matrix), "stiffness")


def mandel_stiffness_basis() -> Tensor:
    """(21, 6, 6) orthonormal symmetric matrices spanning stiffness in Mandel form, ordered 2x0e + 2x2e + 4e."""
    return cartesian_to_mandel(change_of_basis("elastic_tensor"), "stiffness")


class PiezoelectricHead(nn.Module):
    """Piezoelectric tensor from 2x1o + 2o + 3o; C/m^2, Voigt form (3, 6).

    2o, all that the classes 422 and 622 allow, is not carried by any channel: it comes from v x t and t x Y3.
    """

    basis: Tensor

    def __init__(self, *, scalars: int, vectors: int, crystal: int, radial: int, hidden: int, high: int = 16) -> None:
        super().__init__()
        self.size = nn.Sequential(Linear(crystal, crystal), nn.SiLU(), Linear(crystal, 1))
        self.density = EdgeDensity(3, scalars, radial, hidden, high)
        self.vector_mix = Linear(vectors, high, bias=False)
        self.tensor_mix = Linear(vectors, high, bias=False)
        self.vector_tensor = nn.ModuleList(Product(1, 2, result) for result in (1, 2, 3))
        self.density_tensor = nn.ModuleList(Product(3, 2, result) for result in (1, 2, 3))
        self.vectors = PooledChannels(vectors, scalars, crystal, copies=2)
        self.first = PooledChannels(2 * high, scalars, crystal, copies=2)
        self.second = PooledChannels(2 * high, scalars, crystal, copies=1)
        self.third = PooledChannels(3 * high, scalars, crystal, copies=1)
        self.register_buffer("basis", mandel_piezoelectric_basis(), persistent=False)

    def forward(self, given: HeadInput) -> Tensor:
        """(B, 3, 6) C/m^2, Voigt."""
        density = self.density(given)
        vector = self.vector_mix(soft_unit(given.node.vectors))
        tensor = self.tensor_mix(soft_unit(given.node.tensors))
        products = [
            torch.cat([first(vector, tensor), second(density, tensor)], dim=-1)
            for first, second in zip(self.vector_tensor, self.density_tensor, strict=True)
        ]
        coefficients = torch.cat(
            [
                (self.vectors(given, given.node.vectors) + self.first(given, products[0])).flatten(1),
                self.second(given, products[1]).flatten(1),
                self.third(given, torch.cat([density, products[2]], dim=-1)).flatten(1),
            ],
            dim=1,
        )
        # at most e^4 = 55 times the untrained size; the factor 10 starts training at the size of real tensors
        coefficients = 10.0 * coefficients * torch.exp(4.0 * torch.tanh(self.size(given.crystal) / 4.0))
        matrix = (coefficients @ self.basis.to(coefficients.dtype).flatten(1)).view(-1, 3, 6)
        rotation = given.graph.operation_rotation
        if rotation is not None:
            matrix = mean_over_point_group(given.graph, rotation, mandel_rotation(rotation), matrix)
        return mandel_to_voigt(matrix, "piezoelectric_stress")


def mandel_piezoelectric_basis() -> Tensor:
    """(18, 3, 6) orthonormal matrices spanning the piezoelectric tensor in Mandel form, ordered 2x1o + 2o + 3o."""
    return cartesian_to_mandel(change_of_basis("piezoelectric_tensor"), "piezoelectric_stress")
