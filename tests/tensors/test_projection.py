"""Projection on what a space group allows: the forms of Nye's tables for every class, pymatgen as oracle."""

import json
from functools import cache

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.spacegroup import crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.tensors import Tensor
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.spatial.transform import Rotation

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.errors import UnknownNameError
from ase_comformer.tensors.forms import PROPERTIES, rotate, to_cartesian
from ase_comformer.tensors.symmetry_report import (
    independent_components,
    project,
    symmetry_report,
    symmetry_residual,
)
from ase_comformer.testing import PROJECTION
from benchmarks import nye

CRYSTAL_TENSORS = (
    "dielectric_tensor",
    "static_dielectric_tensor",
    "piezoelectric_tensor",
    "elastic_tensor",
    "stress",
)
PER_ATOM = ("born_effective_charges", "forces")
# One primitive space group per crystal class, then the settings with exchanged secondary axes and centred lattices.
NUMBERS = (1, 2, 4, 7, 14, 16, 26, 51, 76, 81, 84, 90, 100, 113, 127, 144, 147, 152, 156, 164,
           169, 174, 176, 178, 186, 187, 194, 198, 200, 212, 215, 221,
           115, 149, 157, 162, 189, 5, 8, 38, 43, 121, 119, 146, 160, 155, 167)  # fmt: skip
CELLS = {
    "triclinic": (5.1, 6.2, 7.3, 81, 97, 108),
    "monoclinic": (5.1, 6.2, 7.3, 90, 103, 90),
    "orthorhombic": (5.1, 6.2, 7.3, 90, 90, 90),
    "tetragonal": (5.1, 5.1, 7.3, 90, 90, 90),
    "trigonal": (5.1, 5.1, 7.3, 90, 90, 120),
    "hexagonal": (5.1, 5.1, 7.3, 90, 90, 120),
    "cubic": (6.1, 6.1, 6.1, 90, 90, 90),
}


@cache
def general_crystal(number: int) -> Atoms:
    """Three species on general positions: exactly this space group. Conventional axes: a along x, c along z."""
    cell = CELLS[nye.crystal_system(nye.class_of_space_group(number))]
    sites = [[0.11, 0.23, 0.37], [0.42, 0.07, 0.19], [0.31, 0.29, 0.05]]
    structure = Structure.from_spacegroup(number, Lattice.from_parameters(*cell), ["Na", "Mg", "Al"], sites)
    return Atoms(structure.atomic_numbers, positions=structure.cart_coords, cell=structure.lattice.matrix, pbc=True)


@cache
def general_group(number: int) -> SpaceGroup:
    return analyse_space_group(general_crystal(number))


@cache
def named_crystal(name: str) -> Atoms:
    return {
        "GaAs": lambda: bulk("GaAs", "zincblende", a=5.65),
        "MgO": lambda: bulk("MgO", "rocksalt", a=4.21, cubic=True),
        "ZnO": lambda: bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382),
        "BaTiO3": lambda: crystal(
            ["Ba", "Ti", "O"],
            [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)],
            spacegroup=221,
            cellpar=[4.0] * 3 + [90] * 3,
        ),
        "quartz": lambda: crystal(
            ["Si", "O"],
            [(0.4697, 0, 1 / 3), (0.4135, 0.2669, 0.7858)],
            spacegroup=152,
            cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
        ),
        "TiO2": lambda: crystal(
            ["Ti", "O"],
            [(0, 0, 0), (0.305, 0.305, 0)],
            spacegroup=136,
            cellpar=[4.59, 4.59, 2.96, 90, 90, 90],
        ),
    }[name]()


NAMED = ("GaAs", "MgO", "ZnO", "BaTiO3", "quartz", "TiO2")


def random_tensor(name: str, atoms: Atoms, seed: int = 0) -> np.ndarray:
    entry = PROPERTIES[name]
    shape = (len(atoms), *entry.shape) if entry.per_atom else entry.shape
    return np.random.default_rng(seed).normal(size=shape)


