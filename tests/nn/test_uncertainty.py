"""Expected errors: fitted from what was seen, larger where nothing was seen, and no part of the energies."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from ase_comformer.inference.potential_evaluator import PotentialEvaluator
from ase_comformer.models.registry import load_model, save_weights
from ase_comformer.nn.uncertainty import Uncertainty
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.evaluation.calibration import (
    COVERAGE,
    Calibration,
    atom_errors,
    expected_errors,
    fit_uncertainty,
)
from ase_comformer.training.evaluation.frame_predictions import predict_frames
from tiny import tiny_card, tiny_potential


def rattled(count: int, seed: int) -> Frames:
    """Rattled rocksalt and silicon; the labels are wrong by much for the former, by little for the latter."""
    rng = np.random.default_rng(seed)
    crystals = [bulk("NaCl", "rocksalt", a=5.64), bulk("Si", "diamond", a=5.43)]
    chosen = [crystals[k % 2].copy() for k in range(count)]
    for atoms in chosen:
        atoms.positions += rng.normal(scale=0.05, size=(2, 3))
    size = np.repeat([[0.5], [0.02]], 2, axis=0)
    frames = Frames(
        numbers=np.concatenate([atoms.numbers for atoms in chosen]),
        positions=np.concatenate([atoms.positions for atoms in chosen]),
        forces=np.concatenate([size * rng.normal(size=(4, 3)) for _ in range(count // 2)]).astype(np.float32),
        cell=np.array([atoms.cell.array for atoms in chosen]),
        count=np.full(count, 2),
        energy=np.array([(0.3 if k % 2 == 0 else 0.01) * rng.normal() for k in range(count)]),
        stress=np.full((count, 3, 3), np.nan, dtype=np.float32),
        fidelity=np.zeros(count, dtype=np.int64),
        kind=np.full(count, "rattle_s"),
        group=np.array([str(k) for k in range(count)]),
        displacement=np.zeros((2 * count, 3), dtype=np.float32),
        polarisation=np.full((count, 3), np.nan, dtype=np.float32),
    )
    base = predict_frames([tiny_potential().eval().requires_grad_(False)], frames)
    assert len(base.energy) == count
    frames.energy = frames.energy + base.energy
    frames.forces = (frames.forces + base.forces).astype(np.float32)
    return frames


@pytest.fixture(scope="module")
def fitted():
    potential = tiny_potential().eval().requires_grad_(False)
    fit_uncertainty(potential, rattled(400, 0), rattled(200, 1))
    return potential


def test_expected_errors_follow_the_errors_of_the_labels(fitted):
    frames = rattled(200, 2)
    errors = atom_errors(frames, predict_frames([fitted], frames))
    energy, force = expected_errors(fitted.uncertainty, errors)
    assert energy[::2].mean() > 5 * energy[1::2].mean()
    assert force[errors.numbers == 14].mean() < 0.2 * force[errors.numbers != 14].mean()
    calibration = Calibration.of(force.numpy(), errors.force.numpy())
    assert calibration.within_one == pytest.approx(COVERAGE, abs=0.08)
    assert calibration.spearman > 0.5
    assert calibration.surest < 0.3


def test_energies_do_not_depend_on_the_expected_errors(fitted):
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.rattle(0.05, seed=1)
    without, with_errors = PotentialEvaluator([tiny_potential().eval()]), PotentialEvaluator([fitted])
    assert "energy_uncertainty" not in without.ensemble.properties
    found = with_errors.evaluate(atoms)
    for name, value in without.evaluate(atoms).items():
        np.testing.assert_array_equal(found[name], value)
    assert found["energy_uncertainty"] > 0
    assert found["forces_uncertainty"].shape == (2,)


def test_uncertainties_of_equivalent_atoms_and_supercells(fitted):
    """Equal for equivalent atoms, on the reduced graph as on the plain one; energies add up."""
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    surface = PotentialEvaluator([fitted.double()])
    plain = PotentialEvaluator([fitted.double()], use_symmetry=False)
    one, many = surface.evaluate(atoms), plain.evaluate(atoms.repeat(2))
    assert many["energy_uncertainty"] == pytest.approx(8 * one["energy_uncertainty"], rel=1e-8)
    np.testing.assert_allclose(many["forces_uncertainty"], np.tile(one["forces_uncertainty"], 8), rtol=1e-8)
    fitted.float()


def test_far_from_the_training_data_errors_grow_and_a_warning_says_so(fitted, recwarn):
    surface = PotentialEvaluator([fitted])
    atoms = bulk("Si", "diamond", a=5.43)
    near = surface.evaluate(atoms)
    assert not [str(found.message) for found in recwarn if "far outside" in str(found.message)]
    squeezed = atoms.copy()
    squeezed.set_cell(0.62 * atoms.cell.array, scale_atoms=True)
    with pytest.warns(UserWarning, match=r"Si2.*Si are far outside the training domain"):
        far = surface.evaluate(squeezed)
    assert far["energy_uncertainty"] > near["energy_uncertainty"]


def test_expected_errors_survive_saving(fitted, tmp_path):
    path = save_weights(fitted, tmp_path, "fitted", tiny_card(fitted))
    (loaded,) = load_model(path).entries("energy")
    assert isinstance(loaded.uncertainty, Uncertainty)
    for name, value in fitted.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)
