"""The response matrix: relaxed-ion tensors against minimising the enthalpy itself, blocks against plain differences."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import phonopy
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.physics.elasticity import elastic_tensor_from_stress
from ase_comformer.physics.force_response import response_blocks
from ase_comformer.physics.independent_displacements import independent_displacements
from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.physics.phonons import at_wave_vectors
from ase_comformer.physics.response import (
    COULOMB_PER_SQUARE_METRE,
    EPSILON_0,
    ResponseBlocks,
    combine,
    coupling_factors,
    derived_piezoelectric_tensors,
    modes_of_force_constants,
)
from ase_comformer.physics.vibrations import vibrations


@pytest.fixture
def blocks() -> ResponseBlocks:
    """Blocks of a stable crystal of three atoms without any symmetry."""
    random = np.random.default_rng(3)
    count = 3
    projector = np.eye(count) - 1.0 / count
    root = np.einsum("ab,bxk->axk", projector, random.normal(size=(count, 3, 12))).reshape(9, 12)
    stiffness = random.normal(size=(6, 6))
    electronic = random.normal(size=(3, 3))
    return ResponseBlocks(
        volume=40.0,
        force_constants=(3.0 * root @ root.T).reshape(count, 3, count, 3),
        internal_strain=np.einsum("ab,bxJ->axJ", projector, random.normal(size=(count, 3, 6))),
        clamped_elastic_tensor=20.0 * stiffness @ stiffness.T + 200.0 * np.eye(6),
        born_effective_charges=np.einsum("ab,bij->aij", projector, random.normal(size=(count, 3, 3))),
        dielectric_tensor=2.0 * np.eye(3) + 0.3 * electronic @ electronic.T,
        clamped_piezoelectric_tensor=random.normal(size=(3, 6)),
    )


def enthalpy_matrix(blocks: ResponseBlocks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Second derivatives of the enthalpy: in (u, eta), mixed with the field, in the field; eV, A, V."""
    size = 3 * len(blocks.force_constants)
    v = blocks.volume
    strain = blocks.internal_strain.reshape(size, 6)
    mechanical = np.block(
        [
            [blocks.force_constants.reshape(size, size), -strain],
            [-strain.T, v * blocks.clamped_elastic_tensor * GPa],
        ]
    )
    charge = blocks.born_effective_charges.transpose(1, 0, 2).reshape(3, size)
    clamped = v * blocks.clamped_piezoelectric_tensor / COULOMB_PER_SQUARE_METRE
    polarisation = np.hstack([charge, clamped])
    return mechanical, polarisation, v * EPSILON_0 * blocks.dielectric_tensor


def test_relaxed_ions_are_where_the_enthalpy_is_least(blocks: ResponseBlocks) -> None:
    """Strains, fields and stresses applied to the whole matrix, atoms solved for: every tensor to 1e-9."""
    found = combine(blocks, softness=0.0)
    mechanical, polarisation, electronic = enthalpy_matrix(blocks)
    size, v = len(mechanical) - 6, blocks.volume
    inverse = np.linalg.pinv(mechanical[:size, :size])
    # strain applied, no field: stress and polarisation once the atoms have followed
    follow = -inverse @ mechanical[:size, size:]
    stress = (mechanical[size:, size:] + mechanical[size:, :size] @ follow) / v
    np.testing.assert_allclose(found.elastic_tensor, stress / GPa, atol=1e-9)
    e = (polarisation[:, size:] + polarisation[:, :size] @ follow) / v * COULOMB_PER_SQUARE_METRE
    np.testing.assert_allclose(found.piezoelectric_tensor, e, atol=1e-9)
    # field applied, cell fixed: atoms follow Z^T E
    moved = inverse @ polarisation[:, :size].T
    static = (electronic + polarisation[:, :size] @ moved) / (v * EPSILON_0)
    np.testing.assert_allclose(found.static_dielectric_tensor, static, atol=1e-9)
    # field applied, cell free: strain is d, polarisation the free dielectric tensor
    everything = np.linalg.pinv(mechanical) @ polarisation.T
    picometres_per_volt = 100.0  # 1 A/V = 100 pm/V
    np.testing.assert_allclose(
        found.piezoelectric_strain_tensor, everything[size:].T * picometres_per_volt, rtol=1e-7, atol=1e-7
    )
    free = (electronic + polarisation @ everything) / (v * EPSILON_0)
    np.testing.assert_allclose(found.free_dielectric_tensor, free, atol=1e-8)
    # strain applied without electric displacement: D = 0 makes the field
    field = -np.linalg.solve(static * EPSILON_0, e / COULOMB_PER_SQUARE_METRE)
    stiffened = stress - (e / COULOMB_PER_SQUARE_METRE).T @ field
    np.testing.assert_allclose(found.elastic_tensor_fixed_displacement, stiffened / GPa, atol=1e-8)


