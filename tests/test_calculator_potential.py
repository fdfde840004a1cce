"""Energy, forces and stress through ASE: optimisers, filters, dynamics, NEB, phonons, mixing, writers, bad input."""

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.phonons import Phonons

from ase_comformer import GMTNetCalculator, predict
from ase_comformer.errors import InvalidStructureError, UnknownElementError
from ase_comformer.inference.results import METADATA
from ase_comformer.models.registry import save_bundle, save_weights
from ase_comformer.nn.derivatives.analytic import AnalyticPotential
from tiny import COVERED, TINY, tiny_card, tiny_network, tiny_potential

SURFACE = ("energy", "free_energy", "energies", "forces", "stress")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A bundle of a tensor network and two potentials, random weights."""
    folder = tmp_path_factory.mktemp("surface")
    network = tiny_network()
    save_weights(network, folder, "tensors", tiny_card(network))
    for seed in (0, 1):
        potential = tiny_potential(seed)
        save_weights(potential, folder, f"potential-{seed}", tiny_card(potential))
    members = {name: ["tensors"] for name in network.properties}
    members |= {name: ["potential-0", "potential-1"] for name in ("energy", "forces", "stress")}
    return save_bundle(folder, "default", members)


@pytest.fixture
def calc(model):
    return GMTNetCalculator(model=model, device="cpu", dtype="float64")


@pytest.fixture
def salt():
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.rattle(0.03, seed=1)
    return atoms


def test_getters_of_ase(calc, salt):
    salt.calc = calc
    assert isinstance(salt.get_potential_energy(), float)
    assert salt.get_forces().shape == (2, 3)
    assert salt.get_stress().shape == (6,)
    assert salt.get_stress(voigt=False).shape == (3, 3)
    assert salt.get_potential_energies().sum() == pytest.approx(salt.get_potential_energy())
    assert salt.get_potential_energy(force_consistent=True) == salt.get_potential_energy()


def test_uncertainties_are_on_the_side(calc, salt):
    assert calc.get_property("energy_uncertainty", salt) > 0
    assert calc.get_property("forces_uncertainty", salt).shape == (2,)
    assert set(calc.results) == set(SURFACE)


def test_symmetry_report_of_forces_and_stress(calc):
    """Zincblende: forces forbidden, stress isotropic; a displaced atom shows up as a residual, not as a zero."""
    atoms = bulk("NaCl", "zincblende", a=5.64)
    assert {"forces", "stress"} <= set(calc.symmetry_report(atoms).properties)
    entries = calc.symmetry_report(atoms, ["energy", "forces", "stress"]).properties
    assert set(entries) == {"forces", "stress"}
    assert (entries["forces"].independent, entries["stress"].independent) == (0, 1)
    assert entries["forces"].residual < 1e-10
    np.testing.assert_allclose(entries["stress"].raw, calc.get_property("stress", atoms), atol=1e-12)
    atoms.positions[0] += [0.003, 0, 0]
    entries = calc.symmetry_report(atoms, ["forces"]).properties
    np.testing.assert_allclose(entries["forces"].raw, calc.get_property("forces", atoms), atol=1e-12)
    assert np.abs(entries["forces"].projected).max() < 1e-12 < np.abs(entries["forces"].raw).max()


def test_tensors_and_energies_keep_each_other(calc, salt):
    calc.get_property("forces", salt)
    energy = calc.get_property("energy", salt, allow_calculation=False)
    with pytest.warns(UserWarning, match="idealised to Cm"):
        calc.get_property("elastic_tensor", salt)
    assert calc.get_property("energy", salt, allow_calculation=False) == energy
    assert calc.get_property("stress", salt, allow_calculation=False) is not None


def test_predict_gives_what_the_calculator_gives(calc, model, salt):
    others = [bulk("Cu", a=3.6), salt, molecule("H2O", vacuum=3.0)]
    names = ("energy", "forces", "energy_uncertainty")
    for atoms, found in zip(others, predict(others, names, model=model, dtype="float64"), strict=True):
        for name in names:
            np.testing.assert_allclose(found[name], calc.get_property(name, atoms), rtol=1e-10, atol=1e-10)


def test_predict_mixes_energies_and_tensors(model, salt):
    with pytest.warns(UserWarning, match="idealised to Cm"):
        (found,) = predict([salt], ("stress", "dielectric_tensor"), model=model)
    assert set(found) - set(METADATA) == {"stress", "dielectric_tensor"}


def test_forces_do_not_depend_on_symprec(model):
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.positions[0] += [0.003, 0, 0]
    for symprec in (1e-3, 1e-1):
        calc = GMTNetCalculator(model=model, dtype="float64", symprec=symprec)
        assert abs(calc.get_property("forces", atoms)[0, 0]) > 0


@pytest.mark.parametrize("optimiser", [BFGS, FIRE])
def test_relaxation_keeps_exact_symmetry(calc, optimiser):
    atoms = bulk("MgO", "rocksalt", a=4.4)
    atoms.set_constraint(FixSymmetry(atoms))
    atoms.calc = calc
    optimiser(FrechetCellFilter(atoms), logfile=None).run(fmax=0.01, steps=15)
    lengths = atoms.cell.lengths()
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dynamics_conserve_energy(model, dtype):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.calc = GMTNetCalculator(model=model, dtype=dtype)
    spread = np.sqrt(atoms.get_masses() * units.kB * 100)  # of the momenta at 100 K
    atoms.set_momenta(spread[:, None] * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    Stationary(atoms)
    totals = []
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    dynamics.attach(lambda: totals.append(atoms.get_total_energy() / len(atoms)))
    dynamics.run(60)
    assert np.ptp(totals) < 2e-4


def test_langevin_dynamics_use_the_forces_of_every_step(calc, model, salt):
    """A new calculator at every step, which can have kept nothing, leads to the same positions."""
    ends = []
    for fresh in (False, True):
        atoms = salt.copy()
        atoms.calc = calc
        rng = np.random.default_rng(0)
        dynamics = Langevin(atoms, 1 * units.fs, temperature_K=300, friction=0.01, fixcm=False, rng=rng)
        for _ in range(5):
            if fresh:
                atoms.calc = GMTNetCalculator(model=model, dtype="float64")
            dynamics.run(1)
        ends.append(atoms.positions)
    assert np.abs(ends[0] - salt.positions).max() > 1e-4
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-10)


def test_constant_pressure_dynamics_conserve_their_energy(calc):
    """The extended energy of Martyna, Tobias and Klein is conserved only if stress is the derivative of the energy."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.calc = calc
    spread = np.sqrt(atoms.get_masses() * units.kB * 300)
    atoms.set_momenta(spread[:, None] * np.random.default_rng(0).normal(size=(8, 3)))
    Stationary(atoms)
    dynamics = IsotropicMTKNPT(
        atoms, 0.5 * units.fs, temperature_K=300, pressure_au=0.01, tdamp=50 * units.fs, pdamp=200 * units.fs
    )
    volume, conserved = atoms.get_volume(), []
    dynamics.attach(lambda: conserved.append(dynamics.get_conserved_energy() / len(atoms)))
    dynamics.run(60)
    assert abs(atoms.get_volume() / volume - 1) > 1e-3
    assert np.ptp(conserved) < 2e-4


