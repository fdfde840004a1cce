"""Losses on numbers computed from tensors: zero where the number is right, blind to what the label does not say."""

import numpy as np
import pytest
import torch

from ase_comformer.tensors.forms import rotate
from ase_comformer.training.tasks.losses import (
    mean_permittivity_loss,
    moduli_loss,
    permittivity_eigenvalues_loss,
    piezoelectric_modulus_loss,
    voigt_moduli_loss,
)

ROTATION = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
EPS = np.diag([4.0, 5.0, 9.0])
PIEZO = np.random.default_rng(4).normal(size=(3, 6))
STIFFNESS = np.diag([150.0, 160.0, 170.0, 40.0, 50.0, 60.0])
STIFFNESS[:3, :3] += 50.0


def batch(*tensors):
    return torch.tensor(np.array(tensors), requires_grad=True)


def numbers(*values):
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss", "tensor", "label"),
    [
        (mean_permittivity_loss, EPS, numbers(6.0)),
        (permittivity_eigenvalues_loss, EPS, numbers(4.0, 5.0, 9.0)),
        (permittivity_eigenvalues_loss, np.eye(3) * 4.0, numbers(4.0, 4.0, 4.0)),
        (piezoelectric_modulus_loss, PIEZO, numbers(np.linalg.svd(PIEZO)[1][0])),
        (piezoelectric_modulus_loss, np.eye(6)[:3], numbers(1.0)),
        (voigt_moduli_loss, STIFFNESS, numbers((480 + 9 * 50) / 9, (480 + 3 * 150) / 15)),
    ],
)
def test_right_numbers_cost_nothing_and_wrong_ones_have_a_finite_gradient(loss, tensor, label):
    assert float(loss(batch(tensor), label).detach()) == pytest.approx(0.0, abs=1e-5)
    given = batch(tensor)
    value = loss(given, 1.3 * label)
    assert value.shape == (1,)
    assert float(value.detach()) > 0.05
    value.sum().backward()
    assert torch.isfinite(given.grad).all()
    assert given.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("loss", "name", "tensor", "label"),
    [
        (mean_permittivity_loss, "dielectric_tensor", EPS, numbers(5.0)),
        (permittivity_eigenvalues_loss, "dielectric_tensor", EPS, numbers(4.0, 5.0, 5.0)),
        (voigt_moduli_loss, "elastic_tensor", STIFFNESS, numbers(70.0, 40.0)),
        (moduli_loss, "elastic_tensor", STIFFNESS, numbers(70.0, 40.0)),
    ],
)
def test_axes_do_not_matter(loss, name, tensor, label):
    turned = rotate(tensor, ROTATION, name)
    with torch.no_grad():
        assert torch.allclose(loss(batch(tensor), label), loss(batch(turned), label), rtol=1e-9)
