"""The neighbour search finds the same pairs in every cell of a lattice, and refuses cells with absurdly many images."""

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.neighborlist import neighbor_list

from ase_comformer.crystals.neighbour_search import MOST_IMAGES, pairs_within, periodic_images
from ase_comformer.errors import InvalidStructureError
from ase_comformer.testing import random_rotation, rotate_atoms

QUARTZ_LIKE = Atoms(
    "SiO2", cell=[[4.9, 0, 0], [-2.4, 4.2, 0], [0.3, 0.2, 5.4]], pbc=True,
    scaled_positions=[(0.47, 0, 0.33), (0.41, 0.27, 0.78), (0.9, 0.6, 0.1)],
)  # fmt: skip


def sorted_distances(atoms: Atoms, cutoff: float) -> np.ndarray:
    pairs = pairs_within(atoms, cutoff)
    return np.sort(pairs.distance)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, False, True), (False,) * 3])
def test_pairs_agree_with_ase(pbc: tuple[bool, ...]) -> None:
    atoms = QUARTZ_LIKE.copy()
    atoms.pbc = pbc
    expected = np.sort(neighbor_list("d", atoms, 5.0))
    np.testing.assert_allclose(sorted_distances(atoms, 5.0), expected, atol=1e-10)


@pytest.mark.parametrize("shear", [0, 3, 100, 5000])
def test_a_skewed_cell_of_a_healthy_lattice_gives_the_same_pairs(shear: int) -> None:
    skewed = QUARTZ_LIKE.copy()
    matrix = np.array([[1, 0, 0], [shear, 1, 0], [2 * shear, -shear, 1]])
    skewed.set_cell(matrix @ QUARTZ_LIKE.cell.array, scale_atoms=False)
    start = time.perf_counter()
    pairs = pairs_within(skewed, 5.0)
    assert time.perf_counter() - start < 1.0
    np.testing.assert_allclose(np.sort(pairs.distance), sorted_distances(QUARTZ_LIKE, 5.0), atol=1e-6)
    rebuilt = skewed.positions[pairs.sender] - skewed.positions[pairs.receiver] + pairs.image @ skewed.cell.array
    np.testing.assert_allclose(rebuilt, pairs.vector, atol=1e-6)


def test_left_handed_cells_and_atoms_outside_the_cell_give_the_same_pairs() -> None:
    mirrored = QUARTZ_LIKE.copy()
    mirrored.set_cell(QUARTZ_LIKE.cell.array[[1, 0, 2]], scale_atoms=False)
    mirrored.positions[1] += mirrored.cell[0] * 7 - mirrored.cell[2] * 3
    np.testing.assert_allclose(sorted_distances(mirrored, 5.0), sorted_distances(QUARTZ_LIKE, 5.0), atol=1e-9)


@pytest.mark.parametrize(
    "cell",
    [
        [[3, 0, 0], [3 * np.cos(0.0001), 3 * np.sin(0.0001), 0], [0, 0, 5]],
        [[30, 0, 0], [0, 30, 0], [1.234, 1.77, 3e-6]],
        [[0.001, 0, 0], [0, 20, 0], [0, 0, 20]],
    ],
)
def test_nearly_flat_cells_and_needles_are_refused_at_once_with_the_number_of_images(cell: list) -> None:
    atoms = Atoms("Si", cell=cell, pbc=True)
    start = time.perf_counter()
    with pytest.raises(InvalidStructureError, match=r"[\d,.e+]+ periodic images .* nearly flat or very thin"):
        pairs_within(atoms, 5.5)
    assert time.perf_counter() - start < 1.0


def test_far_away_coordinates_are_refused() -> None:
    atoms = bulk("Cu")
    atoms.positions[0, 1] = 3e9  # Å
    with pytest.raises(InvalidStructureError, match=r"Atom 0 .* 3e\+09 Å.*wrap"):
        pairs_within(atoms, 5.0)


def test_images_are_counted_in_periodic_directions_only() -> None:
    cell = np.diag([2.0, 4.0, 0.001])
    assert periodic_images(cell, np.array([True, True, False]), 5.0) == (2 * 3 + 1) * (2 * 2 + 1)
    assert periodic_images(cell, np.array([True, True, True]), 5.0) > MOST_IMAGES
    assert periodic_images(np.zeros((3, 3)), np.array([True] * 3), 5.0) == np.inf
    slab = fcc111("Cu", (1, 1, 3))
    assert len(pairs_within(slab, 3.0).receiver) > 0


def brute_force_count(atoms: Atoms, cutoff: float) -> int:
    """Directed pairs, from every image of every atom in the cells next to its own."""
    shifts = [range(-2, 3) if periodic else [0] for periodic in atoms.pbc]
    images = np.stack(np.meshgrid(*shifts, indexing="ij"), axis=-1).reshape(-1, 3)
    difference = atoms.positions[None] - atoms.positions[:, None]
    distance = np.linalg.norm(difference + (images @ atoms.cell.array)[:, None, None], axis=-1)
    return int((distance < cutoff).sum()) - len(atoms)


@pytest.mark.parametrize("pbc", [(False,) * 3, (True, False, False), (True, True, False), (True,) * 3])
@pytest.mark.parametrize("lengths", [(10, 4000, 4000), (1e5, 8, 9), (3e4, 3e4, 7), (40, 30, 20), (2e5, 1e5, 9)])
def test_wide_and_narrow_boxes_give_the_pairs_of_brute_force(pbc: tuple[bool, ...], lengths: tuple) -> None:
    """vesin would divide by zero, or take minutes, in some of them."""
    generator = np.random.default_rng(1)
    clusters = generator.random((6, 3)) * np.array(lengths)
    positions = clusters[generator.integers(0, 6, 30)] + generator.normal(size=(30, 3)) * 1.5
    atoms = Atoms("H30", positions=positions, cell=lengths, pbc=pbc)
    pairs = pairs_within(atoms, 5.5)
    assert len(pairs.receiver) == brute_force_count(atoms, 5.5) > 100
    rebuilt = atoms.positions[pairs.sender] - atoms.positions[pairs.receiver] + pairs.image @ atoms.cell.array
    np.testing.assert_allclose(rebuilt, pairs.vector, atol=1e-9)
    assert not pairs.image[:, ~atoms.pbc].any()


def test_slabs_and_wires_whose_cell_is_turned_have_the_same_pairs() -> None:
    generator = np.random.default_rng(2)
    for pbc in ((True, True, False), (False, True, False)):
        atoms = QUARTZ_LIKE.repeat((2, 2, 1))
        atoms.pbc = pbc
        turned = rotate_atoms(atoms, random_rotation(generator))
        np.testing.assert_allclose(sorted_distances(turned, 5.0), sorted_distances(atoms, 5.0), atol=1e-9)


@pytest.mark.parametrize(("count", "pbc"), [(9000, False), (60, True)])
def test_atoms_packed_absurdly_are_refused_before_memory_is_filled(count: int, pbc: bool) -> None:
    generator = np.random.default_rng(3)
    atoms = Atoms(f"H{count}", positions=generator.random((count, 3)) * 1.2, cell=[1.2] * 3, pbc=pbc)
    with pytest.raises(InvalidStructureError, match=r"neighbours within 5.5 Å.*packed beyond anything physical"):
        pairs_within(atoms, 5.5)
