"""Bulk crystals, layered ones included, are told from molecules, wires and layers in a vacuum box."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule, mx2, nanotube

from ase_comformer.crystals.applicability import assess_applicability
from ase_comformer.testing import random_rotation, rotate_atoms
from seven_systems import ALL_CRYSTALS


def in_box(atoms: Atoms) -> Atoms:
    boxed = atoms.copy()
    boxed.pbc = True
    return boxed


def water(box: float) -> Atoms:
    atoms = molecule("H2O", cell=[box] * 3)
    atoms.center()
    return in_box(atoms)


def tube() -> Atoms:
    atoms = nanotube(6, 0, length=1)
    atoms.center(vacuum=8, axis=(0, 1))
    return in_box(atoms)


def bilayer() -> Atoms:
    layer = in_box(mx2("MoS2", vacuum=1.6))
    atoms = layer.repeat((1, 1, 2))
    cell = atoms.cell.array.copy()
    cell[2, 2] += 15.0
    atoms.set_cell(cell)
    return atoms


GRAPHITE = Atoms(
    "C4", scaled_positions=[(0, 0, 0.25), (0, 0, 0.75), (1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75)],
    cell=[2.46, 2.46, 6.7, 90, 90, 120], pbc=True,
)  # fmt: skip


@pytest.mark.parametrize("name", ALL_CRYSTALS)
def test_every_crystal_of_the_test_set_is_bulk(name: str) -> None:
    found = assess_applicability(ALL_CRYSTALS[name])
    assert found.is_bulk
    assert found.status == ""


@pytest.mark.parametrize(
    ("atoms", "bonded"),
    [
        (GRAPHITE, 2),
        (in_box(mx2("MoS2", vacuum=1.6)), 2),
        (bulk("Xe", a=6.2), 0),
        (bulk("Cs", a=6.14), 3),
        (bulk("NaCl", "rocksalt", a=5.64).repeat(5), 3),
    ],
)
def test_layered_and_molecular_crystals_are_bulk_although_their_bonds_are_not(atoms: Atoms, bonded: int) -> None:
    found = assess_applicability(atoms)
    assert (found.dimensionality, found.bonded_dimensionality) == (3, bonded)
    assert found.void_width < 5.0


@pytest.mark.parametrize(
    ("atoms", "dimensionality", "words"),
    [
        (in_box(mx2("MoS2", vacuum=6)), 2, "a monolayer or slab"),
        (bilayer(), 2, "a monolayer or slab"),
        (in_box(fcc111("Cu", (2, 2, 4), vacuum=6)), 2, "a monolayer or slab"),
        (fcc111("Cu", (2, 2, 4), vacuum=6), 2, "a monolayer or slab"),
        (tube(), 1, "a wire or chain"),
        (water(12.0), 0, "molecules"),
        (bulk("NaCl", "rocksalt", a=5.64 * 1.9), 0, "isolated atoms"),
        (molecule("CH4"), 0, "surrounded by vacuum"),
    ],
)
def test_structures_in_vacuum_are_named(atoms: Atoms, dimensionality: int, words: str) -> None:
    found = assess_applicability(atoms)
    assert found.dimensionality == dimensionality
    assert words in found.status
    assert "size of the box" in found.status


def test_the_empty_width_is_that_of_the_vacuum() -> None:
    layer = in_box(mx2("MoS2", vacuum=7.5))
    assert assess_applicability(layer).void_width == pytest.approx(15.0, abs=1e-6)


def test_the_answer_depends_neither_on_orientation_nor_on_the_cell() -> None:
    generator = np.random.default_rng(0)
    for atoms in (GRAPHITE, bilayer(), tube(), water(12.0)):
        expected = assess_applicability(atoms)
        turned = rotate_atoms(atoms.repeat((1, 2, 1)), random_rotation(generator))
        turned.positions += 3.3
        turned.wrap()
        found = assess_applicability(turned)
        assert found.dimensionality == expected.dimensionality
        assert found.bonded_dimensionality == expected.bonded_dimensionality
        assert found.void_width == pytest.approx(expected.void_width, abs=1e-6)
