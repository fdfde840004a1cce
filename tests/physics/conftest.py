"""A smooth model surface that has nothing to do with networks: Morse pairs with a switched cut-off (ASE)."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from scipy.optimize import brentq


def morse() -> MorsePotential:
    """Pairs bound at 2.1 A, smooth out to 5.5 A."""
    return MorsePotential(epsilon=0.8, r0=2.1, rho0=4.0, rcut1=3.5, rcut2=5.5)


@pytest.fixture(scope="session")
def smooth_surface() -> Callable[[Sequence[Atoms]], list[tuple[np.ndarray, np.ndarray]]]:
    """A function of a list of structures that gives forces and stresses of the model surface."""
    calculator = morse()

    def evaluate(structures: Sequence[Atoms]) -> list[tuple[np.ndarray, np.ndarray]]:
        results = []
        for structure in structures:
            structure.calc = calculator
            results.append((structure.get_forces(), structure.get_stress()))
        return results

    return evaluate


@pytest.fixture
def smooth_calculator() -> MorsePotential:
    """The model surface as a calculator, with the lattice constant of zincblende at rest in it."""
    calculator = morse()

    def pressure(a: float) -> float:
        atoms = bulk("ZnO", "zincblende", a=a)
        atoms.calc = calculator
        return float(atoms.get_stress()[:3].sum())

    calculator.lattice_constant = brentq(pressure, 3.6, 5.2)
    return calculator
