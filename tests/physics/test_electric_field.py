"""What a field adds to energy, forces and stress: exact derivatives at any strain, however it is described."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_comformer.errors import InvalidStructureError
from ase_comformer.physics.electric_field import ElectricField, FieldCoefficients, field_parameters
from ase_comformer.physics.field_symmetry import FixSymmetryInField

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
FIELD = (0.004, -0.01, 0.02)


@pytest.fixture(scope="module")
def reference() -> Atoms:
    atoms = bulk("AlN", "wurtzite", a=3.11, c=4.98)
    atoms.rotate(25, (1, 2, 3), rotate_cell=True)
    return atoms


def field_on(atoms: Atoms, field=FIELD) -> ElectricField:
    """Field with random coefficients of no symmetry; charges obey no sum rule as given."""
    generator = np.random.default_rng(7)
    charges = generator.normal(size=(len(atoms), 3, 3))
    epsilon = 3 * np.eye(3) + 0.1 * np.ones((3, 3))
    return ElectricField(field, atoms, FieldCoefficients(charges, epsilon, generator.normal(size=(3, 6))))


def distorted(atoms: Atoms, seed: int = 0) -> Atoms:
    generator = np.random.default_rng(seed)
    result = atoms.copy()
    strain = np.eye(3) + 0.03 * generator.uniform(-1, 1, size=(3, 3))
    result.set_cell(result.cell.array @ strain, scale_atoms=True)
    result.positions += 0.1 * generator.uniform(-1, 1, size=result.positions.shape)
    return result


def test_forces_and_stress_are_derivatives_at_finite_strain(reference):
    field, atoms, step = field_on(reference), distorted(reference), 1e-3
    found = field.evaluate(atoms)
    for atom in range(len(atoms)):
        for axis in range(3):
            ends = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[atom, axis] += sign * step
                ends.append(field.evaluate(moved)["energy"])
            assert found["forces"][atom, axis] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=1e-11)
    for place, (i, j) in enumerate(VOIGT):
        strain, ends = np.zeros((3, 3)), []
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        for sign in (1, -1):
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
            ends.append(field.evaluate(strained)["energy"])
        slope = (ends[0] - ends[1]) / (2 * step * atoms.cell.volume)
        assert found["stress"][place] == pytest.approx(slope, abs=1e-12)
    assert found["energies"].sum() == pytest.approx(found["energy"], abs=1e-14)


def test_polarisation_is_the_derivative_by_the_field(reference):
    atoms, step = distorted(reference), 1e-4
    field = field_on(reference)
    for axis in range(3):
        ends = []
        for sign in (1, -1):
            other = field_on(reference, FIELD + sign * step * np.eye(3)[axis])
            ends.append(other.evaluate(atoms)["energy"])
        slope = (ends[1] - ends[0]) / (2 * step * reference.cell.volume)
        assert field.polarisation(atoms)[axis] == pytest.approx(slope * 16.02176634, rel=1e-8)


@settings(max_examples=30, deadline=None)
@given(shift=st.lists(st.floats(-20, 20), min_size=3, max_size=3), seed=st.integers(0, 1000))
def test_wrapping_and_the_origin_change_nothing(reference, shift, seed):
    field, atoms = field_on(reference), distorted(reference, seed)
    other = atoms.copy()
    other.positions += shift
    other.wrap()
    images = np.random.default_rng(seed).integers(-2, 3, size=(len(other), 3))
    other.positions += images @ other.cell.array
    one, two = field.evaluate(atoms), field.evaluate(other)
    for name in ("energy", "energies", "forces", "stress"):
        np.testing.assert_allclose(two[name], one[name], atol=1e-12)


def test_the_reference_feels_charges_and_clamped_piezoelectricity_only(reference):
    field = field_on(reference)
    found = field.evaluate(reference)
    expected = np.einsum("i,ijk->jk", field.field, field.piezo)
    np.testing.assert_allclose(found["stress"], [-expected[i, j] for i, j in VOIGT], atol=1e-15)
    np.testing.assert_allclose(found["forces"].sum(axis=0), 0, atol=1e-14)


def test_other_crystals_and_turned_cells_are_refused_with_the_remedy(reference):
    field = field_on(reference)
    with pytest.raises(InvalidStructureError, match="the repeated reference"):
        field.evaluate(reference.repeat((2, 1, 1)))
    with pytest.raises(InvalidStructureError, match="in their order"):
        field.evaluate(reference[::-1])
    turned = reference.copy()
    turned.rotate(30, "z", rotate_cell=True)
    with pytest.raises(InvalidStructureError, match=r"turned by 30\.0 degrees"):
        field.evaluate(turned)
    slab = reference.copy()
    slab.pbc = (True, True, False)
    with pytest.raises(InvalidStructureError, match="periodic in three directions"):
        field.evaluate(slab)


def test_structures_far_from_the_reference_cause_a_warning(reference):
    field, atoms = field_on(reference), reference.copy()
    atoms.positions[2, 0] += 1.4
    with pytest.warns(UserWarning, match="Atom 2 is more than 1 A"):
        field.evaluate(atoms)
    atoms = reference.copy()
    atoms.set_cell(atoms.cell.array * 1.15, scale_atoms=True)
    with pytest.warns(UserWarning, match="strained by more than"):
        field.evaluate(atoms)


@pytest.mark.parametrize(
    ("field", "message"),
    [((0, 0), "three finite numbers"), ((0, 0, np.nan), "three finite"), ("z", "three finite"), ((0, 0, 2), "1 MV/cm")],
)
def test_fields_that_are_none_are_refused(field, message, reference):
    with pytest.raises(ValueError, match=message):
        field_parameters(field, reference)


def test_a_field_needs_a_reference_that_is_described_in_full(reference):
    with pytest.raises(ValueError, match="pass field_reference=atoms"):
        field_parameters((0, 0, 0.01), None)
    with pytest.raises(ValueError, match=r"lacks \['cell'\] and has unknown \['charges'\]"):
        field_parameters((0, 0, 0.01), {"numbers": [1], "positions": [[0, 0, 0]], "charges": 1})


def test_symmetry_in_a_field_keeps_what_leaves_the_field_alone(reference):
    constraint = FixSymmetryInField(reference, reference.cell.array[2] * 0.001)
    assert len(constraint.rotations) == len(constraint.symm_map) == 12
    forces = field_on(reference).forces(reference)
    across = FixSymmetryInField(reference, reference.cell.array[0] * 0.001)
    assert len(across.rotations) == 2
    general = FixSymmetryInField(reference, (0.01, 0.02, 0.03))
    kept = forces.copy()
    general.adjust_forces(reference, kept)
    np.testing.assert_allclose(kept, forces, atol=1e-12)
    assert constraint.todict()["kwargs"]["electric_field"]
