"""Files of frames in the layout of ``labelled_frames.npz`` of the data package: writing, labelling, joining them."""

import itertools
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

LARGEST_FORCE, LARGEST_STRESS, SHORTEST_PAIR = 20.0, 0.5, 0.55  # eV/A, eV/A^3, A, of frames that are kept
SEVERITY = ("train", "val", "test", "withheld")  # the last of these among a frame's hosts is its split
LARGEST_VOLUME = 2800.0  # A^3; a larger cell has too many waves for a batch


def write(made: list[tuple[Atoms, str, str]], path: Path, **labels: np.ndarray) -> None:
    """Frames, variants and groups in the layout of ``labelled_frames.npz``, and what is known of them."""
    frames, variants, groups = zip(*made, strict=True)
    np.savez_compressed(
        path,
        ptr=np.concatenate([[0], np.cumsum([len(atoms) for atoms in frames])]),
        numbers=np.concatenate([atoms.numbers for atoms in frames]).astype(np.uint8),
        positions=np.concatenate([atoms.positions for atoms in frames]).astype(np.float32),
        cell=np.array([atoms.cell.array for atoms in frames], dtype=np.float32),
        variant=np.array(variants),
        base_id=np.array(groups),
        **labels,
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
    """Whether labels are known and of a usual size, no atoms overlap, and the cell is not too large."""
    if atoms.cell.volume > LARGEST_VOLUME:
        return False
    if not np.isfinite(forces).all() or np.abs(forces).max() > LARGEST_FORCE or np.abs(stress).max() > LARGEST_STRESS:
        return False
    distances = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
    return bool(distances.min(initial=np.inf) > SHORTEST_PAIR)


def known_already(atoms: Atoms, seen: set[bytes]) -> bool:
    """Whether the very same structure has been here before; it is remembered."""
    key = np.concatenate([atoms.numbers, atoms.positions.round(4).ravel(), atoms.cell.array.round(4).ravel()]).tobytes()
    known = key in seen
    seen.add(key)
    return known


def join(name: str, paths: list[Path]) -> None:
    """Write ``NAME_frames.npz``; of hypothetical crystals of one formula and size the first is kept.

    Nothing withheld is; what has a formula or a host of val or test among varied and weak frames only, for measuring.
    """
    from ase_comformer.training.data.records import split_of

    splits = ("train", "val", "test") if name in ("varied", "weak") else ("train",)
    kept: dict[str, list[Any]] = {}
    first: dict[tuple[str, int], str] = {}
    seen: set[bytes] = set()
    for path in paths:
        data = dict(np.load(path))
        slices, groups = [slice(a, b) for a, b in itertools.pairwise(data["ptr"])], data["base_id"].tolist()
        frames = structures_of(data)
        fit = [k for k, s in enumerate(slices) if fit_for_training(frames[k], data["forces"][s], data["stress"][k])]
        left = Counter(groups[k] for k in fit)
        for k in fit:
            if name == "strained" and left[groups[k]] < 2:  # half a pair
                continue
            rows, group = slices[k], groups[k]
            formula = frames[k].get_chemical_formula(empirical=True)
            repeated = name == "substituted" and first.setdefault((formula, len(frames[k])), group) != group
            hosts = str(data["hosts"][k]).split() if "hosts" in data else []
            split = max((split_of(host) for host in (formula, *hosts)), key=SEVERITY.index)
            if repeated or split not in splits or (name == "weak" and known_already(frames[k], seen)):
                continue
            values = {
                "numbers": data["numbers"][rows],
                "positions": data["positions"][rows],
                "forces": data["forces"][rows],
                "cell": data["cell"][k],
                "energy": data["energy"][k],
                "stress": data["stress"][k],
                "formula": formula,
                "split": split,
                "variant": data["variant"][k],
                "base_id": group,
            }
            if hosts:
                values["hosts"] = " ".join(hosts)
            for key, value in values.items():
                kept.setdefault(key, []).append(value)
    per_atom = ("numbers", "positions", "forces")
    counts = [len(numbers) for numbers in kept["numbers"]]
    np.savez_compressed(
        Path(__file__).with_name(f"{name}_frames.npz"),
        ptr=np.concatenate([[0], np.cumsum(counts)]),
        **{key: np.concatenate(v) if key in per_atom else np.array(v) for key, v in kept.items()},
    )
