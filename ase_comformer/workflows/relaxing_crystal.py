"""A crystal on its way to rest: along what its space group allows, by quasi-Newton steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.crystals.structures import bare
from ase_comformer.crystals.symmetric_motion import SymmetricMotion, symmetric_motion
from ase_comformer.crystals.validation import TOUCHING, validate_distances, validate_structure
from ase_comformer.errors import InvalidStructureError
from ase_comformer.inference.moving_batch import MovingStructure
from ase_comformer.physics.deformation import derivative_in_logarithm, exponential
from ase_comformer.physics.minimisation import QuasiNewton

Array = NDArray[np.float64]

#: A, longest step of an atom, and of a row of the logarithm of the deformation times the number of atoms.
_LONGEST_STEP = 0.2
#: (6, 9) all strains, orthonormal.
_STRAINS = np.stack(
    [
        (np.outer(np.eye(3)[i], np.eye(3)[j]) + np.outer(np.eye(3)[j], np.eye(3)[i])).ravel()
        / (2 if i == j else 2**0.5)
        for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    ]
)


def _longest(rows: Array) -> float:
    return float(np.sqrt(np.square(rows).sum(axis=1).max(initial=0.0)))


@dataclass(frozen=True)
class Plan:
    """How to relax, with the arguments of ``relax``; shared by the crystals of a call."""

    cell: bool
    fmax: float
    pressure: float
    steps: int
    keep_symmetry: bool
    symprec: float


class RelaxingCrystal:
    """A crystal on its way: where it is, and what it takes to step on.

    Args:
        number: of the crystal in its list.
        atoms: as it came.
        plan: how to relax.

    Attributes:
        group: of the crystal as it came, None without periodicity.
        structure: what moves, the primitive cell where symmetry is kept.
        displacements: (p, 3) A, before the deformation.
        logarithm: (3, 3) of the deformation.
        steps: taken so far.
        initial_energy: eV/atom.
        converged: whether forces and stress are below the threshold.

    Raises:
        InvalidStructureError: the crystal cannot be relaxed.
    """

    def __init__(self, number: int, atoms: Any, plan: Plan) -> None:
        self.number, self.plan, self.atoms = number, plan, as_atoms(atoms)
        atoms = self.atoms
        self.is_periodic = bool(atoms.pbc.all())
        if self.is_periodic:
            validate_structure(atoms)
        if plan.cell and not self.is_periodic:
            raise InvalidStructureError(
                f"{atoms.get_chemical_formula()} is not periodic in three directions (pbc={atoms.pbc.tolist()}), so "
                "its cell cannot be relaxed. Pass cell=False (--no-cell) to relax the atoms alone."
            )
        self.group = analyse_space_group(atoms, plan.symprec) if self.is_periodic else None
        kept = self.group if plan.keep_symmetry else None
        self.structure = MovingStructure(bare(atoms if kept is None else kept.primitive), kept)
        self.count = len(self.structure.atoms)
        validate_distances(self.structure.atoms, TOUCHING)
        motion = None
        if kept is not None and kept.order > 1:
            motion = symmetric_motion(kept)
        self.motion: SymmetricMotion | None = motion
        self.displacements = np.zeros((self.count, 3))
        self.logarithm = np.zeros((3, 3))
        self.steps, self.initial_energy, self.converged = 0, float("nan"), False
        strains = 0 if not plan.cell else 6 if motion is None else len(motion.strains)
        self.optimiser = QuasiNewton(strains + (3 * self.count if motion is None else len(motion.displacements)))

    @property
    def edge_estimate(self) -> float:
        """Estimate what the crystal costs beside others: atoms that are not images of each other."""
        return self.count / (self.group.order if self.motion is not None and self.group is not None else 1)

    def observe(self, energy: float, forces: Array, stress: Array, shortest: float) -> bool:
        """Take note of what was evaluated and step on; False where the crystal has arrived or used up its steps."""
        if shortest < TOUCHING or not np.isfinite(energy):
            validate_distances(self.moved(), TOUCHING)
            raise InvalidStructureError(f"{self.atoms.get_chemical_formula()} left the domain of the potential.")
        if not self.steps:
            self.initial_energy = energy / self.count
        deformation = exponential(self.logarithm)
        # on the places before the deformation, and on its logarithm in units of 1 / atoms
        of_atoms = forces @ deformation
        of_cell = np.zeros((3, 3))
        if self.plan.cell:
            pressure = self.plan.pressure * GPa * np.eye(3)
            volume = abs(np.linalg.det(self.structure.atoms.cell.array @ deformation))
            change = volume * (stress + pressure) @ np.linalg.inv(deformation)
            of_cell = -derivative_in_logarithm(self.logarithm, change) / self.count
        self.converged = bool(max(_longest(of_atoms), _longest(of_cell)) < self.plan.fmax)
        if self.converged or self.steps >= self.plan.steps:
            return False
        step = self.optimiser.step(self._reduced(of_atoms, of_cell))
        of_atoms, of_cell = self._full(step)
        longest = max(_longest(of_atoms), _longest(of_cell))
        scale = min(1.0, _LONGEST_STEP / longest) if longest else 1.0
        self.optimiser.take(step * scale)
        self.displacements = self.displacements + scale * of_atoms
        self.logarithm = self.logarithm + scale * of_cell / self.count
        self.steps += 1
        return True

    def moved(self) -> Atoms:
        """The crystal where it is now."""
        return self.structure.moved(self.displacements, exponential(self.logarithm))

    def _reduced(self, of_atoms: Array, of_cell: Array) -> Array:
        """Forces on all places (p, 3) and on the cell (3, 3) -> on the coordinates."""
        strains = _STRAINS if self.motion is None else self.motion.strains
        atoms = of_atoms.ravel() if self.motion is None else self.motion.displacements @ of_atoms.ravel()
        return np.concatenate([atoms, strains @ of_cell.ravel()]) if self.plan.cell else atoms

    def _full(self, step: Array) -> tuple[Array, Array]:
        """The step of the coordinates -> of all places (p, 3) and of the cell (3, 3)."""
        motion = self.motion
        size = 3 * self.count if motion is None else len(motion.displacements)
        atoms = step[:size] if motion is None else step[:size] @ motion.displacements
        strains = _STRAINS if motion is None else motion.strains
        cell = step[size:] @ strains if self.plan.cell else np.zeros(9)
        return atoms.reshape(-1, 3), cell.reshape(3, 3)
