"""Hypothetical crystals: new formulas of the training split only, sensible volumes."""

import itertools

import numpy as np
from ase.build import bulk
from ase.data import atomic_numbers

from ase_comformer.training.data.records import split_of
from ase_comformer.training.data.substitution import atomic_volumes, similar_elements, substituted

CRYSTALS = [
    bulk("MgO", "rocksalt", a=4.25),
    bulk("KF", "rocksalt", a=5.35),
    bulk("GaN", "zincblende", a=4.5),
    bulk("NiAl", "cesiumchloride", a=2.88),
    bulk("FeTi", "cesiumchloride", a=2.97),
]


def test_new_crystals_belong_to_the_training_split_and_come_once() -> None:
    found = list(itertools.islice(substituted(CRYSTALS, seed=3), 60))
    names = [atoms.get_chemical_formula(empirical=True) for atoms in found]
    assert {split_of(name) for name in names} == {"train"}
    assert len(set(names)) == 60
    assert not set(names) & {atoms.get_chemical_formula(empirical=True) for atoms in CRYSTALS}


def test_the_prototype_is_kept_and_the_volume_follows_the_elements() -> None:
    volumes = atomic_volumes(CRYSTALS)
    for atoms in itertools.islice(substituted(CRYSTALS, seed=1), 40):
        parent = CRYSTALS[atoms.info["parent"]]
        np.testing.assert_allclose(atoms.get_scaled_positions(), parent.get_scaled_positions(), atol=1e-12)
        np.testing.assert_allclose(atoms.cell.angles(), parent.cell.angles())
        expected = parent.get_volume() * volumes[atoms.numbers].sum() / volumes[parent.numbers].sum()
        assert abs(np.log(atoms.get_volume() / expected)) < 0.2


def test_the_choice_is_reproducible() -> None:
    first, second = ([a.get_chemical_formula() for a in itertools.islice(substituted(CRYSTALS, 7), 10)] for _ in "ab")
    assert first == second


def test_similarity_is_symmetric_and_never_an_element_itself() -> None:
    similar = similar_elements()
    assert atomic_numbers["Cl"] in similar[atomic_numbers["Br"]]
    assert atomic_numbers["Cl"] not in similar[atomic_numbers["Na"]]
    for number, others in similar.items():
        assert number not in others
        assert all(number in similar[other] for other in others)


def test_atomic_volumes_reproduce_the_cells_they_come_from() -> None:
    crystals = [bulk(name, a=a) for name, a in (("Cu", 3.6), ("Ag", 4.1), ("Au", 4.1))] * 20
    volumes = atomic_volumes(crystals)
    assert abs(volumes[29] / crystals[0].get_volume() - 1) < 0.02
