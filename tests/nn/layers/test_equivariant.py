"""Harmonics and tensor products against e3nn in float64."""

import e3nn
import pytest
import torch
from e3nn import o3
from packaging.version import Version

from ase_comformer.nn.layers.elements import _descriptor_table
from ase_comformer.nn.layers.equivariant import harmonics_l1_l2
from ase_comformer.nn.layers.tensor_product import TensorProduct, clebsch_gordan

LAYERS = [
    ("16x0e", "16x0e+2x1o+2x2e"),
    ("16x0e+2x1o+2x2e", "16x0e+2x1o+2x1e+2x2e+2x2o"),
    ("16x0e+2x1o+2x1e+2x2e+2x2o", "2x0e+2x0o+2x1e+2x1o+2x2e+2x2o+2x3e+2x3o+4e"),
    ("8x0e+3x1o+3x2e", "8x0e"),
]


def test_harmonics_are_e3nn_component_normalised():
    vector = torch.randn(20, 3, dtype=torch.float64)
    expected = o3.spherical_harmonics("1o+2e", vector, normalize=True, normalization="component")
    assert torch.allclose(harmonics_l1_l2(vector), expected, atol=1e-13)


@pytest.fixture
def float64_default():
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(previous)


@pytest.mark.skipif(Version(e3nn.__version__) < Version("0.5"), reason="one coupling tensor has the other sign")
@pytest.mark.parametrize(("left", "out"), LAYERS)
@pytest.mark.usefixtures("float64_default")
def test_tensor_product_is_the_fully_connected_one_of_e3nn(left: str, out: str):
    oracle = o3.FullyConnectedTensorProduct(left, "0e+1o+2e", out, internal_weights=False, shared_weights=False)
    product = TensorProduct(left, "0e+1o+2e", out)
    x, y, w = torch.randn(5, oracle.irreps_in1.dim), torch.randn(5, 9), torch.randn(5, oracle.weight_numel)
    assert product.weight_count == oracle.weight_numel
    assert torch.allclose(product(x, y, w), oracle(x, y, w), rtol=1e-11, atol=1e-11)


def test_hostile_default_dtype_costs_no_digits():
    irreps = ("2x1o+2x2e", "0e+1o+2e", "2x1o+2x2e+3o")
    product = TensorProduct(*irreps)
    rotation = o3.rand_matrix().double()
    angles = o3.matrix_to_angles(rotation)
    d_left, d_right, d_out = (o3.Irreps(text).D_from_angles(*angles) for text in irreps)
    weight = torch.randn(1, product.weight_count, dtype=torch.float64)
    x, y = torch.randn(1, d_left.shape[0], dtype=torch.float64), torch.randn(1, 9, dtype=torch.float64)
    turned = product(x @ d_left.double().T, y @ d_right.double().T, weight)
    # e3nn's own rotation matrices are float32 here, so only to their precision
    assert torch.allclose(turned, product(x, y, weight) @ d_out.double().T, atol=1e-4)
    assert turned.dtype == torch.float64


def test_rounded_couplings_are_close_to_exact_ones_but_not_equal():
    exact, rounded = (TensorProduct("2e", "1o", "1o", rounded=flag) for flag in (False, True))
    x, y, w = (torch.ones(1, n, dtype=torch.float64) for n in (5, 3, 1))
    difference = (exact(x, y, w) - rounded(x, y, w)).abs().max()
    assert 0 < difference < 1e-6


def test_what_inference_has_kept_serves_training() -> None:
    """Tensors made in inference mode cannot be differentiated through; caches outlive it."""
    clebsch_gordan.cache_clear()
    _descriptor_table.cache_clear()
    with torch.inference_mode():
        coupling = clebsch_gordan((1, 1, 2), torch.float64, torch.device("cpu"))
        table = _descriptor_table(torch.device("cpu"))
    assert not coupling.is_inference()
    assert not table.is_inference()
