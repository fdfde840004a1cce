"""The index of what was trained on: which formulas and crystals are known, however they are written down."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from ase_comformer import in_training
from ase_comformer.crystals.fingerprint import crystal_key, formula_key, reduced_formula
from ase_comformer.errors import WeightsError
from ase_comformer.models.registry import save_weights, weights_folder
from ase_comformer.models.training_index import FILE, packed, unpacked
from tiny import tiny_card, tiny_network


@pytest.fixture
def aluminium_nitride() -> Atoms:
    return bulk("AlN", "wurtzite", a=3.13, c=5.02)


def test_a_crystal_of_the_training_split_is_known_in_any_cell(aluminium_nitride: Atoms) -> None:
    large = aluminium_nitride.repeat((2, 1, 1))
    large.rotate(30, (1, 2, 3), rotate_cell=True)
    large.set_cell(large.cell * 1.01, scale_atoms=True)
    for atoms in (aluminium_nitride, large):
        found = in_training(atoms)
        assert found.crystal_known
        assert "dielectric_born" in found.crystal_datasets["dielectric_tensor"]
        assert "labelled" in found.formula_datasets["energy"]
    assert "trained on this crystal" in str(found)


def test_another_polymorph_shares_the_formula_only() -> None:
    # nobody has made AlN like caesium chloride in one of the data sets
    found = in_training(bulk("AlN", "cesiumchloride", a=2.6))
    assert found.formula_known
    assert not any("dielectric_born" in names for names in found.crystal_datasets.values())


@pytest.mark.parametrize("formula", ["MgO", "TiO2", "SiO2"], ids=["withheld", "test", "val"])
def test_other_splits_are_unknown(formula: str) -> None:
    atoms = Atoms(formula, positions=np.arange(3 * len(Atoms(formula))).reshape(-1, 3), cell=[8, 8, 8], pbc=True)
    assert not in_training(atoms).formula_known
    assert in_training(atoms).as_dict()["formula_known"] is False


def test_molecules_are_looked_up_by_formula() -> None:
    assert in_training(Atoms("N2", positions=[[0, 0, 0], [0, 0, 1.1]])).formula == "N"


def test_keys_tell_formulas_space_groups_and_cells_apart() -> None:
    rutile = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.59, 4.59, 2.96, 90, 90, 90]
    )
    anatase = crystal(["Ti", "O"], [(0, 0, 0), (0, 0, 0.208)], spacegroup=141, cellpar=[3.79, 3.79, 9.51, 90, 90, 90])
    assert reduced_formula(rutile.numbers) == "O2Ti"
    assert formula_key(rutile.numbers) == formula_key(anatase.numbers)
    assert len({crystal_key(rutile), crystal_key(anatase), crystal_key(bulk("Si"))}) == 3
    assert crystal_key(anatase.repeat((1, 2, 1))) == crystal_key(anatase)


def test_keys_survive_packing() -> None:
    keys = np.sort(np.random.default_rng(0).integers(2**40, size=5000, dtype=np.uint64))
    np.testing.assert_array_equal(unpacked(packed(keys)), keys)


def test_the_index_is_small() -> None:
    assert (weights_folder() / FILE).stat().st_size < 1_000_000


def test_a_missing_index_says_how_to_make_one(tmp_path) -> None:
    path = save_weights(tiny_network(), tmp_path, "tiny", tiny_card(tiny_network()))
    with pytest.raises(WeightsError, match=r"training\.data\.index"):
        in_training(bulk("Si"), path)
