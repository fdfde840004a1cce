"""Structures in parts, kept or not, against the same structures whole."""

import numpy as np
import pytest
from ase.build import bulk

from ase_comformer.inference import potential_ensemble
from ase_comformer.inference.predictor import Predictor
from ase_comformer.nn.derivatives import edge_gradient


def test_results_do_not_depend_on_how_much_is_evaluated_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    potential = Predictor(dtype="float64").potential
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=0)
    prepared = potential.prepare(atoms)
    (whole,) = potential.ensemble.evaluate_batch([prepared])
    monkeypatch.setattr(potential_ensemble, "LARGEST_PART", 100)
    for largest_kept, most_edges in ((10**9, 10**9), (10**9, 0), (0, 0)):
        monkeypatch.setattr(potential_ensemble, "LARGEST_KEPT", largest_kept)
        monkeypatch.setattr(edge_gradient, "_MOST_EDGES", most_edges)
        (parts,) = potential.ensemble.evaluate_batch([prepared])
        for name in ("energy", "energies", "forces", "stress", "energy_uncertainty", "forces_uncertainty"):
            error = np.abs(parts[name] - whole[name]).max() / np.abs(whole[name]).max()
            assert error < 1e-10, (name, largest_kept, most_edges)
        (alone,) = potential.ensemble.evaluate_batch([prepared], ["energy"])
        assert alone["energy"] == pytest.approx(whole["energy"], rel=1e-12)
