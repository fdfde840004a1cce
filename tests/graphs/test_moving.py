"""The neighbour list with a skin, and the graph made of it, are what a fresh search finds, whatever happened since."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.moving import MovingGraph, SkinNeighbours
from ase_comformer.graphs.neighbours import GraphSettings, neighbours

CUTOFF = 4.0
STRUCTURES = {
    "NaCl": bulk("NaCl", "rocksalt", a=5.64, cubic=True),
    "Cu": bulk("Cu", a=3.61),
    "slab": fcc111("Al", (2, 2, 3), vacuum=6.0),
    "water": molecule("H2O"),
}


def edge_set(edges: tuple) -> set[tuple]:
    *indices, vector = edges
    rows = np.column_stack(indices).tolist()
    return {(*row, *np.round(v, 9).tolist()) for row, v in zip(rows, vector, strict=True)}


def assert_same(finder: SkinNeighbours, atoms: Atoms) -> None:
    fresh = neighbours(atoms, GraphSettings(cutoff=CUTOFF))
    assert edge_set(finder.edges(atoms)) == edge_set(fresh)


@pytest.mark.parametrize("name", STRUCTURES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.floats(0.0, 0.5), strain=st.floats(0.0, 0.12))
def test_moves_and_strains_of_any_size(name: str, seed: int, size: float, strain: float) -> None:
    rng = np.random.default_rng(seed)
    atoms = STRUCTURES[name].copy()
    finder = SkinNeighbours(CUTOFF, skin=0.6)
    assert_same(finder, atoms)
    for _ in range(3):
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.uniform(-1, 1, (3, 3))), scale_atoms=True)
        atoms.positions += size * rng.uniform(-1, 1, atoms.positions.shape)
        assert_same(finder, atoms)


def test_wrapping_an_atom_is_noticed() -> None:
    atoms = STRUCTURES["NaCl"].copy()
    finder = SkinNeighbours(CUTOFF)
    finder.edges(atoms)
    atoms.positions[0] += atoms.cell.array[0]
    assert_same(finder, atoms)


def test_other_elements_or_boundaries_are_noticed() -> None:
    atoms = STRUCTURES["NaCl"].copy()
    finder = SkinNeighbours(CUTOFF)
    finder.edges(atoms)
    atoms.pbc = [True, True, False]
    assert_same(finder, atoms)
    assert_same(finder, STRUCTURES["Cu"])


def test_small_moves_reuse_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = neighbours
    monkeypatch.setattr("ase_comformer.graphs.moving.neighbours", lambda *given: calls.append(1) or original(*given))
    atoms = STRUCTURES["NaCl"].copy()
    finder = SkinNeighbours(CUTOFF, skin=0.6)
    for _ in range(5):
        finder.edges(atoms)
        atoms.rattle(0.01)
    assert len(calls) == 1


def test_negative_skin_is_refused() -> None:
    with pytest.raises(ValueError, match="skin must not be negative"):
        SkinNeighbours(4.0, skin=-1.0)


WITH_RECIPROCAL = GraphSettings(cutoff=CUTOFF, reciprocal_cutoff=1.6)


def assert_same_graph(moving: MovingGraph, atoms: Atoms) -> None:
    """Edges in any order, everything else exactly."""
    found, fresh = moving.graph(atoms), build_graph(atoms, WITH_RECIPROCAL)
    names = ("edge_receiver", "edge_atom", "edge_vector")
    edges = [tuple(getattr(graph, name).numpy() for name in names) for graph in (found, fresh)]
    assert edge_set(edges[0]) == edge_set(edges[1])
    for name in {part.name for part in fields(CrystalGraph)} - set(names):
        one, other = getattr(found, name), getattr(fresh, name)
        assert (one is None and other is None) or torch.equal(one, other), name


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("size", [0.001, 0.3])
def test_a_graph_that_moves_is_the_graph_of_the_structure(name: str, size: float) -> None:
    rng, atoms = np.random.default_rng(0), STRUCTURES[name].copy()
    moving = MovingGraph(WITH_RECIPROCAL, 0.6, torch.float64, torch.device("cpu"))
    for k in range(12):
        if k % 3 == 2:
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + size * rng.uniform(-0.1, 0.1, (3, 3))), scale_atoms=True)
        atoms.positions += size * rng.uniform(-1, 1, atoms.positions.shape)
        if k == 6:
            atoms.numbers[0] = 12
        if k == 8:
            atoms.pbc = atoms.pbc.any() and [True, True, False]
        assert_same_graph(moving, atoms)


def test_a_graph_that_moves_leaves_earlier_ones_alone() -> None:
    atoms = STRUCTURES["NaCl"].copy()
    moving = MovingGraph(WITH_RECIPROCAL, 0.6, torch.float64, torch.device("cpu"))
    graphs, vectors = [], []
    for _ in range(3):
        graphs.append(moving.graph(atoms))
        vectors.append((graphs[-1].edge_vector.clone(), graphs[-1].atom_position.clone()))
        atoms.positions += np.random.default_rng(1).normal(size=atoms.positions.shape) * 0.01
    for graph, (edge, position) in zip(graphs, vectors, strict=True):
        assert torch.equal(graph.edge_vector, edge)
        assert torch.equal(graph.atom_position, position)


def test_a_call_of_another_thread_in_between_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms, other = STRUCTURES["NaCl"].copy(), STRUCTURES["NaCl"].copy()
    other.rattle(0.15, seed=1)
    finder = SkinNeighbours(CUTOFF, skin=1.5)
    assert edge_set(finder.edges(atoms)) != edge_set(finder.edges(other))
    finder.edges(atoms)
    original, interrupted = np.array_equal, []

    def interrupting(one: np.ndarray, two: np.ndarray) -> bool:
        result = original(one, two)
        if len(one) > len(atoms) and not interrupted:  # the mask of pairs
            interrupted.append(True)
            finder.edges(other)
        return result

    monkeypatch.setattr(np, "array_equal", interrupting)
    assert_same(finder, atoms)
    assert interrupted
