"""Trajectories against ASE's integrators, alone and among others."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from ase_comformer import GMTNetCalculator
from ase_comformer.errors import UnknownNameError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.workflows.dynamics import molecular_dynamics


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(dtype="float64")


@pytest.fixture(scope="module")
def structures() -> list:
    rng = np.random.default_rng(1)
    found = [bulk("NaCl", "rocksalt", a=5.6, cubic=True), bulk("Cu", cubic=True)]
    for atoms in found:
        atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * np.sqrt(units.kB * 900 * atoms.get_masses())[:, None])
    return found


def test_constant_energy_goes_where_ase_goes(predictor: Predictor, structures: list) -> None:
    together = molecular_dynamics(structures, steps=50, predictor=predictor, record_every=25)
    for atoms, found in zip(structures, together, strict=True):
        theirs = atoms.copy()
        theirs.calc = GMTNetCalculator(dtype="float64")
        VelocityVerlet(theirs, timestep=units.fs).run(50)
        np.testing.assert_allclose(found.frames[-1].positions, theirs.positions, atol=1e-8)
        np.testing.assert_allclose(found.frames[-1].get_momenta(), theirs.get_momenta(), atol=1e-7)
        assert np.abs(found.frames[-1].positions - atoms.positions).max() > 0.1
        assert found.times.tolist() == pytest.approx([0, 25, 50])
        totals = found.potential_energies + found.kinetic_energies
        assert np.ptp(totals) < 0.02 * found.kinetic_energies[0]
        assert found.temperatures[0] == pytest.approx(atoms.get_temperature())


def test_a_langevin_bath_is_that_of_ase_and_the_others_do_not_matter(predictor: Predictor, structures: list) -> None:
    options = {"steps": 10, "thermostat": "langevin", "temperature": 600, "friction": 0.05, "seed": 4}
    together = molecular_dynamics(structures, predictor=predictor, **options)
    alone = molecular_dynamics(structures[0], predictor=predictor, **options)
    np.testing.assert_allclose(alone.frames[-1].positions, together[0].frames[-1].positions, atol=1e-9)
    theirs = structures[1].copy()
    theirs.calc = GMTNetCalculator(dtype="float64")
    bath = {"temperature_K": 600, "friction": 0.05 / units.fs, "rng": np.random.default_rng([4, 1])}
    Langevin(theirs, units.fs, fixcm=False, **bath).run(10)
    np.testing.assert_allclose(together[1].frames[-1].positions, theirs.positions, atol=1e-8)


def test_nonsense_is_refused_and_an_explosion_is_said(predictor: Predictor, structures: list) -> None:
    with pytest.raises(ValueError, match="steps must be positive"):
        molecular_dynamics(structures, steps=0, predictor=predictor)
    with pytest.raises(UnknownNameError, match="langevin"):
        molecular_dynamics(structures, steps=1, thermostat="nose", predictor=predictor)
    found = molecular_dynamics(structures, steps=5, time_step=1e6, record_every=1, predictor=predictor)
    assert all("shorter time step" in each.error for each in found)
    assert all(len(each.frames) < 6 for each in found)
