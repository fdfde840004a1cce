"""Cut-offs that follow the size of a pair: the same edges, energies and derivatives by every route."""

from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.moving import MovingGraph
from ase_comformer.graphs.neighbours import GraphSettings, neighbours
from ase_comformer.nn.architectures.potential import Potential, derivatives
from ase_comformer.nn.derivatives.analytic import AnalyticPotential
from ase_comformer.nn.operations.graph_parts import GraphParts
from ase_comformer.nn.operations.message_sums import SumTopology
from ase_comformer.testing import assert_relative
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.engines.resident import ResidentFrames

REACH = {"K": 3.6, "Cs": 4.0}
SETTINGS = GraphSettings(cutoff=4.5, reciprocal_cutoff=1.6, reach=REACH)
CRYSTALS = {
    "Cs": bulk("Cs", cubic=True),
    "CsCl": bulk("CsCl", "cesiumchloride", a=4.2),
    "KCl": bulk("KCl", "rocksalt", a=6.3),
    "K in Al": Atoms("KAl3", 2.3 * np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]), cell=[4.6] * 3, pbc=True),
}


def rattled(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=1)
    return atoms


@cache
def network(reach: bool = True) -> Potential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = SETTINGS if reach else GraphSettings(cutoff=4.5, reciprocal_cutoff=1.6)
        potential = Potential(scalars=12, vectors=6, layers=2, hidden=10, update=20, graph_settings=settings)
        with torch.no_grad():
            for value in potential.parameters():
                value.add_(torch.randn_like(value), alpha=0.1)
    return potential.double().eval().requires_grad_(False)


@pytest.mark.parametrize("name", CRYSTALS)
def test_edges_are_those_of_a_wide_search_within_the_cutoff_of_each_pair(name: str) -> None:
    atoms = rattled(CRYSTALS[name])
    receiver, sender, image, vector = neighbours(atoms, GraphSettings(cutoff=8.0))
    reach = np.array([REACH.get(symbol, 1.5) for symbol in atoms.symbols])
    near = np.linalg.norm(vector, axis=1) < np.maximum(4.5, reach[receiver] + reach[sender])
    found = neighbours(atoms, SETTINGS)
    for part, expected in zip(found, (receiver, sender, image, vector), strict=True):
        assert sorted(map(tuple, np.atleast_2d(part.T).T.reshape(len(part), -1).tolist())) == sorted(
            map(tuple, np.atleast_2d(expected[near].T).T.reshape(near.sum(), -1).tolist())
        )


def test_caesium_has_neighbours_that_the_common_cutoff_misses() -> None:
    atoms = bulk("Cs", "bcc", a=6.16)
    assert len(neighbours(atoms, SETTINGS)[0]) == 8 + 6
    assert len(neighbours(atoms, GraphSettings(cutoff=4.5))[0]) == 0


def test_other_elements_are_as_without_reaches() -> None:
    graph, plain = (
        build_graph(bulk("Cu"), SETTINGS),
        build_graph(bulk("Cu"), GraphSettings(cutoff=4.5, reciprocal_cutoff=1.6)),
    )
    torch.testing.assert_close(derivatives(network(), graph).energy, derivatives(network(False), plain).energy)


@pytest.mark.parametrize("name", CRYSTALS)
def test_written_out_derivatives_are_those_of_autograd(name: str) -> None:
    graph = build_graph(rattled(CRYSTALS[name]), SETTINGS)
    expected = derivatives(network(), graph)
    for topologies in ([SumTopology.from_graph(graph)], list(GraphParts(graph, 20)), GraphParts(graph, 20)):
        found = AnalyticPotential(network()).derivatives(graph, topologies)
        for part in ("energy", "forces", "stress"):
            assert_relative(getattr(found, part), getattr(expected, part), 1e-12, part)


@pytest.mark.parametrize("name", CRYSTALS)
def test_forces_and_stress_are_differences_of_energies(name: str) -> None:
    atoms, step = rattled(CRYSTALS[name]), 1e-4
    found = derivatives(network(), build_graph(atoms, SETTINGS))

    def energy(change: Atoms) -> float:
        return derivatives(network(), build_graph(change, SETTINGS)).energy[0].item()

    ends = []
    for sign in (1, -1):
        moved, strained = atoms.copy(), atoms.copy()
        moved.positions[0, 1] += sign * step
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * np.diag([0, 0, 1.0])), scale_atoms=True)
        ends.append((energy(moved), energy(strained)))
    (up, wide), (down, narrow) = ends
    assert found.forces[0, 1].item() == pytest.approx(-(up - down) / (2 * step), abs=2e-6)
    assert found.stress[0, 2, 2].item() == pytest.approx((wide - narrow) / (2 * step) / atoms.get_volume(), abs=1e-6)


