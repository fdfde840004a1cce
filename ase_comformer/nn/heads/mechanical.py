"""Head of the elastic stiffness."""

import torch
from torch import Tensor, nn

from ase_comformer.nn.heads.common import (
    EdgeDensity,
    HeadInput,
    PooledChannels,
    Product,
    Widths,
    mean_over_point_group,
    soft_bound,
)
from ase_comformer.nn.layers.cartesian import soft_unit
from ase_comformer.nn.layers.stacked import Linear
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.tensors.forms import change_of_basis
from ase_comformer.tensors.voigt import cartesian_to_mandel, mandel_rotation, mandel_to_voigt


class ElasticHead(nn.Module):
    """Stiffness exp(A) in the Mandel basis, A from 2x0e + 2x2e + 4e; GPa, Voigt form.

    Positive definite by construction, bounded, and the errors become relative.
    """

    basis: Tensor

    def __init__(self, entry: TensorProperty, widths: Widths) -> None:
        super().__init__()
        scalars, vectors, crystal, high = widths["scalars"], widths["vectors"], widths["crystal"], widths["high"]
        radial, hidden = widths["radial"], widths["hidden"]
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
