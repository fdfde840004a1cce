"""Steps against ASE's optimisers, the derivative of the exponential against differences."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.optimize import BFGS, LBFGS

from ase_comformer.physics import minimisation
from ase_comformer.physics.deformation import derivative_in_logarithm, exponential
from ase_comformer.physics.minimisation import QuasiNewton


@pytest.mark.parametrize("kind", [BFGS, LBFGS])
def test_steps_are_those_of_ase(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    if kind is LBFGS:
        monkeypatch.setattr(minimisation, "_MOST_COORDINATES", 0)
    places = np.array([[0.0, 0, 0], [1.1, 0.1, 0], [0.4, 1.0, 0.2], [0.5, 0.4, 1.1]])
    theirs = Atoms("Ar4", places, calculator=LennardJones(rc=20.0))
    ours = Atoms("Ar4", places, calculator=LennardJones(rc=20.0))
    optimiser = QuasiNewton(12)
    run = kind(theirs, logfile=None)
    for _ in range(15):
        run.run(fmax=1e-9, steps=1)
        step = optimiser.step(ours.get_forces().ravel())
        longest = np.linalg.norm(step.reshape(-1, 3), axis=1).max()
        step *= min(1.0, 0.2 / longest)
        optimiser.take(step)
        ours.positions += step.reshape(-1, 3)
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-8)
    assert np.abs(ours.positions - places).max() > 0.05


def test_the_derivative_in_the_logarithm_is_that_of_differences() -> None:
    rng = np.random.default_rng(0)
    U, G = rng.normal(size=(2, 3, 3)) * 0.2
    U = U + U.T
    found = derivative_in_logarithm(U, G)
    for i, j in ((0, 0), (0, 1), (1, 2), (2, 2)):
        change = np.zeros((3, 3))
        change[i, j] = change[j, i] = 1e-6
        difference = (G * (exponential(U + change) - exponential(U - change))).sum() / 2e-6
        assert (found * (change > 0)).sum() == pytest.approx(difference, rel=1e-7, abs=1e-8)
    np.testing.assert_allclose(derivative_in_logarithm(np.zeros((3, 3)), G), (G + G.T) / 2)
