"""The layers of the papers as torch-geometric modules: numbers and gradients of our layers, in anybody's model."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import Sequential, global_mean_pool

from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pyg import to_pyg
from ase_comformer.nn.architectures.comformer import EComFormer, IComFormer
from ase_comformer.nn.architectures.gmtnet import GMTNet
from ase_comformer.nn.layers.attention import PaperAttention, PaperEdgeUpdate, edge_candidate_pairs
from ase_comformer.nn.layers.elements import element_descriptors
from ase_comformer.nn.layers.equivariant import (
    EdgeHarmonics,
    PaperEquivariantLayer,
    PaperEquivariantStack,
    PaperEquivariantUpdate,
)
from ase_comformer.nn.layers.frame_views import frame_views
from ase_comformer.nn.message_passing import (
    ComFormerConv,
    EdgeFeatures,
    EdgeUpdateConv,
    EquivariantUpdateConv,
    GMTNetConv,
    TensorProductConv,
    edge_harmonics,
)
from ase_comformer.testing import random_rotation
from seven_systems import ALL_CRYSTALS

WIDTH = 12


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def graph_for(network: nn.Module) -> CrystalGraph:
    names = ("quartz 32", "MgO m-3m", "CuO 2/m")
    return collate([build_graph(ALL_CRYSTALS[name], network.graph_settings) for name in names])


@pytest.fixture(scope="module")
def graph() -> CrystalGraph:
    settings = GraphSettings(kind="shell", neighbours=25, lattice_frame=True)
    return graph_for(IComFormer("paper", width=WIDTH, graph_settings=settings))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def assert_same(found: Tensor, expected: Tensor, inputs: list[Tensor], layer: nn.Module) -> None:
    """Values and first derivatives in the inputs and in all parameters that count, to 1e-12."""
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(expected)
    wanted = [*inputs, *layer.parameters()]
    gradients = [torch.autograd.grad(out, wanted, direction, allow_unused=True) for out in (found, expected)]
    assert all(gradient is not None for gradient in gradients[1][: len(inputs)])
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if other is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_attention_is_our_attention(graph: CrystalGraph, normalise: bool, train: bool) -> None:
    layer = PaperAttention(WIDTH, normalise_output=normalise).double().train(train)
    conv = ComFormerConv(WIDTH, normalise_output=normalise).double().train(train)
    conv.layer.load_state_dict(layer.state_dict())
    x, edges = random(len(graph.numbers), WIDTH), random(len(graph.edge_receiver), WIDTH)
    weight = torch.rand(len(edges), dtype=torch.float64)
    expected = layer(x, edges, graph.edge_receiver, graph.edge_sender, weight[:, None])
    index = to_pyg(graph).edge_index
    torch.testing.assert_close(conv(x, index, edges, weight), expected, rtol=1e-12, atol=1e-12)
    shared = ComFormerConv.from_layer(layer).train(train)
    assert_same(shared(x, index, edges, weight), expected, [x, edges], layer)


def test_edge_update_is_our_edge_update(graph: CrystalGraph) -> None:
    layer = PaperEdgeUpdate(WIDTH).double()
    crystal = graph.node_crystal[graph.edge_receiver]
    edge_of, candidate_of = edge_candidate_pairs(crystal, graph.frame_crystal, graph.crystal_count)
    edges, lengths = random(len(crystal), WIDTH), random(len(graph.frame_slot), WIDTH)
    angles = random(len(edge_of), WIDTH)
    weight = graph.frame_weight
    expected = layer(edges, lengths, angles, graph.frame_slot, weight[:, None], (edge_of, candidate_of))
    index = torch.stack([candidate_of, edge_of])
    found = EdgeUpdateConv.from_layer(layer)(edges, index, lengths, angles, graph.frame_slot, weight)
    assert_same(found, expected, [edges, lengths, angles], layer)


def test_tensor_products_are_our_tensor_products(graph: CrystalGraph) -> None:
    layer = PaperEquivariantLayer("4x0e+2x1o", "3x0e+2x1o+2x1e+1x2e", WIDTH, residual=False).double()
    x, edges = random(len(graph.numbers), 10), random(len(graph.edge_receiver), WIDTH)
    vector = graph.edge_vector.clone().requires_grad_()
    ones = torch.ones(len(edges), 1, dtype=torch.float64)
    expected = layer(x, edges, edge_harmonics(vector), graph.edge_receiver, graph.edge_sender, ones)
    found = TensorProductConv.from_layer(layer)(x, to_pyg(graph).edge_index, edges, vector)
    assert_same(found, expected, [x, edges, vector], layer)


def test_equivariant_update_is_our_equivariant_update(graph: CrystalGraph) -> None:
    layer = PaperEquivariantUpdate(WIDTH, scalars=5, channels=3).double()
    x, edges = random(len(graph.numbers), WIDTH), random(len(graph.edge_receiver), WIDTH)
    expected, _ = layer(x, edges, EdgeHarmonics.from_graph(graph), graph.edge_weight[:, None], graph)
    conv = EquivariantUpdateConv.from_layer(layer)
    found = conv(x, to_pyg(graph).edge_index, edges, graph.edge_vector)
    assert_same(found, expected, [x, edges], layer)
    assert {id(value) for value in conv.parameters()} == {id(value) for value in layer.parameters()}
    turn = torch.from_numpy(random_rotation(np.random.default_rng(0)))
    torch.testing.assert_close(conv(x, to_pyg(graph).edge_index, edges, graph.edge_vector @ turn.T), found)


def test_gmtnet_layers_are_our_gmtnet_layers(graph: CrystalGraph) -> None:
    layer = PaperEquivariantStack(WIDTH, 6, 2, "1x0e+1x1o+1x2e+1x3o").double()
    x, edges = random(len(graph.numbers), WIDTH), random(len(graph.edge_receiver), WIDTH)
    vector = graph.edge_vector
    ones = torch.ones(len(edges), 1, dtype=torch.float64)
    expected = layer(x, edges, edge_harmonics(vector), graph.edge_receiver, graph.edge_sender, ones)
    found = GMTNetConv.from_layer(layer)(x, to_pyg(graph).edge_index, edges, vector)
    assert_same(found, expected, [x, edges], layer)


def test_a_model_of_somebody_else_trains_with_them(graph: CrystalGraph) -> None:
    arguments = "x, edge_index, edge_attr"
    model = Sequential(
        f"{arguments}, edge_vector, batch",
        [
            (ComFormerConv(WIDTH), f"{arguments} -> x"),
            (EquivariantUpdateConv(WIDTH, 4, 2), f"{arguments}, edge_vector -> x"),
            (ComFormerConv(WIDTH), f"{arguments} -> x"),
            (global_mean_pool, "x, batch -> x"),
            nn.Linear(WIDTH, 1),
        ],
    )
    embedding, features = nn.Embedding(100, WIDTH), EdgeFeatures(WIDTH)
    data = to_pyg(graph.to(dtype=torch.float32))
    parts = nn.ModuleList([model, embedding, features])
    optimiser = torch.optim.Adam(parts.parameters(), lr=1e-2)
    target = torch.tensor([[1.0], [2.0], [3.0]])
    losses = []
    for _ in range(12):
        edge_attr = features(data.edge_vector)
        out = model(embedding(data.z), data.edge_index, edge_attr, data.edge_vector, data.node_crystal)
        loss = (out - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("kind", [EComFormer, IComFormer, GMTNet])
def test_published_networks_are_reproduced_on_a_batch_of_data(kind: type) -> None:
    """Their weights in modules of torch-geometric, on ``Data`` and with its pooling."""
    network = kind("paper", width=WIDTH).double().eval()
    names = ("quartz 32", "MgO m-3m")
    graphs = [build_graph(ALL_CRYSTALS[name], network.graph_settings) for name in names]
    data = Batch.from_data_list([to_pyg(graph) for graph in graphs])
    expected = network.stages(collate(graphs))
    features = EdgeFeatures(WIDTH, 512 if kind is GMTNet else None).double()
    features.rbf.load_state_dict(network.rbf.state_dict())
    edges = features(data.edge_vector)
    torch.testing.assert_close(edges, expected["edge_features"], rtol=1e-12, atol=1e-12)
    x, edge_index = network.atom_embedding(element_descriptors(data.z).double()), data.edge_index
    for index, layer in enumerate(network.att_layers):
        conv = ComFormerConv(WIDTH, normalise_output=layer.normalise_output).double().eval()
        conv.layer.load_state_dict(layer.state_dict())
        x = conv(x, edge_index, edges)
        if index == 0 and kind is EComFormer:
            update = EquivariantUpdateConv(WIDTH).double().eval()
            update.layer.load_state_dict(network.equi_update.state_dict())
            x = update(x, data.edge_index, edges, data.edge_vector)
        if index == 0 and kind is IComFormer:
            views = frame_views(collate(graphs))
            edges, x = expected["edge_update"], views.of_nodes(x)
            edge_index = torch.stack([views.sender, views.receiver])
    if kind is IComFormer:
        x = views.mean(x)
    if kind is GMTNet:
        feature = GMTNetConv.from_layer(network.equi_update)(x, data.edge_index, edges, data.edge_vector)
        torch.testing.assert_close(
            global_mean_pool(feature, data.batch), expected["crystal_feature"], rtol=1e-12, atol=1e-12
        )
    else:
        out = network.fc_out(network.fc(global_mean_pool(x, data.batch)))
        torch.testing.assert_close(out, expected["output"], rtol=1e-12, atol=1e-12)
