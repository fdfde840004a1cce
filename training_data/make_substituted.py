"""Make ``substituted_frames.npz``: hypothetical crystals, labelled by a published universal potential.

    python training_data/make_substituted.py structures SEED CRYSTALS FILE.npz   # this project's environment
    python training_data/make_substituted.py label FILE.npz ... TEACHER          # environment of TEACHER/setup.sh
    python training_data/make_substituted.py join FILE.npz ...                   # this project's environment

``structures`` exchanges elements of crystals of up to eight atoms (``training/substitution.py``), brings the cells to a
small pressure with the shipped potential and distorts each four times. ``label`` adds energies, forces and stresses of
the potential in the folder TEACHER (``teacher.py``, ``Teacher.label``) to the files. ``join`` keeps what is fit for
training and writes the frames beside this script, in the layout of ``labelled_frames.npz`` of the data package.
"""

import itertools
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

LARGEST_PARENT = 8  # atoms
METALLIC_WEIGHT = 4  # how often crystals of metals alone are drawn
LARGEST_FORCE, LARGEST_STRESS, SHORTEST_PAIR = 20.0, 0.5, 0.55  # eV/A, eV/A^3, A, of frames that are kept


def parents() -> list[Atoms]:
    """One frame of every small labelled crystal of the training split, undistorted where there is one."""
    from ase_comformer.training.frames import load_frames
    from ase_comformer.training.substitution import METALS

    frames = load_frames("labelled", ["train"], None, LARGEST_PARENT)
    chosen: dict[str, int] = {}
    for k in np.argsort(frames.kind != "asis", kind="stable"):
        chosen.setdefault(str(frames.group[k]), int(k))
    crystals = []
    metals = {atomic_numbers[symbol] for symbol in METALS.split()}
    for k in sorted(chosen.values()):
        rows = frames.atom_rows(np.array([k]))
        atoms = Atoms(frames.numbers[rows], positions=frames.positions[rows], cell=frames.cell[k], pbc=True)
        crystals += [atoms] * (METALLIC_WEIGHT if set(atoms.numbers.tolist()) <= metals else 1)
    return crystals