def test_identities_of_one_route_hold(blocks: ResponseBlocks) -> None:
    """e = d C, and g, h give the same charges back (IEEE 176-1987, table 3)."""
    found = combine(blocks)
    np.testing.assert_allclose(
        found.piezoelectric_strain_tensor @ found.elastic_tensor * 1e-3, found.piezoelectric_tensor, atol=1e-9
    )
    epsilon = EPSILON_0 * COULOMB_PER_SQUARE_METRE * 1e-10  # F/m
    np.testing.assert_allclose(
        found.static_dielectric_tensor * epsilon @ found.piezoelectric_h_tensor, found.piezoelectric_tensor, rtol=1e-6
    )
    np.testing.assert_allclose(
        found.free_dielectric_tensor * epsilon @ found.piezoelectric_g_tensor * 1e12,
        found.piezoelectric_strain_tensor,
        rtol=1e-6,
    )


def test_modes_add_up_to_the_ionic_parts(blocks: ResponseBlocks) -> None:
    found = combine(blocks)
    total = np.trace(found.static_dielectric_tensor - blocks.dielectric_tensor) / 3
    assert found.ionic_dielectric_modes.sum() == pytest.approx(total, abs=1e-12)
    np.testing.assert_allclose(
        found.ionic_piezoelectric_modes.sum(axis=0),
        found.piezoelectric_tensor - blocks.clamped_piezoelectric_tensor,
        atol=1e-12,
    )


def test_soft_modes_are_damped_and_named_only_where_they_matter(blocks: ResponseBlocks) -> None:
    modes = modes_of_force_constants(blocks.force_constants)
    direction = modes.displacements[0].reshape(-1)
    matrix = blocks.force_constants.reshape(9, 9) - (modes.stiffness[0] - 1e-4) * np.outer(direction, direction)
    soft = replace(blocks, force_constants=matrix.reshape(3, 3, 3, 3))
    assert combine(soft).soft_modes == (0,)
    # bounded however soft: at most 1 / (2 w0)
    assert combine(soft).modes.compliance.max() <= 1 / (2 * 0.05) + 1e-9

    def silent(values: np.ndarray, axes: str) -> np.ndarray:
        weight = np.einsum(f"ax,{axes}->{axes.replace('a', '').replace('x', '')}", modes.displacements[0], values)
        return values - np.einsum(
            f"ax,{axes.replace('a', '').replace('x', '')}->{axes}", modes.displacements[0], weight
        )

    quiet = replace(
        soft,
        internal_strain=silent(soft.internal_strain, "axJ"),
        born_effective_charges=silent(soft.born_effective_charges, "aix"),
    )
    assert combine(quiet).soft_modes == ()


def test_without_charges_the_response_is_mechanical(blocks: ResponseBlocks) -> None:
    bare = replace(blocks, born_effective_charges=None, dielectric_tensor=None)
    found = combine(bare)
    np.testing.assert_array_equal(found.elastic_tensor, combine(blocks).elastic_tensor)
    assert found.piezoelectric_tensor is None
    assert found.static_dielectric_tensor is None


def test_coupling_factors_are_those_of_a_known_ceramic() -> None:
    """PZT-5H, tensors of the IEEE type by Vernitron: k33 = 0.75, k31 = 0.39, k15 = 0.68, kt = 0.51."""
    c11, c12, c13, c33, c44 = 126.0, 79.5, 84.1, 117.0, 23.0
    elastic = np.diag([c11, c11, c33, c44, c44, (c11 - c12) / 2])
    elastic[0, 1] = elastic[1, 0] = c12
    elastic[:2, 2] = elastic[2, :2] = c13
    e = np.zeros((3, 6))
    e[2, :2], e[2, 2], e[0, 4], e[1, 3] = -6.55, 23.3, 17.0, 17.0
    found = coupling_factors(e, elastic, np.diag([1700.0, 1700.0, 1470.0]))
    assert found["k33"] == pytest.approx(0.75, abs=0.02)
    assert found["k31"] == pytest.approx(0.39, abs=0.02)
    assert found["k15"] == pytest.approx(0.68, abs=0.02)
    assert found["kt"] == pytest.approx(0.51, abs=0.02)
    assert derived_piezoelectric_tensors(e, elastic, np.diag([1700.0, 1700.0, 1470.0])).strain_tensor[
        2, 2
    ] == pytest.approx(593, rel=0.05)


CRYSTALS = {
    "rocksalt": bulk("MgO", "rocksalt", a=4.2),
    "zincblende": bulk("ZnO", "zincblende", a=4.6),
    "wurtzite": bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382),
}