def test_nudged_elastic_band_may_share_a_calculator(calc, model):
    first = bulk("Cu", a=3.6, cubic=True)
    del first[0]
    last = first.copy()
    last.positions[0] = [0, 0, 0]
    images = [first, *(first.copy() for _ in range(3)), last]
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate()
    for image in images:
        image.calc = calc
    forces = band.get_forces()
    assert np.abs(forces).max() > 1e-3
    alone = NEB([image.copy() for image in images], method="improvedtangent")
    for image in alone.images:
        image.calc = GMTNetCalculator(model=model, dtype="float64")
    np.testing.assert_allclose(forces, alone.get_forces(), atol=1e-8)


def test_phonons_of_ase(calc, tmp_path):
    phonons = Phonons(bulk("Cu", a=3.6), calc, supercell=(2, 2, 2), delta=0.01, name=tmp_path / "phonon")
    phonons.run()
    phonons.read(acoustic=True)
    assert np.abs(phonons.band_structure([[0, 0, 0]])).max() < 1e-2


def test_sum_with_another_calculator(calc, salt):
    other = LennardJones(rc=5.0)
    salt.calc = SumCalculator([calc, other])
    forces = salt.get_forces()
    parts = [c.get_property("forces", salt.copy()) for c in (calc, LennardJones(rc=5.0))]
    np.testing.assert_allclose(forces, sum(parts), atol=1e-10)
    assert salt.get_stress().shape == (6,)


@pytest.mark.parametrize("suffix", ["xyz", "traj", "json", "db"])
def test_writers(calc, salt, tmp_path, suffix):
    salt.calc = calc
    expected = (salt.get_potential_energy(), salt.get_forces(), salt.get_stress())
    calc.get_property("forces_uncertainty", salt)
    ase.io.write(tmp_path / f"a.{suffix}", salt)
    read = ase.io.read(tmp_path / f"a.{suffix}")
    assert read.get_potential_energy() == pytest.approx(expected[0])
    np.testing.assert_allclose(read.get_forces(), expected[1], atol=1e-7)
    np.testing.assert_allclose(read.get_stress(), expected[2], atol=1e-7)


