"""The default network with random weights: exact symmetry, bounds, gradients, no forbidden or missing components."""

from functools import cache

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn import ARCHITECTURES, TensorNetwork
from ase_comformer.properties.registry import SHIPPED_HEADS, tensor_property
from ase_comformer.tensors.forms import PROPERTIES, rotate
from ase_comformer.tensors.symmetry_report import project
from ase_comformer.testing import FLOAT64_INVARIANCE, REDUCED_EVALUATION, random_rotation, relative_error, rotate_atoms
from moved_graph import moved_graph
from seven_systems import ALL_CRYSTALS
from tiny import TINY

NAMES = SHIPPED_HEADS
CRYSTALS = tuple(ALL_CRYSTALS)
ZINCBLENDE = {
    name: bulk(name, "zincblende", a=a) for name, a in {"GaAs": 5.65, "ZnS": 5.41, "InSb": 6.48, "CuCl": 5.42}.items()
}
WURTZITE = {
    name: bulk(name, "wurtzite", a=a, c=c, u=u)
    for name, (a, c, u) in {"ZnO": (3.25, 5.2, 0.382), "AlN": (3.11, 4.98, 0.382), "CdS": (4.14, 6.72, 0.377)}.items()
}
ANISOTROPIC = {
    "Si": bulk("Si", a=5.43),
    "NaCl": bulk("NaCl", "rocksalt", a=5.64),
    "Cu": bulk("Cu", a=3.61),
    "CsCl": bulk("CsCl", "cesiumchloride", a=4.12),
    "CaF2": bulk("CaF2", "fluorite", a=5.46),
}


