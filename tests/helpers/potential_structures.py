"""Structures for tests of energies, forces and stresses: distorted, so that no force vanishes by symmetry, any pbc."""

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from ase_comformer.inference.potential_evaluator import PotentialEvaluator
from seven_systems import ALL_CRYSTALS

FINITE_DIFFERENCE = 1e-6  # eV/A and eV/A^3
INVARIANCE = 1e-10


def distorted(atoms: Atoms, seed: int = 0) -> Atoms:
    """Rattled and strained, so that no force vanishes by symmetry."""
    rng = np.random.default_rng(seed)
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.uniform(-1, 1, (3, 3))), scale_atoms=True)
    moved.positions += 0.05 * rng.normal(size=moved.positions.shape)
    return moved


STRUCTURES = {
    **{name: distorted(ALL_CRYSTALS[name]) for name in tuple(ALL_CRYSTALS)[:16]},
    "one atom": distorted(bulk("Cu", a=3.61)),
    "triclinic": distorted(ALL_CRYSTALS["model -1"], 3),
    "slab": distorted(fcc111("Al", (1, 2, 2), vacuum=5.0)),
    "molecule": distorted(molecule("H2O", vacuum=3.0)),
    "polar slab": distorted(bulk("AlN", "wurtzite", a=3.11, c=4.98).repeat((4, 1, 1)), 1),
    "polar wire": distorted(bulk("AlN", "wurtzite", a=3.11, c=4.98).repeat((1, 1, 2)), 2),
    "wire": Atoms("CO", [[0, 0, 0], [1.2, 0.1, 0]], cell=[3, 0, 0], pbc=[True, False, False]),
}
STRUCTURES["polar slab"].pbc = (True, True, False)
STRUCTURES["polar wire"].pbc = (False, False, True)


class EnergyOnly(Calculator):
    """Just enough of a calculator for ASE's numerical derivatives of plain graphs."""

    implemented_properties = ["energy", "free_energy"]  # noqa: RUF012, declared so by ASE

    def __init__(self, surface: PotentialEvaluator) -> None:
        super().__init__()
        self.surface = surface

    def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:
        super().calculate(atoms, properties, system_changes)
        found = self.surface.evaluate(atoms)
        self.results = {name: found[name] for name in self.implemented_properties}


def assert_derivatives(surface: PotentialEvaluator, plain: PotentialEvaluator, atoms: Atoms, moved: int = 2) -> None:
    """Forces on the first ``moved`` atoms and stress of ``surface`` are the numerical derivatives of ``plain``."""
    atoms = atoms.copy()
    found = surface.evaluate(atoms)
    atoms.calc = EnergyOnly(plain)
    chosen = list(range(min(len(atoms), moved)))
    numerical = calculate_numerical_forces(atoms, eps=3e-5, iatoms=chosen)
    np.testing.assert_allclose(found["forces"][chosen], numerical, atol=FINITE_DIFFERENCE)
    if atoms.cell.rank == 3 and atoms.pbc.any():
        numerical = calculate_numerical_stress(atoms, eps=1e-5)
        np.testing.assert_allclose(found["stress"], numerical, atol=FINITE_DIFFERENCE)
    else:
        assert "stress" not in found


def turned_stress(stress: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Voigt stress (6,) of a rotated crystal."""
    xx, yy, zz, yz, xz, xy = stress
    turned = rotation @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ rotation.T
    return turned[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