# Structures that are no crystals


def test_slab_has_energy_forces_and_stress(calc):
    slab = fcc111("Al", (1, 1, 3), vacuum=6.0)
    slab.calc = calc
    thicker = fcc111("Al", (1, 1, 3), vacuum=9.0)
    thicker.calc = calc
    assert slab.get_potential_energy() == pytest.approx(thicker.get_potential_energy(), abs=1e-8)
    assert np.abs(slab.get_stress()).max() > 1e-6
    # the stress is a derivative by the volume of the box, vacuum included
    volumes = slab.get_volume(), thicker.get_volume()
    np.testing.assert_allclose(slab.get_stress() * volumes[0], thicker.get_stress() * volumes[1], atol=1e-8)


def test_molecule_has_no_stress(calc):
    water = molecule("H2O")
    water.calc = calc
    assert water.get_forces().shape == (3, 3)
    with pytest.raises(PropertyNotImplementedError, match="no stress"):
        water.get_stress()


def test_tensors_still_need_a_crystal(calc):
    with pytest.raises(InvalidStructureError, match="periodic"):
        calc.get_property("dielectric_tensor", molecule("H2O", vacuum=3.0))


BAD = {
    "empty": (Atoms(), InvalidStructureError, "no atoms"),
    "element": (bulk("W"), UnknownElementError, "W"),
    "nan": (Atoms("Cu", [[np.nan, 0, 0]], cell=[3, 3, 3], pbc=True), InvalidStructureError, "NaN"),
    "volume": (Atoms("Cu", cell=[[3, 0, 0], [3, 0, 0], [0, 0, 3]], pbc=True), InvalidStructureError, "zero volume"),
    "overlap": (Atoms("Cu2", [[0, 0, 0], [0.01, 0, 0]], cell=[4, 4, 4], pbc=True), InvalidStructureError, "overlap"),
    "overlap, symmetric": (
        Atoms("Cu16", [[0, 0, z / 20] for z in range(16)], cell=[4, 4, 4], pbc=True),
        InvalidStructureError,
        r"Atoms \d+ \(Cu\) and \d+ \(Cu\) overlap",
    ),
    "overlap, molecule": (Atoms("CuO", [[0, 0, 0], [0.02, 0, 0]]), InvalidStructureError, "overlap"),
    "no vector": (Atoms("Cu", cell=[3, 0, 0], pbc=[True, True, False]), InvalidStructureError, "axis 1"),
    "nan molecule": (Atoms("CuO", [[0, 0, 0], [np.inf, 0, 0]]), InvalidStructureError, "infinite"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_bad_structure(calc, case, name):
    atoms, error, message = BAD[case]
    with pytest.raises(error, match=message):
        calc.get_property(name, atoms)


def test_atoms_that_come_to_overlap_are_refused(calc, salt):
    atoms = salt.copy()
    calc.get_property("energy", atoms)
    atoms.positions[1] = atoms.positions[0] + [0.05, 0, 0]
    with pytest.raises(InvalidStructureError, match=r"Atoms 0 \(..\) and 1 \(..\) overlap"):
        calc.get_property("energy", atoms)


def test_left_handed_cell_and_far_away_atoms_give_the_same(calc, salt):
    expected = calc.get_property("energy", salt)
    left = salt.copy()
    left.set_cell(left.cell.array[[1, 0, 2]], scale_atoms=False)
    assert calc.get_property("energy", left) == pytest.approx(expected, rel=1e-12)
    left.positions[0] += 7 * left.cell.array[0]
    assert calc.get_property("energy", left) == pytest.approx(expected, rel=1e-12)


def test_close_atoms_warn(calc):
    atoms = Atoms("Cu2", [[0, 0, 0], [0.4, 0, 0]], cell=[6, 6, 6], pbc=True)
    with pytest.warns(UserWarning, match=r"closer than 0\.5.*outside the training"):
        calc.get_property("energy", atoms)


def test_covered_elements_are_those_of_the_card(calc):
    assert calc.describe("energy")["elements"] == sorted(COVERED)
    assert calc.describe("energies")["unit"] == "eV"
    assert TINY["graph_settings"]["cutoff"] == 4.5


def test_small_cells_take_one_thread_and_leave_the_setting_alone(calc, salt, monkeypatch):
    seen = []
    original = AnalyticPotential.derivatives

    def recording(*given):
        seen.append(torch.get_num_threads())
        return original(*given)

    monkeypatch.setattr(AnalyticPotential, "derivatives", recording)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        calc.get_property("forces", salt)
        calc.get_property("forces", salt.repeat(3))
        assert seen == [1, 1, 2, 2]  # two members
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