def random_rotation(seed: int, improper: bool) -> np.ndarray:
    return Rotation.random(random_state=seed).as_matrix() * (-1 if improper else 1)


def turned(atoms: Atoms, rotation: np.ndarray) -> Atoms:
    return Atoms(atoms.numbers, positions=atoms.positions @ rotation.T, cell=atoms.cell.array @ rotation.T, pbc=True)


def averaged_operation_by_operation(name: str, tensor: np.ndarray, atoms: Atoms) -> np.ndarray:
    """Reynolds average written out with loops over spglib's operations of the input cell itself."""
    cell = atoms.cell.array
    scaled = atoms.get_scaled_positions()
    operations = spglib.get_symmetry((cell, scaled, atoms.numbers), symprec=1e-4)
    total = np.zeros_like(tensor)
    for w, t in zip(operations["rotations"], operations["translations"], strict=True):
        r = cell.T @ w @ np.linalg.inv(cell.T)
        if not PROPERTIES[name].per_atom:
            total += rotate(tensor, r, name)
            continue
        for a in range(len(atoms)):
            difference = scaled - (w @ scaled[a] + t)
            difference -= np.round(difference)
            b = np.argmin(np.linalg.norm(difference @ cell, axis=1))
            total[b] += r @ tensor[a] @ r.T if tensor.ndim == 3 else r @ tensor[a]
    total /= len(operations["rotations"])
    return total - total.mean(axis=0) if PROPERTIES[name].per_atom else total


@pytest.mark.parametrize("number", NUMBERS)
def test_independent_components_and_forbidden_entries_agree_with_nye(number):
    atoms, group = general_crystal(number), general_group(number)
    point_group = nye.class_of_space_group(number)
    assert nye.canonical_class(group.point_group) == point_group
    to_nye = nye.rotation_to_nye_axes(number)
    nye_group = analyse_space_group(turned(atoms, to_nye))
    for name in ("dielectric_tensor", "piezoelectric_tensor", "elastic_tensor"):
        expected = nye.pattern(name, point_group)
        assert independent_components(name, group) == expected.independent
        raw = random_tensor(name, atoms, seed=number)
        zero, tied = nye.residuals(name, point_group, rotate(project(name, raw, group), to_nye, name))
        assert max([0.0, *zero, *tied]) < PROJECTION
        report = symmetry_report(nye_group, {name: raw}).properties[name]
        forbidden = {
            (int(row.label[1]) - 1, int(row.label[2]) - 1)
            for row in report.components
            if row.status == "forbidden" and name != "dielectric_tensor"
        }
        if name != "dielectric_tensor":
            assert forbidden == set(expected.zeros)
        assert sum(row.status == "free" for row in report.components) == expected.independent
    assert independent_components("stress", group) == independent_components("dielectric_tensor", group)


def test_every_crystal_class_is_covered():
    assert {nye.class_of_space_group(number) for number in NUMBERS} == set(nye.CLASSES)


@pytest.mark.parametrize("number", NUMBERS[::2])
def test_projection_is_idempotent_self_adjoint(number):
    atoms, group = general_crystal(number), general_group(number)
    for name in (*CRYSTAL_TENSORS, *PER_ATOM):
        raw, other = random_tensor(name, atoms, 1), random_tensor(name, atoms, 2)
        once = project(name, raw, group)
        twice = project(name, once, group)
        assert np.abs(twice - once).max() < PROJECTION * max(1.0, np.abs(once).max())
        overlaps = [
            np.vdot(to_cartesian(a, name), to_cartesian(b, name))
            for a, b in ((once, other), (raw, project(name, other, group)))
        ]
        assert overlaps[0] == pytest.approx(overlaps[1], abs=1e-10)


