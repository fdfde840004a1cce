"""Batches of moving structures against structures evaluated one by one."""

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule

from ase_comformer.crystals.neighbour_search import pairs_within
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.crystals.symmetric_motion import symmetric_motion
from ase_comformer.inference.moving_batch import MovingBatch, MovingStructure
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.deformation import exponential


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(dtype="float64")


def assert_same(batch: MovingBatch, moved: np.ndarray, deformations: np.ndarray, predictor: Predictor) -> None:
    found = batch.evaluate(moved, deformations).divided()
    for structure, each, own, deformation in zip(
        batch.structures, found, batch.atoms_of(moved), deformations, strict=True
    ):
        atoms = structure.moved(own, deformation)
        alone = predictor.evaluate(atoms, ["energy", "forces", *(["stress"] if atoms.pbc.any() else [])])
        assert each.energies[0] == pytest.approx(alone["energy"], abs=1e-9)
        np.testing.assert_allclose(each.forces, alone["forces"], atol=1e-9)
        if atoms.pbc.any():
            np.testing.assert_allclose(each.stress[0].ravel()[[0, 4, 8, 5, 2, 1]], alone["stress"], atol=1e-10)
        assert each.shortest[0] == pytest.approx(pairs_within(atoms, 8.0).distance.min())


def test_plain_structures_that_move_far(predictor: Predictor) -> None:
    structures = [bulk("NaCl", "rocksalt", a=5.6, cubic=True), bulk("Cs", a=6.1), bulk("Si")]
    batch = MovingBatch(predictor.potential.ensemble, [MovingStructure(each) for each in structures])
    rng = np.random.default_rng(0)
    moved = np.zeros_like(batch.places)
    for strain in (0.0, 0.01, 0.05):  # the lists last for the second and not for the third
        moved += strain * rng.normal(size=moved.shape)
        logarithms = strain * rng.normal(size=(3, 3, 3))
        assert_same(batch, moved, exponential((logarithms + logarithms.transpose(0, 2, 1)) / 2), predictor)


def test_symmetric_crystals(predictor: Predictor) -> None:
    groups = [analyse_space_group(bulk("ZnO", "wurtzite", a=3.25)), analyse_space_group(bulk("Mg"))]
    batch = MovingBatch(predictor.potential.ensemble, [MovingStructure(each.primitive, each) for each in groups])
    motions = [symmetric_motion(each) for each in groups]
    for size in (0.0, 0.02, 0.08):
        moved = [size * motion.displacements.sum(axis=0).reshape(-1, 3) for motion in motions]
        logarithms = [size * motion.strains.sum(axis=0).reshape(3, 3) for motion in motions]
        assert_same(batch, np.concatenate(moved), exponential(np.stack(logarithms)), predictor)


def test_slabs_and_molecules(predictor: Predictor) -> None:
    structures = [fcc111("Al", (1, 1, 2), vacuum=8.0), molecule("H2O"), bulk("Al")]
    batch = MovingBatch(predictor.potential.ensemble, [MovingStructure(each) for each in structures])
    moved = 0.03 * np.random.default_rng(0).normal(size=batch.places.shape)
    assert_same(batch, moved, np.broadcast_to(np.eye(3), (3, 3, 3)), predictor)
