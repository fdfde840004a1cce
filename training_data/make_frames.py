"""Make the frames beside this script, labelled by a published universal potential.

    python training_data/make_frames.py substituted SEED CRYSTALS FILE.npz   # this project's environment
    python training_data/make_frames.py substituted-light SEED CRYSTALS FILE.npz
    python training_data/make_frames.py strained SEED FILE.npz ...           # this project's environment
    python training_data/make_frames.py strained-hypothetical SEED CRYSTALS FILE.npz ...
    python training_data/make_frames.py varied SEED CRYSTALS SPLIT FILE.npz ...  # this project's environment
    python training_data/make_frames.py weak SEED PART SPLIT FILE.npz ...    # this project's environment
    python training_data/make_frames.py label FILE.npz ... TEACHER           # environment of TEACHER/setup.sh
    python training_data/make_frames.py join NAME FILE.npz ...               # this project's environment

``substituted`` exchanges elements of crystals of up to eight atoms (``training/substitution.py``), brings the cells to
a small pressure with the shipped potential and distorts each four times; ``substituted-light`` does so with crystals of
up to twelve atoms that contain hydrogen, boron, carbon or nitrogen, whose bonds are short. ``strained`` distributes the
training crystals of up to twelve atoms over the files, each strained a little one way and the opposite way, for what
elastic constants are made of; ``strained-hypothetical`` does so with simple metals and alloys, with molecules in boxes
and with crystals made by exchanging elements of those with published elastic constants. ``varied`` makes slabs,
defects, clusters, molecules, hot crystals, crystals pulled apart (``varied.py``) and isolated atoms, of formulas of one
split. ``weak`` makes what the potential knew too little of (``weak.py``), its PART one of ``weak_compounds.PARTS``; for
val and test a few hundred frames for measuring. ``label`` adds energies, forces and stresses of the potential in the
folder TEACHER (``teacher.py``, ``Teacher.label``) to the files. ``join`` keeps what is fit for training and writes
``NAME_frames.npz`` beside this script, in the layout of ``labelled_frames.npz`` of the data package
(``frame_files.py``).
"""

import itertools
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from frame_files import join, label, write

LARGEST_PARENT, LARGEST_LIGHT_PARENT = 8, 12  # atoms, of crystals to substitute in
LARGEST_STRAINED, LARGEST_STRAINED_TWICE = 12, 6  # atoms
LARGEST_STRAINED_PARENT = 13  # atoms, the size of the primitive cell of ThMn12 and its like
LIGHT = frozenset({"H", "B", "C", "N"})  # elements whose bonds are short
METALLIC_WEIGHT = 4  # how often crystals of metals alone are drawn
SIMILAR_GUEST = 0.6  # probability that a dilute alloy is one of similar elements
SMALL_DILUTE = 0.3  # share of the dilute alloys that have eight atoms; the others have sixteen or eighteen
MOLECULAR_GAPS = (2.2, 2.6, 3.1, 3.7)  # A, from a molecule to its images


def crystal(frames: Any, k: int) -> Atoms:
    """The structure of one of ``training.frames.Frames``."""
    rows = frames.atom_rows(np.array([k]))
    return Atoms(frames.numbers[rows], positions=frames.positions[rows], cell=frames.cell[k], pbc=True)


def light_parents() -> list[Atoms]:
    """List the labelled training crystals that contain an element of ``LIGHT``, one frame each."""
    return [atoms for atoms in undistorted(LARGEST_LIGHT_PARENT) if LIGHT & set(atoms.symbols)]


def parents() -> list[Atoms]:
    """One frame of every small labelled crystal of the training split, those of metals alone several times."""
    from ase_comformer.training.data.substitution import METALS

    metals = set(METALS.split())
    crystals = []
    for atoms in undistorted(LARGEST_PARENT):
        crystals += [atoms] * (METALLIC_WEIGHT if set(atoms.symbols) <= metals else 1)
    return crystals


def undistorted(largest: int, split: str = "train") -> list[Atoms]:
    """One frame of every labelled crystal of the split of so many atoms at most, undistorted where there is one."""
    from ase_comformer.training.data.frame_sources import load_frames

    frames = load_frames("labelled", [split], None, largest)
    chosen: dict[str, int] = {}
    for k in np.argsort(frames.kind != "asis", kind="stable"):
        chosen.setdefault(str(frames.group[k]), int(k))
    return [crystal(frames, k) for k in sorted(chosen.values())]


