"""The space group of a crystal against spglib, pymatgen and brute force over atoms and edges."""

import warnings
from functools import cache

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk
from ase.build import make_supercell as ase_supercell
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from ase_comformer.crystals import operations, spglib_calls
from ase_comformer.crystals.orbits import edge_orbits
from ase_comformer.crystals.space_group import MOST_ATOMS, SpaceGroup, analyse_space_group
from ase_comformer.graphs.neighbours import GraphSettings, neighbours
from ase_comformer.testing import conventional_cell, random_rotation, rotate_atoms, shift_origin, supercell
from seven_systems import ALL_CRYSTALS, SEVEN_SYSTEMS

NAMES = tuple(ALL_CRYSTALS)
FEW = ("Si m-3m", "quartz 32", "ZnO 6mm", "CuO 2/m", "KNbO3 mm2", "TeO2 422", "model -1")
SYSTEM_NUMBERS = {
    "triclinic": (1, 2),
    "monoclinic": (3, 15),
    "orthorhombic": (16, 74),
    "tetragonal": (75, 142),
    "trigonal": (143, 167),
    "hexagonal": (168, 194),
    "cubic": (195, 230),
}
SYSTEM_CELLS = {
    "triclinic": (5.1, 6.2, 7.3, 81, 97, 108),
    "monoclinic": (5.1, 6.2, 7.3, 90, 103, 90),
    "orthorhombic": (5.1, 6.2, 7.3, 90, 90, 90),
    "tetragonal": (6.1, 6.1, 9.3, 90, 90, 90),
    "trigonal": (6.1, 6.1, 9.3, 90, 90, 120),
    "hexagonal": (6.1, 6.1, 9.3, 90, 90, 120),
    "cubic": (9.1, 9.1, 9.1, 90, 90, 90),
}
UNIMODULAR = np.array([[1, 2, 0], [0, 1, 0], [1, 3, 1]])


@cache
def group_of(name: str) -> SpaceGroup:
    return analyse_space_group(ALL_CRYSTALS[name])


def dataset_of(atoms: Atoms, symprec: float = 1e-2) -> spglib.SpglibDataset:
    dataset = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec)
    assert dataset is not None
    return dataset


def distances(first: np.ndarray, second: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """(m, k) distance in A between points modulo the lattice, by brute force over the nearest images."""
    fractional = (first[:, None] - second[None]) @ np.linalg.inv(cell)
    fractional -= np.round(fractional)
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3)
    return np.linalg.norm((fractional[..., None, :] + images) @ cell, axis=-1).min(axis=-1)


def carried(group: SpaceGroup, g: int) -> np.ndarray:
    """Cartesian positions of the primitive atoms after operation g, from its Cartesian matrix."""
    return group.primitive.positions @ group.rotations[g].T + group.translations[g] @ group.primitive.cell.array


def rotation_set(rotations: np.ndarray) -> np.ndarray:
    rounded = np.round(np.asarray(rotations).reshape(-1, 9), 6) + 0.0
    return np.unique(rounded, axis=0)


def assert_maps_onto_itself(group: SpaceGroup, tolerance: float = 1e-10) -> None:
    """The idealised structure is invariant, and permutations and lattice shifts are what brute force finds."""
    primitive = group.primitive
    cell, scaled = primitive.cell.array, primitive.positions @ np.linalg.inv(primitive.cell.array)
    for g in range(group.order):
        image = carried(group, g)
        table = distances(image, primitive.positions, cell)
        table[primitive.numbers[:, None] != primitive.numbers[None]] = np.inf
        assert table.min(axis=1).max() < tolerance
        np.testing.assert_array_equal(table.argmin(axis=1), group.permutations[g])
        target = scaled[group.permutations[g]] + group.lattice_shifts[g]
        np.testing.assert_allclose(image, target @ cell, rtol=0, atol=tolerance)


