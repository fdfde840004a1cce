"""Structures of which the potential knew too little: elements, refractory metals above all, and adsorbates.

A *family* is a few structures with the same number of atoms whose energies tell something when compared (phases of an
element, a crystal cleft more and more, an atom on its way into a vacancy), as training compares the frames of a group.
Every family names its *hosts*: all connected crystals and molecules it is made of, for the split rule.
``weak_compounds.py`` makes those of compounds, ``make_frames.py weak`` writes them all.
"""

import gzip
import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.data import atomic_numbers, covalent_radii, reference_states
from ase.geometry import minkowski_reduce

Random = np.random.Generator

#: Metals of strong, directed bonds: made more often than the others.
REFRACTORY = frozenset(
    {"Ti", "V", "Cr", "Mn", "Fe", "Co", "Zr", "Nb", "Mo", "Ru", "Rh", "Hf", "Ta", "W", "Os", "Ir", "Pt"}
)
#: Crystals that a small pressure changes much; farther from rest the labelling potential binds them too little.
SOFT = frozenset({"Na", "K", "Rb", "Ca", "Sr", "Ba"})
#: Metals of the training split that carry molecules of the others, for measuring.
GUESTS = ("Al", "Pt", "Ag", "W")
LARGEST_FORCE, CLOSEST, LARGEST_CELL = 20.0, 0.6, 2800.0  # eV/A, A, A^3, of frames that are labelled
LONGEST_BOND = 1.5  # sums of covalent radii, of an atom on a surface
#: Elements of which the labelling potential knows no more than their crystals at rest (README.md).
UNRELIABLE = frozenset({"Ar", "Kr", "Xe", "Cs"})
#: Elements that were left out: it gets their phases wrong (U, Np), or nobody asks for them.
LEFT_OUT = frozenset({"Ac", "Th", "Pa", "U", "Np", "Pu"})
MOLECULAR = frozenset({"H", "N", "O", "F", "Cl", "Br", "I"})
#: Volume per atom in relation to the densest packing, where a relaxation begins.
STRUCTURES = {"bcc": 1.0, "fcc": 1.0, "hcp": 1.0, "dhcp": 1.0, "sc": 1.14, "diamond": 1.5}


@dataclass
class Family:
    """Structures with the same atoms, their kind, and the formulas of every connected host."""

    frames: list[Atoms]
    kind: str
    hosts: tuple[str, ...]


@dataclass
class Source:
    """Holds what families are made of.

    Attributes:
        split: of the hosts.
        crystals: of that split, of up to twelve atoms.
        known: element symbols that may be used.
    """

    split: str
    crystals: list[Atoms]
    predictor: Any
    random: Random
    polymorphs: list[Atoms]
    split_of: Callable[[str], str]
    rest: dict[tuple[str, str], Atoms] = field(default_factory=dict)

    @cached_property
    def volumes(self) -> dict[str, float]:
        """A^3 per atom of the lowest polymorph of each element."""
        found: dict[str, tuple[float, float]] = {}
        for atoms in self.polymorphs:
            energy = atoms.get_potential_energy() / len(atoms), atoms.cell.volume / len(atoms)
            found[atoms.symbols[0]] = min(found.get(atoms.symbols[0], energy), energy)
        return {symbol: volume for symbol, (_, volume) in found.items()}

    @cached_property
    def elements(self) -> list[str]:
        """Symbols of the split, but for unreliable ones."""
        return sorted(s for s in set(self.volumes) - UNRELIABLE - LEFT_OUT if self.split_of(s) == self.split)

    @cached_property
    def metals(self) -> list[str]:
        """List the firm elements that crystallise in the bcc, fcc or hcp structure, the refractory ones four times."""
        found = [s for s in self.elements if ground(s) in ("bcc", "fcc", "hcp") and s not in SOFT]
        return [symbol for symbol in found for _ in range(4 if symbol in REFRACTORY else 1)]

    def at_rest(self, symbol: str, name: str) -> Atoms:
        """A cell of the structure at the volume that the potential gives it (soft elements: the published one)."""
        if not self.rest:
            symbols = {*self.elements, *GUESTS} - MOLECULAR
            keys = list(itertools.product(sorted(symbols), STRUCTURES))
            made = [packed(s, n, self.volumes[s] * STRUCTURES[n]) for s, n in keys]
            firm = [atoms for atoms, (s, _) in zip(made, keys, strict=True) if s not in SOFT]
            settle(firm, self.predictor, 14, cell=True)
            self.rest = dict(zip(keys, made, strict=True))
        return self.rest[symbol, name].copy()

    def some_structure(self, symbol: str) -> Atoms:
        """The crystal of the element, in one of three cases another simple structure."""
        name = ground(symbol)
        if name not in STRUCTURES or self.random.random() < 0.33:
            name = str(self.random.choice(["bcc", "fcc", "hcp"]))
        return self.at_rest(symbol, name)


