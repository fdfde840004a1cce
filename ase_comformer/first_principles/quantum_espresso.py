"""Dielectric tensor and Born charges of Quantum ESPRESSO: the output of ``ph.x`` with ``epsil = .true.``.

Born charges are printed per atom in rows Ex, Ey, Ez (field) with the force in columns, twice: as found and with the
acoustic sum rule; the latter are taken. The structure is in the header, in units of the lattice parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr

from ase_comformer.errors import UnreadableFileError
from ase_comformer.first_principles.parsed import (
    FirstPrinciplesTensors,
    FloatArray,
    last_line_with,
    numbers_of,
    rows_after,
)

_CHARGES = "Effective charges (d Force / dE) in cartesian axis"


def read_phonon_output(path: Path) -> FirstPrinciplesTensors:
    """Read the output of ``ph.x``.

    Raises:
        UnreadableFileError: no structure, or a block is cut off.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    atoms = _structure(lines, path)
    tensors: dict[str, FloatArray] = {}
    start = last_line_with(lines, "Dielectric constant in cartesian axis")
    if start is not None:
        tensors["dielectric_tensor"] = rows_after(lines, start, 3, 3, "Dielectric constant")
    start = last_line_with(lines, _CHARGES)
    if start is not None:
        charges = []
        for number in range(start + 1, len(lines)):
            if lines[number].split()[:1] == ["atom"]:
                charges.append(rows_after(lines, number, 3, 3, "Effective charges"))
                if len(charges) == len(atoms):
                    break
        tensors["born_effective_charges"] = np.array(charges)
    return FirstPrinciplesTensors("Quantum ESPRESSO", atoms, tensors)


def _structure(lines: Sequence[str], path: Path) -> Atoms:
    try:
        unit = numbers_of(_last(lines, "lattice parameter (alat)"))[-1] * Bohr
        count = round(numbers_of(_last(lines, "number of atoms/cell"))[-1])
        start = last_line_with(lines, "crystal axes: (cart. coord. in units of")
        cell = np.array([numbers_of(lines[start + k].split("=")[-1]) for k in (1, 2, 3)])  # type: ignore[operator]
        start = last_line_with(lines, "site n.")
        rows = [lines[start + 1 + k] for k in range(count)]  # type: ignore[operator]
        symbols = [row.split()[1].strip("0123456789_-").capitalize() for row in rows]
        positions = np.array([numbers_of(row.split("=")[-1])[-3:] for row in rows])
        return Atoms(symbols, positions=positions * unit, cell=cell * unit, pbc=True)
    except (TypeError, IndexError, ValueError, KeyError) as error:
        raise UnreadableFileError(
            f"{path} has no structure in the form of ph.x (lattice parameter, crystal axes, sites): {error!r}. Pass "
            "the output of ph.x, from its beginning."
        ) from error


def _last(lines: Sequence[str], text: str) -> str:
    number = last_line_with(lines, text)
    if number is None:
        raise ValueError(f"no line with {text!r}")
    return lines[number]