@settings(deadline=None, max_examples=15)
@given(name=st.sampled_from(NAMED), seed=st.integers(0, 2**31), improper=st.booleans(), shift=st.floats(-9, 9))
def test_projection_commutes_with_rotation_of_the_crystal(name, seed, improper, shift):
    atoms, rotation = named_crystal(name), random_rotation(seed, improper)
    moved = turned(atoms, rotation)
    moved.positions += shift * np.array([0.3, 0.5, 0.7])
    group, moved_group = analyse_space_group(atoms), analyse_space_group(moved)
    assert moved_group.order == group.order
    for tensor_name in (*CRYSTAL_TENSORS, *PER_ATOM):
        raw = random_tensor(tensor_name, atoms, seed % 1000)
        expected = rotate(project(tensor_name, raw, group), rotation, tensor_name)
        found = project(tensor_name, rotate(raw, rotation, tensor_name), moved_group)
        np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("number", [1, 7, 26, 90, 144, 152, 176, 189, 198, 215])
def test_projection_agrees_with_pymatgen_fit_to_structure(number):
    atoms = general_crystal(number)
    structure = AseAtomsAdaptor.get_structure(atoms)
    for name in ("dielectric_tensor", "piezoelectric_tensor", "elastic_tensor"):
        raw = random_tensor(name, atoms, 3)
        raw = raw if name == "piezoelectric_tensor" else raw + raw.T
        expected = Tensor(to_cartesian(raw, name)).fit_to_structure(structure, symprec=1e-2)
        found = to_cartesian(project(name, raw, general_group(number)), name)
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("supercell", [(1, 1, 1), (2, 1, 1)])
def test_per_atom_projection_agrees_with_a_loop_over_the_operations_of_the_input_cell(name, supercell):
    atoms = named_crystal(name)
    order = np.random.default_rng(5).permutation(len(atoms) * int(np.prod(supercell)))
    cells = make_supercell(atoms, np.diag(supercell))[order]
    group = analyse_space_group(cells)
    for tensor_name in PER_ATOM:
        raw = random_tensor(tensor_name, cells, 4)
        found = project(tensor_name, raw, group)
        np.testing.assert_allclose(found.sum(axis=0), 0.0, atol=1e-12)
        if supercell == (1, 1, 1):
            expected = averaged_operation_by_operation(tensor_name, raw, cells)
            np.testing.assert_allclose(found, expected, atol=1e-10)
        else:  # spglib lists only the operations that keep the supercell
            np.testing.assert_allclose(averaged_operation_by_operation(tensor_name, found, cells), found, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "born", "internal"),
    [("GaAs", 1, 0), ("MgO", 1, 0), ("ZnO", 2, 1), ("BaTiO3", 3, 0), ("quartz", 12, 4), ("TiO2", 4, 1)],
)
def test_born_charges_and_forces_have_the_known_number_of_independent_components(name, born, internal):
    # Born: invariants of the site groups minus those of the point group (sum rule). Forces: internal coordinates.
    group = analyse_space_group(named_crystal(name))
    assert independent_components("born_effective_charges", group) == born
    assert independent_components("forces", group) == internal


@pytest.mark.parametrize("number", [1, 4, 26, 81, 144, 152, 187, 198])
def test_independent_per_atom_components_equal_the_trace_of_the_projector(number):
    group = general_group(number)
    for name, size in (("born_effective_charges", 9), ("forces", 3)):
        count = len(group.atom_to_primitive) * size
        units = np.eye(count).reshape(count, len(group.atom_to_primitive), *PROPERTIES[name].shape)
        trace = np.trace(project(name, units, group).reshape(count, count))
        translations = len(group.atom_to_primitive) / len(group.primitive)
        assert translations == 1
        assert independent_components(name, group) == pytest.approx(trace, abs=1e-9)


