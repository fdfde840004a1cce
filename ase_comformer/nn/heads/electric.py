"""Heads of dielectric tensors and Born charges.

Dielectric tensors are ``1 + exp(S)``: positive definite by construction, bounded, and the errors become relative.
"""

import torch
from torch import Tensor, nn

from ase_comformer.nn.heads.common import (
    HeadInput,
    PooledChannels,
    Product,
    Widths,
    impose_sum_rule,
    mean_over_point_group,
    soft_bound,
)
from ase_comformer.nn.layers.cartesian import CartesianBasis, soft_unit
from ase_comformer.nn.layers.stacked import Linear
from ase_comformer.properties.entry import TensorProperty


class LogMatrixHead(nn.Module):
    """exp(S) with S = s 1 + symmetric traceless: a positive definite 3x3 tensor with bounded eigenvalues.

    ``torch.linalg.matrix_exp`` has a gradient at degenerate eigenvalues, ``eigh`` has none.

    Args:
        widths: of its input.
        centre, span: log of the geometric mean eigenvalue lies in (centre - span, centre + span).
        anisotropy: bound of the Frobenius norm of the traceless part of S.
    """

    def __init__(self, widths: Widths, *, centre: float, span: float, anisotropy: float = 1.4) -> None:
        super().__init__()
        crystal = widths["crystal"]
        self.centre, self.span, self.anisotropy = centre, span, anisotropy
        self.trace = nn.Sequential(Linear(crystal, crystal), nn.SiLU(), Linear(crystal, 1))
        self.traceless = PooledChannels(widths["vectors"], widths["scalars"], crystal, copies=1)
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


class ElectronicDielectricHead(LogMatrixHead):
    """eps = 1 + exp(S); arguments of ``LogMatrixHead``."""

    def __init__(self, entry: TensorProperty, widths: Widths, **bounds: float) -> None:
        super().__init__(widths, **bounds)

    def forward(self, given: HeadInput) -> Tensor:
        """(B, 3, 3)."""
        susceptibility = super().forward(given)
        return torch.eye(3, dtype=susceptibility.dtype, device=susceptibility.device) + susceptibility


class StaticDielectricHead(LogMatrixHead):
    """The electronic tensor plus exp(S), the ionic part; arguments of ``LogMatrixHead``."""

    def __init__(self, entry: TensorProperty, widths: Widths, **bounds: float) -> None:
        super().__init__(widths, **bounds)

    def forward(self, given: HeadInput) -> Tensor:
        """(B, 3, 3)."""
        return given.earlier["dielectric_tensor"] + super().forward(given)


class BornHead(nn.Module):
    """Born charges 0e + 1e + 2e per atom with the acoustic sum rule imposed by learned weights.

    The antisymmetric part 1e comes from v x v' and the commutator of two tensors, as no channel carries it.
    """

    def __init__(self, entry: TensorProperty, widths: Widths) -> None:
        super().__init__()
        scalars, vectors, crystal = widths["scalars"], widths["vectors"], widths["crystal"]
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
        return impose_sum_rule(graph, born, self.weight(node.scalars))


def cross_matrix(axial: Tensor) -> Tensor:
    """(n, 3) -> (n, 3, 3) antisymmetric."""
    x, y, z = axial.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