def assert_same_group(group: SpaceGroup, expected: SpaceGroup, rotation: np.ndarray | None = None) -> None:
    """Same type, same Cartesian operations (turned by ``rotation``), same number of primitive atoms."""
    turn = np.eye(3) if rotation is None else rotation
    assert (group.number, group.point_group, group.order) == (expected.number, expected.point_group, expected.order)
    assert len(group.primitive) == len(expected.primitive)
    np.testing.assert_allclose(
        rotation_set(group.rotations), rotation_set(turn @ expected.rotations @ turn.T), atol=2e-6
    )
    assert group.primitive.cell.volume == pytest.approx(expected.primitive.cell.volume, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_type_agrees_with_spglib(name: str):
    group, dataset = group_of(name), dataset_of(ALL_CRYSTALS[name])
    assert group.number == dataset.number
    assert group.international == dataset.international
    assert group.hall_number == dataset.hall_number
    assert group.point_group == dataset.pointgroup.strip()
    assert group.order == len({matrix.tobytes() for matrix in dataset.rotations})
    assert group.symprec == 1e-2


@pytest.mark.parametrize("system", SEVEN_SYSTEMS)
def test_crystal_system_agrees_with_pymatgen(system: str):
    for name, atoms in SEVEN_SYSTEMS[system].items():
        analyzer = SpacegroupAnalyzer(AseAtomsAdaptor.get_structure(atoms), symprec=1e-2)
        assert group_of(name).crystal_system == analyzer.get_crystal_system() == system


@pytest.mark.parametrize("name", NAMES)
def test_cartesian_operations_agree_with_pymatgen(name: str):
    analyzer = SpacegroupAnalyzer(AseAtomsAdaptor.get_structure(ALL_CRYSTALS[name]), symprec=1e-2)
    expected = [operation.rotation_matrix for operation in analyzer.get_symmetry_operations(cartesian=True)]
    np.testing.assert_allclose(rotation_set(group_of(name).rotations), rotation_set(np.array(expected)), atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_rotations_are_orthogonal_and_form_a_group(name: str):
    group = group_of(name)
    rotations = group.rotations
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotations.shape),
                               rtol=0, atol=1e-12)  # fmt: skip
    np.testing.assert_array_equal(group.fractional_rotations[0], np.eye(3, dtype=int))
    np.testing.assert_array_equal(group.translations[0], np.zeros(3))
    np.testing.assert_array_equal(group.permutations[0], np.arange(len(group.primitive)))
    products = np.einsum("gij,hjk->ghik", rotations, rotations).reshape(-1, 3, 3)
    np.testing.assert_array_equal(len(rotation_set(products)), group.order)
    assert len(rotation_set(np.concatenate([products, rotations]))) == group.order