@pytest.mark.parametrize("name", CRYSTALS)
def test_blocks_by_symmetry_are_those_of_all_displacements(name: str, smooth_surface) -> None:
    atoms = CRYSTALS[name]
    group = analyse_space_group(atoms, 1e-4)
    found = response_blocks(group, smooth_surface, displacement=1e-3, strain=1e-3)
    count, step = len(group.primitive), 1e-3
    constants, internal = np.zeros((count, 3, count, 3)), np.zeros((count, 3, 6))
    for atom in range(count):
        for axis in range(3):
            (plus, stress), (minus, other) = smooth_surface(
                [displaced(group.primitive, atom, axis, s * step) for s in (1, -1)]
            )
            constants[:, :, atom, axis] = -(plus - minus) / (2 * step)
            internal[atom, axis] = -group.primitive.cell.volume * (stress - other) / (2 * step)
    scale = np.abs(constants).max()
    np.testing.assert_allclose(found.force_constants, constants, atol=1e-5 * scale)
    np.testing.assert_allclose(found.internal_strain, internal, atol=1e-5 * np.abs(internal).max() + 1e-9)
    assert len(independent_displacements(group)) < 3 * count


def displaced(atoms: Atoms, atom: int, axis: int, size: float) -> Atoms:
    moved = atoms.copy()
    moved.positions[atom, axis] += size
    return moved


def test_response_equals_strained_crystals_with_relaxed_atoms(smooth_surface, smooth_calculator) -> None:
    """Zincblende's C44 has an internal strain: the response matrix against stresses after relaxation."""
    atoms = bulk("ZnO", "zincblende", a=smooth_calculator.lattice_constant)
    atoms.calc = smooth_calculator
    group = analyse_space_group(atoms, 1e-4)
    found = combine(response_blocks(group, smooth_surface, displacement=2e-3, strain=1e-3), softness=0.0)
    relaxed = elastic_tensor_from_stress(atoms, strains=(1e-3,), fmax=1e-8, steps=500).tensor
    clamped = elastic_tensor_from_stress(atoms, strains=(1e-3,), relax_atoms=False).tensor
    assert np.abs(relaxed - clamped).max() > 1.0
    np.testing.assert_allclose(found.elastic_tensor, relaxed, atol=2e-4 * np.abs(relaxed).max())


def extrapolated(group: SpaceGroup, surface: Callable) -> ResponseBlocks:
    """Blocks from two step sizes, without their error of second order."""
    coarse, fine = (response_blocks(group, surface, displacement=s, strain=s) for s in (4e-3, 2e-3))
    names = ("force_constants", "internal_strain", "clamped_elastic_tensor")
    return replace(fine, **{name: (4 * getattr(fine, name) - getattr(coarse, name)) / 3 for name in names})


def relaxed(atoms: Atoms, surface: Callable, constants: np.ndarray, push: np.ndarray) -> Atoms:
    """Atoms where the forces of the surface and a constant push balance, by Newton steps."""
    moved, inverse = atoms.copy(), np.linalg.pinv(constants.reshape(3 * len(atoms), -1), rcond=1e-8)
    for _ in range(100):
        forces = surface([moved])[0][0] + push
        forces -= forces.mean(axis=0)
        if np.abs(forces).max() < 1e-12:
            return moved
        moved.positions += (inverse @ forces.reshape(-1)).reshape(-1, 3)
    raise AssertionError(f"forces stay at {np.abs(forces).max():.1g} eV/A")


@pytest.fixture(scope="module")
def charged(smooth_surface) -> tuple[SpaceGroup, ResponseBlocks]:
    """Wurtzite with its atoms at rest on the model surface, and charges that its symmetry allows."""
    atoms = bulk("ZnO", "wurtzite", a=3.0, c=4.9, u=0.375)
    for _ in range(30):  # cell and atoms come to rest together
        group = analyse_space_group(atoms, 1e-4)
        rough = response_blocks(group, smooth_surface)
        atoms = relaxed(group.primitive, smooth_surface, rough.force_constants, np.zeros((4, 3)))
        stress = smooth_surface([atoms])[0][1]
        if np.abs(stress).max() < 1e-10:
            break
        strain = np.clip(np.linalg.solve(combine(rough, softness=0.05).elastic_tensor * GPa, -stress), -0.02, 0.02)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.diag(strain[:3])), scale_atoms=True)
    assert np.abs(stress).max() < 1e-9
    group = analyse_space_group(atoms, 1e-4)
    born = np.array([np.diag([2.1, 2.1, 2.3]) * (1 if number == 30 else -1) for number in group.primitive.numbers])
    blocks = replace(
        extrapolated(group, smooth_surface),
        born_effective_charges=born,
        dielectric_tensor=np.diag([4.0, 4.0, 4.2]),
        clamped_piezoelectric_tensor=np.zeros((3, 6)),
    )
    return group, blocks


