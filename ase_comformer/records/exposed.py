"""Atoms as other programs look for results in files: energy, forces and stress in a calculator, scalars in ``info``."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ase_comformer.records.record import ResultRecord

#: Results of a calculator that ASE's writers and most readers of its files know.
_OF_CALCULATORS = ("energy", "free_energy", "energies", "forces", "stress")


def exposed_atoms(record: ResultRecord) -> Atoms:
    """Copy of the structure with a calculator that holds what ASE writes everywhere."""
    atoms = record.atoms.copy()
    values = {name: record.values[name].value for name in _OF_CALCULATORS if name in record.values}
    if values:
        atoms.calc = SinglePointCalculator(atoms, **values)
        atoms.calc.name = "gmtnet"
    return atoms


def scalars(record: ResultRecord) -> dict[str, float]:
    """Values that are numbers, those of calculators left out."""
    found = {name: each.value for name, each in record.values.items() if name not in _OF_CALCULATORS}
    return {name: float(value) for name, value in found.items() if np.ndim(value) == 0}
