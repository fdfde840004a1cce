"""Compounds pressed, stretched, hot, layered, covalent, or with an atom on its way: more families of ``weak.py``."""

from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data.g2 import molecule_names
from varied import boxed, heated
from varied import supercell as grown
from weak import (
    Family,
    Source,
    chosen,
    displaced,
    distort,
    hop,
    interstitials,
    opposite,
    phases,
    settle,
    sound,
    vacancies,
)
from weak_surfaces import adsorbates, faults, melts, surfaces

COVALENT = frozenset(
    {"Be", "B", "C", "N", "O", "Al", "Si", "P", "S", "Zn", "Ga", "Ge", "As", "Se", "Cd", "In", "Sn", "Sb", "Te"}
)
ANIONS = frozenset({"B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "Te", "I"})
VDW_GAP = 2.5  # A, between layers: at least
LARGEST_LAYERED = 10  # atoms
MEASURED = 7  # families of each way of making them that are kept of val and of test


def named(atoms: Atoms) -> tuple[str, ...]:
    """The formula of a crystal, as its only host."""
    return (str(atoms.get_chemical_formula(empirical=True)),)


def drawn(source: Source, count: int, largest: int) -> list[Atoms]:
    """So many different crystals of so many atoms at most, in random order; fewer for measuring."""
    count = count if source.split == "train" else 3 * MEASURED
    small = [atoms for atoms in source.crystals if len(atoms) <= largest]
    return [small[k] for k in source.random.permutation(len(small))[:count]]


def covalent(source: Source) -> Iterator[Family]:
    """Crystals of atoms that share electrons: at rest, displaced both ways, pressed and stretched."""
    random = source.random
    fit = [a for a in source.crystals if set(a.symbols) <= COVALENT and len(a) <= 8]
    fit += [a for a in source.polymorphs if a.symbols[0] in COVALENT & set(source.elements) and len(a) <= 8]
    for atoms in fit:
        rest = grown(atoms, random, 2) or atoms
        volumes = [distort(rest, random, 0.0, 0.03, random.uniform(*way)) for way in ((0.85, 0.97), (1.03, 1.2))]
        yield Family([rest, *opposite(rest, random), *volumes], "covalent", named(atoms))


def layered(source: Source) -> Iterator[Family]:
    """Layered crystals at rest, with layers nearer, farther, and slid."""
    random = source.random
    for atoms in source.crystals:
        if len(atoms) > LARGEST_LAYERED or not ANIONS & set(atoms.symbols):
            continue
        gaps = layer_gaps(atoms)
        if gaps is None:
            continue
        rest, heights, wide = gaps
        frames = [rest]
        for change in (random.uniform(-0.6, -0.1), random.uniform(0.1, 0.6), random.uniform(0.6, 2.5)):
            frames.append(distort(respaced(rest, heights, wide, change), random, 0.0, random.choice([0.0, 0.04])))
        slid = rest.copy()
        slide = rest.cell[0] * random.random() + rest.cell[1] * random.random()
        slid.set_cell(rest.cell.array + np.outer([0, 0, 1], slide))
        yield Family([*frames, slid], "layered", named(atoms))


def layer_gaps(atoms: Atoms) -> tuple[Atoms, np.ndarray, list[float]] | None:
    """The crystal turned so that layers lie flat, heights (A) of its atoms, and those below each gap between layers."""
    for axis in range(3):
        turned = atoms[:]
        order = [(axis + 1) % 3, (axis + 2) % 3, axis]
        turned.set_cell(atoms.cell.array[order])
        turned.set_cell(turned.cell.standard_form()[0], scale_atoms=True)
        if turned.cell.volume <= 0 or turned.cell[2, 2] <= 0:
            continue
        turned.wrap()
        heights = turned.positions[:, 2]
        levels = np.unique(heights.round(3))
        widths = np.diff(np.append(levels, levels[0] + turned.cell[2, 2]))
        wide = np.flatnonzero(widths > VDW_GAP)
        if 0 < len(wide) <= 2 and (len(levels) > len(wide) or len(wide) == 1):
            start = levels[wide[-1]] + widths[wide[-1]] / 2  # the cell begins in the middle of a gap
            turned.positions -= turned.cell[2] * start / turned.cell[2, 2]
            turned.wrap()
            heights = turned.positions[:, 2].copy()
            levels = np.unique(heights.round(3))
            between = levels[:-1][np.diff(levels) > VDW_GAP] + 0.5
            return turned, heights, [*between.tolist(), float(turned.cell[2, 2])]
    return None


def respaced(atoms: Atoms, heights: np.ndarray, wide: list[float], change: float) -> Atoms:
    """The layers moved apart by ``change`` (A) each."""
    made = atoms.copy()
    made.set_cell(atoms.cell.array + np.outer([0, 0, 1], [0, 0, change * len(wide)]))
    made.positions[:, 2] += change * (heights[:, None] > np.array(wide)).sum(axis=1)
    return made


def pressed(source: Source) -> Iterator[Family]:
    """Crystals at up to 20 % less and up to 25 % more volume, with displacements."""
    random = source.random
    for atoms in drawn(source, 1500, 10):
        ways = (random.uniform(0.8, 0.95), random.uniform(1.05, 1.25))
        frames = [distort(atoms, random, random.choice([0.0, 0.03]), random.uniform(0.01, 0.12), way) for way in ways]
        yield Family(frames, "pressed", named(atoms))


def hot(source: Source) -> Iterator[Family]:
    """Two moments of molecular dynamics at 1000 to 1900 K, 60 fs apart."""
    random, batch = source.random, []
    for atoms in drawn(source, 350, 12):
        made = grown(atoms, random, 5)
        if made is not None and len(made) <= 12:
            batch.append(distort(made, random, 0.01, 0.05, random.uniform(0.97, 1.1)))
    sound = heated(batch, source.predictor, random, 30, (3.0, 3.28))
    early = [atoms.copy() for atoms in batch]
    sound &= heated(batch, source.predictor, random, 30, (3.0, 3.28))
    for good, one, other in zip(sound, early, batch, strict=True):
        if good:
            yield Family([one, other], "hot", named(one))


def hops(source: Source) -> Iterator[Family]:
    """Compounds without one atom, and with a neighbour of its kind on its way into the place, settled a little."""
    random, made = source.random, []
    for atoms in drawn(source, 450, 9):
        crystal = grown(atoms, random, 8)
        if crystal is not None and len(crystal) <= 16:
            frames = [distort(frame, random, 0.005, 0.04) for frame in hop(crystal, random)]
            made.append(Family(frames, "hop", named(atoms)))
    settle([frame for family in made for frame in family.frames[1:2]], source.predictor, 5)
    yield from made


def molecules(source: Source) -> Iterator[Family]:
    """Molecules of the G2 set near rest: as they are, stretched or compressed, and displaced; small ones most often."""
    random = source.random
    for name in molecule_names:
        atoms = molecule(name)
        if not 2 <= len(atoms) <= 12:
            continue
        for _ in range(4 if len(atoms) == 2 else 2 if len(atoms) < 5 else 1):
            frames = [boxed(atoms.copy(), random)]
            for _ in range(5):
                other = atoms.copy()
                other.positions *= random.uniform(0.88, 1.25 if len(atoms) > 2 else 1.4)
                other.positions += random.uniform(0.0, 0.12) * random.normal(size=other.positions.shape)
                frames.append(boxed(other, random))
            yield Family(frames, "molecule", named(atoms))


#: How families are made, and which share of them is kept, by part.
PARTS: dict[str, dict[Callable[[Source], Iterator[Family]], float]] = {
    "elements": {phases: 1.0, displaced: 0.8, vacancies: 0.8, interstitials: 0.8, surfaces: 0.9, faults: 0.7},
    "adsorbates": {adsorbates: 0.6},
    "molecules": {molecules: 1.0},
    "compounds": {covalent: 0.5, layered: 0.3, pressed: 0.35},
    "moving": {melts: 1.0, hops: 0.6, hot: 0.9},
}


def kept_families(part: str, source: Source) -> list[Family]:
    """Families of one part that keep to the split, those of training chosen by expected errors."""
    kept = []
    for make, share in PARTS[part].items():
        made = [family for family in make(source) if sound(family, source)]
        if source.split != "train":
            share = min(1.0, MEASURED / max(len(made), 1))
        kept += chosen(made, source, share)
    return kept
