"""The potential with random weights: derivatives, invariance, extensivity, smoothness, limits."""

from functools import cache

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.inference.potential_evaluator import PotentialEvaluator
from ase_comformer.nn import ARCHITECTURES
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.testing import permute_atoms, rotate_atoms, rotations, shift_origin, supercell
from potential_structures import INVARIANCE, STRUCTURES, assert_derivatives, distorted, turned_stress
from seven_systems import ALL_CRYSTALS

SETTINGS = {"cutoff": 4.5, "reciprocal_cutoff": 1.6}


@cache
def network(**arguments: object) -> Potential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        given = {"isolated": True} | arguments
        potential = Potential(scalars=16, vectors=8, hidden=16, layers=2, graph_settings=SETTINGS, **given)
        assert potential.dipole is not None
        with torch.no_grad():
            potential.dipole[2].weight.normal_()
            potential.fidelity.weight.normal_()
            potential.element_reference.normal_()
            potential.isolated_reference.normal_()
            potential.energy_scale.fill_(5.0)
    return potential.double().eval().requires_grad_(False)


def surface(**options: object) -> PotentialEvaluator:
    return PotentialEvaluator([network()], **options)


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_and_stress_are_the_derivatives_of_the_energy(name: str) -> None:
    assert_derivatives(surface(), surface(use_symmetry=False, skin=0.0), STRUCTURES[name])


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_sum_to_zero(name: str) -> None:
    forces = surface().evaluate(STRUCTURES[name])["forces"]
    assert np.abs(forces.sum(axis=0)).max() < 1e-10 * max(1.0, np.abs(forces).max())


@pytest.mark.parametrize("name", ["quartz 32", "triclinic", "one atom", "MgO m-3m"])
@settings(max_examples=10, deadline=None)
@given(rotation=rotations())
def test_rotation_turns_forces_and_stress(name: str, rotation: np.ndarray) -> None:
    atoms = STRUCTURES.get(name) or distorted(ALL_CRYSTALS[name])
    before, after = (surface().evaluate(a) for a in (atoms, rotate_atoms(atoms, rotation)))
    assert after["energy"] == pytest.approx(before["energy"], rel=INVARIANCE)
    np.testing.assert_allclose(after["forces"], before["forces"] @ rotation.T, atol=INVARIANCE * 10)
    expected = turned_stress(before["stress"], rotation)
    np.testing.assert_allclose(after["stress"], expected, atol=INVARIANCE)


@pytest.mark.parametrize("name", ["quartz 32", "triclinic", "one atom"])
def test_origin_order_and_supercell(name: str) -> None:
    atoms = STRUCTURES.get(name) or distorted(ALL_CRYSTALS[name])
    before = surface().evaluate(atoms)
    shifted = surface().evaluate(shift_origin(atoms, np.array([0.3, 1.7, -0.4])))
    assert shifted["energy"] == pytest.approx(before["energy"], rel=INVARIANCE)
    order = np.random.default_rng(0).permutation(len(atoms))
    permuted = surface().evaluate(permute_atoms(atoms, order))
    np.testing.assert_allclose(permuted["forces"], before["forces"][order], atol=INVARIANCE)
    large, origin = supercell(atoms, (2, 1, 3))
    repeated = surface().evaluate(large)
    assert repeated["energy"] == pytest.approx(6 * before["energy"], rel=INVARIANCE)
    np.testing.assert_allclose(repeated["forces"], before["forces"][origin], atol=INVARIANCE)
    np.testing.assert_allclose(repeated["stress"], before["stress"], atol=INVARIANCE)


@pytest.mark.parametrize("symbol", ["H", "O", "Cu", "U"])
def test_isolated_atom_has_its_reference_energy(symbol: str) -> None:
    atoms = Atoms(symbol, cell=[20, 20, 20], pbc=True)
    found = surface().evaluate(atoms)
    assert found["energy"] == float(network().isolated_reference[atoms.numbers[0]])
    assert not found["forces"].any()
    found = PotentialEvaluator([network(isolated=False)]).evaluate(atoms)
    assert found["energy"] == float(network(isolated=False).element_reference[0, atoms.numbers[0]])