def test_energies_are_continuous_where_large_atoms_leave_each_other() -> None:
    energies = [
        derivatives(network(), build_graph(Atoms("CsK", [[0, 0, 0], [0, 0, r]]), SETTINGS)).energy[0].item()
        for r in 7.6 + 1e-3 * np.arange(-3, 4)
    ]
    assert np.abs(np.diff(energies)).max() < 1e-8


@pytest.mark.parametrize("name", CRYSTALS)
def test_reduced_graphs_give_what_plain_ones_do(name: str) -> None:
    group = analyse_space_group(CRYSTALS[name], 1e-5)
    reduced = derivatives(network(), build_reduced_graph(group, SETTINGS))
    plain = derivatives(network(), build_graph(group.primitive, SETTINGS))
    for part in ("energy", "energies", "stress"):
        assert_relative(getattr(reduced, part), getattr(plain, part), 1e-12, part)


def test_moving_graphs_find_what_a_fresh_search_finds() -> None:
    atoms = bulk("CsCl", "cesiumchloride", a=4.2).repeat(2)
    moving = MovingGraph(SETTINGS, 0.6, torch.float64, torch.device("cpu"))
    random = np.random.default_rng(0)
    for step in range(12):
        atoms.positions += random.normal(size=(len(atoms), 3)) * 0.05
        if step % 4 == 3:
            atoms.set_cell(atoms.cell.array * random.uniform(0.95, 1.05), scale_atoms=True)
        found, fresh = (derivatives(network(), graph) for graph in (moving.graph(atoms), build_graph(atoms, SETTINGS)))
        assert_relative(found.energy, fresh.energy, 1e-12, "energy")
        assert_relative(found.forces, fresh.forces, 1e-10, "forces")


def test_batches_of_frames_have_the_edges_of_single_structures() -> None:
    structures = [rattled(atoms) for atoms in CRYSTALS.values()]
    atoms = sum(len(s) for s in structures)
    frames = Frames(
        numbers=np.concatenate([s.numbers for s in structures]).astype(np.int64),
        positions=np.concatenate([s.positions for s in structures]),
        forces=np.zeros((atoms, 3), dtype=np.float32),
        cell=np.array([s.cell.array for s in structures]),
        count=np.array([len(s) for s in structures]),
        energy=np.zeros(len(structures)),
        stress=np.zeros((len(structures), 3, 3), dtype=np.float32),
        fidelity=np.zeros(len(structures), dtype=np.int64),
        kind=np.array(["asis"] * len(structures)),
        group=np.array(list(CRYSTALS)),
        displacement=np.zeros((atoms, 3), dtype=np.float32),
        polarisation=np.zeros((len(structures), 3), dtype=np.float32),
    )
    expected: CrystalGraph = collate([build_graph(s, SETTINGS) for s in structures])
    found = frames.graph(SETTINGS, torch.float64)
    for part in fields(CrystalGraph):
        if part.name in ("edge_receiver", "edge_atom", "edge_vector"):
            torch.testing.assert_close(getattr(found, part.name), getattr(expected, part.name))
    counts = frames.edge_counts(SETTINGS)
    assert counts.tolist() == [len(neighbours(s, SETTINGS)[0]) for s in structures]
    assert ResidentFrames.from_frames(frames, SETTINGS).sizes()[:, 2].tolist() == counts.tolist()


def test_weights_carry_reaches_in_their_arguments_only_where_there_are_some() -> None:
    assert network().arguments["graph_settings"]["reach"] == REACH
    assert "reach" not in network(False).arguments["graph_settings"]
    again = Potential(**network().arguments)
    assert again.graph_settings == GraphSettings(cutoff=4.5, reciprocal_cutoff=1.6, reach=[["Cs", 4.0], ["K", 3.6]])


@pytest.mark.parametrize(("reach", "error"), [({"Qq": 3.0}, UnknownNameError), ({"Cs": -1.0}, ValueError)])
def test_what_is_no_reach_is_refused(reach: dict[str, float], error: type[Exception]) -> None:
    with pytest.raises(error):
        GraphSettings(reach=reach)