@pytest.mark.parametrize("name", NAMES)
def test_cartesian_and_fractional_rotations_are_the_same_operations(name: str):
    group = group_of(name)
    lattice = group.primitive.cell.array
    np.testing.assert_allclose(group.rotations @ lattice.T, lattice.T @ group.fractional_rotations, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_operations_map_the_idealised_structure_onto_itself(name: str):
    assert_maps_onto_itself(group_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_orbits_of_atoms_agree_with_spglib(name: str):
    atoms, group = ALL_CRYSTALS[name], group_of(name)
    orbit = group.permutations.min(axis=0)[group.atom_to_primitive]
    expected = np.asarray(dataset_of(atoms).crystallographic_orbits)
    np.testing.assert_array_equal(orbit[:, None] == orbit[None], expected[:, None] == expected[None])
    np.testing.assert_array_equal(group.representatives, np.unique(orbit))
    np.testing.assert_array_equal(
        group.permutations[group.carrier, group.permutations.min(axis=0)], np.arange(len(group.primitive))
    )


@pytest.mark.parametrize("name", NAMES)
def test_input_atoms_are_lattice_translations_of_their_primitive_atom(name: str):
    atoms, group = ALL_CRYSTALS[name], group_of(name)
    primitive = group.primitive
    np.testing.assert_array_equal(atoms.numbers, primitive.numbers[group.atom_to_primitive])
    # up to one common shift of the origin
    offset = atoms.positions - primitive.positions[group.atom_to_primitive]
    shifts = (offset - offset[0]) @ np.linalg.inv(primitive.cell.array)
    np.testing.assert_allclose(shifts, np.round(shifts), atol=1e-6)
    assert np.bincount(group.atom_to_primitive).std() == 0


def test_repeated_atoms_are_found_as_pymatgen_finds_them():
    atoms = supercell(ALL_CRYSTALS["rutile 4/mmm"], (2, 1, 2))[0]
    symmetrised = SpacegroupAnalyzer(AseAtomsAdaptor.get_structure(atoms), symprec=1e-2).get_symmetrized_structure()
    group = analyse_space_group(atoms)
    orbit = group.permutations.min(axis=0)[group.atom_to_primitive]
    for indices in symmetrised.equivalent_indices:
        assert len(set(orbit[indices].tolist())) == 1
    assert len(symmetrised.equivalent_indices) == len(group.representatives)


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("repeats", [(2, 1, 1), (2, 2, 2), (1, 2, 3)])
def test_a_supercell_has_the_space_group_of_its_crystal(name: str, repeats: tuple[int, int, int]):
    larger, index = supercell(ALL_CRYSTALS[name], repeats)
    group = analyse_space_group(larger)
    assert_same_group(group, group_of(name))
    assert_maps_onto_itself(group)
    # atoms that the supercell repeats belong to one primitive atom
    pairs = set(zip(group_of(name).atom_to_primitive[index].tolist(), group.atom_to_primitive.tolist(), strict=True))
    assert len(pairs) == len(group.primitive)


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("improper", [False, True])
def test_operations_turn_with_the_crystal(name: str, improper: bool):
    rotation = random_rotation(np.random.default_rng(7), improper)
    group = analyse_space_group(rotate_atoms(ALL_CRYSTALS[name], rotation))
    expected = group_of(name)
    assert group.order == expected.order
    assert group.point_group == expected.point_group
    turned = rotation @ expected.rotations @ rotation.T
    np.testing.assert_allclose(rotation_set(group.rotations), rotation_set(turned), atol=2e-6)
    assert_maps_onto_itself(group)


def test_an_improper_rotation_exchanges_enantiomorphic_space_groups():
    group = analyse_space_group(rotate_atoms(ALL_CRYSTALS["quartz 32"], -np.eye(3)))
    assert (group_of("quartz 32").number, group.number) == (154, 152)


@pytest.mark.parametrize("name", FEW)
def test_a_left_handed_cell_describes_the_same_crystal(name: str):
    atoms = ALL_CRYSTALS[name]
    left = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell.array[[1, 0, 2]], pbc=True)
    assert np.linalg.det(left.cell.array) < 0
    group = analyse_space_group(left)
    assert_same_group(group, group_of(name))
    assert_maps_onto_itself(group)


@pytest.mark.parametrize("name", FEW)
def test_a_skew_cell_describes_the_same_crystal(name: str):
    skew = ase_supercell(ALL_CRYSTALS[name], UNIMODULAR)
    group = analyse_space_group(skew)
    assert_same_group(group, group_of(name))
    assert_maps_onto_itself(group)


@pytest.mark.parametrize("name", FEW)
def test_conventional_cell_and_shifted_origin_describe_the_same_crystal(name: str):
    for atoms in (conventional_cell(ALL_CRYSTALS[name])[0], shift_origin(ALL_CRYSTALS[name], [0.7, -1.3, 0.4])):
        group = analyse_space_group(atoms)
        assert_same_group(group, group_of(name))
        assert_maps_onto_itself(group)


def test_positions_outside_the_cell_describe_the_same_crystal():
    atoms = ALL_CRYSTALS["quartz 32"].copy()
    atoms.positions += np.random.default_rng(0).integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    group = analyse_space_group(atoms)
    assert_same_group(group, group_of("quartz 32"))
    assert_maps_onto_itself(group)


def test_idealised_structure_is_the_input_where_the_input_is_symmetric():
    for name in NAMES:
        group = group_of(name)
        assert group.idealisation_displacement < 1e-6
        ratio = ALL_CRYSTALS[name].cell.array @ np.linalg.inv(group.primitive.cell.array)
        np.testing.assert_allclose(ratio, np.round(ratio), atol=1e-6)


@pytest.mark.parametrize(("offset", "number"), [(0.003, 225), (0.013, 225), (0.019, 225), (0.021, None)])
def test_symprec_is_the_largest_distance_that_idealisation_moves_an_atom(offset: float, number: int | None):
    """Two atoms that are ``offset`` off each other are moved by half of it each."""
    atoms = bulk("MgO", "rocksalt", a=4.21)
    atoms.positions[0] += [offset, 0, 0]
    group = analyse_space_group(atoms, symprec=1e-2)
    assert_maps_onto_itself(group)
    assert group.symprec == 1e-2
    if number is None:
        assert group.number != 225
        assert group.idealisation_displacement < 1e-6
    else:
        assert group.number == number
        assert group.idealisation_displacement == pytest.approx(offset / 2, rel=1e-6)
        assert 0 < group.tolerance <= 4 * group.symprec


@pytest.mark.parametrize(("change", "number"), [(0.004, 225), (0.018, 225), (0.05, 139)])
def test_symprec_is_the_largest_change_of_a_primitive_lattice_vector(change: float, number: int):
    atoms = bulk("MgO", "rocksalt", a=4.21)
    atoms.set_cell(atoms.cell.array @ np.diag([1, 1, 1 + change / 4.21]), scale_atoms=True)
    group = analyse_space_group(atoms, symprec=1e-2)
    assert group.number == number
    ratio = np.round(atoms.cell.array @ np.linalg.inv(group.primitive.cell.array))
    moved = np.linalg.norm(np.linalg.inv(ratio) @ atoms.cell.array - group.primitive.cell.array, axis=1).max()
    assert group.idealisation_displacement == pytest.approx(moved, abs=1e-9)
    assert group.idealisation_displacement <= 1e-2


def test_copies_in_a_supercell_count_and_the_size_of_the_supercell_does_not():
    atoms = bulk("MgO", "rocksalt", a=4.21).repeat((2, 2, 1))
    atoms.positions[3] += [0, 0.006, 0]
    group = analyse_space_group(atoms)
    assert (group.number, len(group.primitive)) == (225, 2)
    assert group.idealisation_displacement == pytest.approx(0.006 * 7 / 8, rel=1e-6)
    strained = bulk("MgO", "rocksalt", a=4.21)
    strained.set_cell(strained.cell.array @ np.diag([1, 1, 1.001]), scale_atoms=True)
    large = strained.repeat((3, 3, 3))
    expected = analyse_space_group(strained).idealisation_displacement
    assert analyse_space_group(large).idealisation_displacement == pytest.approx(expected, rel=1e-4)


def test_a_smaller_symprec_finds_the_subgroup_that_is_left():
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    atoms.positions[0] += [0.003, 0, 0]
    group = analyse_space_group(atoms, symprec=1e-2)
    assert group.number == 225
    assert 1e-4 < group.idealisation_displacement <= 0.003
    assert_maps_onto_itself(group)
    tight = analyse_space_group(atoms, symprec=1e-3)
    assert tight.number != 225
    assert 1 < tight.order < group.order
    assert tight.idealisation_displacement <= 1e-3
    assert_maps_onto_itself(tight)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "model 1"])
