"""Expected form of dielectric, piezoelectric and elastic tensors in the 32 crystal classes, typed from Nye.

Source: J. F. Nye, "Physical Properties of Crystals" (Oxford, 1957/1985), tables 3 (second rank), 8
(piezoelectric) and 9 (stiffness). Nothing here is computed from symmetry operations, so that it can judge
code that does. Axes are Nye's: two-fold or mirror normal of the monoclinic classes along x2, two-fold of 32
and -42m along x1, mirror normal of 3m and -6m2 along x1, principal axis along x3. The moduli are stress-type
e and C, so the factors 2 of Nye's d and s are absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ase_comformer.crystals.point_groups import CRYSTAL_CLASSES, point_group_of

#: Space groups whose standard setting exchanges the secondary and tertiary directions of Nye's axes, with the
#: rotation about x3 (degrees) between the two (International Tables A).
_EXCHANGED_SETTING: dict[int, float] = {
    **dict.fromkeys((115, 116, 117, 118, 119, 120), 45.0),  # -4m2
    **dict.fromkeys((149, 151, 153), 30.0),  # 312
    **dict.fromkeys((157, 159), 30.0),  # 31m
    **dict.fromkeys((162, 163), 30.0),  # -31m
    **dict.fromkeys((189, 190), 30.0),  # -62m
}

CLASSES: tuple[str, ...] = tuple(symbol for _, symbol, _ in CRYSTAL_CLASSES)
CRYSTAL_SYSTEMS: tuple[str, ...] = tuple(dict.fromkeys(system for _, _, system in CRYSTAL_CLASSES))
_SYSTEM_OF_CLASS: dict[str, str] = {symbol: system for _, symbol, system in CRYSTAL_CLASSES}

# A cell is "0", the label of the modulus it equals ("11", "-11"), or "x" for (11 - 12) / 2. Upper triangles
# for the symmetric tensors.
_DIELECTRIC: dict[str, str] = {
    "1 -1": "11 12 13 / 22 23 / 33",
    "2 m 2/m": "11 0 13 / 22 0 / 33",
    "222 mm2 mmm": "11 0 0 / 22 0 / 33",
    "4 -4 4/m 422 4mm -42m 4/mmm 3 -3 32 3m -3m 6 -6 6/m 622 6mm -6m2 6/mmm": "11 0 0 / 11 0 / 33",
    "23 m-3 432 -43m m-3m": "11 0 0 / 11 0 / 11",
}

_PIEZOELECTRIC: dict[str, str] = {
    "1": "11 12 13 14 15 16 / 21 22 23 24 25 26 / 31 32 33 34 35 36",
    "2": "0 0 0 14 0 16 / 21 22 23 0 25 0 / 0 0 0 34 0 36",
    "m": "11 12 13 0 15 0 / 0 0 0 24 0 26 / 31 32 33 0 35 0",
    "222": "0 0 0 14 0 0 / 0 0 0 0 25 0 / 0 0 0 0 0 36",
    "mm2": "0 0 0 0 15 0 / 0 0 0 24 0 0 / 31 32 33 0 0 0",
    "4": "0 0 0 14 15 0 / 0 0 0 15 -14 0 / 31 31 33 0 0 0",
    "-4": "0 0 0 14 15 0 / 0 0 0 -15 14 0 / 31 -31 0 0 0 36",
    "422": "0 0 0 14 0 0 / 0 0 0 0 -14 0 / 0 0 0 0 0 0",
    "4mm": "0 0 0 0 15 0 / 0 0 0 15 0 0 / 31 31 33 0 0 0",
    "-42m": "0 0 0 14 0 0 / 0 0 0 0 14 0 / 0 0 0 0 0 36",
    "3": "11 -11 0 14 15 -22 / -22 22 0 15 -14 -11 / 31 31 33 0 0 0",
    "32": "11 -11 0 14 0 0 / 0 0 0 0 -14 -11 / 0 0 0 0 0 0",
    "3m": "0 0 0 0 15 -22 / -22 22 0 15 0 0 / 31 31 33 0 0 0",
    "6": "0 0 0 14 15 0 / 0 0 0 15 -14 0 / 31 31 33 0 0 0",
    "-6": "11 -11 0 0 0 -22 / -22 22 0 0 0 -11 / 0 0 0 0 0 0",
    "622": "0 0 0 14 0 0 / 0 0 0 0 -14 0 / 0 0 0 0 0 0",
    "6mm": "0 0 0 0 15 0 / 0 0 0 15 0 0 / 31 31 33 0 0 0",
    "-6m2": "0 0 0 0 0 -22 / -22 22 0 0 0 0 / 0 0 0 0 0 0",
    "23 -43m": "0 0 0 14 0 0 / 0 0 0 0 14 0 / 0 0 0 0 0 14",
    "-1 2/m mmm 4/m 4/mmm -3 -3m 6/m 6/mmm m-3 432 m-3m": "0 0 0 0 0 0 / 0 0 0 0 0 0 / 0 0 0 0 0 0",
}

_ELASTIC: dict[str, str] = {
    "1 -1": "11 12 13 14 15 16 / 22 23 24 25 26 / 33 34 35 36 / 44 45 46 / 55 56 / 66",
    "2 m 2/m": "11 12 13 0 15 0 / 22 23 0 25 0 / 33 0 35 0 / 44 0 46 / 55 0 / 66",
    "222 mm2 mmm": "11 12 13 0 0 0 / 22 23 0 0 0 / 33 0 0 0 / 44 0 0 / 55 0 / 66",
    "4 -4 4/m": "11 12 13 0 0 16 / 11 13 0 0 -16 / 33 0 0 0 / 44 0 0 / 44 0 / 66",
    "422 4mm -42m 4/mmm": "11 12 13 0 0 0 / 11 13 0 0 0 / 33 0 0 0 / 44 0 0 / 44 0 / 66",
    "3 -3": "11 12 13 14 15 0 / 11 13 -14 -15 0 / 33 0 0 0 / 44 0 -15 / 44 14 / x",
    "32 3m -3m": "11 12 13 14 0 0 / 11 13 -14 0 0 / 33 0 0 0 / 44 0 0 / 44 14 / x",
    "6 -6 6/m 622 6mm -6m2 6/mmm": "11 12 13 0 0 0 / 11 13 0 0 0 / 33 0 0 0 / 44 0 0 / 44 0 / x",
    "23 m-3 432 -43m m-3m": "11 12 12 0 0 0 / 11 12 0 0 0 / 11 0 0 0 / 44 0 0 / 44 0 / 44",
}

_TABLES: dict[str, dict[str, str]] = {
    "dielectric_tensor": _DIELECTRIC,
    "piezoelectric_tensor": _PIEZOELECTRIC,
    "elastic_tensor": _ELASTIC,
}


@dataclass(frozen=True)
class Pattern:
    """States what one crystal class demands of one tensor, in 0-based array indices.

    Attributes:
        zeros: entries that vanish.
        equal: ``(entry, reference, sign)``: ``T[entry] = sign * T[reference]``.
        shear: entries that equal ``(T[0, 0] - T[0, 1]) / 2`` (C66 of trigonal and hexagonal crystals).
        independent: number of independent components.
    """

    zeros: tuple[tuple[int, int], ...]
    equal: tuple[tuple[tuple[int, int], tuple[int, int], int], ...]
    shear: tuple[tuple[int, int], ...]
    independent: int


def class_of_space_group(number: int) -> str:
    """Return the crystal class of space group ``number`` (1 to 230)."""
    return point_group_of(number)


def canonical_class(symbol: str) -> str:
    """Return Nye's symbol of a point group in any setting: ``-42m`` for ``-4m2``, ``32`` for ``312``."""
    aliases = {"-4m2": "-42m", "-62m": "-6m2", "312": "32", "321": "32", "31m": "3m", "3m1": "3m",
               "-31m": "-3m", "-3m1": "-3m", "m3": "m-3", "m3m": "m-3m"}  # fmt: skip
    symbol = aliases.get(symbol.strip(), symbol.strip())
    if symbol not in _SYSTEM_OF_CLASS:
        raise ValueError(f"unknown point group {symbol!r}; choose from {', '.join(CLASSES)}")
    return symbol


