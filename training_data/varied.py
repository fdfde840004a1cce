"""Structures away from bulk crystals near rest: what a script meets that cuts, breaks, heats or pulls a crystal apart.

Each function makes one structure out of a crystal, or None where it would be too large; ``KINDS`` names them and says
how often each is made. ``make_frames.py varied`` writes two distorted copies of each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import molecule, surface
from ase.data import covalent_radii
from ase.data.g2 import molecule_names

LARGEST = 20  # atoms, of a structure
GAPS = (6.2, 9.0)  # A, of vacuum: beyond the cut-off of the universal potential
APART = 7.0  # A, along each axis, between isolated atoms
MILLER = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (1, -1, 0), (2, 1, 0))
TIME_STEP, FRICTION = 2.0, 0.02  # fs, 1/fs, of molecular dynamics

Random = np.random.Generator


def slab(crystal: Atoms, random: Random) -> Atoms | None:
    """A few layers with any termination; every third with an atom more on one side."""
    moved = crystal.copy()
    moved.positions += random.random(3) @ moved.cell.array
    moved.wrap()
    made = surface(moved, MILLER[random.integers(len(MILLER))], int(random.integers(1, 4)))
    if not 2 <= len(made) <= LARGEST - 2 or np.ptp(made.positions[:, 2]) < 2.0:
        return None
    if random.random() < 0.33:
        below = made.positions[random.integers(len(made))]
        place = [below[0], below[1], made.positions[:, 2].max() + random.uniform(1.4, 2.8)]
        made += Atoms([int(random.choice(crystal.numbers))], positions=[place])
    height = np.ptp(made.positions[:, 2]) + random.uniform(*GAPS)
    made.set_cell([made.cell[0], made.cell[1], [0.0, 0.0, height]])
    made.positions[:, 2] += height / 2 - made.positions[:, 2].mean()
    return made


def defect(crystal: Atoms, random: Random) -> Atoms | None:
    """A supercell with an atom missing, or with two different atoms exchanged."""
    made = supercell(crystal, random, 5)
    if made is None:
        return None
    one, other = random.choice(len(made), 2, replace=False)
    if made.numbers[one] != made.numbers[other] and random.random() < 0.4:
        made.numbers[[one, other]] = made.numbers[[other, one]]
    else:
        del made[int(one)]
    return made


def cluster(crystal: Atoms, random: Random) -> Atoms:
    """The atoms nearest to a point, in a box of vacuum, drawn together or apart a little."""
    around = crystal.repeat(3)
    point = (1.0 + random.random(3)) @ crystal.cell.array
    nearest = np.argsort(np.linalg.norm(around.positions - point, axis=1))[: random.integers(2, 11)]
    made = around[nearest]
    made.positions *= random.uniform(0.94, 1.2)
    return boxed(made, random)


def expanded(crystal: Atoms, random: Random) -> Atoms:
    """A crystal pulled apart, or pressed together a little."""
    made = crystal.copy()
    made.set_cell(made.cell * random.uniform(0.93, 1.5), scale_atoms=True)
    return made


def dimer(crystal: Atoms, random: Random) -> Atoms:
    """Two atoms of the crystal, alone, at any distance."""
    pair = random.choice(crystal.numbers, 2)
    made = Atoms(pair, positions=np.zeros((2, 3)))
    made.positions[1, 0] = min(covalent_radii[pair].sum() * random.uniform(0.75, 2.4), 5.8)
    return boxed(made, random)


def gas(_: Atoms, random: Random) -> Atoms:
    """A molecule of the G2 set, stretched or compressed."""
    while True:
        made = molecule(molecule_names[random.integers(len(molecule_names))])
        if 2 <= len(made) <= LARGEST:
            made.positions *= random.uniform(0.95, 1.2)
            return boxed(made, random)


def supercell(crystal: Atoms, random: Random, least: int = 4) -> Atoms | None:
    """The crystal repeated along random axes until it has so many atoms; None where it is too large then."""
    made = crystal.copy()
    while len(made) < least:
        repeats = np.ones(3, dtype=int)
        repeats[random.choice(np.flatnonzero(made.cell.lengths() < made.cell.lengths().min() * 1.7))] = 2
        made = made.repeat(repeats)
    return made if len(made) <= LARGEST else None


def boxed(atoms: Atoms, random: Random) -> Atoms:
    """The atoms alone in a cell."""
    atoms.set_cell(np.ptp(atoms.positions, axis=0) + random.uniform(*GAPS, size=3))
    atoms.center()
    return atoms


@dataclass(frozen=True)
class Kind:
    """Says how structures are made, their share among all, and the displacements (A) of their two copies."""

    make: Callable[[Atoms, Random], Atoms | None]
    share: float
    displacements: tuple[float, float]


KINDS = {
    "slab": Kind(slab, 0.28, (0.02, 0.1)),
    "defect": Kind(defect, 0.08, (0.02, 0.1)),
    "cluster": Kind(cluster, 0.20, (0.02, 0.1)),
    "expanded": Kind(expanded, 0.10, (0.01, 0.1)),
    "dimer": Kind(dimer, 0.16, (0.0, 0.25)),
    "gas": Kind(gas, 0.12, (0.02, 0.12)),
    "hot": Kind(supercell, 0.06, (0.0, 0.0)),
}


def heated(
    batch: list[Atoms], predictor: Any, random: Random, steps: int = 60, decades: tuple[float, float] = (2.5, 3.5)
) -> np.ndarray:
    """Langevin dynamics, each crystal at a temperature of its own, all at once.

    Args:
        batch: changed in place.
        predictor: of forces.
        random: of temperatures, velocities and kicks.
        steps: of 2 fs.
        decades: logarithms of the lowest and the highest temperature in K.

    Returns:
        (B,) whether the potential refused none of the steps.
    """
    count = np.array([len(atoms) for atoms in batch])
    mass = np.concatenate([atoms.get_masses() for atoms in batch])[:, None]
    thermal = np.sqrt(units.kB * np.repeat(10 ** random.uniform(*decades, len(batch)), count)[:, None] / mass)
    velocity = thermal * random.normal(size=(len(mass), 3))
    step, kept = TIME_STEP * units.fs, np.exp(-TIME_STEP * FRICTION)
    failed = np.zeros(len(batch), dtype=bool)
    for _ in range(steps):
        found = predictor.predict(batch, ["forces"])
        failed |= ["error" in result for result in found]
        forces = [result.get("forces", np.zeros((n, 3))) for result, n in zip(found, count, strict=True)]
        velocity += step * np.concatenate(forces) / mass
        velocity = kept * velocity + np.sqrt(1 - kept**2) * thermal * random.normal(size=velocity.shape)
        moves = np.split(np.clip(step * velocity, -0.3, 0.3), np.cumsum(count)[:-1])
        for atoms, move in zip(batch, moves, strict=True):
            atoms.positions += move
    return ~failed


def isolated_pairs(elements: list[int], random: Random, accepted: Callable[[str], bool]) -> list[Atoms]:
    """Two different atoms out of each other's reach, each element three times or more where formulas allow it.

    Args:
        elements: atomic numbers.
        random: of the partners.
        accepted: which formulas may be made.
    """
    made = []
    for element in elements * 3:
        others = [Atoms([element, other]) for other in elements if other != element]
        allowed = [atoms for atoms in others if accepted(atoms.get_chemical_formula(empirical=True))]
        if not allowed:
            continue
        atoms = allowed[random.integers(len(allowed))]
        atoms.set_cell(2 * APART * np.eye(3))
        atoms.positions[1] = APART
        atoms.pbc = True
        made.append(atoms)
    return made
