"""Elastic constants from stresses, against analytic relations, energies and pymatgen, with pair potentials and EMT."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.units import GPa

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.physics.elasticity import elastic_tensor_from_stress
from ase_comformer.tensors.forms import rotate
from ase_comformer.testing import random_rotation, rotate_atoms


def lennard_jones() -> LennardJones:
    return LennardJones(sigma=2.3, epsilon=0.3, rc=6.0, ro=4.0, smooth=True)


def relaxed(atoms: Atoms) -> Atoms:
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-6, steps=100)
    return atoms


@pytest.fixture(scope="module")
def fcc() -> Atoms:
    atoms = bulk("Cu", a=3.5)
    atoms.calc = lennard_jones()
    return relaxed(atoms)


@pytest.fixture(scope="module")
def hcp() -> Atoms:
    atoms = bulk("Mg", "hcp", a=2.5, c=4.1)
    atoms.calc = lennard_jones()
    return relaxed(atoms)


@pytest.fixture(scope="module")
def copper() -> Atoms:
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.calc = EMT()
    return relaxed(atoms)


def test_pair_potentials_obey_the_cauchy_relation(fcc):
    fit = elastic_tensor_from_stress(fcc, strains=(1e-3,))
    C = fit.tensor
    assert C[0, 1] == pytest.approx(C[3, 3], rel=1e-3)
    assert C[0, 0] > C[0, 1] > 0
    assert len(fit.strained) == 2
    assert fit.misfit < 1e-3


def test_only_independent_strains_give_what_all_six_give(copper, hcp):
    for atoms in (copper, hcp):
        few = elastic_tensor_from_stress(atoms, strains=(1e-3,), fmax=1e-5)
        every = elastic_tensor_from_stress(atoms, strains=(1e-3,), fmax=1e-5, use_symmetry=False)
        assert len(few.strained) < len(every.strained) == 6
        np.testing.assert_allclose(few.tensor, every.tensor, atol=2e-3 * np.abs(every.tensor).max())


def test_experimental_order_of_emt_copper(copper):
    C = elastic_tensor_from_stress(copper).tensor
    assert 100 < C[0, 0] < 250
    bulk_modulus = (C[0, 0] + 2 * C[0, 1]) / 3
    volumes, energies = [], []
    for scale in (0.995, 1.0, 1.005):
        changed = copper.copy()
        changed.set_cell(copper.cell.array * scale, scale_atoms=True)
        changed.calc = EMT()
        volumes.append(changed.get_volume())
        energies.append(changed.get_potential_energy())
    curvature = 2 * np.polyfit(volumes, energies, 2)[0]
    assert bulk_modulus == pytest.approx(copper.get_volume() * curvature / GPa, rel=0.02)


@pytest.mark.parametrize(("component", "relax"), [(0, True), (2, True), (5, True), (5, False)])
def test_diagonal_constants_are_second_derivatives_of_the_relaxed_energy(hcp, component, relax):
    C = elastic_tensor_from_stress(hcp, strains=(1e-3,), fmax=1e-5, relax_atoms=relax).tensor
    pair = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)][component]
    energies = []
    for size in (-2e-3, 0.0, 2e-3):
        strain = np.eye(3)
        strain[pair] += size / (1 if component < 3 else 2)
        strain[pair[::-1]] = strain[pair]
        changed = hcp.copy()
        changed.set_cell(hcp.cell.array @ strain, scale_atoms=True)
        changed.calc = lennard_jones()
        if relax:
            BFGS(changed, logfile=None).run(fmax=1e-6, steps=100)
        energies.append(changed.get_potential_energy())
    curvature = (energies[0] - 2 * energies[1] + energies[2]) / 4e-6 / hcp.get_volume() / GPa
    assert C[component, component] == pytest.approx(curvature, rel=0.01)


def test_internal_relaxation_softens(hcp):
    clamped = elastic_tensor_from_stress(hcp, relax_atoms=False).tensor
    free = elastic_tensor_from_stress(hcp).tensor
    assert free[5, 5] < 0.99 * clamped[5, 5]
    assert np.linalg.eigvalsh(clamped - free).min() > -0.01 * clamped.max()


@pytest.mark.filterwarnings("ignore:No eq state found")  # pymatgen then takes no stress at rest, as we do
def test_pymatgen_fits_the_same(copper):
    elasticity = pytest.importorskip("pymatgen.analysis.elasticity")
    strains, stresses = [], []
    for component in range(6):
        for size in (-5e-3, 5e-3):
            strain = elasticity.Strain.from_voigt(size * np.eye(6)[component])
            changed = copper.copy()
            changed.set_cell(copper.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            changed.calc = EMT()
            strains.append(strain)
            stresses.append(elasticity.Stress(changed.get_stress(voigt=False) / GPa))
    expected = elasticity.ElasticTensor.from_independent_strains(strains, stresses).voigt
    found = elastic_tensor_from_stress(copper, use_symmetry=False).tensor
    np.testing.assert_allclose(found, (expected + expected.T) / 2, atol=0.01 * expected.max())


def test_tensor_follows_the_crystal(hcp):
    rotation = random_rotation(np.random.default_rng(2))
    turned = rotate_atoms(hcp, rotation)
    turned.calc = lennard_jones()
    options = {"strains": (1e-3,), "fmax": 1e-5}
    before, after = (elastic_tensor_from_stress(atoms, **options) for atoms in (hcp, turned))
    expected = rotate(before.tensor, rotation, "elastic_tensor")
    np.testing.assert_allclose(after.tensor, expected, atol=2e-3 * expected.max())


def test_tensor_has_the_symmetry_of_the_crystal(hcp):
    from ase_comformer.tensors.symmetry_report import project

    tensor = elastic_tensor_from_stress(hcp).tensor
    np.testing.assert_allclose(project("elastic_tensor", tensor, analyse_space_group(hcp)), tensor, atol=1e-10)


def test_atoms_and_their_constraints_are_left_alone(copper):
    from ase.constraints import FixSymmetry

    atoms = copper.copy()
    atoms.calc = EMT()
    expected = elastic_tensor_from_stress(atoms).tensor
    atoms.set_constraint(FixSymmetry(atoms))
    before = (atoms.positions.copy(), atoms.cell.array.copy())
    np.testing.assert_allclose(elastic_tensor_from_stress(atoms).tensor, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(atoms.positions, before[0])
    np.testing.assert_array_equal(atoms.cell.array, before[1])


def test_stressed_crystals_and_restless_atoms_warn(copper, hcp):
    squeezed = copper.copy()
    squeezed.set_cell(copper.cell.array * 0.97, scale_atoms=True)
    squeezed.calc = EMT()
    with pytest.warns(UserWarning, match="relax the cell first"):
        elastic_tensor_from_stress(squeezed)
    with pytest.warns(UserWarning, match="did not come to rest"):
        fit = elastic_tensor_from_stress(hcp, fmax=1e-8, steps=1)
    assert fit.unrelaxed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        elastic_tensor_from_stress(copper)


@pytest.mark.parametrize("strains", [(), (0.0,), (0.2,), (float("nan"),)])
def test_senseless_strains_are_refused(copper, strains):
    with pytest.raises(ValueError, match="strains"):
        elastic_tensor_from_stress(copper, strains=strains)


def test_a_calculator_is_needed():
    with pytest.raises(ValueError, match="calculator"):
        elastic_tensor_from_stress(bulk("Cu"))
