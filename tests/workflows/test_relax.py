"""Relaxations against the same optimiser without any of our shortcuts, and what they promise of cells and symmetry."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.units import GPa

from ase_comformer import GMTNetCalculator
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import InvalidStructureError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.workflows.relax import relax


@pytest.fixture(scope="module")
def predictor():
    return Predictor(dtype="float64")


def turned(atoms):
    """Turned and moved, so that nothing lies on an axis or at the origin."""
    atoms = atoms.copy()
    atoms.rotate(25, (1, 2, 3), rotate_cell=True)
    atoms.translate((0.4, 0.1, 0.7))
    return atoms


def test_relaxes_to_where_plain_ase_goes(predictor, wurtzite):
    start = turned(wurtzite)
    plain = start.copy()
    plain.calc = GMTNetCalculator(dtype="float64")
    BFGS(FrechetCellFilter(plain), logfile=None).run(fmax=1e-3)
    found = relax(start, fmax=1e-3, predictor=predictor)
    assert found.converged
    assert found.space_group == found.initial_space_group == "P6_3mc"
    assert found.energy == pytest.approx(plain.get_potential_energy() / 4, abs=2e-6)
    np.testing.assert_allclose(found.atoms.cell.cellpar(), plain.cell.cellpar(), rtol=1e-3)
    assert found.volume_change == pytest.approx(found.atoms.get_volume() / start.get_volume() - 1)


def test_results_belong_to_the_cell_and_order_of_the_input(predictor):
    start = turned(bulk("NaCl", "rocksalt", a=5.9, cubic=True) * (2, 1, 1))
    found = relax(start, predictor=predictor)
    assert found.atoms.symbols.get_chemical_formula(mode="reduce") == start.symbols.get_chemical_formula(mode="reduce")
    again = found.atoms.copy()
    again.calc = GMTNetCalculator(dtype="float64")
    assert found.atoms.get_potential_energy() == pytest.approx(again.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(found.atoms.get_forces(), again.get_forces(), atol=1e-9)
    np.testing.assert_allclose(found.atoms.get_stress(), again.get_stress(), atol=1e-10)
    # the cell is that of the input, made smaller and not turned
    ratio = np.linalg.solve(start.cell.array, found.atoms.cell.array)
    np.testing.assert_allclose(ratio, ratio[0, 0] * np.eye(3), atol=1e-8)


def test_atoms_stay_in_their_order_and_place(predictor, wurtzite):
    """Atoms in no order, far from the origin, with forces left that differ between them."""
    start = turned(wurtzite.repeat((2, 1, 1)))[[5, 0, 7, 2, 1, 6, 3, 4]]
    start.positions += start.cell.array[0] * 3 - start.cell.array[2] * 2
    found = relax(start, fmax=0.1, predictor=predictor)
    np.testing.assert_array_equal(found.atoms.numbers, start.numbers)
    again = found.atoms.copy()
    again.calc = GMTNetCalculator(dtype="float64")
    assert np.abs(found.atoms.get_forces()).max() > 1e-3
    np.testing.assert_allclose(found.atoms.get_forces(), again.get_forces(), atol=1e-8)
    moved = found.atoms.get_scaled_positions(wrap=False) - start.get_scaled_positions(wrap=False)
    assert np.abs(moved).max() < 0.02  # carried neither into the cell nor to another origin
    moved = (moved - moved.mean(axis=0)) @ found.atoms.cell.array
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(found.largest_displacement, abs=1e-6)
    assert 1e-3 < found.largest_displacement < 0.5


def test_a_list_gives_what_single_crystals_give_and_failures_stay_alone(predictor, rocksalt, wurtzite):
    crystals = [rocksalt, Atoms("Cu2", [[0, 0, 0], [0, 0, 0.01]], cell=[4, 4, 4], pbc=True), wurtzite]
    together = relax(crystals, predictor=predictor, batch_size=2)
    assert [bool(found.error) for found in together] == [False, True, False]
    assert together[1].atoms is crystals[1]
    for crystal, found in zip(crystals[::2], together[::2], strict=True):
        alone = relax(crystal, predictor=predictor)
        assert found.energy == pytest.approx(alone.energy, abs=1e-6)
        assert (found.converged, found.space_group) == (alone.converged, alone.space_group)


def test_pressure_is_what_the_stress_balances(predictor, rocksalt):
    found = relax(rocksalt, pressure=10.0, fmax=1e-3, predictor=predictor)
    np.testing.assert_allclose(found.atoms.get_stress()[:3], -10.0 * GPa, rtol=1e-2)


def test_symmetry_is_kept_or_given_up(predictor):
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    cubic = Atoms("BaTiO3", scaled_positions=sites, cell=[4.0] * 3, pbc=True)
    kept = relax(cubic, predictor=predictor)
    assert analyse_space_group(kept.atoms, 1e-4).international == "Pm-3m"
    moved = cubic.copy()
    moved.positions[1, 2] += 0.008  # within symprec, so it counts as cubic
    assert relax(moved, predictor=predictor).space_group == "Pm-3m"
    free = relax(moved, keep_symmetry=False, predictor=predictor)
    assert free.energy < kept.energy


def test_atoms_alone_and_what_has_no_cell(predictor, rocksalt):
    strained = rocksalt.copy()
    strained.set_cell(strained.cell * 1.01, scale_atoms=True)
    found = relax(strained, cell=False, predictor=predictor)
    assert found.volume_change == 0
    water = molecule("H2O")
    water.positions[0, 2] += 0.1
    found = relax(water, cell=False, predictor=predictor)
    assert found.converged
    assert found.energy < found.initial_energy
    with pytest.raises(InvalidStructureError, match="cell=False"):
        relax(water, predictor=predictor)


def test_too_few_steps_warn_and_nonsense_is_refused(predictor, wurtzite):
    wurtzite.rattle(0.1)
    with pytest.warns(UserWarning, match="did not come to rest"):
        assert not relax(wurtzite, steps=1, predictor=predictor).converged
    with pytest.raises(ValueError, match="fmax must be positive"):
        relax(wurtzite, fmax=0, predictor=predictor)