def random_network(seed: int = 0, spread: float = 1.0, **arguments: object) -> TensorNetwork:
    """Random weights, ``spread`` times the usual size; parameters that start at zero are filled."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = TensorNetwork(**{**TINY, **arguments})
        with torch.no_grad():
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.3)
                if parameter.dim() > 1:
                    parameter.mul_(spread)
            network.element_reference.normal_()
    return network.double().eval()


@cache
def network() -> TensorNetwork:
    return random_network()


def graph_of(atoms: Atoms, settings: GraphSettings | None = None) -> CrystalGraph:
    return build_graph(atoms, settings or network().graph_settings)


def reduced_graph_of(atoms: Atoms, settings: GraphSettings | None = None) -> CrystalGraph:
    return build_reduced_graph(analyse_space_group(atoms), settings or network().graph_settings)


@torch.no_grad()
def predict(atoms: Atoms, net: TensorNetwork | None = None) -> dict[str, np.ndarray]:
    """All properties of one crystal from its plain graph."""
    net = net or network()
    return {name: value.numpy() for name, value in net(graph_of(atoms, net.graph_settings), net.properties).items()}


# --- symmetry-reduced evaluation


@pytest.mark.parametrize("name", CRYSTALS)
@torch.no_grad()
def test_reduced_evaluation_equals_the_plain_one(name: str):
    group = analyse_space_group(ALL_CRYSTALS[name])
    plain = network()(graph_of(group.primitive), NAMES)
    reduced = network()(build_reduced_graph(group, network().graph_settings), NAMES)
    for key in NAMES:
        assert relative_error(reduced[key], plain[key]) < REDUCED_EVALUATION, key


@torch.no_grad()
def test_reduced_evaluation_equals_the_plain_one_at_full_size():
    net = random_network(seed=3, scalars=64, vectors=32, layers=3, radial=8, hidden=64, crystal=96, high=16,
                         graph_settings={"kind": "radius", "cutoff": 5.5})  # fmt: skip
    groups = [analyse_space_group(ALL_CRYSTALS[name]) for name in CRYSTALS[::4]]
    plain = net(collate([graph_of(group.primitive, net.graph_settings) for group in groups]), NAMES)
    reduced = net(collate([build_reduced_graph(group, net.graph_settings) for group in groups]), NAMES)
    for key in NAMES:
        assert relative_error(reduced[key], plain[key]) < REDUCED_EVALUATION, key


@torch.no_grad()
def test_reduced_evaluation_of_a_noisy_crystal_is_that_of_its_idealisation():
    atoms = ALL_CRYSTALS["rutile 4/mmm"].copy()
    atoms.positions += np.random.default_rng(0).normal(scale=5e-4, size=atoms.positions.shape)
    group = analyse_space_group(atoms)
    assert group.point_group == "4/mmm"
    plain = network()(graph_of(group.primitive), NAMES)
    reduced = network()(build_reduced_graph(group, network().graph_settings), NAMES)
    for key in NAMES:
        assert relative_error(reduced[key], plain[key]) < REDUCED_EVALUATION, key


@pytest.mark.parametrize("name", CRYSTALS)
@torch.no_grad()
def test_reduced_output_is_exactly_symmetric(name: str):
    group = analyse_space_group(ALL_CRYSTALS[name])
    output = network()(build_reduced_graph(group, network().graph_settings), NAMES)
    for key in NAMES:
        if PROPERTIES[key].rank == 0:
            continue
        # Born charges belong to the primitive atoms here, so the group must act on the primitive cell itself
        value = output[key] if PROPERTIES[key].per_atom else output[key][0]
        if PROPERTIES[key].per_atom:
            index = group.atom_to_primitive
            projected, value = project(key, value.numpy()[index], group), value[index]
        else:
            projected = project(key, value.numpy(), group)
        assert relative_error(value, projected) < 1e-11, key


# --- covariance and batches


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("name", CRYSTALS[::3])
def test_outputs_turn_with_the_crystal(name: str, improper: bool):
    rotation = random_rotation(np.random.default_rng(5), improper)
    before, after = predict(ALL_CRYSTALS[name]), predict(rotate_atoms(ALL_CRYSTALS[name], rotation))
    for key in NAMES:
        expected = before[key] if PROPERTIES[key].rank == 0 else rotate(before[key], rotation, key)
        assert relative_error(after[key], expected) < FLOAT64_INVARIANCE, key


def test_a_crystal_with_an_inversion_centre_is_not_piezoelectric():
    for name in ("MgO m-3m", "rutile 4/mmm", "CuO 2/m", "model -1"):
        assert np.abs(predict(ALL_CRYSTALS[name])["piezoelectric_tensor"]).max() < 1e-12


@torch.no_grad()
def test_outputs_do_not_depend_on_the_batch():
    graphs = {name: graph_of(ALL_CRYSTALS[name]) for name in CRYSTALS[::3]}
    reduced = {name: reduced_graph_of(ALL_CRYSTALS[name]) for name in CRYSTALS[::3]}
    for kind in (graphs, reduced, {**graphs, "MgO m-3m": reduced_graph_of(ALL_CRYSTALS["MgO m-3m"])}):
        batch = collate(list(kind.values()))
        together = network()(batch, NAMES)
        for crystal_index, graph in enumerate(kind.values()):
            alone = network()(graph, NAMES)
            for key in NAMES:
                rows = batch.atom_crystal == crystal_index if PROPERTIES[key].per_atom else [crystal_index]
                assert relative_error(together[key][rows], alone[key]) < 1e-12, key


@torch.no_grad()
def test_a_property_does_not_depend_on_what_else_is_asked():
    graph = graph_of(ALL_CRYSTALS["quartz 32"])
    everything = network()(graph, NAMES)
    for key in NAMES:
        (value,) = network()(graph, (key,)).values()
        torch.testing.assert_close(value, everything[key], rtol=0, atol=0)


# --- components that symmetry allows must be there


@pytest.mark.parametrize("name", [*ZINCBLENDE, *WURTZITE])
def test_zincblende_and_wurtzite_crystals_are_piezoelectric(name: str):
    for seed in range(3):
        tensor = predict({**ZINCBLENDE, **WURTZITE}[name], random_network(seed))["piezoelectric_tensor"][0]
        scale = np.abs(predict(ALL_CRYSTALS["model 1"], random_network(seed))["piezoelectric_tensor"]).max()
        components = ("e14",) if name in ZINCBLENDE else ("e31", "e33", "e15")
        for component in components:
            row, column = int(component[1]) - 1, int(component[2]) - 1
            assert abs(tensor[row, column]) > 1e-4 * scale, component


def standard(name: str) -> Atoms:
    """Crystals in Nye's axes: a along x, c along z."""
    return ALL_CRYSTALS[name]


def test_quartz_has_both_constants_of_class_32():
    tensor = predict(standard("quartz 32"))["piezoelectric_tensor"][0]
    e11, e14 = tensor[0, 0], tensor[0, 3]
    assert abs(e11) > 1e-4
    assert abs(e14) > 1e-4
    expected = np.zeros((3, 6))
    expected[0, [0, 1, 3]] = e11, -e11, e14
    expected[1, [4, 5]] = -e14, -e11
    np.testing.assert_allclose(tensor, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["beta-quartz 622", "TeO2 422"])
def test_the_classes_622_and_422_have_their_only_constant(name: str):
    """e14 = -e25 is of type 2o, which no channel of the trunk carries."""
    values = [predict(standard(name), random_network(seed))["piezoelectric_tensor"][0] for seed in range(3)]
    for tensor in values:
        expected = np.zeros((3, 6))
        expected[0, 3], expected[1, 4] = tensor[0, 3], -tensor[0, 3]
        np.testing.assert_allclose(tensor, expected, rtol=0, atol=1e-12)
        assert abs(tensor[0, 3]) > 1e-7  # symmetry-forbidden components stay below 1e-12
    assert np.std([tensor[0, 3] for tensor in values]) > 1e-7