def test_cubic_perovskite_oxygen_charges_are_uniaxial_along_the_bond():
    atoms = named_crystal("BaTiO3")
    charges = project(
        "born_effective_charges", random_tensor("born_effective_charges", atoms), analyse_space_group(atoms)
    )
    titanium = atoms.positions[atoms.numbers == 22][0]
    for index in np.flatnonzero(atoms.numbers == 8):
        bond = atoms.positions[index] - titanium
        axis = int(np.argmax(np.abs(bond - np.round(bond / 4.0) * 4.0)))
        diagonal = np.diag(charges[index])
        across = [k for k in range(3) if k != axis]
        assert diagonal[across[0]] == pytest.approx(diagonal[across[1]], abs=1e-12)
        assert abs(diagonal[axis] - diagonal[across[0]]) > 1e-3
        np.testing.assert_allclose(charges[index] - np.diag(diagonal), 0.0, atol=1e-12)


def test_born_charges_keep_their_antisymmetric_part_where_symmetry_allows_it():
    atoms = named_crystal("quartz")
    charges = project(
        "born_effective_charges", random_tensor("born_effective_charges", atoms), analyse_space_group(atoms)
    )
    assert np.abs(charges - charges.swapaxes(1, 2)).max() > 0.1


@pytest.mark.parametrize("number", [2, 14, 115, 152, 176, 198])
def test_relations_of_the_report_hold_in_a_rotated_frame(number):
    atoms = turned(general_crystal(number), random_rotation(number, improper=True))
    group = analyse_space_group(atoms)
    raw = {name: random_tensor(name, atoms, 6) for name in (*CRYSTAL_TENSORS, *PER_ATOM)}
    for name, entry in symmetry_report(group, raw).properties.items():
        values = {row.label: row.projected for row in entry.components}
        assert len(values) == len(entry.components), name
        for row in entry.components:
            if row.status == "forbidden":
                assert abs(row.projected) < 1e-10
            if row.status == "tied":
                expected = sum(factor * values[label] for label, factor in row.relation.items())
                assert row.projected == pytest.approx(expected, abs=2e-3)
                assert max(abs(factor) for factor in row.relation.values()) < 2.1
        assert sum(row.status == "free" for row in entry.components) == entry.independent


def test_report_of_quartz_names_ties_and_violated_operations():
    atoms = named_crystal("quartz")
    raw = {name: random_tensor(name, atoms) for name in ("elastic_tensor", "piezoelectric_tensor")}
    report = symmetry_report(analyse_space_group(atoms), raw)
    rows = {row.label: row for entry in report.properties.values() for row in entry.components}
    assert rows["C66"].status_text == "= (C11 - C12)/2"
    assert rows["C24"].status_text == "= -C14"
    assert rows["C15"].status == "forbidden"
    assert rows["e26"].status_text == "= -e11"
    assert rows["e25"].status_text == "= -e14"
    assert {row.violates for row in rows.values()} <= {"", "3 [001]", "2 [100]", "2 [010]", "2 [110]"}
    text = str(report)
    assert "P3_121 (No. 152), point group 32, trigonal" in text
    assert "elastic_tensor (GPa): 6 independent" in text
    assert json.loads(json.dumps(report.as_dict()))["properties"]["elastic_tensor"]["independent"] == 6


def test_report_of_zincblende_says_which_operation_an_entry_violates():
    group = analyse_space_group(bulk("GaAs", "zincblende", a=5.65, cubic=True))
    raw = np.diag([10.0, 10.0, 11.0])
    entry = symmetry_report(group, {"dielectric_tensor": raw}).properties["dielectric_tensor"]
    rows = {row.label: row for row in entry.components}
    assert rows["eps_zz"].status_text == "= eps_xx"
    # Only operations that carry z elsewhere change this tensor: three-folds, -4 along x or y, some mirrors.
    assert rows["eps_zz"].violates in {"3 [111]", "3 [-111]", "3 [1-11]", "3 [11-1]", "-4 [100]", "-4 [010]",
                                       "m [101]", "m [-101]", "m [011]", "m [0-11]"}  # fmt: skip
    assert rows["eps_xy"].violates == ""
    assert entry.residual == pytest.approx(np.linalg.norm([1 / 3, 1 / 3, -2 / 3]) / np.linalg.norm(np.diag(raw)))


