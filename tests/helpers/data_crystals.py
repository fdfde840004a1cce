"""300 crystals of the data package in ``data_crystals.npz``, for tests of exactness that must run without it.

    python tests/helpers/data_crystals.py    # makes the file again, needs the data

They are the smallest of each space group, training and validation splits only; all triclinic ones come first, because
there are few. Structures of the Materials Project and of the Kyoto phonon database, both CC BY 4.0.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
from ase import Atoms

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.training.data.records import load_records

FILE = Path(__file__).with_name("data_crystals.npz")
CRYSTALS = 300
LARGEST_CELL = 16


def chosen_crystals() -> list[Atoms]:
    """All small triclinic crystals, then round by round the next smallest of every space group."""
    found: dict[int, dict[str, Atoms]] = defaultdict(dict)
    for dataset in ("dielectric_born", "dielectric_mp", "elastic_mp", "piezo_mp"):
        for record in load_records(dataset, splits=("train", "val")):
            if len(record.atoms) <= LARGEST_CELL:
                found[record.extras["spg"]].setdefault(record.formula, record.atoms)
    # formation_energy says no space groups; its validation split adds what the others lack
    for record in load_records("formation_energy", splits=("val",)):
        if len(record.atoms) <= LARGEST_CELL:
            number = analyse_space_group(record.atoms).number
            if number <= 2 or len(found[number]) < 2:
                found[number].setdefault(record.formula, record.atoms)
    queues = {number: sorted(atoms.values(), key=len) for number, atoms in found.items()}
    chosen = [*queues.pop(1, []), *queues.pop(2, [])]
    for position in range(max(map(len, queues.values()))):
        chosen += [queues[number][position] for number in sorted(queues) if position < len(queues[number])]
    return chosen[:CRYSTALS]


def write(crystals: list[Atoms]) -> None:
    """One array of each kind for all crystals, ``counts`` says how many atoms belong to each."""
    np.savez_compressed(
        FILE,
        counts=[len(atoms) for atoms in crystals],
        numbers=np.concatenate([atoms.numbers for atoms in crystals]).astype(np.uint8),
        cells=[atoms.cell.array for atoms in crystals],
        positions=np.concatenate([atoms.positions for atoms in crystals]),
    )


def read() -> list[Atoms]:
    """The crystals of the file."""
    with np.load(FILE) as data:
        ends = np.cumsum(data["counts"])[:-1]
        parts = zip(np.split(data["numbers"], ends), np.split(data["positions"], ends), data["cells"], strict=True)
        return [Atoms(numbers, positions, cell=cell, pbc=True) for numbers, positions, cell in parts]


if __name__ == "__main__":
    write(chosen_crystals())