def relaxed(batch: list[Atoms], predictor: Any, steps: int = 5, largest_stress: float = 0.37) -> list[Atoms]:
    """Cells and positions after a few damped steps; what the potential refuses or leaves strained is dropped.

    Args:
        batch: changed in place.
        predictor: of forces and stress.
        steps: of the relaxation.
        largest_stress: eV/A^3, of any component afterwards.
    """
    for _ in range(steps):
        found = predictor.predict(batch, ["forces", "stress"])
        for atoms, result in zip(batch, found, strict=True):
            if "error" not in result:
                atoms.positions += np.clip(0.015 * result["forces"], -0.06, 0.06)
                growth = np.clip(-result["stress"][:3].mean() / 1.5, -0.03, 0.03)
                atoms.set_cell(atoms.cell * (1 + growth), scale_atoms=True)
    found = predictor.predict(batch, ["forces", "stress"])
    calm = [
        "error" not in result and np.abs(result["forces"]).max() < 6 and np.abs(result["stress"]).max() < largest_stress
        for result in found
    ]
    return list(itertools.compress(batch, calm))


def distorted(atoms: Atoms, random: np.random.Generator) -> dict[str, Atoms]:
    """Variant -> a copy with a random strain and random displacements."""
    sizes = {  # strain, A
        "rattle_s": (random.uniform(0.002, 0.012), 10 ** random.uniform(-2.2, -1.2)),
        "strain": (random.uniform(0.01, 0.04), 0.01),
        "strain_s": (random.uniform(0.005, 0.02), 0.02),
        "mixed": (random.uniform(0.01, 0.05), random.uniform(0.04, 0.14)),
    }
    made = {}
    for variant, (strain, shift) in sizes.items():
        change = strain * random.normal(size=(3, 3))
        change = (change + change.T) / 2
        if variant.startswith("strain") and random.random() < 0.4:  # a volume change alone
            change = strain * random.normal() * np.eye(3)
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array @ (np.eye(3) + change), scale_atoms=True)
        copy.positions += shift * random.normal(size=copy.positions.shape)
        made[variant] = copy
    return made


def write_substituted(seed: int, count: int, path: Path, known: list[Atoms]) -> None:
    """Distorted hypothetical crystals made from known ones, without labels."""
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.training.data.substitution import substituted

    warnings.filterwarnings("ignore", category=UserWarning)  # some hypothetical crystals are strange; they are dropped
    predictor, random = Predictor(), np.random.default_rng(seed)
    source = substituted(known, seed)
    crystals: list[Atoms] = []
    while len(crystals) < count:
        crystals += relaxed(list(itertools.islice(source, 192)), predictor)
    made = [
        (frame, variant, f"substituted-{seed}-{number}")
        for number, atoms in enumerate(crystals[:count])
        for variant, frame in distorted(atoms, random).items()
    ]
    write(made, path)


def crystals_at_rest() -> list[Atoms]:
    """Small training crystals in their published cells: one per composition of the cell and volume per atom."""
    from ase_comformer.training.data.frame_sources import load_frames
    from ase_comformer.training.data.records import load_records

    found = [record.atoms for record in load_records("elastic_mp", None, ("train",))]
    for source in ("labelled", "rest"):
        frames = load_frames(source, ["train"], None, LARGEST_STRAINED)
        found += [crystal(frames, k) for k in np.flatnonzero(np.isin(frames.kind, ("asis", "rest")))]
    distinct: dict[tuple[str, int], Atoms] = {}
    for atoms in found:
        if len(atoms) <= LARGEST_STRAINED:
            # the same crystal in another source: PBE and PBEsol volumes differ by some per cent
            size = round(np.log(atoms.cell.volume / len(atoms)) / 0.06)
            distinct.setdefault((atoms.get_chemical_formula(), size), atoms)
    return list(distinct.values())


def strained_pair(atoms: Atoms, random: np.random.Generator) -> list[Atoms]:
    """The crystal with a small strain, in two of three cases small displacements too, and with the opposite ones."""
    if random.random() < 0.35:  # a volume change alone
        strain = random.choice([-1, 1]) * random.uniform(0.004, 0.012) * np.eye(3)
    else:
        strain = random.uniform(0.003, 0.01) * random.normal(size=(3, 3))
        strain = (strain + strain.T) / 2
    shift = (random.random() < 0.65) * random.uniform(0.005, 0.02) * random.normal(size=(len(atoms), 3))
    shift -= shift.mean(axis=0)
    pair = []
    for sign in (1, -1):
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
        copy.positions += sign * shift
        pair.append(copy)
    return pair