def polymorphs_of(folder: Any) -> list[Atoms]:
    """Crystals of the elements of ``element_polymorphs_mp_pbe`` of the data package, with their energies."""
    text = gzip.decompress((folder / "element_polymorphs_mp_pbe.extxyz.gz").read_bytes()).decode()
    return ase.io.read(io.StringIO(text), ":", format="extxyz")


def ground(symbol: str) -> str:
    """Name of the structure that the element has."""
    state = reference_states[atomic_numbers[symbol]]
    return str(state["symmetry"]) if state else ""


def packed(symbol: str, name: str, volume: float) -> Atoms:
    """A primitive cell with this volume (A^3) per atom."""
    if name == "dhcp":
        cell = bulk(symbol, "hcp", a=1.0, c=1.633).cell.array * np.array([[1], [1], [2]])
        places = [[0, 0, 0], [1 / 3, 2 / 3, 0.25], [0, 0, 0.5], [2 / 3, 1 / 3, 0.75]]
        atoms = Atoms([symbol] * 4, scaled_positions=places, cell=cell, pbc=True)
    else:
        atoms = bulk(symbol, name, a=1.0, c=1.633) if name == "hcp" else bulk(symbol, name, a=1.0)
    atoms.set_cell(atoms.cell * (volume * len(atoms) / atoms.cell.volume) ** (1 / 3), scale_atoms=True)
    return atoms


def settle(batch: list[Atoms], predictor: Any, steps: int, cell: bool = False) -> None:
    """Damped steps along forces, and of the volume if ``cell``; what the potential refuses stays as it is."""
    for _ in range(steps):
        for atoms, found in zip(batch, predictor.predict(batch, ["forces", "stress"]), strict=True):
            if "error" in found:
                continue
            atoms.positions += np.clip(0.02 * found["forces"], -0.08, 0.08)
            if cell:
                growth = np.clip(-found["stress"][:3].mean() / 1.5, -0.03, 0.03)
                atoms.set_cell(atoms.cell * (1 + growth), scale_atoms=True)


