"""Surfaces, faults and melts of elements, and atoms and molecules on metals: more families of ``weak.py``."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import make_supercell, molecule
from ase.data import covalent_radii
from varied import heated
from weak import GUESTS, REFRACTORY, Family, Random, Source, distort, ground, settle, supercell

#: Miller indices in the conventional cell; of hcp in its three-index form.
FACES = {
    "bcc": ((1, 1, 0), (1, 0, 0), (1, 1, 1), (2, 1, 1)),
    "fcc": ((1, 1, 1), (1, 0, 0), (1, 1, 0)),
    "hcp": ((0, 0, 1), (1, 0, 0)),
}
ADSORBATES = ("H", "O", "N", "C", "H", "O", "OH", "NH", "H2", "O2", "N2", "NO", "NH3")
#: A molecule of another split on ``GUESTS``, metals of the training split, for measuring.
OWN = {"val": "H2O", "test": "CO"}
PARTS = ("HH", "OH", "CO", "NO", "OO", "CH")  # atoms that a molecule left on a surface
GAPS = (6.2, 8.5)  # A, of vacuum: beyond the cut-off of the universal potential


def oriented(atoms: Atoms, face: tuple[int, ...], thickness: float) -> Atoms:
    """A periodic cell whose first two vectors span the plane, x along the first, with enough layers to be so thick (A).

    Args:
        atoms: primitive cell.
        face: Miller indices in its own basis.
        thickness: A, at least.
    """
    vectors = np.array(list(itertools.product(range(-2, 3), repeat=3)))
    lengths = np.linalg.norm(vectors @ atoms.cell.array, axis=1)
    order = np.argsort(lengths + 1e-6 * np.arange(len(vectors)))
    vectors, level = vectors[order], vectors[order] @ np.array(face)
    flat = [v for v in vectors[level == 0] if v.any()]
    other = next(v for v in flat if np.cross(flat[0], v).any())
    rise = vectors[level == 1][0]
    area = np.linalg.norm(np.cross(flat[0] @ atoms.cell.array, other @ atoms.cell.array))
    layers = max(1, int(np.ceil(thickness * area / atoms.cell.volume)))
    matrix = np.array([flat[0], other, layers * rise])
    if np.linalg.det(matrix) < 0:
        matrix[1] *= -1
    made = make_supercell(atoms, matrix)
    made.set_cell(made.cell.standard_form()[0], scale_atoms=True)
    made.positions += made.cell[2] * 0.37 / layers / len(atoms)
    made.wrap()
    return made


def face_of(symbol: str, name: str, source: Source, thickness: float, count: int | None = None) -> Atoms:
    """``oriented`` for one of the low-index faces of a metal."""
    atoms = source.at_rest(symbol, name)
    faces = FACES[name]
    face = np.array(faces[source.random.integers(len(faces)) if count is None else count % len(faces)])
    if name != "hcp":  # from the cubic cell, of two atoms or of four, to the primitive one
        edge = ((2 if name == "bcc" else 4) * atoms.cell.volume) ** (1 / 3)
        face = np.rint(2 * atoms.cell.array / edge @ face).astype(int)
    return oriented(atoms, tuple((face // np.gcd.reduce(face)).tolist()), thickness)


def opened(atoms: Atoms, vector: Any) -> Atoms:
    """A copy whose third cell vector is longer by this one (A): a gap where it has a height, else a fault."""
    made = atoms.copy()
    made.set_cell(made.cell.array + np.outer([0, 0, 1], vector))
    return made


def surfaces(source: Source) -> Iterator[Family]:
    """A crystal whole, cleft a little, cleft more, and slabs that cannot see each other, at rest and displaced."""
    random = source.random
    for symbol in source.metals:
        name = ground(symbol)
        for number in range(len(FACES[name])):
            whole = face_of(symbol, name, source, random.uniform(6.0, 11.0), number)
            if len(whole) > 12:
                whole = face_of(symbol, name, source, 5.0, number)
            whole = distort(whole, random, 0.004, 0.0)
            height = np.array([0.0, 0.0, 1.0])
            free = opened(whole, random.uniform(*GAPS) * height)
            cleft = [opened(whole, gap * height) for gap in (random.uniform(0.3, 1.5), random.uniform(1.5, 4.0))]
            settled = free.copy()
            settle([settled], source.predictor, 8)
            moved = [distort(cleft[0], random, 0, 0.05), distort(free, random, 0.01, random.uniform(0.03, 0.12))]
            yield Family([whole, free, settled, *moved, cleft[1]], "surface", (symbol,))


def faults(source: Source) -> Iterator[Family]:
    """Layers that slide over each other: one fault in a cell of a few layers."""
    random = source.random
    for symbol in source.metals:
        for name in {ground(symbol), "fcc"}:
            number = int(random.choice([0, 0, 3])) if name == "bcc" else 0
            whole = face_of(symbol, name, source, random.uniform(6.0, 9.0), number)
            if len(whole) <= 12:
                slides = [whole.cell[0] * random.random() + whole.cell[1] * random.random() for _ in range(2)]
                slides.append(whole.cell[:2].sum(axis=0) / 3)
                frames = [opened(whole, slide + np.array([0, 0, random.uniform(0.0, 0.3)])) for slide in slides]
                yield Family([whole, *(distort(f, random, 0, 0.03) for f in frames)], "fault", (symbol,))


def melts(source: Source) -> Iterator[Family]:
    """Moments of molecular dynamics far above the melting point, begun from a disordered crystal."""
    random = source.random
    ranges: dict[tuple[float, float], list[str]] = {}
    for symbol in sorted(set(source.metals) | (set(source.elements) & {"Si", "B", "Sn", "Pb", "Ga", "Bi", "Te", "Se"})):
        decades = (3.2, 3.6) if symbol in REFRACTORY else (2.8, 3.3)
        ranges.setdefault(decades, []).extend([symbol] * (3 if symbol in REFRACTORY else 1))
    for decades, symbols in ranges.items():
        batch = []
        for symbol in symbols:
            atoms = supercell(source.some_structure(symbol), int(random.choice([8, 12, 16])), random)
            batch.append(distort(atoms, random, 0.02, 0.25, random.uniform(0.95, 1.2)))
        sound, moments = np.ones(len(batch), dtype=bool), []
        for steps in (50, 25, 25):
            sound &= heated(batch, source.predictor, random, steps, decades)
            moments.append([atoms.copy() for atoms in batch])
        for symbol, good, *frames in zip(symbols, sound, *moments, strict=True):
            if good:
                yield Family(frames, "melt", (symbol,))


def adsorbates(source: Source) -> Iterator[Family]:
    """One atom or molecule, or two atoms apart, on a slab: on two places, farther up, and displaced."""
    random = source.random
    own = [(symbol, OWN[source.split]) for symbol in GUESTS * 4] if source.split in OWN else []
    for symbol, wanted in [*((symbol, "") for symbol in source.metals * 6), *own]:
        species = wanted or str(random.choice(ADSORBATES))
        parts, hosts = [molecule(species) if len(species) > 1 else Atoms(species)], (symbol, species)
        if not wanted and random.random() < 0.25:
            parts, hosts = [Atoms(letter) for letter in PARTS[random.integers(len(PARTS))]], (symbol,)
        slab = adsorbing_slab(symbol, source)
        reaches = random.uniform(0.9, 1.15), random.uniform(0.9, 1.3), random.uniform(1.3, 2.2)
        frames = [covered(slab, parts, reach, random) for reach in reaches]
        frames.append(distort(frames[0], random, 0.003, random.uniform(0.03, 0.12)))
        if len(frames[0]) <= 18:
            yield Family(frames, "adsorbate", hosts if len(parts[0]) > 1 else (symbol,))


def adsorbing_slab(symbol: str, source: Source) -> Atoms:
    """A few layers of one to four atoms, with vacuum."""
    random = source.random
    whole = face_of(symbol, ground(symbol), source, random.uniform(4.0, 7.0))
    shapes = [shape for shape in ((1, 2, 1), (2, 1, 1), (2, 2, 1)) if 6 <= len(whole) * shape[0] * shape[1] <= 15]
    made = whole.repeat(shapes[random.integers(len(shapes))]) if shapes else whole
    return distort(opened(made, [0, 0, random.uniform(8.0, 9.5)]), random, 0.003, 0.02)


def covered(slab: Atoms, parts: list[Atoms], reach: float, random: Random) -> Atoms:
    """The slab with these above random places of high symmetry, the lowest atom at ``reach`` bond lengths from it."""
    made = slab.copy()
    top = slab.positions[slab.positions[:, 2].argmax()]
    nearest = slab.get_distances(int(slab.positions[:, 2].argmax()), np.arange(len(slab)), mic=True, vector=True)
    beside = sorted((v for v in nearest if abs(v[2]) < 0.5 and v.any()), key=np.linalg.norm)[:4]
    beside = beside or [slab.cell[0]]
    for number, part in enumerate(parts):
        shares = random.choice([0.0, 1 / 3, 0.5, 2 / 3], size=2)
        place = top + shares[0] * beside[0] + shares[1] * beside[-1]
        if number:
            place = place + slab.cell[:2].sum(axis=0) * random.uniform(0.35, 0.65)
        body = part.copy()
        body.rotate(random.uniform(0, 50) + 180 * (random.random() < 0.3), "x", center=(0, 0, 0))
        body.rotate(random.uniform(0, 360), "z", center=(0, 0, 0))
        body.positions -= body.positions[body.positions[:, 2].argmin()]
        made += shifted(body, made, place, reach)
    return made


def shifted(body: Atoms, below: Atoms, place: Any, reach: float) -> Atoms:
    """The body over this place, as low as its distances to what is below allow."""
    steps = np.array(list(itertools.product((-1, 0, 1), (-1, 0, 1), (0,)))) @ below.cell.array
    images = (below.positions[:, None] + steps).reshape(-1, 3)
    radii = np.repeat(covalent_radii[below.numbers], len(steps))
    height = -np.inf
    for offset, radius in zip(body.positions, covalent_radii[body.numbers], strict=True):
        flat = np.linalg.norm(images[:, :2] - (place + offset)[:2], axis=1)
        over = np.sqrt(np.maximum((reach * (radii + radius)) ** 2 - flat**2, -1.0).clip(0))
        inside = flat < reach * (radii + radius)
        height = max(height, (images[:, 2] + over - offset[2])[inside].max(initial=-np.inf))
    moved = body.copy()
    moved.positions += [place[0], place[1], height]
    return moved