def crystal_system(symbol: str) -> str:
    """Return the crystal system (one of ``CRYSTAL_SYSTEMS``) of a point group."""
    return _SYSTEM_OF_CLASS[canonical_class(symbol)]


def rotation_to_nye_axes(number: int) -> np.ndarray:
    """Rotation (3, 3) from the standard setting's Cartesian axes (a along x, c or b as usual) to Nye's axes.

    The identity except for -4m2, 312, 31m, -31m and -62m, whose secondary axes are exchanged.
    """
    angle = np.deg2rad(_EXCHANGED_SETTING.get(number, 0.0))
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


@cache
def pattern(name: str, point_group: str) -> Pattern:
    """Return the :class:`Pattern` of tensor ``name`` in crystal class ``point_group``.

    ``name`` is "dielectric_tensor" (also used for the static one), "piezoelectric_tensor" or
    "elastic_tensor".
    """
    table = _TABLES["dielectric_tensor" if name == "static_dielectric_tensor" else name]
    symbol = canonical_class(point_group)
    text = next(text for symbols, text in table.items() if symbol in symbols.split())
    rows = [row.split() for row in text.split("/")]
    zeros: list[tuple[int, int]] = []
    equal: list[tuple[tuple[int, int], tuple[int, int], int]] = []
    shear: list[tuple[int, int]] = []
    independent = 0
    for i, row in enumerate(rows):
        # Rows of the symmetric tensors are upper triangles: they get shorter and start on the diagonal.
        offset = i if name != "piezoelectric_tensor" else 0
        for j, cell in enumerate(row, start=offset):
            if cell == "0":
                zeros.append((i, j))
            elif cell == "x":
                shear.append((i, j))
            else:
                reference = (int(cell[-2]) - 1, int(cell[-1]) - 1)
                if reference == (i, j):
                    independent += 1
                else:
                    equal.append(((i, j), reference, -1 if cell.startswith("-") else 1))
    return Pattern(tuple(zeros), tuple(equal), tuple(shear), independent)


def residuals(name: str, point_group: str, tensor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the violations of the pattern: |entry| for each zero, |difference| for each tied entry.

    ``tensor`` is in Nye's axes and in the documented form: (3, 3), (3, 6) or (6, 6).
    """
    expected = pattern(name, point_group)
    zero = np.array([abs(tensor[index]) for index in expected.zeros])
    tied = [abs(tensor[index] - sign * tensor[reference]) for index, reference, sign in expected.equal]
    tied += [abs(tensor[index] - (tensor[0, 0] - tensor[0, 1]) / 2) for index in expected.shear]
    return zero, np.array(tied)
