"""The shipped model in a field: relaxations, dynamics and phonons agree with the linear response."""

import json
import pickle

import ase.db
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, mx2
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from ase_comformer import GMTNetCalculator, predict, respond
from ase_comformer.errors import InvalidStructureError
from ase_comformer.physics.field_symmetry import FixSymmetryInField
from ase_comformer.physics.response import COULOMB_PER_SQUARE_METRE, EPSILON_0
from ase_comformer.workflows.response import CrystalResponse

STEP = 0.002


@pytest.fixture(scope="module")
def nitride() -> CrystalResponse:
    """Aluminium nitride at rest, and its linear response."""
    return respond(bulk("AlN", "wurtzite", a=3.13, c=5.02), relax="cell", softness=0.0, fmax=1e-5)


def in_field(reference: Atoms, field, **arguments) -> Atoms:
    atoms = reference.copy()
    atoms.calc = GMTNetCalculator(dtype="float64", electric_field=field, field_reference=reference, **arguments)
    return atoms


def at_rest(reference: Atoms, field, cell: bool, symmetry: bool = False) -> Atoms:
    atoms = in_field(reference, field)
    if symmetry:
        atoms.set_constraint(FixSymmetryInField(atoms, field))
    moved = FrechetCellFilter(atoms) if cell else atoms
    assert BFGS(moved, logfile=None).run(fmax=1e-6, steps=200)
    return atoms


@pytest.mark.parametrize("axis", [0, 2])
def test_static_dielectric_tensor_from_relaxed_ions(nitride, axis):
    field = STEP * np.eye(3)[axis]
    plus, minus = (at_rest(nitride.primitive, sign * field, cell=False) for sign in (1, -1))
    change = plus.calc.field.polarisation(plus) - minus.calc.field.polarisation(minus)
    found = change / (2 * STEP * EPSILON_0 * COULOMB_PER_SQUARE_METRE)
    expected = (nitride.static_dielectric_tensor - np.eye(3))[axis]
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())
    ionic = (nitride.static_dielectric_tensor - nitride.dielectric_tensor)[axis, axis]
    electronic = nitride.dielectric_tensor[axis, axis] - 1
    assert found[axis] - electronic == pytest.approx(ionic, rel=0.01)


@pytest.mark.parametrize("axis", [0, 2])
def test_piezoelectric_strain_tensor_from_the_relaxed_cell(nitride, axis):
    field = STEP * np.eye(3)[axis]
    plus, minus = (at_rest(nitride.primitive, sign * field, cell=True) for sign in (1, -1))
    deformation = np.linalg.solve(minus.cell.array, plus.cell.array).T - np.eye(3)
    strain = (deformation + deformation.T) / 2
    voigt = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * [1, 1, 1, 2, 2, 2]
    found = voigt / (2 * STEP) * 100  # 1/(V/A) is 100 pm/V
    expected = nitride.piezoelectric_strain_tensor[axis]
    np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())


def test_stress_tensor_is_strain_tensor_times_stiffness(nitride):
    product = nitride.piezoelectric_strain_tensor * 1e-12 @ nitride.elastic_tensor * 1e9
    expected = nitride.piezoelectric_tensor
    np.testing.assert_allclose(product, expected, atol=1e-10 * np.abs(expected).max())


def test_force_of_a_field_and_charge_of_a_displacement_are_one_derivative(nitride):
    """Maxwell: dF/dE at the reference is the transpose of d(polarisation)/du, with the Born charges of ``respond``."""
    reference = nitride.primitive
    charges = nitride.born_effective_charges
    field = np.array([0.003, -0.002, 0.005])
    without = GMTNetCalculator(dtype="float64").get_property("forces", reference)
    force = in_field(reference, field).get_forces() - without
    np.testing.assert_allclose(force, np.einsum("i,aij->aj", field, charges), atol=1e-8)
    acting = in_field(reference, field)
    rest = acting.calc.field.polarisation(acting)
    acting.positions[0, 1] += 0.01
    change = (acting.calc.field.polarisation(acting) - rest) * reference.cell.volume / COULOMB_PER_SQUARE_METRE
    np.testing.assert_allclose(change / 0.01, charges[0, :, 1], atol=1e-8)
    np.testing.assert_allclose(charges.sum(axis=0), 0, atol=1e-8)


def test_symmetry_that_the_field_leaves_may_be_kept_and_no_more(nitride):
    field = (0.01, 0, 0)
    free, fixed = (at_rest(nitride.primitive, field, True, symmetry) for symmetry in (False, True))
    np.testing.assert_allclose(fixed.cell.cellpar(), free.cell.cellpar(), atol=1e-5)
    assert fixed.get_potential_energy() == pytest.approx(free.get_potential_energy(), abs=1e-8)
    assert free.get_potential_energy() < in_field(nitride.primitive, field).get_potential_energy() - 1e-5


