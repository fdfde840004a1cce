"""The interaction of dipoles against formulas of electrodynamics, and between kinds of boundary conditions."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.reciprocal_vectors import COULOMB
from ase_comformer.nn.electrostatics import (
    DipoleInteraction,
    _radial_table,
    dipole_interaction,
    is_interacting,
    on_atoms,
    on_nodes,
)

SETTINGS = GraphSettings(cutoff=3.0, reciprocal_cutoff=1.6)


def interaction(atoms: Atoms, dipoles: np.ndarray) -> DipoleInteraction:
    return dipole_interaction(build_graph(atoms, SETTINGS), torch.from_numpy(dipoles))


def energy(atoms: Atoms, dipoles: np.ndarray) -> float:
    return float(interaction(atoms, dipoles).energies.sum())


def random_dipoles(atoms: Atoms, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(atoms), 3))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_longitudinal_wave_costs_the_energy_of_its_field_and_a_transverse_one_nothing(axis: int) -> None:
    """Per volume e^2 / (2 eps0) times the mean square of the polarisation: what splits LO from TO phonons."""
    crystal = bulk("Cu", "fcc", a=4.0, cubic=True).repeat((16, 1, 1))
    wave = np.cos(2 * np.pi * crystal.get_scaled_positions()[:, 0])
    dipoles = np.zeros((len(crystal), 3))
    dipoles[:, axis] = 0.1 * wave
    polarisation = 0.1 * len(crystal) / crystal.get_volume()
    expected = 2 * np.pi * COULOMB * polarisation**2 / 2 * crystal.get_volume() if axis == 0 else 0.0
    assert energy(crystal, dipoles) == pytest.approx(expected, rel=3e-3, abs=1e-10)


@pytest.mark.parametrize("direction", [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.6, 0.0, 0.8]])
def test_distant_dipoles_interact_as_points(direction: list[float]) -> None:
    apart, first, second = 30.0 * np.array(direction), np.array([0.3, -0.2, 0.5]), np.array([0.1, 0.4, 0.2])
    pair = Atoms("H2", [[0, 0, 0], apart])
    both = energy(pair, np.array([first, second]))
    alone = energy(pair[:1], first[None]) + energy(pair[1:], second[None])
    unit = np.array(direction)
    expected = COULOMB * (first @ second - 3 * (first @ unit) * (second @ unit)) / 30.0**3
    assert both - alone == pytest.approx(expected, rel=2e-2, abs=1e-6)


@pytest.mark.parametrize("apart", [100.0, 500.0])
def test_finite_structures_may_be_of_any_size(apart: float) -> None:
    """Beyond 100 A dipoles are points: nothing jumps there, and forces stay derivatives."""
    dipoles = np.array([[0.3, -0.2, 0.5], [0.1, 0.4, 0.2]])

    def found(distance: float) -> DipoleInteraction:
        return interaction(Atoms("H2", [[0, 0, 0], [0.6 * distance, 0, 0.8 * distance]]), dipoles)

    below, above = found(apart - 1e-3), found(apart + 1e-3)
    change = float(above.energies.sum() - below.energies.sum())
    force = float(found(apart).forces[1] @ torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64))
    assert change == pytest.approx(-force * 2e-3, abs=2e-8)
    torch.testing.assert_close(above.forces, below.forces, atol=1e-6, rtol=0)


def test_a_molecule_in_a_large_box_is_nearly_alone() -> None:
    atoms = molecule("CH3OH")
    dipoles = 0.3 * random_dipoles(atoms)
    alone = interaction(atoms, dipoles)
    for size, tolerance in ((20.0, 5e-3), (40.0, 6e-4)):
        boxed = atoms.copy()
        boxed.set_cell([size] * 3)
        boxed.pbc = True
        found = interaction(boxed, dipoles)
        assert float(found.energies.sum()) == pytest.approx(float(alone.energies.sum()), abs=tolerance)
        torch.testing.assert_close(found.forces, alone.forces, atol=tolerance, rtol=0)


def test_a_slab_does_not_see_its_images() -> None:
    """Layers of opposite dipoles, so that fields between periodic images vanish as well."""
    slab = fcc111("Al", (2, 2, 4), vacuum=20.0)
    dipoles = random_dipoles(slab)
    dipoles -= dipoles.mean(axis=0)
    periodic, open_ = slab.copy(), slab.copy()
    periodic.pbc, open_.pbc = True, (True, True, False)
    z = slab.positions[:, 2] - slab.positions[:, 2].mean()
    assert abs(dipoles.sum(axis=0)).max() < 1e-12
    assert np.ptp(z) > 5
    assert energy(open_, dipoles) == pytest.approx(energy(periodic, dipoles), rel=2e-3)
    closer = open_.copy()
    closer.center(vacuum=3.0, axis=2)
    assert energy(closer, dipoles) == pytest.approx(energy(open_, dipoles), rel=1e-12)


def test_a_polar_layer_has_no_field_outside() -> None:
    """Layers with dipoles normal to them, far apart, do not know of each other; in a periodic cell they would."""
    slab = fcc111("Al", (1, 1, 3), vacuum=None)
    slab.pbc = (True, True, False)
    slab.positions[:, 2] *= 10
    dipoles = np.tile([0.0, 0.0, 0.1], (3, 1))
    alone = energy(slab[:1], dipoles[:1])
    assert alone > 0
    assert energy(slab, dipoles) == pytest.approx(3 * alone, rel=2e-3)


@pytest.mark.parametrize(("period", "cells", "size"), [(3.1, 301, 0.3), (60.0, 41, 3.0)])
def test_a_wire_is_the_middle_of_a_long_chain(period: float, cells: int, size: float) -> None:
    """Pairs of atoms, no waves, against waves; of a sparse wire the waves feel where they are cut."""
    wire = Atoms("AlN", [[0, 0, 0], [1.5, 1.0, 0.3]], cell=[period, 0, 0], pbc=(True, False, False))
    dipoles = size * random_dipoles(wire)
    chain = wire.repeat((cells, 1, 1))
    chain.pbc = False
    middle = slice(len(wire) * (cells // 2), len(wire) * (cells // 2 + 1))
    found, expected = interaction(wire, dipoles), interaction(chain, np.tile(dipoles, (cells, 1)))
    for name in ("energies", "d_dipoles", "forces"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name)[middle], atol=2e-5, rtol=0)


def test_wires_may_be_turned_about_their_axis() -> None:
    wire = bulk("AlN", "wurtzite", a=3.11, c=4.98).repeat((2, 2, 1))
    wire.pbc = (False, False, True)
    dipoles, expected = random_dipoles(wire), energy(wire, random_dipoles(wire))
    for angle in (20, 45):
        turned = wire.copy()
        turned.rotate(angle, "z")
        turn = np.deg2rad(angle)
        matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        assert energy(turned, dipoles @ matrix.T) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False)])
def test_energies_do_not_jump_where_the_box_grows(pbc: tuple[bool, bool, bool]) -> None:
    atoms = Atoms("NaCl", [[0, 0, 0], [1, 2, 5.0 - 1e-7]], cell=[5, 5, 5], pbc=pbc)
    dipoles = random_dipoles(atoms)
    before = interaction(atoms, dipoles)
    atoms.positions[1, 2] += 2e-7
    after = interaction(atoms, dipoles)
    torch.testing.assert_close(after.energies, before.energies, atol=3e-5, rtol=0)
    torch.testing.assert_close(after.forces, before.forces, atol=3e-5, rtol=0)


def sparse(pbc: tuple[bool, bool, bool]) -> Atoms:
    """Atoms in a cell so long that waves along slabs and wires feel where these are cut."""
    positions = np.random.default_rng(3).uniform(size=(5, 3)) @ np.diag([90.0, 6.0, 7.0])
    return Atoms("H5", positions, cell=[[90.0, 0.5, 0.0], [0.3, 5.0, 0.2], [0.0, -0.4, 6.0]], pbc=pbc)


PERIODICITIES = [(True, True, True), (True, True, False), (True, False, True), (True, False, False)]


@pytest.mark.parametrize("pbc", PERIODICITIES)
def test_stress_is_the_derivative_in_a_strain(pbc: tuple[bool, bool, bool]) -> None:
    """Of the dipoles as they are."""
    atoms = sparse(pbc)
    dipoles, step = random_dipoles(atoms), 1e-4
    found = interaction(atoms, dipoles).stress[0] * atoms.get_volume()
    for x, y in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        change = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[x, y] = step * sign
            strained = atoms.copy()
            deformation = np.eye(3) + (strain + strain.T) / 2
            strained.set_cell(atoms.cell.array @ deformation)
            strained.positions = atoms.positions @ deformation
            change.append(energy(strained, dipoles))
        assert float(found[x, y]) == pytest.approx((change[0] - change[1]) / (2 * step), abs=3e-7)


@pytest.mark.parametrize("pbc", [*PERIODICITIES, (False, False, False)])
def test_forces_and_fields_are_derivatives(pbc: tuple[bool, bool, bool]) -> None:
    atoms = sparse(pbc)
    dipoles, step = random_dipoles(atoms), 1e-4
    found = interaction(atoms, dipoles)
    for atom, axis in ((0, 0), (3, 1), (4, 2)):
        changes, turned = [], []
        for sign in (1, -1):
            moved, other = atoms.copy(), dipoles.copy()
            moved.positions[atom, axis] += sign * step
            other[atom, axis] += sign * step
            changes.append(energy(moved, dipoles))
            turned.append(energy(atoms, other))
        assert -(changes[0] - changes[1]) / (2 * step) == pytest.approx(float(found.forces[atom, axis]), abs=1e-6)
        assert (turned[0] - turned[1]) / (2 * step) == pytest.approx(float(found.d_dipoles[atom, axis]), abs=1e-6)


@pytest.mark.parametrize("pbc", [True, False])
def test_large_structures_are_summed_in_parts(monkeypatch: pytest.MonkeyPatch, pbc: bool) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat(2)
    atoms.pbc = pbc
    dipoles = random_dipoles(atoms)
    whole = interaction(atoms, dipoles)
    monkeypatch.setattr("ase_comformer.nn.electrostatics._LARGEST_PART", 5 * len(atoms))
    parts = interaction(atoms, dipoles)
    for name in ("energies", "d_dipoles", "forces", *(["stress"] if pbc else [])):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-10, atol=1e-12)


def test_very_large_crystals_are_summed_on_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat(2)
    dipoles = random_dipoles(atoms)
    direct = interaction(atoms, dipoles)
    monkeypatch.setattr("ase_comformer.nn.electrostatics._GRID_WAVES", 0)
    monkeypatch.setattr("ase_comformer.nn.electrostatics._GRID_PRODUCTS", 0)
    grid = interaction(atoms, dipoles)
    for name in ("energies", "d_dipoles", "forces", "stress"):
        expected = getattr(direct, name)
        assert (getattr(grid, name) - expected).abs().max() < 1e-10 * expected.abs().max()


def reduced_quartz() -> CrystalGraph:
    from potential_structures import STRUCTURES

    return build_reduced_graph(analyse_space_group(STRUCTURES["quartz 32"]), SETTINGS)


def test_nodes_get_what_their_atoms_get() -> None:
    """Derivatives in dipoles of nodes are the transposed map of dipoles of nodes to atoms."""
    graph = reduced_quartz()
    nodes, atoms = len(graph.numbers), len(graph.atom_node)
    generator = torch.Generator().manual_seed(0)
    of_nodes, of_atoms = (torch.randn(n, 3, dtype=torch.float64, generator=generator) for n in (nodes, atoms))
    assert float((on_atoms(graph, of_nodes) * of_atoms).sum()) == pytest.approx(
        float((of_nodes * on_nodes(graph, of_atoms)).sum())
    )


def test_small_cells_have_nothing_to_interact_over() -> None:
    assert not is_interacting(build_graph(bulk("Cu"), SETTINGS))
    assert not is_interacting(build_graph(bulk("NaCl", "rocksalt", a=5.6), GraphSettings(cutoff=3.0)))
    assert is_interacting(build_graph(molecule("H2O"), SETTINGS))
    assert is_interacting(build_graph(bulk("NaCl", "rocksalt", a=5.6, cubic=True), SETTINGS))


def test_what_is_kept_between_calls_may_serve_training() -> None:
    with torch.inference_mode():
        energy(molecule("H2O"), random_dipoles(molecule("H2O")))
    assert not any(part.is_inference() for part in _radial_table(SETTINGS.reciprocal_cutoff))
