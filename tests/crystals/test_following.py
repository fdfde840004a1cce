"""Operations carried over to a strained or relaxed structure are those that a new search finds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal as spacegroup_crystal

from ase_comformer.crystals.following import FollowedGroup
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import InvalidStructureError
from ase_comformer.inference.potential_evaluator import PotentialEvaluator
from ase_comformer.nn.architectures.potential import Potential
from seven_systems import ALL_CRYSTALS

CRYSTALS = ("MgO m-3m", "quartz 32", "Al2O3 -3m", "ZnO 6mm", "rutile 4/mmm", "FeSi 23", "model -1")
EXACT = 1e-8


def symmetric_motion(atoms: Atoms, size: float) -> Atoms:
    """Atoms and cell moved as the space group allows: along forces and stress of a random potential."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Potential(scalars=8, vectors=4, layers=2, hidden=8, graph_settings={"cutoff": 4.5})
    found = PotentialEvaluator([network.double().requires_grad_(False)], use_symmetry=False).evaluate(atoms)
    moved = atoms.copy()
    forces = found["forces"]
    xx, yy, zz, yz, xz, xy = found["stress"]
    strain = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if np.abs(forces).max() > 1e-9:  # else symmetry fixes all positions
        moved.positions += size * forces / np.abs(forces).max()
    moved.set_cell(moved.cell.array @ (np.eye(3) + size * strain / np.abs(strain).max()), scale_atoms=True)
    return moved


def start(name: str) -> Atoms:
    return analyse_space_group(ALL_CRYSTALS[name]).primitive.repeat((1, 2, 1))


def test_an_origin_that_is_off_by_half_a_lattice_vector_is_followed() -> None:
    """Spinel in the setting with the origin at Al: positions and translations differ by exactly one half."""
    sites = [(0.125, 0.125, 0.125), (0.5, 0.5, 0.5), (0.2624, 0.2624, 0.2624)]
    cell = {"spacegroup": 227, "setting": 2, "cellpar": [8.08] * 3 + [90] * 3}
    for primitive in (True, False):
        atoms = spacegroup_crystal(["Mg", "Al", "O"], sites, primitive_cell=primitive, **cell)
        followed = FollowedGroup.of(atoms, analyse_space_group(atoms, 1e-5))
        atoms.set_cell(atoms.cell * 1.01, scale_atoms=True)
        group = followed.on(atoms, EXACT)
        assert group is not None
        assert (group.number, group.order) == (227, 48)


@pytest.mark.parametrize("name", CRYSTALS)
def test_the_group_follows_symmetric_motion(name: str) -> None:
    atoms = start(name)
    followed = FollowedGroup.of(atoms, analyse_space_group(atoms, 1e-5))
    moved = symmetric_motion(atoms, 0.02)
    moved.positions += [0.3, -0.1, 0.2]  # and the origin moved
    group, fresh = followed.on(moved, EXACT), analyse_space_group(moved, 1e-5)
    assert group is not None
    assert (group.number, group.order) == (fresh.number, fresh.order)
    assert len(group.primitive) == len(fresh.primitive)
    basis = group.primitive.positions @ np.linalg.inv(group.primitive.cell.array)
    images = np.einsum("gxy,ay->gax", group.fractional_rotations, basis)
    images = images + group.translations[:, None] - group.lattice_shifts
    np.testing.assert_allclose(images, basis[group.permutations], atol=1e-9)
    products = group.rotations @ group.rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-12)


@pytest.mark.parametrize("name", [name for name in CRYSTALS if name != "model -1"])
@pytest.mark.parametrize("what", ["atom", "shear"])
def test_broken_symmetry_is_noticed(name: str, what: str) -> None:
    atoms = start(name)
    followed = FollowedGroup.of(atoms, analyse_space_group(atoms, 1e-5))
    if what == "atom":
        atoms.positions[0] += [1e-6, 2e-6, 3e-6]
    else:
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + 1e-6 * np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]])), scale_atoms=True
        )
    assert followed.on(atoms, EXACT) is None
    assert followed.on(bulk("Cu"), EXACT) is None


@pytest.mark.parametrize("name", CRYSTALS)
def test_results_do_not_depend_on_what_came_before(name: str) -> None:
    network = Potential(scalars=8, vectors=4, layers=2, hidden=8, graph_settings={"cutoff": 4.5})
    network = network.double().requires_grad_(False)
    atoms = start(name)
    moved = symmetric_motion(atoms, 0.05)
    used = PotentialEvaluator([network])
    used.evaluate(atoms)
    found = used.evaluate(moved)
    expected = PotentialEvaluator([network], use_symmetry=False).evaluate(moved)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-9, err_msg=key)


def doubly_filled(kind: str) -> tuple[Atoms, Atoms]:
    """A supercell, and the same with one site filled twice and one empty, which maps onto it modulo the lattice."""
    perfect = bulk("MgO", "rocksalt", a=4.21).repeat((2, 3, 2))
    damaged = perfect.copy()
    damaged.positions[2] = perfect.positions[0]
    if kind == "through the boundary":
        damaged.positions[2] += perfect.cell[0] - perfect.cell[2]
    elif kind == "in a skewed supercell":
        matrix = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
        for atoms in (perfect, damaged):
            atoms.set_cell(matrix @ atoms.cell.array, scale_atoms=False)
    return perfect, damaged


@pytest.mark.parametrize("kind", ["inside", "through the boundary", "in a skewed supercell"])
def test_a_vacancy_beside_a_doubly_filled_site_is_no_crystal(kind: str) -> None:
    perfect, damaged = doubly_filled(kind)
    followed = FollowedGroup.of(perfect, analyse_space_group(perfect, 1e-5))
    assert followed.on(perfect, EXACT) is not None
    assert followed.on(damaged, EXACT) is None


def test_atoms_that_hop_by_lattice_vectors_keep_their_sites() -> None:
    perfect, _ = doubly_filled("inside")
    followed = FollowedGroup.of(perfect, analyse_space_group(perfect, 1e-5))
    hopped = perfect.copy()
    hopped.positions[2] += perfect.cell[0]
    hopped.positions[3] -= 2 * perfect.cell[1]
    hopped.positions[[0, 4]] = hopped.positions[[4, 0]]
    group = followed.on(hopped, EXACT)
    assert group is not None
    assert group.order == 48


def test_overlapping_atoms_are_refused_after_the_perfect_crystal_as_before_it() -> None:
    network = Potential(scalars=8, vectors=4, layers=2, hidden=8, graph_settings={"cutoff": 4.5})
    evaluator = PotentialEvaluator([network.double().requires_grad_(False)])
    perfect, damaged = doubly_filled("through the boundary")
    for call in (evaluator.evaluate, evaluator.prepare):
        call(perfect)
        with pytest.raises(InvalidStructureError, match="overlap"):
            call(damaged)
