"""Stacked networks give what the members give one by one."""

import pytest
import torch
from ase.build import bulk

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn import ensemble
from ase_comformer.nn.architectures.tensor_network import TensorNetwork
from ase_comformer.nn.ensemble import Ensemble
from ase_comformer.nn.layers.stacked import repeated
from ase_comformer.properties.registry import SHIPPED_HEADS
from ase_comformer.tensors.forms import to_cartesian

NAMES = SHIPPED_HEADS
SETTINGS = GraphSettings(cutoff=4.0)


def member(seed: int, names: tuple[str, ...] = NAMES, width: int = 8) -> TensorNetwork:
    torch.manual_seed(seed)
    network = TensorNetwork(
        properties=names,
        graph_settings=SETTINGS,
        scalars=width,
        vectors=4,
        layers=2,
        radial=4,
        hidden=8,
        crystal=8,
        high=4,
    )
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    network.element_reference.normal_()
    return network.double().eval().requires_grad_(False)


def batch() -> "ensemble.CrystalGraph":
    salt = build_reduced_graph(analyse_space_group(bulk("NaCl", "rocksalt", a=5.6)), SETTINGS)
    zinc_blende = build_reduced_graph(analyse_space_group(bulk("GaAs", "zincblende", a=5.65)), SETTINGS)
    rattled = bulk("GaN", "wurtzite", a=3.2)
    rattled.rattle(0.05, seed=3)
    return collate([salt, zinc_blende, build_graph(rattled, SETTINGS)])


def test_stacked_network_gives_the_outputs_of_its_members():
    members, graph = [member(seed) for seed in range(3)], batch()
    outputs = TensorNetwork.stacked(members)(repeated(graph, 3), NAMES)
    for name in NAMES:
        expected = torch.cat([network(graph, (name,))[name] for network in members])
        torch.testing.assert_close(outputs[name], expected, rtol=1e-11, atol=1e-11)


def test_stacked_network_keeps_the_common_properties():
    members = [member(0), member(1, ("dielectric_tensor", "elastic_tensor"))]
    stacked = TensorNetwork.stacked(members)
    assert stacked.properties == ("dielectric_tensor", "elastic_tensor")
    assert members[0].properties == NAMES
    assert members[0].trunk.embedding.weight.dim() == 2


@pytest.mark.parametrize("limit", [0, 10**9], ids=["one by one", "stacked"])
def test_means_of_an_ensemble_whose_members_differ(limit, monkeypatch):
    monkeypatch.setattr(ensemble, "STACKED_EDGES", limit)
    graph = batch()
    networks = {
        member(0): ["dielectric_tensor", "born_effective_charges"],
        member(1): ["dielectric_tensor", "born_effective_charges"],
        member(2, ("dielectric_tensor",)): ["dielectric_tensor"],
        member(3, width=12): ["dielectric_tensor"],
    }
    means = Ensemble().means(networks, lambda network: ("all", graph))
    for name in ("dielectric_tensor", "born_effective_charges"):
        asked = [network for network, names in networks.items() if name in names]
        expected = sum(network(graph, (name,))[name] for network in asked) / len(asked)
        torch.testing.assert_close(means[name], expected, rtol=1e-11, atol=1e-11)


def test_stack_is_made_once(monkeypatch):
    made = []
    original = TensorNetwork.stacked
    monkeypatch.setattr(TensorNetwork, "stacked", staticmethod(lambda given: made.append(1) or original(given)))
    networks = {member(0): ["elastic_tensor"], member(1): ["elastic_tensor"]}
    evaluator, graph = Ensemble(), batch()
    evaluator.means(networks, lambda network: ("all", graph))
    evaluator.means(networks, lambda network: ("all", graph))
    assert len(made) == 1


@pytest.mark.parametrize("limit", [0, 10**9], ids=["one by one", "stacked"])
def test_open_sign_of_the_piezoelectric_tensor_is_that_of_the_first_member(limit, monkeypatch):
    monkeypatch.setattr(ensemble, "STACKED_EDGES", limit)
    graph, name = batch(), "piezoelectric_tensor"
    networks = [member(0), member(1), member(2)]
    found = Ensemble().means({network: [name] for network in networks}, lambda network: ("all", graph))[name]
    first, *others = [network(graph, (name,))[name] for network in networks]
    overlaps = [(to_cartesian(first, name) * to_cartesian(other, name)).sum((1, 2, 3)) for other in others]
    signs = [torch.sign(overlap).reshape(-1, 1, 1) for overlap in overlaps]
    assert (torch.cat(signs) < 0).any(), "the test needs members that disagree"
    expected = (first + sum(sign * other for sign, other in zip(signs, others, strict=True))) / 3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
