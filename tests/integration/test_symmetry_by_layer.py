"""Features of every layer change as their irreps say, and the measurement notices when they do not."""

import pytest
import torch
from torch import nn

from ase_comformer.graphs.building import build_graph
from benchmarks.layer_features import Stage, stages_of
from benchmarks.seven_systems import seven_systems
from benchmarks.symmetry_by_layer import LIMIT, NETWORKS, Violations, made, measure, symmetry_violations

GROUPS = {name: group for name, group in seven_systems().items() if name in ("ZnO", "Mg(OH)2", "model 1")}
SEES_HANDS = "iComFormer, right-handed frames as published"
KEEPS_ALL = [name for name in NETWORKS if not name.startswith("MEGNet") and name != SEES_HANDS]


def test_the_crystals_have_all_seven_systems_with_and_without_inversion():
    groups = seven_systems().values()
    assert {group.crystal_system for group in groups} == {
        "cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic",
    }  # fmt: skip
    centred = [any(((r + torch.eye(3).numpy()) ** 2).sum() < 1e-9 for r in group.rotations) for group in groups]
    assert 0 < sum(centred) < len(centred)


@pytest.mark.parametrize("name", KEEPS_ALL)
def test_symmetry_holds_in_every_layer(name: str):
    for layer, entry in measure(made(name), GROUPS).items():
        for column, value in entry.largest.items():
            assert value <= LIMIT * entry.size, (layer, column)
        assert entry.size > 1e-6, f"{layer} is empty"


def test_the_published_frame_sees_hands_and_ours_does_not():
    groups = {"model -1": seven_systems()["model -1"], "model 1": GROUPS["model 1"]}
    published = measure(made(SEES_HANDS), groups)
    last = published["attention 4, mean over frames"]
    assert last.relative("turned") < LIMIT < 1e-7 < last.relative("improper")
    energy = published["energy"]
    assert energy.relative("turned") < 1e-12
    assert energy.relative("mirrored") > 1e-10


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("MEGNet")])
def test_components_from_invariant_features_break_neumanns_principle_at_the_output_only(name: str):
    *layers, (_, output) = measure(made(name), GROUPS).items()
    assert all(value <= LIMIT * entry.size for _, entry in layers for value in entry.largest.values())
    assert all(output.relative(column) > 0.1 for column in ("proper", "improper", "turned"))


def test_features_of_vectors_and_tensors_are_not_zero():
    stages = {s.name: s for s in stages_of(made("GMTNet, elastic"), _graph("ZnO", made("GMTNet, elastic")))}
    product = stages["tensor product 1"]
    assert product.values[:, 16:].abs().max() > 1e-3 * product.values.abs().max()


def _graph(name: str, network: nn.Module):
    return build_graph(GROUPS[name].primitive, network.graph_settings)


def test_wrong_irreps_are_found_out():
    network = made("GMTNet, dielectric")
    product = next(s for s in stages_of(network, _graph("ZnO", network)) if s.name == "tensor product 2")
    wrong = Stage("", "atoms", product.irreps.replace("2x1o+2x1e", "2x1e+2x1o"), product.values, True)
    violation = max(value for _, value in symmetry_violations(wrong, GROUPS["ZnO"]))
    assert violation > 1e-4 * float(product.values.norm(dim=1).max())
    right = max(value for _, value in symmetry_violations(product, GROUPS["ZnO"]))
    assert right < LIMIT


def test_without_improper_operations_a_column_stays_empty():
    assert Violations("atoms", 1.0, {"proper": 0.0}).relative("improper") is None
    assert all(column == "proper" for column, _ in symmetry_violations(
        Stage("", "atoms", "0e", torch.ones(9, 1), True), seven_systems()["quartz"]
    ))  # fmt: skip


def test_an_unknown_network_is_named():
    with pytest.raises(TypeError, match="no probe for Linear"):
        stages_of(nn.Linear(1, 1), None)
