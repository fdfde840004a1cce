"""The bridge to torch-geometric: round trips and batches are exact."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pyg import CrystalData, from_pyg, to_pyg
from ase_comformer.graphs.schema import graph_field, pad, row_counts, take
from seven_systems import ALL_CRYSTALS

EVERYTHING = GraphSettings(cutoff=4.0, lattice_frame=True, reciprocal_cutoff=2.5)


def assert_same(found: CrystalGraph, expected: CrystalGraph) -> None:
    """Every field is there or not there in both, with the same bits."""
    assert type(found) is type(expected)
    for part in fields(expected):
        one, other = getattr(found, part.name), getattr(expected, part.name)
        assert (one is None) == (other is None), part.name
        if other is not None:
            assert one.dtype == other.dtype, part.name
            assert torch.equal(one, other), part.name


def structures_of_all_systems() -> list[Atoms]:
    """Crystals of all systems, each as it is and strained and rattled."""
    structures = []
    for k in range(150):
        atoms = list(ALL_CRYSTALS.values())[k % len(ALL_CRYSTALS)].copy()
        if k >= len(ALL_CRYSTALS):
            rng = np.random.default_rng(k)
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.standard_normal((3, 3))), scale_atoms=True)
            atoms.positions += 0.02 * rng.standard_normal(atoms.positions.shape)
        structures.append(atoms)
    return structures


@pytest.mark.parametrize("kind", ["plain", "reduced"])
def test_crystals_of_all_systems_survive_single_and_in_a_batch(kind: str) -> None:
    graphs = [
        build_reduced_graph(analyse_space_group(atoms), EVERYTHING)
        if kind == "reduced"
        else build_graph(atoms, EVERYTHING)
        for atoms in structures_of_all_systems()
    ]
    data = [to_pyg(graph) for graph in graphs]
    for graph, one in zip(graphs, data, strict=True):
        assert_same(from_pyg(one), graph)
    joined, batch = collate(graphs), Batch.from_data_list(data)
    assert len({graph.reciprocal_vector.shape[1] for graph in graphs}) > 10  # the ragged axis is put to use
    assert_same(from_pyg(batch), joined)
    assert_same(from_pyg(to_pyg(joined)), joined)
    assert torch.equal(batch.batch, joined.node_crystal)
    assert torch.equal(batch.edge_index, torch.stack([joined.edge_sender, joined.edge_receiver]))
    for graph, one in zip(graphs, batch.to_data_list(), strict=True):
        assert_same(from_pyg(one), graph)


def test_structures_without_neighbours_or_periodic_directions_survive() -> None:
    structures = [bulk("Ne", "sc", a=9.0), molecule("H2O", vacuum=5.0), bulk("Cu")]
    graphs = [build_graph(atoms, GraphSettings(cutoff=4.0, reciprocal_cutoff=1.6)) for atoms in structures]
    assert graphs[1].reciprocal_vector.shape[1] == 0
    assert_same(from_pyg(Batch.from_data_list([to_pyg(graph) for graph in graphs])), collate(graphs))


def test_a_loader_of_torch_geometric_gives_the_batches_of_collate() -> None:
    graphs = [build_graph(atoms, GraphSettings(cutoff=4.0)) for atoms in list(ALL_CRYSTALS.values())[:7]]
    loader = DataLoader([to_pyg(graph) for graph in graphs], batch_size=3)
    for start, batch in zip(range(0, 7, 3), loader, strict=True):
        assert_same(from_pyg(batch), collate(graphs[start : start + 3]))
        assert batch.num_graphs == len(graphs[start : start + 3])


def test_precision_is_kept_and_changes_with_the_graph() -> None:
    graph = build_graph(bulk("Si"), EVERYTHING).to(dtype=torch.float32)
    assert_same(from_pyg(to_pyg(graph)), graph)
    assert_same(from_pyg(to_pyg(graph).to("cpu")), graph)


def test_other_data_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="to_pyg makes it"):
        from_pyg(Data(x=torch.zeros(2, 3)))


# --- a new field touches one place: the line that declares it


@dataclass
class ChargedGraph(CrystalGraph):
    """A graph with a number for every atom, a partner for every edge and a ragged list for every crystal."""

    charge: Tensor | None = graph_field("atom", padding=-1, optional=True)
    reverse: Tensor | None = graph_field("edge", "edge", padding="same", optional=True)
    level: Tensor | None = graph_field("crystal", ragged="levels", missing="zeros", optional=True)


class ChargedData(CrystalData):
    graph_type = ChargedGraph


def charged(name: str, levels: int) -> ChargedGraph:
    graph = build_graph(ALL_CRYSTALS[name], GraphSettings(cutoff=4.0, reciprocal_cutoff=2.0))
    given = {part.name: getattr(graph, part.name) for part in fields(graph)}
    edges = len(graph.edge_receiver)
    return ChargedGraph(
        **given,
        charge=torch.linspace(-1, 1, len(graph.numbers), dtype=torch.float64),
        reverse=torch.arange(edges).flip(0),
        level=torch.arange(1.0, levels + 1, dtype=torch.float64)[None],
    )


def test_a_new_field_needs_one_line() -> None:
    graphs = [charged("quartz 32", 2), charged("MgO m-3m", 5), charged("CuO 2/m", 3)]
    joined = collate(graphs)
    edges = [len(graph.edge_receiver) for graph in graphs]
    starts = np.cumsum([0, *edges[:-1]])
    assert torch.equal(joined.charge, torch.cat([graph.charge for graph in graphs]))
    assert torch.equal(joined.reverse, torch.cat([g.reverse + s for g, s in zip(graphs, starts, strict=True)]))
    assert joined.level.tolist() == [[1, 2, 0, 0, 0], [1, 2, 3, 4, 5], [1, 2, 3, 0, 0]]

    swapped = take(joined, torch.tensor([2, 0]))
    assert torch.equal(swapped.charge, torch.cat([graphs[2].charge, graphs[0].charge]))
    assert torch.equal(swapped.reverse, torch.cat([graphs[2].reverse, graphs[0].reverse + edges[2]]))

    single = joined.to(dtype=torch.float32)
    assert (single.charge.dtype, single.reverse.dtype) == (torch.float32, torch.int64)

    counts = row_counts(joined)
    filled = pad(joined, {name: count + 2 for name, count in counts.items()}, {"levels": 6})
    assert filled.charge[-2:].tolist() == [-1, -1]
    assert filled.reverse[-2:].tolist() == [counts["edge"], counts["edge"] + 1]
    assert filled.level.shape == (5, 6)

    data = [to_pyg(graph, ChargedData) for graph in graphs]
    assert_same(from_pyg(Batch.from_data_list(data)), joined)
    for graph, one in zip(graphs, data, strict=True):
        assert_same(from_pyg(one), graph)
    with pytest.raises(TypeError, match="graph_type is ChargedGraph"):
        to_pyg(graphs[0])


def test_a_field_may_be_missing_only_where_its_declaration_says_so() -> None:
    one, other = charged("quartz 32", 2), charged("MgO m-3m", 3)
    joined = collate([one, replace(other, level=None)])
    assert joined.level.tolist() == [[1, 2], [0, 0]]
    with pytest.raises(ValueError, match=r"some graphs have charge, reverse and some do not"):
        collate([one, replace(other, charge=None, reverse=None)])
    with pytest.raises(ValueError, match=r"cannot run over 'bond': choose from node"):
        graph_field("bond")