def test_symmetric_tensors_are_reported_clean():
    atoms = named_crystal("ZnO")
    group = analyse_space_group(atoms)
    raw = {name: project(name, random_tensor(name, atoms), group) for name in (*CRYSTAL_TENSORS, *PER_ATOM)}
    report = symmetry_report(group, raw)
    assert set(report.properties) == set(raw)
    for entry in report.properties.values():
        assert entry.residual < 1e-12
        assert all(row.violates == "" for row in entry.components)


def test_index_symmetry_and_sum_rule_are_imposed_and_named_without_any_space_group():
    atoms = general_crystal(1)
    group = general_group(1)
    skew = np.array([[2.0, 0.5, 0.0], [-0.5, 2.0, 0.0], [0.0, 0.0, 2.0]])
    np.testing.assert_allclose(project("dielectric_tensor", skew, group), 2.0 * np.eye(3), atol=1e-15)
    charges = random_tensor("born_effective_charges", atoms)
    report = symmetry_report(group, {"born_effective_charges": charges, "dielectric_tensor": skew})
    rows = {row.label: row for entry in report.properties.values() for row in entry.components}
    assert rows["eps_xy"].violates == "index symmetry"
    assert rows["Z(Na0)_xx"].violates == "sum rule"
    assert report.properties["born_effective_charges"].independent == 18


def test_residual_is_relative_to_the_norm_or_to_one():
    assert symmetry_residual("elastic_tensor", np.full((6, 6), 1e-3), np.zeros((6, 6))) < 1e-2
    assert symmetry_residual("dielectric_tensor", 10 * np.eye(3), 5 * np.eye(3)) == pytest.approx(0.5)
    one = np.ones((1, 3, 3))
    assert symmetry_residual("born_effective_charges", one, 0 * one) == pytest.approx(
        symmetry_residual("born_effective_charges", np.ones((8, 3, 3)), np.zeros((8, 3, 3)))
    )


def test_leading_batch_axes_are_projected_one_by_one():
    atoms, group = general_crystal(152), general_group(152)
    for name in (*CRYSTAL_TENSORS, *PER_ATOM):
        batch = np.stack(
            [[random_tensor(name, atoms, k) for k in (0, 1)], [random_tensor(name, atoms, k) for k in (2, 3)]]
        )
        found = project(name, batch, group)
        np.testing.assert_allclose(found[1, 0], project(name, batch[1, 0], group), atol=1e-14)


def test_float32_input_is_projected_in_float64_and_not_changed_in_place():
    raw = random_tensor("elastic_tensor", named_crystal("MgO")).astype(np.float32)
    before = raw.copy()
    assert project("elastic_tensor", raw, analyse_space_group(named_crystal("MgO"))).dtype == np.float64
    np.testing.assert_array_equal(raw, before)


def test_scalars_pass_through():
    group = general_group(2)
    assert project("formation_energy", -1.5, group) == -1.5
    assert independent_components("formation_energy", group) == 1
    assert symmetry_report(group, {"formation_energy": -1.5}).properties == {}


def test_wrong_shapes_and_names_are_refused():
    group = analyse_space_group(named_crystal("GaAs"))
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) for 2 atoms"):
        project("born_effective_charges", np.zeros((3, 3, 3)), group)
    with pytest.raises(ValueError, match=r"trailing shape \(6, 6\)"):
        project("elastic_tensor", np.zeros((3, 6)), group)
    with pytest.raises(UnknownNameError, match="elastic_tensor"):
        project("elasticity", np.zeros((6, 6)), group)
    with pytest.raises(ValueError, match="one elastic_tensor at a time"):
        symmetry_report(group, {"elastic_tensor": np.zeros((2, 6, 6))})
