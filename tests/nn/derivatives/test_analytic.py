"""Derivatives written out against autograd: every structure, whole and in parts, any depth, several crystals."""

from functools import cache

import pytest
import torch
from ase.build import bulk

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.potential import Potential, PotentialResult, derivatives
from ase_comformer.nn.derivatives.analytic import AnalyticPotential
from ase_comformer.nn.operations.graph_parts import GraphParts
from ase_comformer.nn.operations.sum_topology import SumTopology
from ase_comformer.testing import assert_relative
from potential_structures import STRUCTURES
from seven_systems import ALL_CRYSTALS

SETTINGS = GraphSettings(cutoff=4.5, reciprocal_cutoff=1.6)
PARTS = ("energy", "energies", "forces", "features")
TOLERANCE = 1e-12


@cache
def network(layers: int = 2) -> Potential:
    with torch.random.fork_rng():
        torch.manual_seed(layers)
        potential = Potential(
            scalars=12, vectors=6, layers=layers, hidden=10, update=20, graph_settings=SETTINGS, isolated=True
        )
        with torch.no_grad():
            for value in potential.parameters():
                value.add_(torch.randn_like(value), alpha=0.1)
            potential.element_reference.normal_()
            potential.isolated_reference.normal_()
            potential.energy_scale.fill_(5.0)
    return potential.double().eval().requires_grad_(False)


def assert_same(found: PotentialResult, expected: PotentialResult, stress: bool = True) -> None:
    # cells without waves need no dipoles
    for name in (*PARTS, *(["stress"] if stress else []), *(["dipoles"] if found.dipoles is not None else [])):
        assert_relative(getattr(found, name), getattr(expected, name), TOLERANCE, name)


def graph_of(name: str) -> CrystalGraph:
    return collate([build_graph(STRUCTURES[name], SETTINGS)])


@pytest.mark.parametrize("name", STRUCTURES)
def test_results_are_those_of_autograd(name: str) -> None:
    graph = graph_of(name)
    expected = derivatives(network(), graph)
    potential = AnalyticPotential(network())
    for topologies in ([SumTopology.from_graph(graph)], list(GraphParts(graph, 50)), GraphParts(graph, 50)):
        assert_same(potential.derivatives(graph, topologies), expected, stress=name != "wire")


def test_dipoles_that_saturate() -> None:
    free = network()
    bounded = Potential(**{**free.arguments, "dipole_limit": 0.002}).double().eval().requires_grad_(False)
    bounded.load_state_dict(free.state_dict())
    for name in ("triclinic", "wire"):
        graph = graph_of(name)
        expected = derivatives(bounded, graph)
        found = AnalyticPotential(bounded).derivatives(graph, [SumTopology.from_graph(graph)])
        assert_same(found, expected, name != "wire")
        alone, _ = AnalyticPotential(bounded).energies(graph, [SumTopology.from_graph(graph)])
        torch.testing.assert_close(alone, found.energies, rtol=0, atol=0)
        if expected.dipoles is not None:
            sizes = expected.dipoles.norm(dim=1)
            assert (sizes < 0.002).all()
            assert (derivatives(free, graph).dipoles.norm(dim=1) > 0.002).any()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_any_depth_several_crystals_and_fidelities(layers: int) -> None:
    graph = collate([build_graph(STRUCTURES[name], SETTINGS) for name in ("triclinic", "quartz 32", "one atom")])
    fidelity = torch.tensor([0, 2, 1])
    expected = derivatives(network(layers), graph, fidelity)
    found = AnalyticPotential(network(layers)).derivatives(graph, [SumTopology.from_graph(graph)], fidelity)
    assert_same(found, expected)


@pytest.mark.parametrize("name", list(ALL_CRYSTALS)[::3])
def test_reduced_graphs(name: str) -> None:
    """Alone, and in a batch with a plain one and another reduced one."""
    group = analyse_space_group(ALL_CRYSTALS[name], 1e-5)
    reduced = build_reduced_graph(group, SETTINGS)
    others = [
        build_graph(STRUCTURES["one atom"], SETTINGS),
        build_reduced_graph(analyse_space_group(bulk("Mg")), SETTINGS),
    ]
    for graph in (collate([reduced]), collate([reduced, *others])):
        expected = derivatives(network(), graph)
        assert_same(AnalyticPotential(network()).derivatives(graph, [SumTopology.from_graph(graph)]), expected)


def test_overlapping_atoms_feel_the_nuclear_repulsion() -> None:
    atoms = STRUCTURES["one atom"].repeat((2, 1, 1))
    atoms.positions[1] = atoms.positions[0] + [0.7, 0.1, 0.0]
    graph = collate([build_graph(atoms, SETTINGS)])
    expected = derivatives(network(), graph)
    assert expected.forces.abs().max() > 10
    assert_same(AnalyticPotential(network()).derivatives(graph, [SumTopology.from_graph(graph)]), expected)


def test_an_atom_without_neighbours_has_its_reference_energy() -> None:
    graph = collate([build_graph(bulk("Ne", "sc", a=9.0), SETTINGS)])
    found = AnalyticPotential(network()).derivatives(graph, [SumTopology.from_graph(graph)])
    assert float(found.energy) == pytest.approx(float(network().isolated_reference[10]), rel=1e-12)
    assert not found.forces.any()
    assert not found.stress.any()