def relaxed(batch: list[Atoms], predictor: Any, steps: int = 5) -> list[Atoms]:
    """Cells and positions after a few damped steps; what the potential refuses or leaves strained is dropped."""
    for _ in range(steps):
        found = predictor.predict(batch, ["forces", "stress"])
        for atoms, result in zip(batch, found, strict=True):
            if "error" not in result:
                atoms.positions += np.clip(0.015 * result["forces"], -0.06, 0.06)
                growth = np.clip(-result["stress"][:3].mean() / 1.5, -0.03, 0.03)
                atoms.set_cell(atoms.cell * (1 + growth), scale_atoms=True)
    found = predictor.predict(batch, ["forces", "stress"])
    calm = [
        "error" not in result and np.abs(result["forces"]).max() < 6 and np.abs(result["stress"]).max() < 0.37
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


def write_structures(seed: int, count: int, path: Path) -> None:
    """Distorted hypothetical crystals, without labels."""
    from ase_comformer.predictor import Predictor
    from ase_comformer.training.substitution import substituted

    warnings.filterwarnings("ignore", category=UserWarning)  # some hypothetical crystals are strange; they are dropped
    predictor, random = Predictor(), np.random.default_rng(seed)
    source = substituted(parents(), seed)
    crystals: list[Atoms] = []
    while len(crystals) < count:
        crystals += relaxed(list(itertools.islice(source, 192)), predictor)
    frames, variants, groups = [], [], []
    for number, atoms in enumerate(crystals[:count]):
        for variant, frame in distorted(atoms, random).items():
            frames.append(frame)
            variants.append(variant)
            groups.append(f"substituted-{seed}-{number}")
    np.savez_compressed(
        path,
        ptr=np.concatenate([[0], np.cumsum([len(atoms) for atoms in frames])]),
        numbers=np.concatenate([atoms.numbers for atoms in frames]).astype(np.uint8),
        positions=np.concatenate([atoms.positions for atoms in frames]).astype(np.float32),
        cell=np.array([atoms.cell.array for atoms in frames], dtype=np.float32),
        variant=np.array(variants),
        base_id=np.array(groups),
    )


def structures_of(data: dict[str, Any]) -> list[Atoms]:
    """The frames of a file."""
    slices = [slice(a, b) for a, b in itertools.pairwise(data["ptr"])]
    return [
        Atoms(data["numbers"][s], positions=data["positions"][s], cell=cell, pbc=True)
        for s, cell in zip(slices, data["cell"], strict=True)
    ]


def label(paths: list[Path], folder: Path) -> None:
    """Add labels to files; frames with elements that the potential does not know get none (NaN)."""
    sys.path.insert(0, str(folder))
    from teacher import Teacher  # type: ignore[import-not-found]

    teacher = Teacher()
    for path in paths:
        data = dict(np.load(path))
        frames = structures_of(data)
        known = [k for k, atoms in enumerate(frames) if set(atoms.numbers.tolist()) <= set(teacher.elements)]
        known.sort(key=lambda k: len(frames[k]))
        energy, stress = np.full(len(frames), np.nan), np.full((len(frames), 6), np.nan, dtype=np.float32)
        forces = np.full((len(data["numbers"]), 3), np.nan, dtype=np.float32)
        found = teacher.label([frames[k] for k in known])
        for k, (value, force, matrix) in zip(known, found, strict=True):
            energy[k], forces[data["ptr"][k] : data["ptr"][k + 1]] = value, force
            stress[k] = matrix[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        np.savez_compressed(path, **data | {"energy": energy, "forces": forces, "stress": stress})


def fit_for_training(atoms: Atoms, forces: np.ndarray, stress: np.ndarray) -> bool:
    """Whether labels are known and of a usual size, and no atoms overlap."""
    if not np.isfinite(forces).all() or np.abs(forces).max() > LARGEST_FORCE or np.abs(stress).max() > LARGEST_STRESS:
        return False
    distances = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
    return bool(distances.min(initial=np.inf) > SHORTEST_PAIR)


def join(paths: list[Path]) -> None:
    """Write ``substituted_frames.npz``; of a formula and size that came up twice the first crystal is kept."""
    from ase_comformer.training.data import split_of

    kept: dict[str, list[Any]] = {}
    first: dict[tuple[str, int], str] = {}
    for path in paths:
        data = dict(np.load(path))
        for k, atoms in enumerate(structures_of(data)):
            rows = slice(data["ptr"][k], data["ptr"][k + 1])
            formula, group = atoms.get_chemical_formula(empirical=True), str(data["base_id"][k])
            if not fit_for_training(atoms, data["forces"][rows], data["stress"][k]):
                continue
            if first.setdefault((formula, len(atoms)), group) != group or split_of(formula) != "train":
                continue
            values = {
                "numbers": data["numbers"][rows],
                "positions": data["positions"][rows],
                "forces": data["forces"][rows],
                "cell": data["cell"][k],
                "energy": data["energy"][k],
                "stress": data["stress"][k],
                "formula": formula,
                "split": "train",
                "variant": data["variant"][k],
                "base_id": group,
            }
            for name, value in values.items():
                kept.setdefault(name, []).append(value)
    per_atom = ("numbers", "positions", "forces")
    counts = [len(numbers) for numbers in kept["numbers"]]
    np.savez_compressed(
        Path(__file__).with_name("substituted_frames.npz"),
        ptr=np.concatenate([[0], np.cumsum(counts)]),
        **{name: np.concatenate(v) if name in per_atom else np.array(v) for name, v in kept.items()},
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["structures", seed, count, path]:
            write_structures(int(seed), int(count), Path(path))
        case ["label", *paths, folder]:
            label([Path(path) for path in paths], Path(folder))
        case ["join", *paths]:
            join([Path(path) for path in paths])
        case _:
            raise SystemExit(__doc__)
