"""Bad structures raise errors that name the problem; unusual but valid ones pass."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer.crystals.validation import (
    ignored_information,
    require_neighbours,
    validate_atoms,
    validate_elements,
    validate_potential_structure,
    validate_structure,
)
from ase_comformer.errors import InvalidStructureError, UnknownElementError


@pytest.fixture
def crystal():
    return bulk("NaCl", "rocksalt", a=5.64)


def test_valid_crystal_passes(crystal):
    validate_atoms(crystal, {"Na", "Cl"}, "dielectric_tensor")


def test_empty_atoms():
    with pytest.raises(InvalidStructureError, match="no atoms"):
        validate_atoms(Atoms(cell=np.eye(3) * 4, pbc=True))


def test_something_that_is_not_atoms():
    with pytest.raises(InvalidStructureError, match="str"):
        validate_atoms("NaCl")


def test_no_periodicity(crystal):
    crystal.pbc = False
    with pytest.raises(InvalidStructureError, match="no periodic boundary conditions"):
        validate_atoms(crystal)


def test_molecule_without_cell():
    with pytest.raises(InvalidStructureError, match="no periodic boundary conditions"):
        validate_atoms(Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]]))


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, True), (False, False, True)])
def test_partial_periodicity(crystal, pbc):
    crystal.pbc = pbc
    with pytest.raises(InvalidStructureError, match="3D periodicity"):
        validate_atoms(crystal)


@pytest.mark.parametrize(
    "cell",
    [
        np.zeros((3, 3)),
        [[4, 0, 0], [0, 4, 0], [0, 0, 0]],
        [[4, 0, 0], [0, 4, 0], [4, 4, 0]],
        [[4, 0, 0], [0, 4, 0], [4, 4, 1e-9]],
    ],
)
def test_zero_volume(cell):
    with pytest.raises(InvalidStructureError, match=r"zero volume|too small"):
        validate_atoms(Atoms("Si", cell=cell, pbc=True))


@pytest.mark.parametrize(
    "cell",
    [
        np.eye(3) * 0.4,
        [[5, 0, 0], [0, 5, 0], [0.1, 0.2, 0.3]],
        [[3, 0, 0], [0, 3, 0], [1.234, 1.77, 0.005]],
    ],
)
def test_cell_that_makes_atoms_overlap_their_images(cell):
    with pytest.raises(InvalidStructureError, match=r"too small|overlap"):
        validate_atoms(Atoms("Si", cell=cell, pbc=True))


def test_skew_cell_with_hidden_short_lattice_vector():
    cell = np.array([[4, 0, 0], [0, 4, 0], [0, 0, 0.45]]) + np.outer([0, 0, 1], [8, 4, 0])
    with pytest.raises(InvalidStructureError, match="overlap"):
        validate_atoms(Atoms("Si", cell=cell, pbc=True))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_positions_that_are_not_finite(crystal, value):
    crystal.positions[1, 2] = value
    with pytest.raises(InvalidStructureError, match="atom 1"):
        validate_atoms(crystal)


def test_cell_that_is_not_finite(crystal):
    crystal.cell[0, 0] = np.nan
    with pytest.raises(InvalidStructureError, match="cell has NaN"):
        validate_atoms(crystal)


def test_overlapping_atoms(crystal):
    crystal.positions[1] = crystal.positions[0] + [0.1, 0, 0]
    with pytest.raises(InvalidStructureError, match=r"Atoms . \(..\) and . \(..\) overlap: 0\.1 Å"):
        validate_atoms(crystal)


def test_coinciding_atoms(crystal):
    crystal.positions[1] = crystal.positions[0]
    with pytest.raises(InvalidStructureError, match="overlap"):
        validate_atoms(crystal)


def test_atoms_overlapping_through_the_boundary(crystal):
    crystal.positions[1] = crystal.positions[0] + crystal.cell[2] + [0, 0.2, 0]
    with pytest.raises(InvalidStructureError, match="overlap"):
        validate_atoms(crystal)


def test_atoms_far_outside_the_cell_are_valid(crystal):
    crystal.positions[1] += 7 * crystal.cell[0] - 3 * crystal.cell[2]
    validate_atoms(crystal)


def test_left_handed_cell_is_valid(crystal):
    crystal.set_cell(crystal.cell.array[[1, 0, 2]])
    assert np.linalg.det(crystal.cell.array) < 0
    validate_atoms(crystal)


def test_one_atom_cell_is_valid():
    validate_atoms(bulk("Cu"))


def test_unknown_element_names_element_property_and_choices(crystal):
    with pytest.raises(UnknownElementError, match=r"Cl in ClNa .* for elastic_tensor, which covers 2 elements: H Na"):
        validate_atoms(crystal, {"Na", "H"}, "elastic_tensor")


@pytest.mark.parametrize("number", [0, 200, -3])
def test_atomic_number_that_is_no_element(crystal, number):
    crystal.numbers[0] = number
    with pytest.raises(UnknownElementError):
        validate_elements(crystal, {"Na", "Cl"})


def test_information_that_is_ignored_is_named(crystal):
    assert ignored_information(crystal) == {}
    crystal.set_initial_magnetic_moments([1.0, 0.0])
    crystal.set_initial_charges([1.0, -1.0])
    crystal.info["occupancy"] = {"0": {"Na": 0.5, "K": 0.5}, "1": {"Cl": 1.0}}
    found = ignored_information(crystal)
    assert list(found) == ["magnetic moments", "charges", "occupancy"]
    assert "set_initial_charges(None)" in found["charges"]


def test_zero_moments_and_charges_and_full_sites_are_nothing(crystal):
    crystal.set_initial_magnetic_moments([0.0, 0.0])
    crystal.set_initial_charges([0.0, 0.0])
    crystal.info["occupancy"] = {"0": {"Na": 1.0}}
    assert ignored_information(crystal) == {}


@pytest.mark.parametrize("number", [0, -1, 119, 200])
def test_an_atomic_number_that_is_no_element_is_refused_with_its_atom(crystal, number):
    crystal.numbers[1] = number
    for check in (validate_structure, validate_potential_structure):
        with pytest.raises(UnknownElementError, match=f"Atom 1 has the atomic number {number}, which is no element"):
            check(crystal)


def test_absurd_density_is_refused_with_the_volume_per_atom():
    points = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3) / 4
    packed = Atoms("H64", scaled_positions=points, cell=[2.4] * 3, pbc=True)  # 0.6 Å apart
    for check in (validate_structure, validate_potential_structure):
        with pytest.raises(InvalidStructureError, match=r"0\.216 Å³ per atom.*denser than anything physical"):
            check(packed)


def test_the_densest_matter_known_passes():
    validate_structure(bulk("C", "diamond", a=2.72))  # 2.5 Å³ per atom, 1 TPa
    validate_structure(bulk("H", "bcc", a=1.4))  # metallic hydrogen


@pytest.mark.parametrize("shear", [20, 2000, 10**6])
def test_a_very_skew_cell_of_a_healthy_lattice_passes_until_its_volume_is_lost(crystal, shear):
    crystal.set_cell(np.array([[1, 0, 0], [shear, 1, 0], [0, shear, 1]]) @ crystal.cell.array, scale_atoms=False)
    if shear < 10**6:
        validate_structure(crystal)
    else:
        with pytest.raises(InvalidStructureError, match="very skew"):
            validate_structure(crystal)


def test_a_crystal_whose_atoms_see_nothing_is_refused_with_the_distance_and_the_cutoff():
    caesium = bulk("Cs", a=6.14)
    require_neighbours(caesium, 5.5)
    with pytest.raises(InvalidStructureError, match=r"1 of 1 atoms of Cs .* 5 Å.* atom 0 \(Cs\) is 5.32 Å from"):
        require_neighbours(caesium, 5.0)
    mixed = Atoms("NaClNa", positions=[[0, 0, 0], [2.8, 0, 0], [20, 20, 20]], cell=[40] * 3, pbc=True)
    with pytest.raises(InvalidStructureError, match=r"1 of 3 atoms .* atom 2 \(Na\)"):
        require_neighbours(mixed, 5.0)
    with pytest.raises(InvalidStructureError, match="more than 40 Å"):
        require_neighbours(Atoms("Na", cell=[90] * 3, pbc=True), 5.0)
