"""Head of the piezoelectric tensor."""

import torch
from torch import Tensor, nn

from ase_comformer.nn.heads.common import EdgeDensity, HeadInput, PooledChannels, Product, Widths, mean_over_point_group
from ase_comformer.nn.layers.cartesian import soft_unit
from ase_comformer.nn.layers.stacked import Linear
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.tensors.forms import change_of_basis
from ase_comformer.tensors.voigt import cartesian_to_mandel, mandel_rotation, mandel_to_voigt


class PiezoelectricHead(nn.Module):
    """Piezoelectric tensor from 2x1o + 2o + 3o; C/m^2, Voigt form (3, 6).

    2o, all that the classes 422 and 622 allow, is not carried by any channel: it comes from v x t and t x Y3.
    """

    basis: Tensor

    def __init__(self, entry: TensorProperty, widths: Widths) -> None:
        super().__init__()
        scalars, vectors, crystal, high = widths["scalars"], widths["vectors"], widths["crystal"], widths["high"]
        radial, hidden = widths["radial"], widths["hidden"]
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
