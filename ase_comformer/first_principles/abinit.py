"""Tensors of ABINIT: the main output of a response calculation, and that of ``anaddb``.

The main output has 2nd derivatives in Cartesian coordinates, line by line as "direction perturbation direction
perturbation value", where perturbations count atoms and then, two after the last one, the electric field. ``anaddb``
prints matrices: Born charges per atom with the displacement in rows and the field in columns (transposed here),
piezoelectric constants with six rows of strain xx yy zz yz xz xy, elastic tensors in units of 100 GPa. It does not hold
the structure.
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

_DIELECTRIC = "Dielectric tensor, in cartesian coordinates"
_CHARGES = "Effective charges, in cartesian coordinates"
_VARIABLES = ("acell", "natom", "rprim", "typat", "xred", "znucl")
#: Titles of ``anaddb`` -> property, rows, columns, factor.
_MATRICES = {
    "Electronic dielectric tensor": ("dielectric_tensor", 3, 3, 1.0),
    "Relaxed ion dielectric tensor": ("static_dielectric_tensor", 3, 3, 1.0),
    "Elastic Tensor (relaxed ion) (unit:10^2GP)": ("elastic_tensor", 6, 6, 100.0),
    "Proper piezoelectric constants (clamped ion) (unit:c/m^2)": ("clamped_piezoelectric_tensor", 6, 3, 1.0),
    "Proper piezoelectric constants (relaxed ion) (unit:c/m^2)": ("piezoelectric_tensor", 6, 3, 1.0),
}


def read_main_output(path: Path) -> FirstPrinciplesTensors:
    """Read dielectric tensor and Born charges of the main output (``.abo``) of a response calculation.

    Raises:
        UnreadableFileError: no structure or an incomplete tensor.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    atoms = _structure(lines, path)
    count = len(atoms)
    tensors: dict[str, FloatArray] = {}
    start = last_line_with(lines, _DIELECTRIC)
    if start is not None:
        tensors["dielectric_tensor"] = _elements(lines, start, count)["field field"]
    start = last_line_with(lines, _CHARGES)
    if start is not None:
        found = _elements(lines, start, count)
        charges = found["atom field"] if np.isfinite(found["atom field"]).all() else found["field atom"]
        tensors["born_effective_charges"] = charges
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise UnreadableFileError(f"{path}: elements of {name} are missing. Let ABINIT compute all directions.")
    return FirstPrinciplesTensors("ABINIT", atoms, tensors)


def read_anaddb(path: Path) -> FirstPrinciplesTensors:
    """Read the output of ``anaddb``; the structure is not in it.

    Raises:
        UnreadableFileError: a block is cut off.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    tensors: dict[str, FloatArray] = {}
    for title, (name, count, width, factor) in _MATRICES.items():
        start = last_line_with(lines, title)
        if start is not None:
            matrix = rows_after(lines, start, count, width, title) * factor
            tensors[name] = matrix.T if count != width else matrix
    start = last_line_with(lines, "Effective charge tensors after")
    if start is not None:
        tensors["born_effective_charges"] = _charges_of_anaddb(lines, start)
    return FirstPrinciplesTensors("ABINIT", None, tensors)


def _structure(lines: Sequence[str], path: Path) -> Atoms:
    """The crystal of the first data set, from the echo of the variables; ASE reads ground states only."""
    start = next((k for k, line in enumerate(lines) if "echo values of preprocessed input variables" in line), None)
    variables: dict[str, list[float]] = {}
    name = ""
    for line in lines[start + 1 :] if start is not None else ():
        if "=====" in line:
            break
        words = line.split()
        if words and words[0][0].isalpha() and words[0].isalnum():
            name = words[0].rstrip("0123456789") if words[0].rstrip("0123456789") in _VARIABLES else words[0]
            words = words[1:] if name not in variables else []
        if name in _VARIABLES:
            variables.setdefault(name, []).extend(numbers_of(" ".join(words)))
    try:
        count, types = round(variables["natom"][0]), variables["typat"]
        vectors = np.reshape(variables.get("rprim", np.eye(3)), (3, 3))
        cell = vectors * np.array(variables["acell"][:3])[:, None] * Bohr
        numbers = [round(variables["znucl"][round(kind) - 1]) for kind in types[:count]]
        fractions = np.reshape(variables.get("xred", np.zeros(3))[: 3 * count], (count, 3))
        return Atoms(numbers, scaled_positions=fractions, cell=cell, pbc=True)
    except (KeyError, IndexError, ValueError) as error:
        raise UnreadableFileError(
            f"{path} does not echo its structure as ABINIT does (acell, rprim, natom, typat, znucl, xred): {error!r}."
        ) from error


def _charges_of_anaddb(lines: Sequence[str], start: int) -> FloatArray:
    rows: list[list[float]] = []
    for line in lines[start + 1 :]:
        found = numbers_of(line)
        if len(found) == 5:
            rows.append(found[2:])
        elif rows:
            break
    if not rows or len(rows) % 3:
        raise UnreadableFileError(f"The block of effective charges has {len(rows)} rows, not three per atom.")
    return np.array(rows).reshape(-1, 3, 3).transpose(0, 2, 1)


def _elements(lines: Sequence[str], start: int, count: int) -> dict[str, FloatArray]:
    """Matrix elements after a title: (3, 3) field and field; (n, 3, 3) [atom, field, displacement] of both orders."""
    field = count + 2
    found = {
        "field field": np.full((3, 3), np.nan),
        "atom field": np.full((count, 3, 3), np.nan),
        "field atom": np.full((count, 3, 3), np.nan),
    }
    begun = False
    for line in lines[start + 1 :]:
        values = numbers_of(line)
        if len(values) != 6:
            if begun and line.strip():
                break
            continue
        begun = True
        (i, first, j, second), value = (int(number) for number in values[:4]), values[4]
        if first == field and second == field:
            found["field field"][i - 1, j - 1] = value
        elif first <= count and second == field:
            found["atom field"][first - 1, j - 1, i - 1] = value
        elif first == field and second <= count:
            found["field atom"][second - 1, i - 1, j - 1] = value
    return found