def test_energy_and_force_are_continuous_at_the_cut_off() -> None:
    cutoff = network().graph_settings.cutoff
    previous = None
    for distance in cutoff + np.linspace(-1e-3, 1e-3, 81):
        atoms = Atoms("CuO", [[0, 0, 0], [distance, 0, 0]], cell=[30, 30, 30], pbc=True)
        found = surface().evaluate(atoms)
        now = (found["energy"], found["forces"][0, 0])
        if previous is not None:
            assert abs(now[0] - previous[0]) < 1e-8
            assert abs(now[1] - previous[1]) < 1e-6
        previous = now
    assert previous[1] == 0.0


@pytest.mark.parametrize(("first", "second"), [("H", "H"), ("O", "Ti"), ("Cs", "F"), ("Pb", "Pb")])
def test_atoms_repel_at_short_distance(first: str, second: str) -> None:
    energies = []
    for distance in (0.15, 0.3, 0.45):
        atoms = Atoms([first, second], [[0, 0, 0], [distance, 0, 0]], cell=[30, 30, 30], pbc=True)
        with pytest.warns(UserWarning, match="closer than 0.5"):
            found = surface().evaluate(atoms)
        energies.append(found["energy"])
        assert found["forces"][0, 0] < 0 < found["forces"][1, 0]
    assert energies == sorted(energies, reverse=True)


@pytest.mark.parametrize("name", ["MgO m-3m", "quartz 32", "Al2O3 -3m"])
def test_reduced_graph_gives_the_same_as_the_plain_one(name: str) -> None:
    from ase_comformer.crystals.space_group import analyse_space_group

    atoms = analyse_space_group(ALL_CRYSTALS[name]).primitive
    atoms = atoms.repeat((1, 1, -(-16 // len(atoms))))  # smaller ones are evaluated on plain graphs
    reduced, plain = surface(), surface(use_symmetry=False)
    assert reduced.prepare(atoms).graph.is_reduced
    found, expected = reduced.evaluate(atoms), plain.evaluate(atoms)
    assert reduced._memory.followed is not None, "evaluated on a plain graph"
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=INVARIANCE, atol=INVARIANCE)


def test_almost_symmetric_structures_are_not_idealised() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64).repeat((2, 2, 2))
    assert surface().prepare(atoms).graph.is_reduced
    atoms.positions[0, 0] += 1e-6
    assert not surface().prepare(atoms).graph.is_reduced
    force = surface().evaluate(atoms)["forces"][0, 0]
    assert force != 0.0


def test_spread_of_an_ensemble() -> None:
    other = Potential(**network().arguments).double().eval().requires_grad_(False)
    atoms = STRUCTURES["quartz 32"] if "quartz 32" in STRUCTURES else distorted(ALL_CRYSTALS["quartz 32"])
    single = [PotentialEvaluator([member]).evaluate(atoms) for member in (network(), other)]
    both = PotentialEvaluator([network(), other]).evaluate(atoms)
    energies = [found["energy"] for found in single]
    assert both["energy"] == pytest.approx(np.mean(energies))
    assert both["energy_uncertainty"] == pytest.approx(np.std(energies, ddof=1))
    difference = single[0]["forces"] - single[1]["forces"]
    expected = np.sqrt((difference**2 / 2).mean(axis=1))
    np.testing.assert_allclose(both["forces_uncertainty"], expected)
    assert "energy_uncertainty" not in single[0]


def test_arguments_rebuild_the_network() -> None:
    again = ARCHITECTURES["Potential"](**network().arguments)
    again.load_state_dict(network().state_dict())


def test_shell_graphs_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="radius"):
        Potential(graph_settings=GraphSettings(kind="shell"))


def test_neighbours_that_come_and_go_between_calls_change_nothing() -> None:
    """Successive calls keep the indices of the sums while neighbours stay the same, and only then."""
    kept = surface(use_symmetry=False)
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.rattle(0.05, seed=3)
    for scale in (1.0, 1.0, 1.0005, 0.8, 1.0, 1.2):
        moved = atoms.copy()
        moved.set_cell(scale * atoms.cell.array, scale_atoms=True)
        moved.positions[0] += [0.01 * scale, 0, 0]
        found, fresh = kept.evaluate(moved), surface(use_symmetry=False).evaluate(moved)
        for name, value in fresh.items():
            np.testing.assert_array_equal(found[name], value)
    swapped = atoms[::-1]
    np.testing.assert_allclose(kept.evaluate(swapped)["forces"][::-1], kept.evaluate(atoms)["forces"], atol=1e-12)