def test_noise_of_two_thousandths_of_an_angstrom_keeps_the_group(name: str):
    atoms = ALL_CRYSTALS[name].copy()
    atoms.rattle(0.002, seed=11)
    group = analyse_space_group(atoms)
    assert (group.number, group.order) == (group_of(name).number, group_of(name).order)


def test_strain_within_symprec_is_idealised_without_turning_the_lattice():
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    strain = np.eye(3) + 5e-4 * np.array([[1, 0.4, 0], [0.4, -1, 0.2], [0, 0.2, 0]])
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    group = analyse_space_group(atoms, symprec=1e-2)
    assert group.number == 225
    rotations = group.rotations
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotations.shape),
                               rtol=0, atol=1e-12)  # fmt: skip
    assert_maps_onto_itself(group)
    # the strain from input to idealised lattice is symmetric: no rotation was slipped in
    ratio = np.round(atoms.cell.array @ np.linalg.inv(group.primitive.cell.array))
    deformation = np.linalg.solve(atoms.cell.array, ratio @ group.primitive.cell.array)
    np.testing.assert_allclose(deformation, deformation.T, rtol=0, atol=1e-6)
    np.testing.assert_allclose(group.primitive.cell.volume * 4, atoms.cell.volume, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_noise_within_symprec_does_not_break_exactness(name: str):
    atoms = ALL_CRYSTALS[name].copy()
    atoms.positions += np.random.default_rng(3).normal(scale=4e-4, size=atoms.positions.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        group = analyse_space_group(atoms, symprec=1e-2)
    assert group.point_group == group_of(name).point_group
    assert group.idealisation_displacement < 3e-3
    assert_maps_onto_itself(group)


@pytest.mark.parametrize("noise", [1e-3, 3e-3, 6e-3, 1.2e-2, 3e-2])
def test_whatever_group_is_found_in_a_noisy_structure_is_exact_on_its_idealisation(noise: float):
    for seed, name in enumerate(FEW):
        atoms = ALL_CRYSTALS[name].copy()
        atoms.positions += np.random.default_rng(seed).normal(scale=noise, size=atoms.positions.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            group = analyse_space_group(atoms, symprec=1e-2)
        assert_maps_onto_itself(group)
        assert group.idealisation_displacement <= 1e-2
        assert len(group.primitive) * round(atoms.cell.volume / group.primitive.cell.volume) == len(atoms)


@pytest.mark.parametrize("system", SYSTEM_NUMBERS)
def test_every_space_group_is_rebuilt_exactly(system: str):
    first, last = SYSTEM_NUMBERS[system]
    for number in range(first, last + 1):
        cell = Lattice.from_parameters(*SYSTEM_CELLS[system])
        structure = Structure.from_spacegroup(number, cell, ["Na"], [[0.11, 0.23, 0.37]])
        atoms = Atoms(structure.atomic_numbers, positions=structure.cart_coords, cell=cell.matrix, pbc=True)
        group = analyse_space_group(rotate_atoms(atoms, random_rotation(np.random.default_rng(number))))
        expected = dataset_of(atoms)
        assert (group.number, group.point_group) == (expected.number, expected.pointgroup)
        primitive = group.primitive
        lattice = primitive.cell.array
        positions = primitive.positions @ group.rotations.transpose(0, 2, 1) + (group.translations @ lattice)[:, None]
        target = primitive.positions[group.permutations] + group.lattice_shifts @ lattice
        np.testing.assert_allclose(positions, target, rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            group.rotations @ group.rotations.transpose(0, 2, 1) - np.eye(3), 0, rtol=0, atol=1e-12
        )


def assert_trivial(group: SpaceGroup, atoms: Atoms) -> None:
    assert (group.number, group.order, group.point_group, group.crystal_system) == (1, 1, "1", "triclinic")
    np.testing.assert_array_equal(group.primitive.positions, atoms.positions)
    np.testing.assert_array_equal(group.primitive.cell.array, atoms.cell.array)
    np.testing.assert_array_equal(group.atom_to_primitive, np.arange(len(atoms)))
    np.testing.assert_array_equal(group.representatives, np.arange(len(atoms)))
    assert_maps_onto_itself(group)


@pytest.mark.parametrize("failure", ["none", "its own exception"])
def test_failure_of_spglib_falls_back_to_p1_with_a_warning(monkeypatch: pytest.MonkeyPatch, failure: str):
    class OwnError(Exception):
        pass

    def fail(*_args: object, **_options: object) -> None:
        if failure == "its own exception":
            raise OwnError("spglib 3 raises")

    monkeypatch.setattr(spglib_calls, "SpglibError", OwnError)
    monkeypatch.setattr(spglib_calls.spglib, "get_symmetry_dataset", fail)
    atoms = bulk("GaAs", "zincblende", a=5.65)
    with pytest.warns(UserWarning, match=r"AsGa.*symprec=0.01.*P1"):
        group = analyse_space_group(atoms)
    assert_trivial(group, atoms)
    assert group.tolerance == 0.0


def test_an_error_that_is_not_spglibs_own_is_never_taken_for_missing_symmetry(monkeypatch: pytest.MonkeyPatch):
    def fail(*_args: object, **_options: object) -> None:
        raise TypeError("another signature")

    monkeypatch.setattr(spglib_calls.spglib, "get_symmetry_dataset", fail)
    with pytest.raises(TypeError, match="another signature"):
        analyse_space_group(bulk("GaAs", "zincblende", a=5.65))


def test_warnings_turned_into_errors_lose_no_symmetry():
    operations.primitive_operations.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert analyse_space_group(bulk("GaAs", "zincblende", a=5.65)).number == 216


def test_a_version_that_can_only_warn_is_asked_again_where_warnings_are_errors(monkeypatch: pytest.MonkeyPatch):
    genuine = spglib_calls.spglib.get_symmetry_dataset

    def warning_each_time(cell: tuple, symprec: float = 1e-5) -> object:
        warnings.warn("Set OLD_ERROR_HANDLING to false", DeprecationWarning, stacklevel=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return genuine(cell, symprec=symprec)

    monkeypatch.setattr(spglib_calls.spglib, "get_symmetry_dataset", warning_each_time)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert analyse_space_group(bulk("GaAs", "zincblende", a=5.65)).number == 216


def test_overlapping_atoms_fall_back_to_p1_with_a_warning():
    atoms = bulk("Si", cubic=True)
    atoms.positions[1] = atoms.positions[0] + 1e-5
    with pytest.warns(UserWarning, match="overlapping"):
        group = analyse_space_group(atoms)
    assert_trivial(group, atoms)


def test_too_many_atoms_are_treated_as_p1_with_a_warning():
    atoms = bulk("Cu", cubic=True).repeat(8)
    assert len(atoms) > MOST_ATOMS
    with pytest.warns(UserWarning, match=r"Cu2048 has 2048 atoms.*above 2000.*P1"):
        group = analyse_space_group(atoms)
    assert group.order == 1


def test_a_crystal_without_symmetry_is_p1_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        group = analyse_space_group(ALL_CRYSTALS["model 1"])
    assert (group.number, group.order) == (1, 1)


def test_magnetic_moments_are_ignored():
    atoms = bulk("Fe", "bcc", a=2.87, cubic=True)
    atoms.set_initial_magnetic_moments([2.0, -2.0])
    assert analyse_space_group(atoms).number == 229


def brute_force_orbits(
    group: SpaceGroup, receiver: np.ndarray, sender: np.ndarray, vector: np.ndarray
) -> dict[int, list[set[int]]]:
    """Orbits of the edges of each representative, from Cartesian operations and positions alone."""
    cell = group.primitive.cell.array
    found: dict[int, list[set[int]]] = {}
    for atom in group.representatives:
        edges = np.flatnonzero(receiver == atom)
        parent = {int(edge): int(edge) for edge in edges}

        def root(edge: int, parent: dict[int, int] = parent) -> int:
            return edge if parent[edge] == edge else root(parent[edge])

        for g in range(group.order):
            image = carried(group, g)
            if distances(image[[atom]], group.primitive.positions[[atom]], cell)[0, 0] > 1e-6:
                continue
            turned = vector[edges] @ group.rotations[g].T
            species = group.permutations[g][sender[edges]]
            for edge, target, atom_reached in zip(edges, turned, species, strict=True):
                same = (sender[edges] == atom_reached) & (np.linalg.norm(vector[edges] - target, axis=1) < 1e-6)
                assert same.sum() == 1
                parent[root(int(edge))] = root(int(edges[same][0]))
        orbits: dict[int, set[int]] = {}
        for edge in parent:
            orbits.setdefault(root(edge), set()).add(edge)
        found[int(atom)] = list(orbits.values())
    return found


@pytest.mark.parametrize("name", [*FEW, "MgO m-3m", "Al2O3 -3m", "beta-quartz 622", "Cu m-3m", "BPO4 -4"])
def test_edge_orbits_agree_with_brute_force(name: str):
    group = group_of(name)
    receiver, sender, image, vector = neighbours(group.primitive, GraphSettings(cutoff=3.6))
    orbits = edge_orbits(group, receiver, sender, image)
    expected = brute_force_orbits(group, receiver, sender, vector)
    found = {int(edge): int(size) for edge, size in zip(orbits.representative, orbits.size, strict=True)}
    for orbit in (orbit for of_atom in expected.values() for orbit in of_atom):
        chosen = orbit & found.keys()
        assert len(chosen) == 1
        assert found[chosen.pop()] == len(orbit)
    assert len(found) == sum(len(of_atom) for of_atom in expected.values())


@pytest.mark.parametrize("name", NAMES)
def test_edge_orbit_sizes_sum_to_the_coordination_of_each_representative(name: str):
    group = group_of(name)
    receiver, sender, image, _ = neighbours(group.primitive, GraphSettings(cutoff=5.0))
    orbits = edge_orbits(group, receiver, sender, image)
    total = np.zeros(len(group.primitive), dtype=int)
    np.add.at(total, receiver[orbits.representative], orbits.size)
    coordination = np.bincount(receiver, minlength=len(group.primitive))
    np.testing.assert_array_equal(total[group.representatives], coordination[group.representatives])
    multiplicity = np.bincount(group.permutations.min(axis=0), minlength=len(group.primitive))
    assert (multiplicity * total).sum() == len(receiver)


def test_edge_orbits_in_p1_are_the_edges():
    group = group_of("model 1")
    receiver, sender, image, _ = neighbours(group.primitive, GraphSettings(cutoff=4.0))
    orbits = edge_orbits(group, receiver, sender, image)
    np.testing.assert_array_equal(orbits.size, 1)
    np.testing.assert_array_equal(np.sort(orbits.representative), np.arange(len(receiver)))


def test_no_edges_have_no_orbits():
    empty = np.zeros(0, dtype=np.int64)
    orbits = edge_orbits(group_of("Si m-3m"), empty, empty, np.zeros((0, 3), dtype=np.int64))
    assert len(orbits.representative) == len(orbits.size) == 0
