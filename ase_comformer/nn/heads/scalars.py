"""Heads of numbers per crystal."""

from torch import Tensor, nn

from ase_comformer.nn.heads.common import HeadInput, Widths, pool
from ase_comformer.nn.layers.stacked import Linear, rows_of
from ase_comformer.properties.entry import TensorProperty


class ScalarHead(nn.Sequential):
    """Two layers on the pooled crystal scalars, (B, C) -> (B, 1)."""

    def __init__(self, entry: TensorProperty, widths: Widths) -> None:
        width = widths["crystal"]
        super().__init__(Linear(width, width), nn.SiLU(), Linear(width, 1))


class EnergyHead(ScalarHead):
    """Energy per atom in eV/atom: the mean reference energy of the elements plus what the network adds."""

    def forward(self, given: HeadInput) -> Tensor:
        """(B,)."""
        energies, numbers = given.element_reference, given.graph.numbers
        atomic_energies = energies[numbers] if energies.dim() == 1 else rows_of(energies, numbers)
        reference = pool(given.graph, atomic_energies)
        return super().forward(given.crystal).squeeze(1) + reference


class PositiveHead(ScalarHead):
    """A number above zero, such as a band gap."""

    def forward(self, given: HeadInput) -> Tensor:
        """(B,)."""
        return nn.functional.softplus(super().forward(given.crystal).squeeze(1))
