"""Trunk features as e3nn sees them: they turn with e3nn's own matrices, and e3nn's layers can read tensors off them."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from e3nn import o3
from e3nn.io import CartesianTensor

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.nn.e3nn_bridge import node_features, property_irreps
from ase_comformer.properties.registry import PROPERTIES
from ase_comformer.testing import random_rotation, rotate_atoms
from tiny import tiny_network


def features_of(atoms, network):
    return node_features(network, build_graph(atoms, network.graph_settings).to(torch.float32))


def test_features_turn_with_the_matrices_of_e3nn() -> None:
    network, atoms = tiny_network(), bulk("ZnO", "wurtzite", a=3.25, c=5.2)
    atoms.rattle(0.1, seed=1)
    rotation = random_rotation(np.random.default_rng(3))
    features, irreps = features_of(atoms, network)
    turned, _ = features_of(rotate_atoms(atoms, rotation), network)
    matrix = irreps.D_from_matrix(torch.as_tensor(rotation, dtype=torch.float32))
    assert features.abs().max() > 0.01
    torch.testing.assert_close(turned, features @ matrix.T, atol=2e-5, rtol=1e-4)


def test_an_e3nn_layer_reads_a_dielectric_tensor_that_turns() -> None:
    network, atoms = tiny_network(), bulk("ZnO", "wurtzite", a=3.25, c=5.2)
    torch.manual_seed(0)
    cartesian = CartesianTensor("ij=ji")
    rotation = random_rotation(np.random.default_rng(4))
    features, irreps = features_of(atoms, network)
    head = o3.Linear(irreps, cartesian)
    tensor, turned = (
        cartesian.to_cartesian(head(given).mean(0)).detach().numpy()
        for given in (features, features_of(rotate_atoms(atoms, rotation), network)[0])
    )
    np.testing.assert_allclose(turned, rotation @ tensor @ rotation.T, atol=1e-5)
    assert np.abs(tensor - np.trace(tensor) / 3 * np.eye(3)).max() > 1e-4


@pytest.mark.parametrize("name", ["dielectric_tensor", "piezoelectric_tensor", "elastic_tensor"])
def test_irreps_of_a_property_are_those_of_its_formula(name: str) -> None:
    assert property_irreps(name).simplify() == o3.Irreps(CartesianTensor(PROPERTIES[name].formula)).simplify()


def test_reduced_graphs_are_refused() -> None:
    network, group = tiny_network(), analyse_space_group(bulk("Cu"))
    with pytest.raises(ValueError, match="pass a plain graph"):
        node_features(network, build_reduced_graph(group, network.graph_settings))