def polarisation(moved: Atoms, start: Atoms, born: np.ndarray) -> np.ndarray:
    """C/m^2, of displacements at fixed fractional coordinates of the cell."""
    apart = moved.get_scaled_positions(wrap=False) - start.get_scaled_positions(wrap=False)
    return np.einsum("aij,aj->i", born, apart @ moved.cell.array) / start.cell.volume * COULOMB_PER_SQUARE_METRE


def slope(of: Callable[[float], np.ndarray], step: float) -> np.ndarray:
    """Derivative at zero, to fourth order in the step."""
    coarse, fine = ((of(h) - of(-h)) / (2 * h) for h in (step, step / 2))
    return (4 * fine - coarse) / 3


def test_static_permittivity_is_that_of_crystals_relaxed_in_a_field(charged, smooth_surface) -> None:
    group, blocks = charged
    found = combine(blocks, softness=0.0)
    for axis in (0, 2):

        def in_field(field: float, axis: int = axis) -> np.ndarray:
            push = field * blocks.born_effective_charges[:, axis]  # F_j = Z_ij E_i
            moved = relaxed(group.primitive, smooth_surface, blocks.force_constants, push)
            return polarisation(moved, group.primitive, blocks.born_effective_charges)

        ionic = slope(in_field, 0.01) / COULOMB_PER_SQUARE_METRE / EPSILON_0
        expected = blocks.dielectric_tensor[axis] + ionic
        np.testing.assert_allclose(found.static_dielectric_tensor[axis], expected, rtol=1e-6, atol=1e-6)


def test_ionic_piezoelectricity_and_stiffness_are_those_of_strained_crystals_at_rest(charged, smooth_surface) -> None:
    group, blocks = charged
    found = combine(blocks, softness=0.0)
    start = group.primitive
    for column, (i, j) in ((0, (0, 0)), (2, (2, 2)), (4, (0, 2))):

        def strained(strain: float, i: int = i, j: int = j) -> Atoms:
            deformation = np.eye(3)
            deformation[i, j] += strain / (1 if i == j else 2)
            deformation[j, i] += 0 if i == j else strain / 2
            atoms = start.copy()
            atoms.set_cell(start.cell.array @ deformation, scale_atoms=True)
            return relaxed(atoms, smooth_surface, blocks.force_constants, np.zeros((4, 3)))

        e = slope(lambda h: polarisation(strained(h), start, blocks.born_effective_charges), 2e-3)
        np.testing.assert_allclose(
            found.piezoelectric_tensor[:, column], e, atol=1e-6 * np.abs(found.piezoelectric_tensor).max()
        )
        stiffness = slope(lambda h: smooth_surface([strained(h)])[0][1], 2e-3) / GPa
        np.testing.assert_allclose(found.elastic_tensor[:, column], stiffness, atol=1e-6 * np.abs(stiffness).max())


def test_frequencies_at_the_zone_centre_are_those_of_phonopy(charged) -> None:
    group, blocks = charged
    atoms = group.primitive
    cell = phonopy.structure.atoms.PhonopyAtoms(
        numbers=atoms.numbers, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions()
    )
    model = phonopy.Phonopy(cell, supercell_matrix=np.eye(3, dtype=int), primitive_matrix=np.eye(3))
    model.force_constants = blocks.force_constants.transpose(0, 2, 1, 3)
    expected = at_wave_vectors(model, np.zeros((1, 3)))["frequencies"][0]
    found = vibrations(blocks.force_constants, model.primitive.masses).frequencies
    np.testing.assert_allclose(np.sort(found), np.sort(expected), rtol=2e-6, atol=1e-4)


def test_moduli_of_the_relaxed_tensor_are_those_of_pymatgen(charged) -> None:
    elasticity = pytest.importorskip("pymatgen.analysis.elasticity")
    found = combine(charged[1], softness=0.0).elastic_tensor
    ours, theirs = voigt_reuss_hill(found), elasticity.ElasticTensor.from_voigt(found)
    assert ours.bulk == pytest.approx(theirs.k_vrh, rel=1e-6)
    assert ours.shear == pytest.approx(theirs.g_vrh, rel=1e-6)


def test_directions_without_stiffness_do_not_yield() -> None:
    """A needle in a wide cell: found by ``benchmarks.fuzz`` as an inverse of a singular matrix."""
    elastic = np.zeros((6, 6))
    elastic[0, 0] = 100.0
    piezo = np.zeros((3, 6))
    piezo[0, 0] = 0.5
    found = derived_piezoelectric_tensors(piezo, elastic, 4.0 * np.eye(3))
    assert found.strain_tensor[0, 0] == pytest.approx(5.0)
    assert np.count_nonzero(found.strain_tensor) == 1
    assert all(np.isfinite(values).all() for values in vars(found).values())
