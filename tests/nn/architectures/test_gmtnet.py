"""GMTNet paper preset: equivariance, heads, training from a shell graph."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from hypothesis import given, settings

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.nn.architectures.gmtnet import CRYSTAL_FEATURES, DielectricHead, GMTNet, StrainHead
from ase_comformer.tensors import PROPERTIES, mandel_basis, rotate, spherical_basis_l2
from ase_comformer.testing import assert_relative, rotate_atoms, rotations
from symmetric_crystals import crystals

TENSORS = pytest.mark.parametrize("name", CRYSTAL_FEATURES)


def network(name: str) -> GMTNet:
    torch.manual_seed(2)
    return GMTNet(properties=(name,), width=24, centers=64).double().eval()


def predict(net: GMTNet, structures: list) -> torch.Tensor:
    graph = collate([build_graph(atoms, net.graph_settings) for atoms in structures])
    with torch.no_grad():
        return net(graph, net.properties)[net.properties[0]]


@TENSORS
@settings(max_examples=2, deadline=None)
@given(rotation=rotations())
def test_output_turns_with_the_crystal(name: str, rotation: np.ndarray):
    net = network(name)
    value = predict(net, crystals())
    assert value.shape == (len(crystals()), *PROPERTIES[name].shape)
    turned = predict(net, [rotate_atoms(atoms, rotation) for atoms in crystals()])
    assert value.abs().max() > 1e-4
    scale = value.abs().max()
    assert_relative(turned / scale, rotate(value / scale, torch.as_tensor(rotation), name), 1e-8)


def test_dielectric_head_is_the_derivative_of_the_displacement():
    head = DielectricHead(CRYSTAL_FEATURES["dielectric_tensor"])
    feature = torch.zeros(1, 32, dtype=torch.float64)
    feature[0, 0] = 1.0
    value = head(feature)[0]
    # 0e x 1o -> 1o has the coupling 1 / sqrt(3), path weight sqrt(3 / 3), and Y_1 the factor sqrt(3 / 4 pi)
    assert torch.allclose(value, torch.eye(3, dtype=torch.float64) / (4 * np.pi) ** 0.5)


def test_elastic_head_is_linear_in_the_strain():
    torch.manual_seed(0)
    irreps = CRYSTAL_FEATURES["elastic_tensor"]
    head = StrainHead(irreps, "0e+2e").double()
    feature = torch.randn(1, head.product.left_dim, dtype=torch.float64)
    strain = torch.randn(3, 3, dtype=torch.float64)
    strain = strain + strain.T
    basis = torch.cat((torch.eye(3, dtype=torch.float64)[None] / 3**0.5, spherical_basis_l2()))
    stress = head.product(feature, torch.einsum("axy,xy->a", basis, strain)[None], head.weight[None])[0]
    expected = torch.einsum("a,axy->xy", stress, basis)
    mandel = torch.as_tensor(mandel_basis(), dtype=torch.float64)
    actual = head(feature)[0] @ torch.einsum("axy,xy->a", mandel, strain)
    assert torch.allclose(torch.einsum("a,axy->xy", actual, mandel), expected)


@TENSORS
def test_trains_from_a_shell_graph(name: str):
    torch.manual_seed(0)
    net = GMTNet(properties=(name,), width=16, centers=64).train()
    assert net.graph_settings.kind == "shell"
    assert net.graph_settings.neighbours == 16
    graph = collate([build_graph(atoms, net.graph_settings) for atoms in crystals()]).to(dtype=torch.float32)
    target = torch.rand(graph.crystal_count, *PROPERTIES[name].shape)
    target = target + target.transpose(1, 2) if target.shape[1] == target.shape[2] else target
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = (net(graph)[name] - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_published_size():
    assert 0.6e6 < sum(parameter.numel() for parameter in GMTNet().parameters()) < 0.7e6


def test_reduced_graphs_are_refused():
    net = network("dielectric_tensor")
    graph = build_reduced_graph(analyse_space_group(bulk("Si")), net.graph_settings)
    with pytest.raises(ValueError, match="plain graph"):
        net(graph)


def test_one_property_per_network():
    with pytest.raises(ValueError, match="one property per network"):
        GMTNet(properties=("dielectric_tensor", "elastic_tensor"))
    with pytest.raises(UnknownNameError, match="dielectric_tensor"):
        GMTNet(properties=("formation_energy",))