def write_strained(seed: int, paths: list[Path]) -> None:
    """Pairs of strained training crystals, without labels, evenly over the files."""
    random = np.random.default_rng(seed)
    made = []
    for number, atoms in enumerate(crystals_at_rest()):
        for again in range(1 if len(atoms) > LARGEST_STRAINED_TWICE else 2):
            group = f"strained-{seed}-{number}-{again}"
            made.append([(frame, "strained", group) for frame in strained_pair(atoms, random)])
    order = random.permutation(len(made))
    for part, path in enumerate(paths):
        write([frame for k in order[part :: len(paths)] for frame in made[k]], path)


def simple_metals(random: np.random.Generator) -> list[Atoms]:
    """Metals in the bcc, fcc and hcp structures, and ordered and dilute alloys.

    A dilute alloy is nearly its host, so an element whose own formula is not of the training split is seen as well.
    """
    from ase.build import bulk

    from ase_comformer.training.data.substitution import METALS, atomic_volumes, similar_elements

    def scaled(atoms: Atoms) -> Atoms:
        size = (volumes[atoms.numbers].sum() / atoms.get_volume()) ** (1 / 3)
        atoms.set_cell(atoms.cell * size, scale_atoms=True)
        return atoms

    volumes, symbols = atomic_volumes(parents()), METALS.split()
    elements = [scaled(bulk(symbol, kind, a=4.0)) for symbol in symbols for kind in ("bcc", "fcc", "hcp")]
    alloys = []
    for _ in elements[::2]:
        one, other = random.choice(symbols, 2, replace=False)
        ordered = bulk("CsCl", "cesiumchloride", a=4.0), bulk("Cu", "fcc", a=4.0, cubic=True)
        for atoms in ordered:
            atoms.symbols[:] = [one, *[other] * (len(atoms) - 1)]
            alloys.append(scaled(atoms))
    similar = similar_elements()
    for atoms, exchanged in itertools.product(elements, (1, 1, 2)):
        small, large = ((2, 2, 2), (3, 3, 2)) if len(atoms) == 1 else ((2, 2, 1), (2, 2, 2))
        dilute = atoms.repeat(small if random.random() < SMALL_DILUTE else large)
        like = similar.get(int(atoms.numbers[0]), [])
        alike = like and random.random() < SIMILAR_GUEST
        guest = random.choice(like) if alike else atomic_numbers[random.choice(symbols)]
        dilute.numbers[random.choice(len(dilute), exchanged, replace=False)] = guest
        alloys.append(scaled(dilute))
    return elements + alloys


def molecular_crystals(random: np.random.Generator) -> list[Atoms]:
    """Small molecules of the G2 set, each turned at random in boxes that leave it different gaps to its images."""
    from ase.build import molecule
    from ase.data.g2 import molecule_names

    from ase_comformer.testing import random_rotation

    crystals = []
    for name, gap in itertools.product(molecule_names, MOLECULAR_GAPS):
        atoms = molecule(name)
        if 1 < len(atoms) <= LARGEST_STRAINED:
            positions = atoms.positions @ random_rotation(random)
            box = np.ptp(positions, axis=0) + gap + random.uniform(-0.2, 0.2, size=3)
            crystals.append(Atoms(atoms.numbers, positions=positions, cell=box, pbc=True))
    return crystals


def write_strained_hypothetical(seed: int, count: int, paths: list[Path]) -> None:
    """Pairs of strained crystals that nobody made, without labels, evenly over the files."""
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.training.data.records import load_records, split_of
    from ase_comformer.training.data.substitution import substituted

    warnings.filterwarnings("ignore", category=UserWarning)
    predictor, random = Predictor(), np.random.default_rng(seed)
    known = [record.atoms for record in load_records("elastic_mp", None, ("train",))]
    source = substituted([atoms for atoms in known if len(atoms) <= LARGEST_STRAINED_PARENT], seed)
    crystals = simple_metals(random) + molecular_crystals(random)
    crystals = [atoms for atoms in crystals if split_of(atoms.get_chemical_formula(empirical=True)) == "train"]
    crystals += list(itertools.islice(source, count))
    made = []
    for first in range(0, len(crystals), 192):
        for number, atoms in enumerate(relaxed(crystals[first : first + 192], predictor, 12, 0.12), first):
            for again in range(1 if len(atoms) > 2 else 2):
                group = f"hypothetical-{seed}-{number}-{again}"
                made.append([(frame, "strained", group) for frame in strained_pair(atoms, random)])
    order = random.permutation(len(made))
    for part, path in enumerate(paths):
        write([frame for k in order[part :: len(paths)] for frame in made[k]], path)


