"""Sparse products against dense ones, their derivatives of any order, and the sums of messages built on them."""

import warnings
from dataclasses import replace

import pytest
import torch
from ase.build import bulk

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.layers.cartesian import CartesianTrunk
from ase_comformer.nn.operations.sparse import SparsePattern, sparse_product

COLUMNS = torch.tensor([0, 3, 1, 1, 4, 2, 0])  # row 1 is empty, row 2 has a column twice
OFFSETS = torch.tensor([0, 2, 2, 5])


def pattern_and_inputs() -> tuple[SparsePattern, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(7, dtype=torch.float64, generator=generator, requires_grad=True)
    table = torch.randn(6, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    return SparsePattern(COLUMNS, OFFSETS, 6), values, table


def dense(values: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.float64).index_put((rows, columns), values, accumulate=True)


def test_product_equals_the_dense_one():
    pattern, values, table = pattern_and_inputs()
    rows = torch.tensor([0, 0, 2, 2, 2, 3, 3])
    expected = dense(values, rows, COLUMNS, (4, 6)) @ table
    assert torch.allclose(sparse_product(pattern, values, table), expected, atol=1e-14)
    ones = dense(torch.ones(7, dtype=torch.float64), rows, COLUMNS, (4, 6)) @ table
    assert torch.allclose(sparse_product(pattern, None, table), ones, atol=1e-14)


def test_product_is_differentiable_twice():
    pattern, values, table = pattern_and_inputs()
    assert torch.autograd.gradcheck(lambda v, t: sparse_product(pattern, v, t), (values, table))
    assert torch.autograd.gradgradcheck(lambda v, t: sparse_product(pattern, v, t), (values, table))
    assert torch.autograd.gradgradcheck(lambda t: sparse_product(pattern, None, t).square(), (table,))


def test_a_pattern_made_of_tensors_is_the_same_pattern():
    pattern, values, table = pattern_and_inputs()
    again = SparsePattern.from_tensors(pattern.tensors(), pattern.width)
    assert torch.equal(sparse_product(again, values, table), sparse_product(pattern, values, table))
    assert torch.autograd.gradcheck(lambda v, t: sparse_product(again, v, t), (values, table))
    assert torch.autograd.gradgradcheck(lambda v, t: sparse_product(again, v, t), (values, table))


def test_product_of_no_entries_is_zero():
    pattern = SparsePattern(torch.zeros(0, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), 0)
    values = torch.zeros(0, requires_grad=True)
    result = sparse_product(pattern, values, torch.zeros(0, 3))
    assert torch.equal(result, torch.zeros(2, 3))
    result.sum().backward()
    assert values.grad is not None


def test_derivatives_do_not_warn():
    pattern, values, table = pattern_and_inputs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sparse_product(pattern, values, table).sum().backward()


def batches() -> list:
    settings = GraphSettings(cutoff=4.0)
    rutile = bulk("Si")
    rutile.rattle(0.05, seed=1)
    salt = bulk("NaCl", "rocksalt", a=5.6)
    reduced = build_reduced_graph(analyse_space_group(salt), settings)
    plain = build_graph(rutile, settings)
    return [plain, reduced, collate([plain, reduced])]


@pytest.mark.parametrize("graph", batches(), ids=["plain", "reduced", "mixed"])
def test_trunk_is_differentiable_twice_in_the_edge_vectors(graph):
    torch.manual_seed(0)
    trunk = CartesianTrunk(scalars=3, vectors=2, layers=2, radial=3, hidden=3, cutoff=4.0).double()
    weight = torch.randn(len(graph.numbers), 3, dtype=torch.float64)

    def energy(vectors: torch.Tensor) -> torch.Tensor:
        changed = replace(graph, edge_vector=vectors)
        node = trunk(changed, trunk.edge_geometry(changed))
        return (node.scalars * weight).sum()

    # an asymmetric direction of the edge vectors, so that nothing cancels
    start = graph.edge_vector + 0.02 * torch.randn_like(graph.edge_vector)
    direction = torch.randn_like(start)

    def along(step: torch.Tensor) -> torch.Tensor:
        return energy(start + step * direction)

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(along, (step,))
    assert torch.autograd.gradgradcheck(along, (step,))


def test_trunk_takes_an_atom_without_neighbours():
    graph = build_graph(bulk("Ne", "sc", a=9.0), GraphSettings(cutoff=4.0))
    trunk = CartesianTrunk(scalars=3, vectors=2, layers=2, radial=3, hidden=3, cutoff=4.0).double()
    node = trunk(graph, trunk.edge_geometry(graph))
    assert torch.isfinite(node.scalars).all()
    assert not node.vectors.any()
