"""Radial and angular bases."""

import pytest
import torch

from ase_comformer.nn.layers.radial import (
    BesselBasis,
    GaussianBasis,
    LegendreBasis,
    polynomial_envelope,
    polynomial_envelope_slope,
)


def test_envelope_has_two_zero_derivatives_at_the_cutoff_and_is_one_at_zero():
    distance = torch.tensor([0.0, 4.999999], dtype=torch.float64, requires_grad=True)
    value = polynomial_envelope(distance, 5.0)
    (slope,) = torch.autograd.grad(value.sum(), distance, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), distance)
    assert value[0] == 1.0
    assert torch.stack((value[1], slope[1], curvature[1])).abs().max() < 1e-4
    assert polynomial_envelope(torch.tensor([5.0, 7.0]), 5.0).abs().max() == 0.0


def test_the_slope_of_the_envelope_is_its_derivative():
    distance = torch.linspace(0.1, 6.0, 40, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(polynomial_envelope(distance, 5.0, 4).sum(), distance)
    torch.testing.assert_close(polynomial_envelope_slope(distance.detach(), 5.0, 4), expected)


def test_messages_of_the_bessel_basis_vanish_at_the_cutoff():
    basis, envelope = BesselBasis(5.0, 8)(torch.tensor([1.5, 4.9999999], dtype=torch.float64))
    assert basis.shape == (2, 8)
    assert basis[1].abs().max() < 1e-12
    assert envelope[1] < 1e-12


def test_a_negative_cutoff_is_refused():
    with pytest.raises(ValueError, match="cutoff must be positive"):
        BesselBasis(-1.0, 8)


@pytest.mark.parametrize(("low", "high"), [(-0.5, -0.09), (-3.9, -0.1), (-9.0, -7.0), (0.5, 2.0)])
def test_leaving_out_unreached_centres_changes_nothing(low: float, high: float):
    basis, layer = GaussianBasis(-4.0, 0.0, 512).double(), torch.nn.Linear(512, 7).double()
    values = torch.linspace(low, high, 50, dtype=torch.float64)
    assert torch.allclose(basis.linear(values, layer), layer(basis(values)), rtol=1e-13, atol=1e-14)


def test_the_fused_basis_accepts_no_edges():
    assert GaussianBasis(-4.0, 0.0, 16).linear(torch.zeros(0), torch.nn.Linear(16, 3)).shape == (0, 3)


def test_legendre_polynomials_are_orthogonal_on_the_interval():
    nodes = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    values = LegendreBasis(6)(nodes)
    overlap = torch.trapezoid(values[:, :, None] * values[:, None, :], nodes, dim=0)
    assert torch.allclose(overlap, torch.diag(2.0 / (2 * torch.arange(6, dtype=torch.float64) + 1)), atol=1e-6)