def supercell(atoms: Atoms, count: int, random: Random) -> Atoms:
    """A cell of ``count`` atoms (a multiple of those of ``atoms``) that is nearly as wide in all directions."""
    multiple = count // len(atoms)
    best: list[tuple[float, np.ndarray]] = []
    for _ in range(40):
        one = random.choice([k for k in range(1, multiple + 1) if multiple % k == 0])
        other = random.choice([k for k in range(1, multiple // one + 1) if multiple // one % k == 0])
        b, d, e = random.integers(one), random.integers(one), random.integers(other)
        matrix = np.array([[one, 0, 0], [b, other, 0], [d, e, multiple // one // other]])
        reduced = minkowski_reduce(matrix @ atoms.cell.array)[0]
        best.append((-np.linalg.norm(reduced, axis=1).min(), matrix))
    made = make_supercell(atoms, min(best, key=lambda pair: pair[0])[1])
    made.set_cell(minkowski_reduce(made.cell.array)[0])
    made.wrap()
    return made


def distort(atoms: Atoms, random: Random, strain: float, shift: float, volume: float = 1.0) -> Atoms:
    """A copy with a random strain, a factor of the volume, and random displacements (A) of this size per component."""
    change = strain * random.normal(size=(3, 3))
    change = volume ** (1 / 3) * (np.eye(3) + (change + change.T) / 2)
    made = atoms.copy()
    made.set_cell(atoms.cell.array @ change, scale_atoms=True)
    made.positions += shift * random.normal(size=made.positions.shape)
    return made


def volume_factor(symbol: str, random: Random) -> float:
    """From -15 to 25 % of the volume, of soft crystals to 15 %."""
    return float(random.uniform(0.85, 1.15 if symbol in SOFT else 1.25))


def phases(source: Source) -> Iterator[Family]:
    """Simple structures of each element in cells of four atoms, one to compare with the other, and its polymorphs."""
    random = source.random
    for symbol in source.elements:
        if symbol not in MOLECULAR:
            cells = [supercell(source.at_rest(symbol, name), 4, random) for name in STRUCTURES]
            yield Family(cells, "element", (symbol,))
            for _ in range(12 if symbol in REFRACTORY | SOFT else 3):
                size = random.uniform(0.0, 0.15)
                frames = [distort(a, random, 0.02, size, volume_factor(symbol, random)) for a in cells]
                yield Family([frames[k] for k in random.permutation(len(frames))], "element", (symbol,))
    for atoms in source.polymorphs:
        symbol = str(atoms.symbols[0])
        if len(atoms) <= 12 and symbol not in LEFT_OUT and source.split_of(symbol) == source.split:
            least = 0.95 if symbol in MOLECULAR else 0.85
            frames = [distort(atoms, random, 0.01, 0.06, random.uniform(least, 1.25)) for _ in range(2)]
            frames = [] if symbol in UNRELIABLE else frames
            yield Family([distort(atoms, random, 0, 0), *frames], "polymorph", (symbol,))


def opposite(atoms: Atoms, random: Random) -> list[Atoms]:
    """Two copies with opposite displacements of 0.02 to 0.15 A."""
    shift = 10 ** random.uniform(-1.7, -0.85) * random.normal(size=(len(atoms), 3))
    pair = [atoms.copy(), atoms.copy()]
    for copy, sign in zip(pair, (1, -1), strict=True):
        copy.positions += sign * (shift - shift.mean(axis=0))
    return pair


def displaced(source: Source) -> Iterator[Family]:
    """Pairs of opposite displacements in cells of eight or so atoms, near rest."""
    random = source.random
    for symbol in source.elements:
        if symbol in MOLECULAR:
            continue
        for _ in range(16 if symbol in REFRACTORY | SOFT else 5):
            atoms = supercell(source.some_structure(symbol), int(random.choice([4, 6, 8, 8, 12])), random)
            atoms = distort(atoms, random, 0.004, 0.0, random.uniform(0.93, 1.07))
            yield Family(opposite(atoms, random), "displaced", (symbol,))


def vacancies(source: Source) -> Iterator[Family]:
    """A missing atom, a neighbour on its way into its place, and the crystal without either in a cell of its own."""
    random = source.random
    for symbol in source.metals * 2:
        atoms = source.some_structure(symbol)
        count = int(random.choice([8, 12, 16, 16, 18]))
        made = supercell(atoms, count, random)
        moving = hop(made, random)
        moving = [distort(frame, random, 0.005, random.choice([0.01, 0.08])) for frame in moving]
        settle(moving[:2], source.predictor, 6)
        if len(atoms) == 1:
            moving.append(distort(supercell(atoms, count - 1, random), random, 0.003, 0.01))
        yield Family(moving, "vacancy", (symbol,))


def hop(atoms: Atoms, random: Random) -> list[Atoms]:
    """The crystal without one atom, and with its nearest neighbour of the same element part of the way there."""
    gone = int(random.integers(len(atoms)))
    distances = atoms.get_distances(gone, np.arange(len(atoms)), mic=True)
    distances[(atoms.numbers != atoms.numbers[gone]) | (np.arange(len(atoms)) == gone)] = np.inf
    near = int(np.argmin(distances + 1e-3 * random.random(len(atoms))))
    vector = atoms.get_distance(near, gone, mic=True, vector=True)
    frames = []
    for part in (0.0, random.uniform(0.15, 0.35), random.uniform(0.4, 0.5)):
        moved = atoms.copy()
        if np.isfinite(distances[near]):
            moved.positions[near] += part * vector
        del moved[gone]
        frames.append(moved)
    return frames


def interstitials(source: Source) -> Iterator[Family]:
    """An atom more, in the widest of some places or beside another as a dumbbell, settled a little."""
    random = source.random
    for symbol in source.metals:
        made = supercell(source.some_structure(symbol), int(random.choice([8, 12, 16])), random)
        frames = []
        for _ in range(2):
            place, more = made.positions[0] + random.uniform(0.9, 1.2) * unit(random), made.copy()
            if random.random() < 0.5:
                points = random.random((40, 3)) @ made.cell.array
                trial = made + Atoms([symbol] * 40, positions=points)
                gaps = trial.get_all_distances(mic=True)[len(made) :, : len(made)].min(axis=1)
                place = points[gaps.argmax()]
            more += Atoms([symbol], positions=[place])
            frames.append(more)
        settle(frames, source.predictor, 12)
        yield Family([distort(f, random, 0.005, 0.03) for f in frames], "interstitial", (symbol,))


def unit(random: Random) -> np.ndarray:
    """(3,) a random direction."""
    vector = random.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def sound(family: Family, source: Source) -> bool:
    """Whether every host and every formula keeps to the split, at least one host being of it."""
    names = {*family.hosts, *(str(a.get_chemical_formula(empirical=True)) for a in family.frames)}
    allowed = {"train", source.split}
    return {source.split_of(name) for name in names} <= allowed and any(
        source.split_of(host) == source.split for host in family.hosts
    )


def chosen(families: list[Family], source: Source, share: float) -> list[Family]:
    """A share of the families of one kind, rather those of which the potential expects large errors.

    Frames on which it finds forces above ``LARGEST_FORCE``, or that have close atoms, are left out. What is for
    measuring is drawn without regard to errors.
    """
    frames = [atoms for family in families for atoms in family.frames]
    found = source.predictor.predict(frames, ["forces", "forces_uncertainty"])
    results = iter(found)
    scores, left = [], []
    for family in families:
        pairs = [(atoms, next(results)) for atoms in family.frames]
        good = [
            (atoms, result)
            for atoms, result in pairs
            if "error" not in result
            and np.abs(result["forces"]).max() < LARGEST_FORCE
            and placed(atoms, LONGEST_BOND if family.kind == "adsorbate" else np.inf)
        ]
        if len(good) >= min(2, len(pairs)):
            left.append(Family([atoms for atoms, _ in good], family.kind, family.hosts))
            scores.append(np.mean([np.mean(result["forces_uncertainty"]) for _, result in good]))
    power = 1.5 if source.split == "train" else 0.0
    rank = power * np.log(np.array(scores) + 1e-6) + source.random.gumbel(size=len(left))
    return [left[k] for k in np.argsort(-rank)[: int(np.ceil(share * len(left)))]]


def placed(atoms: Atoms, longest: float) -> bool:
    """Whether no atoms overlap, none is alone, and the cell is no larger than a batch takes.

    Args:
        atoms: structure.
        longest: bond of an atom with its nearest neighbour, in sums of covalent radii; the labelling potential is wrong
            about isolated atoms, not about molecules.
    """
    if atoms.cell.volume > LARGEST_CELL:
        return False
    distances = atoms.get_all_distances(mic=True) + 1e6 * np.eye(len(atoms))
    radii = covalent_radii[atoms.numbers]
    bonds = (distances / (radii[:, None] + radii)).min(axis=1)
    return bool(distances.min() > CLOSEST and (len(atoms) == 1 or bonds.max() < longest))
