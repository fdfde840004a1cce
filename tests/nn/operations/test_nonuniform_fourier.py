"""Fourier sums on a grid against sums of every atom and every wave."""

import numpy as np
import pytest
import torch

from ase_comformer.graphs.reciprocal_vectors import batched_reciprocal_vectors
from ase_comformer.nn.operations.nonuniform_fourier import FourierGrid


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_sums_are_those_of_every_atom_and_wave(dtype: torch.dtype, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    cell = rng.normal(size=(3, 3)) + np.diag([11.0, 15, 19])  # skewed, atoms outside of it
    vector = torch.from_numpy(batched_reciprocal_vectors(cell[None], 1.6).vector[0])
    position = torch.from_numpy(rng.normal(size=(30, 3)) * 20)
    dipoles = torch.from_numpy(rng.normal(size=(30, 3)))
    factors = torch.from_numpy(rng.normal(size=(2, len(vector), 4)))
    phase = position @ vector.t()
    grid = FourierGrid(torch.from_numpy(cell), position.to(dtype), vector)
    real, imaginary = grid.sum_over_atoms(dipoles.to(dtype))
    of_waves = grid.sum_over_waves(*factors.to(dtype))
    expected = (
        phase.cos().t() @ dipoles,
        phase.sin().t() @ dipoles,
        phase.cos() @ factors[0] + phase.sin() @ factors[1],
    )
    for found, exact in zip((real, imaginary, of_waves), expected, strict=True):
        assert (found - exact).abs().max() < tolerance * exact.abs().max()
