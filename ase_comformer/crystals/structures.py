"""Copies, keys and differences of ``ase.Atoms``: what of a structure the package looks at, and nothing else."""

import numpy as np
from ase import Atoms


def bare(atoms: Atoms) -> Atoms:
    """Copy numbers, positions, cell and pbc: calculators, constraints and arrays must not be kept alive in a cache."""
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def structure_key(atoms: Atoms) -> bytes:
    """Make bytes that differ where two structures differ; they are empty for something that is not a structure."""
    if not isinstance(atoms, Atoms):
        return b""
    parts = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def changes(old: Atoms, new: Atoms) -> list[str]:
    """Name what differs exactly: ``positions``, ``numbers``, ``cell``, ``pbc``.

    Example:
        >>> changes(Atoms("H"), Atoms("H", [(0, 0, 1)], pbc=True))
        ['positions', 'pbc']
    """
    pairs = {
        "positions": (old.positions, new.positions),
        "numbers": (old.numbers, new.numbers),
        "cell": (old.cell.array, new.cell.array),
        "pbc": (old.pbc, new.pbc),
    }
    return [name for name, (one, other) in pairs.items() if not np.array_equal(one, other)]
