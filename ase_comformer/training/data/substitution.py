"""Hypothetical crystals from known ones by chemical substitution: structures to label for the potential.

A crystal of the training split has some of its elements exchanged for similar ones (same column, or a neighbour in the
d block) and, among metals, now and then for any other metal. Its volume follows the atomic volumes of the training
crystals. Only formulas whose hash puts them into the training split survive, so nothing withheld, test or val comes
back in (data/README.md, "One split for every file").
"""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ase_comformer.training.data.records import split_of

#: Columns of the periodic table, neighbours next to each other where they behave alike.
_COLUMNS: tuple[str, ...] = (
    "Li Na K Rb Cs Tl Ag Cu",
    "Be Mg Ca Sr Ba Zn Cd Hg",
    "Sc Y La Lu Al Ga In",
    "La Ce Pr Nd Sm Gd Tb Dy Ho Er Tm Yb Lu Y",
    "Eu Yb Ca Sr Ba",
    "Ti Zr Hf Th U Ce",
    "V Nb Ta Cr Mo W",
    "Cr Mn Fe Tc Re Mo W",
    "Mn Fe Co Ru Os Ni",
    "Co Rh Ir Ni Ru Os",
    "Ni Pd Pt Co Rh Ir Cu",
    "Cu Ag Au Pd",
    "Zn Cd Hg Mg Be",
    "B Al Ga In Tl",
    "C Si Ge Sn Pb",
    "N P As Sb Bi",
    "O S Se Te",
    "F Cl Br I H",
)
#: Elements that any other of them may replace in a crystal made of them alone.
METALS = (
    "Li Be Na Mg Al K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Cs Ba La Ce Pr Nd "
    "Sm Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Th U"
)
_ANY_METAL = 0.5  # probability, where a crystal consists of metals
_KEPT = 0.35  # probability of an element to stay as it is


def similar_elements() -> dict[int, list[int]]:
    """Atomic number -> atomic numbers of the elements that may replace it."""
    found: dict[int, set[int]] = {}
    for column in _COLUMNS:
        numbers = {atomic_numbers[symbol] for symbol in column.split()}
        for number in numbers:
            found.setdefault(number, set()).update(numbers - {number})
    return {number: sorted(others) for number, others in found.items()}


def atomic_volumes(crystals: Sequence[Atoms]) -> NDArray[np.float64]:
    """(119,) A^3, the volume of each element that fits the cells of ``crystals`` best, at least 4."""
    composition = np.array([np.bincount(atoms.numbers, minlength=119) for atoms in crystals], dtype=float)
    volume = np.array([atoms.get_volume() for atoms in crystals])
    # per atom, so that every crystal counts alike; the ridge draws rare elements to the common mean
    per_atom, target = composition / composition.sum(1, keepdims=True), volume / composition.sum(1)
    common = float(np.median(target))
    gram = per_atom.T @ per_atom + 0.1 * np.eye(119)
    found: NDArray[np.float64] = common + np.linalg.solve(gram, per_atom.T @ (target - common))
    return found.clip(min=4.0)


def substituted(crystals: Sequence[Atoms], seed: int = 0) -> Iterator[Atoms]:
    """Endless hypothetical crystals, each formula and number of atoms once; ``info["parent"]`` indexes ``crystals``.

    Args:
        crystals: of the training split.
        seed: of the random choices.
    """
    similar, volumes = similar_elements(), atomic_volumes(crystals)
    metals = np.array([atomic_numbers[symbol] for symbol in METALS.split()])
    generator = np.random.default_rng(seed)
    seen: set[tuple[str, int]] = {_identity(atoms) for atoms in crystals}
    while True:
        parent = int(generator.integers(len(crystals)))
        atoms = crystals[parent].copy()
        present = np.unique(atoms.numbers)
        metallic = np.isin(present, metals).all() and generator.random() < _ANY_METAL
        exchange = {int(number): int(number) for number in present}
        for number in exchange:
            choices = metals if metallic else similar.get(number, [])
            if len(choices) and generator.random() > _KEPT:
                exchange[number] = int(generator.choice(choices))
        if len(set(exchange.values())) < len(exchange) or all(old == new for old, new in exchange.items()):
            continue
        ratio = atoms.get_volume() / volumes[atoms.numbers].sum()
        atoms.numbers = [exchange[int(number)] for number in atoms.numbers]
        identity = _identity(atoms)
        if identity in seen or split_of(identity[0]) != "train":
            continue
        seen.add(identity)
        # the parent's deviation from the atomic volumes carries over in part: bonding of its own, or misfit
        scale = (ratio.clip(0.6, 1.7) * volumes[atoms.numbers].sum() / atoms.get_volume()) ** (1 / 3)
        atoms.set_cell(atoms.cell * scale, scale_atoms=True)
        atoms.info["parent"] = parent
        yield atoms


def _identity(atoms: Atoms) -> tuple[str, int]:
    return atoms.get_chemical_formula(empirical=True), len(atoms)