@pytest.mark.parametrize("name", ANISOTROPIC)
def test_cubic_crystals_are_not_elastically_isotropic(name: str):
    for seed in range(3):
        stiffness = predict(ANISOTROPIC[name], random_network(seed))["elastic_tensor"][0]
        c11, c12, c44 = stiffness[0, 0], stiffness[0, 1], stiffness[3, 3]
        assert abs(2 * c44 / (c11 - c12) - 1) > 1e-5


def test_born_charges_have_an_antisymmetric_part_where_the_site_allows_one():
    born = predict(ALL_CRYSTALS["model 1"])["born_effective_charges"]
    assert np.abs(born - born.transpose(0, 2, 1)).max() > 1e-4 * np.abs(born).max()
    # MgO: isotropic, by symmetry
    born = predict(ALL_CRYSTALS["MgO m-3m"])["born_effective_charges"]
    np.testing.assert_allclose(born, born[:, 0, 0, None, None] * np.eye(3), atol=1e-9)
    assert np.abs(born).max() > 1e-4


def test_all_components_of_a_crystal_without_symmetry_are_there():
    output = predict(ALL_CRYSTALS["model 1"])
    for key in NAMES:
        value = output[key]
        assert np.abs(value).min() > 1e-7 * np.abs(value).max(), key


# --- what must hold for any weights


@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0, 10.0])
def test_outputs_are_physical_whatever_the_weights(spread: float):
    net = random_network(seed=11, spread=spread)
    for name in CRYSTALS[::2]:
        output = predict(ALL_CRYSTALS[name], net)
        electronic = output["dielectric_tensor"][0]
        assert all(np.isfinite(value).all() for value in output.values())
        for key in ("dielectric_tensor", "static_dielectric_tensor", "elastic_tensor"):
            np.testing.assert_allclose(output[key][0], output[key][0].T, rtol=1e-10, atol=1e-10)
        eigenvalues = np.linalg.eigvalsh(electronic)
        assert eigenvalues.min() >= 1
        assert eigenvalues.max() <= 100
        ionic = np.linalg.eigvalsh(output["static_dielectric_tensor"][0] - electronic)
        assert ionic.min() > -1e-9 * np.abs(ionic).max()
        root2 = np.diag([1, 1, 1, 2**0.5, 2**0.5, 2**0.5])
        stiffness = np.linalg.eigvalsh(root2 @ output["elastic_tensor"][0] @ root2)
        assert stiffness.min() > 0


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_the_acoustic_sum_rule_holds(spread: float):
    net = random_network(seed=12, spread=spread)
    for name in CRYSTALS[::3]:
        born = predict(ALL_CRYSTALS[name], net)["born_effective_charges"]
        assert np.abs(born.sum(axis=0)).max() < 1e-12 * max(1, np.abs(born).max())
        # alike atoms, all equivalent by inversion or translation, share a charge of zero
        assert np.abs(born).max() > 1e-4 or len(set(ALL_CRYSTALS[name].numbers)) == 1


def test_one_atom_per_cell_has_no_born_charge():
    assert np.abs(predict(bulk("Cu", a=3.61))["born_effective_charges"]).max() < 1e-12


# --- gradients


def loss(output: dict[str, torch.Tensor]) -> torch.Tensor:
    terms = []
    for value in output.values():
        weight = torch.linspace(0.3, 1.7, value.numel(), dtype=value.dtype).reshape(value.shape)
        terms.append((value * weight).square().sum().log1p())
    return torch.stack(terms).sum()


@pytest.mark.parametrize("kind", ["plain", "reduced"])
@pytest.mark.parametrize(
    "name", ["Si m-3m", "MgO m-3m", "Cu m-3m", "CsCl m-3m", "SrTiO3 m-3m", "Mg 6/mmm", "rutile 4/mmm"]
)
def test_gradients_are_finite_at_degenerate_eigenvalues(name: str, kind: str):
    """Cubic and uniaxial crystals have equal eigenvalues, where the derivative of eigh does not exist."""
    net = random_network()
    graph = (graph_of if kind == "plain" else reduced_graph_of)(ALL_CRYSTALS[name])
    loss(net(graph, NAMES)).backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    assert len(gradients) > 50
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients) > 1e-3


def test_parameter_gradients_agree_between_reduced_and_plain_graphs():
    nets = random_network(), random_network()
    for net, make in zip(nets, (graph_of, reduced_graph_of), strict=True):
        atoms = analyse_space_group(ALL_CRYSTALS["beta-quartz 622"]).primitive
        loss(
            {key: value for key, value in net(make(atoms), NAMES).items() if key != "born_effective_charges"}
        ).backward()
    for (name, first), (_, second) in zip(nets[0].named_parameters(), nets[1].named_parameters(), strict=True):
        if first.grad is not None:
            assert relative_error(second.grad, first.grad) < 1e-9, name