def write_varied(seed: int, count: int, split: str, paths: list[Path]) -> None:
    """Two copies of each structure of ``varied.py``, then isolated atoms, without labels, evenly over the files."""
    from varied import KINDS, heated, isolated_pairs

    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.training.data.records import split_of

    warnings.filterwarnings("ignore", category=UserWarning)
    random, known = np.random.default_rng(seed), undistorted(LARGEST_LIGHT_PARENT, split)
    made: list[list[tuple[Atoms, str, str]]] = []
    for kind, settings in KINDS.items():
        structures: list[Atoms] = []
        while len(structures) < settings.share * count:
            atoms = settings.make(known[random.integers(len(known))], random)
            if atoms is not None and split_of(atoms.get_chemical_formula(empirical=True)) == split:
                structures.append(atoms)
        pairs = [[atoms.copy(), atoms] for atoms in structures]
        if kind == "hot":  # two moments of one trajectory
            predictor, pairs = Predictor(), []
            for first in range(0, len(structures), 192):
                batch = structures[first : first + 192]
                sound = heated(batch, predictor, random)
                early = [atoms.copy() for atoms in batch]
                sound &= heated(batch, predictor, random)
                pairs += itertools.compress([list(pair) for pair in zip(early, batch, strict=True)], sound)
        for number, pair in enumerate(pairs):
            for atoms, size in zip(pair, settings.displacements, strict=True):
                atoms.positions += size * random.normal(size=atoms.positions.shape)
            made.append([(atoms, kind, f"{kind}-{seed}-{number}") for atoms in pair])
    elements = sorted({int(number) for atoms in known for number in atoms.numbers})
    alone = isolated_pairs(elements, random, lambda formula: split_of(formula) == split)
    made += [[(atoms, "isolated", f"isolated-{seed}-{number}")] for number, atoms in enumerate(alone)]
    order = random.permutation(len(made))
    for part, path in enumerate(paths):
        write([frame for k in order[part :: len(paths)] for frame in made[k]], path)


def write_weak(seed: int, part: str, split: str, paths: list[Path]) -> None:
    """Families of ``weak.py``, ``weak_surfaces.py`` and ``weak_compounds.py``, without labels, over the files."""
    from weak import Source, polymorphs_of
    from weak_compounds import kept_families

    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.training.data.records import data_folder, split_of

    warnings.filterwarnings("ignore", category=UserWarning)
    random, known = np.random.default_rng(seed), undistorted(LARGEST_LIGHT_PARENT, split)
    source = Source(split, known, Predictor(), random, polymorphs_of(data_folder(None)), split_of)
    families = kept_families(part, source)
    order = random.permutation(len(families))
    for number, path in enumerate(paths):
        chosen = [(int(k), families[k]) for k in order[number :: len(paths)]]
        made = [(atoms, f.kind, f"{f.kind}-{seed}-{k}") for k, f in chosen for atoms in f.frames]
        write(made, path, hosts=np.array([" ".join(family.hosts) for _, family in chosen for _ in family.frames]))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["substituted", seed, count, path]:
            write_substituted(int(seed), int(count), Path(path), parents())
        case ["substituted-light", seed, count, path]:
            write_substituted(int(seed), int(count), Path(path), light_parents())
        case ["strained", seed, *paths]:
            write_strained(int(seed), [Path(path) for path in paths])
        case ["strained-hypothetical", seed, count, *paths]:
            write_strained_hypothetical(int(seed), int(count), [Path(path) for path in paths])
        case ["varied", seed, count, split, *paths]:
            write_varied(int(seed), int(count), split, [Path(path) for path in paths])
        case ["weak", seed, part, split, *paths]:
            write_weak(int(seed), part, split, [Path(path) for path in paths])
        case ["label", *paths, folder]:
            label([Path(path) for path in paths], Path(folder))
        case ["join", name, *paths]:
            join(name, [Path(path) for path in paths])
        case _:
            raise SystemExit(__doc__)
