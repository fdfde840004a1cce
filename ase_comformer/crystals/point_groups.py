"""The table of crystal classes and crystal systems by space-group number (International Tables A, section 2.1)."""

from __future__ import annotations

import bisect

#: First space group of each of the 32 crystal classes, its Hermann-Mauguin symbol and its crystal system.
CRYSTAL_CLASSES: tuple[tuple[int, str, str], ...] = (
    (1, "1", "triclinic"), (2, "-1", "triclinic"),
    (3, "2", "monoclinic"), (6, "m", "monoclinic"), (10, "2/m", "monoclinic"),
    (16, "222", "orthorhombic"), (25, "mm2", "orthorhombic"), (47, "mmm", "orthorhombic"),
    (75, "4", "tetragonal"), (81, "-4", "tetragonal"), (83, "4/m", "tetragonal"), (89, "422", "tetragonal"),
    (99, "4mm", "tetragonal"), (111, "-42m", "tetragonal"), (123, "4/mmm", "tetragonal"),
    (143, "3", "trigonal"), (147, "-3", "trigonal"), (149, "32", "trigonal"), (156, "3m", "trigonal"),
    (162, "-3m", "trigonal"),
    (168, "6", "hexagonal"), (174, "-6", "hexagonal"), (175, "6/m", "hexagonal"), (177, "622", "hexagonal"),
    (183, "6mm", "hexagonal"), (187, "-6m2", "hexagonal"), (191, "6/mmm", "hexagonal"),
    (195, "23", "cubic"), (200, "m-3", "cubic"), (207, "432", "cubic"), (215, "-43m", "cubic"), (221, "m-3m", "cubic"),
)  # fmt: skip

#: Symbols of the classes with an inversion centre, where tensors of odd rank vanish.
CENTROSYMMETRIC_CLASSES = frozenset({"-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m"})
_STARTS = [first for first, _, _ in CRYSTAL_CLASSES]


def point_group_of(space_group_number: int) -> str:
    """Hermann-Mauguin symbol of the crystal class of a space group, for example 225 -> ``"m-3m"``.

    Raises:
        ValueError: the number is not one of 1 to 230.
    """
    return _class_of(space_group_number)[1]


def crystal_system_of(space_group_number: int) -> str:
    """Crystal system of a space group, ``"triclinic"`` to ``"cubic"``.

    Raises:
        ValueError: the number is not one of 1 to 230.
    """
    return _class_of(space_group_number)[2]


def _class_of(number: int) -> tuple[int, str, str]:
    if not 1 <= number <= 230:
        raise ValueError(f"space-group number {number} is not one of 1 to 230 (International Tables)")
    return CRYSTAL_CLASSES[bisect.bisect_right(_STARTS, number) - 1]