@pytest.mark.parametrize("name", ["Si m-3m", "quartz 32"])
def test_geometry_gradients_agree_with_finite_differences(name: str):
    atoms = ALL_CRYSTALS[name]
    graph = graph_of(atoms)
    start = torch.tensor(atoms.positions)
    positions = start.clone().requires_grad_()
    cell = graph.cell.clone().requires_grad_()
    value = loss(network()(moved_graph(graph, start, positions, cell), NAMES))
    by_atoms, by_cell = torch.autograd.grad(value, (positions, cell))
    assert by_atoms.isfinite().all()
    assert by_cell.isfinite().all()

    def at(moved: torch.Tensor, lattice: torch.Tensor) -> float:
        with torch.no_grad():
            return loss(network()(moved_graph(graph, start, moved, lattice), NAMES)).item()

    step = 1e-5
    generator = torch.Generator().manual_seed(0)
    for gradient, vary_cell in ((by_atoms, False), (by_cell, True)):
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        sides = [
            at(
                positions + (0 if vary_cell else sign * step * direction),
                cell + (sign * step * direction if vary_cell else 0),
            )
            for sign in (1, -1)
        ]
        expected = (gradient * direction).sum().item()
        assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_outputs_are_smooth_where_neighbours_enter():
    contact = network().graph_settings.cutoff * 2**0.5
    outputs = [predict(bulk("Cu", a=contact * (1 + step))) for step in (-1e-6, 1e-6)]
    for key in NAMES:
        assert relative_error(outputs[1][key], outputs[0][key]) < 1e-4, key


# --- construction


def test_arguments_rebuild_the_network():
    net = random_network(properties=("elastic_tensor", "formation_energy"), dropout=0.1)
    again = ARCHITECTURES["TensorNetwork"](**net.arguments)
    again.load_state_dict(net.state_dict())
    graph = graph_of(ALL_CRYSTALS["quartz 32"])
    with torch.no_grad():
        expected, found = net(graph, net.properties), again.double().eval()(graph, net.properties)
    for key in net.properties:
        torch.testing.assert_close(found[key], expected[key])


@torch.no_grad()
def test_each_property_follows_the_functional_of_its_labels():
    graph = graph_of(ALL_CRYSTALS["quartz 32"])
    default = network()(graph, NAMES)
    chosen = {name: network()(graph, NAMES, torch.tensor([k])) for k, name in enumerate(network().fidelities)}
    numbers = {"formation_energy", "band_gap"}
    for key in numbers:  # all of whose labels are PBE
        torch.testing.assert_close(chosen["PBEsol"][key], chosen["PBE"][key])
    for key in set(NAMES) - numbers:
        followed = tensor_property(key).functional
        other = next(name for name in network().fidelities if name != followed)
        torch.testing.assert_close(chosen[followed][key], default[key], rtol=0, atol=0)
        assert relative_error(chosen[other][key], default[key]) > 1e-9, key


def test_names_it_cannot_serve_are_errors_that_list_the_choices():
    with pytest.raises(UnknownNameError, match=r"work_function.*dielectric_tensor"):
        TensorNetwork(**{**TINY, "properties": ("work_function",)})
    with pytest.raises(UnknownNameError, match="radius"):
        TensorNetwork(**{**TINY, "graph_settings": {"kind": "shell"}})
    with pytest.raises(UnknownNameError, match="beside it"):
        TensorNetwork(**{**TINY, "properties": ("static_dielectric_tensor",)})
    net = random_network(properties=("elastic_tensor",))
    with pytest.raises(UnknownNameError, match=r"dielectric_tensor.*elastic_tensor"):
        net(graph_of(ALL_CRYSTALS["Si m-3m"]), ("dielectric_tensor",))


@torch.no_grad()
def test_an_isolated_atom_has_finite_outputs():
    output = predict(Atoms("He", cell=[20, 20, 20], pbc=True))
    assert all(np.isfinite(value).all() for value in output.values())
    assert np.abs(output["piezoelectric_tensor"]).max() == 0


def test_the_element_reference_is_added_per_atom():
    net = random_network()
    atoms = crystal(["Na", "Cl"], [(0, 0, 0), (0.5, 0, 0)], spacegroup=225, cellpar=[5.6] * 3 + [90] * 3)
    before = predict(atoms, net)["formation_energy"]
    net.element_reference[11] += 3.0
    assert predict(atoms, net)["formation_energy"] - before == pytest.approx(1.5)
