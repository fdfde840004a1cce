"""Copies and keys of ``ase.Atoms``: what of a structure the package looks at, and nothing else."""

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
