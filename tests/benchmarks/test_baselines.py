"""The baselines: parameter counts, what turns with a crystal, what cannot be reached."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch_geometric.data import Batch

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.graphs.pyg import to_pyg
from ase_comformer.tensors.forms import rotate
from ase_comformer.testing import rotate_atoms
from benchmarks.baselines import BASELINES, ETGNN, Baseline, Matformer, MEGNet
from benchmarks.baselines.matformer import MatformerConv
from symmetric_crystals import quartz

NAMES = pytest.mark.parametrize("name", BASELINES)
IMPROPER = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] @ np.diag([1.0, 1.0, -1.0])
#: Elements without a group operation but the identity in general positions.
TRICLINIC = Atoms("SiO2", [(0, 0, 0), (1.5, 0.3, 0.2), (0.2, 1.7, -0.4)], cell=[[4, 0, 0], [1, 4.5, 0], [-0.5, 1, 5]])
TRICLINIC.pbc = True


def made(name: str, property_name: str, seed: int = 0) -> Baseline:
    torch.manual_seed(seed)
    return BASELINES[name](property_name).double().eval()


def evaluate(network: Baseline, *structures: Atoms) -> np.ndarray:
    graph = collate([build_graph(atoms, network.graph_settings) for atoms in structures])
    with torch.no_grad():
        return network(graph)[network.properties[0]].numpy()


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_megnet_has_the_parameters_of_the_published_network():
    # matgl 4.1.2 counts 189,621: 89 elements, and the 100 centres of the Gaussians, which are no parameters here
    network = MEGNet()
    assert count(network) - count(network.embedding) == 189_621 - 89 * 16 - 100


def test_matformer_is_within_a_tenth_of_the_parameters_that_its_paper_states():
    assert 0.9 * 2.9e6 < count(Matformer()) < 1.1 * 2.9e6


@NAMES
def test_scalars_depend_neither_on_orientation_nor_on_origin_order_and_images(name: str):
    network = made(name, "formation_energy")
    moved = TRICLINIC.copy()
    moved.positions += [0.3, -0.7, 1.1]
    moved.positions[1] += moved.cell[0] - 2 * moved.cell[2]
    moved = rotate_atoms(moved[[2, 0, 1]], IMPROPER)
    assert evaluate(network, moved) == pytest.approx(evaluate(network, TRICLINIC), abs=1e-10)
    stretched = TRICLINIC.copy()
    stretched.set_cell(stretched.cell.array * 1.05, scale_atoms=True)
    assert abs(evaluate(network, stretched) - evaluate(network, TRICLINIC)) > 1e-6


@pytest.mark.parametrize("property_name", ["dielectric_tensor", "piezoelectric_tensor", "elastic_tensor"])
def test_etgnn_turns_with_the_crystal_and_components_do_not(property_name: str):
    turned = rotate_atoms(TRICLINIC, IMPROPER)
    network = made("ETGNN", property_name)
    expected = rotate(evaluate(network, TRICLINIC)[0], IMPROPER, property_name)
    assert np.abs(evaluate(network, turned)[0] - expected).max() < 1e-10 * np.abs(expected).max()
    for name in ("MEGNet", "Matformer"):
        blind = made(name, property_name)
        first = evaluate(blind, TRICLINIC)[0]
        assert evaluate(blind, turned)[0] == pytest.approx(first, abs=1e-10)
        assert np.abs(first - rotate(first, IMPROPER, property_name)).max() > 1e-3


@pytest.mark.parametrize(
    ("property_name", "reached"), [("dielectric_tensor", 6), ("piezoelectric_tensor", 10), ("elastic_tensor", 15)]
)
def test_etgnn_reaches_totally_symmetric_tensors_only(property_name: str, reached: int):
    network, tensors = made("ETGNN", property_name), []
    for seed in range(24):
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        tensors.append(evaluate(network, rotate_atoms(TRICLINIC, turn))[0].ravel())
    scaled = np.array([tensor / np.linalg.norm(tensor) for tensor in tensors])
    values = np.linalg.svd(scaled, compute_uv=False)
    assert (values > 1e-10 * values[0]).sum() == reached


def test_etgnn_has_cauchy_relations_and_no_shear_piezoelectricity_in_quartz():
    elastic = evaluate(made("ETGNN", "elastic_tensor"), bulk("MgO", "rocksalt", a=4.21))[0]
    assert elastic[0, 1] == pytest.approx(elastic[3, 3])
    assert abs(elastic[0, 1] - elastic[0, 0]) > 1e-3 * abs(elastic[0, 0])
    piezo = evaluate(made("ETGNN", "piezoelectric_tensor"), quartz())[0]
    assert abs(piezo[0, 3]) < 1e-12 < 1e-6 < np.abs(piezo[0, 0])


def test_components_have_the_index_symmetry_and_start_at_the_mean_of_the_labels():
    labels = torch.randn(50, 6, 6, dtype=torch.float64)
    labels = labels + labels.transpose(1, 2)
    labels[:, 0, 3] = labels[:, 3, 0] = 7.0
    network = made("MEGNet", "elastic_tensor")
    network.set_statistics(labels)
    tensor = evaluate(network, TRICLINIC)[0]
    assert np.array_equal(tensor, tensor.T)
    assert tensor[0, 3] == 7.0
    torch.nn.init.zeros_(network.readout[-1].weight)
    torch.nn.init.zeros_(network.readout[-1].bias)
    assert evaluate(network, TRICLINIC)[0] == pytest.approx(labels.mean(0).numpy())


def test_matformer_sees_the_lattice_by_six_edges_per_atom():
    network = made("Matformer", "formation_energy")
    graph = build_graph(TRICLINIC, network.graph_settings)
    index, length = network.edges(graph)
    own = index[:, len(graph.edge_vector) :]
    assert own.shape == (2, 6 * 3)
    assert torch.equal(own[0], own[1])
    a, b, c = TRICLINIC.cell.array
    expected = [np.linalg.norm(vector) for vector in (a, b, c, a + b, a + c, b + c)]
    assert length[len(graph.edge_vector) :].reshape(3, 6).numpy() == pytest.approx(np.tile(expected, (3, 1)))


@NAMES
def test_graphs_of_torch_geometric_are_taken_and_batches_do_not_mix(name: str):
    network = made(name, "formation_energy")
    structures = [TRICLINIC, quartz(), bulk("Si")]
    data = [to_pyg(build_graph(atoms, network.graph_settings)) for atoms in structures]
    with torch.no_grad():
        together = network(Batch.from_data_list(data))["formation_energy"].numpy()
    assert together == pytest.approx(np.concatenate([evaluate(network, atoms) for atoms in structures]), abs=1e-10)


def test_other_properties_are_refused():
    with pytest.raises(UnknownNameError, match="elastic_tensor"):
        made("ETGNN", "elastic_tensor")(build_graph(TRICLINIC, ETGNN("elastic_tensor").graph_settings), ["energy"])
    with pytest.raises(UnknownNameError, match="atoms"):
        MEGNet("born_effective_charges")


def test_matformer_attention_is_that_of_its_equations_written_edge_by_edge():
    torch.manual_seed(0)
    width, heads, nodes = 8, 2, 4
    conv = MatformerConv(width, heads).double().eval()
    x, edges = torch.randn(nodes, width, dtype=torch.float64), torch.randn(9, width, dtype=torch.float64)
    index = torch.randint(0, nodes, (2, 9))
    summed = torch.zeros(nodes, heads, width, dtype=torch.float64)
    for (j, i), edge in zip(index.T.tolist(), edges, strict=True):
        parts = [layer(value) for layer, value in ((conv.query, x[i]), (conv.key, x[i]), (conv.key, x[j]))]
        parts += [conv.value(x[i]), conv.value(x[j]), conv.edge(edge)]
        query, key, other_key, value, other_value, own = (part.reshape(heads, width) for part in parts)
        alpha = torch.cat([query] * 3, dim=1) * torch.cat([key, other_key, own], dim=1) / (3 * width) ** 0.5
        content = conv.update_message(torch.cat([value, other_value, own], dim=1))
        summed[i] += conv.out_message(torch.sigmoid(conv.gate_norm(alpha)) * content)
    expected = torch.nn.functional.softplus(x + conv.norm(conv.concatenate(summed.flatten(1))))
    assert torch.allclose(conv(x, index, edges), expected, atol=1e-12)