def test_a_symmetric_supercell_feels_the_field_too(nitride):
    """Sixteen atoms are evaluated on the reduced graph, whose forces have the symmetry without field."""
    large = nitride.primitive.repeat((2, 2, 1))
    small = in_field(nitride.primitive, (0, 0.01, 0.01))
    supercell = in_field(large, (0, 0.01, 0.01))
    assert supercell.get_potential_energy() == pytest.approx(4 * small.get_potential_energy(), rel=1e-9)
    np.testing.assert_allclose(supercell.get_forces(), np.tile(small.get_forces(), (4, 1)), atol=1e-7)
    np.testing.assert_allclose(supercell.get_stress(), small.get_stress(), atol=1e-8)


def test_dynamics_in_a_field_conserve_the_enthalpy(nitride):
    atoms = in_field(nitride.primitive, (0.02, 0, 0.05))
    spread = np.sqrt(600 * units.kB * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * np.random.default_rng(3).normal(size=(len(atoms), 3)))
    dynamics = VelocityVerlet(atoms, timestep=0.5 * units.fs)
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(80)
    atoms.wrap()
    energies.append(atoms.get_total_energy())
    kinetic = atoms.get_kinetic_energy()
    assert np.ptp(energies) < 0.01 * kinetic


def test_energy_is_the_potential_and_the_field_and_derivatives_belong_to_it(nitride):
    atoms = in_field(nitride.primitive, (0.02, -0.01, 0.05))
    atoms.rattle(0.02, seed=2)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.01 * np.ones((3, 3))), scale_atoms=True)
    (bare,) = predict([atoms], ["energy", "forces", "stress"], dtype="float64")
    added = atoms.calc.field.evaluate(atoms)
    for name in ("energy", "forces", "stress"):
        np.testing.assert_allclose(atoms.calc.get_property(name, atoms), bare[name] + added[name], atol=1e-9)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    moved = [atoms.copy() for _ in range(2)]
    for sign, structure in zip((1, -1), moved, strict=True):
        structure.positions[1] += sign * 1e-4 * np.array([1, 2, 3])
    energies = [atoms.calc.get_potential_energy(structure) for structure in moved]
    slope = (energies[1] - energies[0]) / 2e-4
    assert atoms.get_forces()[1] @ [1, 2, 3] == pytest.approx(slope, abs=1e-5)


def test_the_hessian_is_that_without_a_field(nitride):
    atoms = in_field(nitride.primitive, (0, 0, 0.01))
    found = atoms.calc.get_hessian(atoms)
    assert found.shape == (4, 3, 4, 3)
    np.testing.assert_allclose(found, nitride.force_constants, atol=2e-3 * np.abs(found).max())


def test_calculators_in_a_field_are_written_copied_and_changed(nitride, tmp_path):
    atoms = in_field(nitride.primitive, (0, 0, 0.01))
    energy = atoms.get_potential_energy()
    described = json.loads(json.dumps(atoms.calc.todict()))
    assert GMTNetCalculator(**described).get_potential_energy(atoms) == pytest.approx(energy, abs=1e-12)
    assert pickle.loads(pickle.dumps(atoms.calc)).get_potential_energy(atoms) == pytest.approx(energy, abs=1e-12)
    with ase.db.connect(tmp_path / "field.db") as database:
        database.write(atoms)
        assert database.get(1).calculator_parameters["electric_field"] == [0, 0, 0.01]
    assert set(atoms.calc.set(electric_field=np.array([0, 0, 0.02]))) == {"electric_field"}
    assert atoms.get_potential_energy() != energy
    assert atoms.calc.set(field_reference=nitride.primitive) == {}
    atoms.calc.set(electric_field=None, field_reference=None)
    assert atoms.calc.field is None
    with pytest.raises(ValueError, match="pass field_reference"):
        atoms.calc.set(electric_field=(0, 0, 0.01))


def test_coefficients_of_ones_own_take_the_place_of_predicted_ones(nitride):
    reference = nitride.primitive
    mapping = {
        "numbers": reference.numbers,
        "positions": reference.positions,
        "cell": reference.cell.array,
        "born_effective_charges": 2 * nitride.born_effective_charges,
    }
    calc = GMTNetCalculator(dtype="float64", electric_field=(0, 0, 0.01), field_reference=mapping)
    np.testing.assert_allclose(calc.field.charges, 2 * nitride.born_effective_charges, atol=1e-12)
    json.dumps(calc.todict())


@pytest.mark.filterwarnings("ignore:.*no bulk crystal")  # the error says so, too
def test_metals_slabs_and_molecules_are_refused():
    layer = mx2("MoS2", vacuum=10.0)
    layer.pbc = True
    for reference, message in (
        (bulk("Cu"), "metal"),
        (layer, "monolayer or slab"),
        (Atoms("N2", [(0, 0, 0), (0, 0, 1.1)], cell=[12] * 3, pbc=True), "molecules"),
    ):
        with pytest.raises(InvalidStructureError, match=message):
            GMTNetCalculator(electric_field=(0, 0, 0.01), field_reference=reference)


def test_symmetry_reports_are_of_crystals_without_field(nitride):
    with pytest.raises(ValueError, match="without a field"):
        in_field(nitride.primitive, (0, 0, 0.01)).calc.symmetry_report(nitride.primitive)
