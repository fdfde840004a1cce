"""Reading a projector: which components are forbidden, free or tied, and the names of symmetry operations.

Used by ``symmetry_report``. Everything here works on numbers (a basis of the invariant tensors,
rotation matrices), hence in any Cartesian frame: in a rotated frame the relations are linear combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.operations import CENTRING
from ase_comformer.crystals.space_group import SpaceGroup

FloatArray = NDArray[np.float64]
Relation = dict[str, float]
Status = tuple[str, dict[int, float]]
"""``"forbidden"``, ``"free"`` or ``"tied"``, and for a tied component the factors of free ones by their numbers."""

# A component is taken as the next free one when at least this share of the largest remaining one is
# independent.
_PIVOT = 0.1
_LARGEST_FACTOR = 2.0
_ORDER_BY_TRACE = {3: "1", -1: "2", 0: "3", 1: "4", 2: "6"}


def classify(basis: FloatArray, tolerance: float) -> list[Status]:
    """Say for each component whether it is forbidden, free, or tied to free ones.

    Args:
        basis: (M, r) columns span the invariant tensors, rows are components, in order of preference as free
            ones.
        tolerance: rows below this share of the largest, and smaller factors, count as zero.

    Returns:
        M pairs: ``"forbidden"``, ``"free"`` or ``"tied"``, and for tied ones the factor of each free
        component, by its row. Exactly r components are free. The choice follows row order but
        skips and exchanges rows that depend on the others almost, so that the factors stay small in every frame.
    """
    free = free_rows(basis)
    return status_of_rows(basis @ np.linalg.inv(basis[free]), 0, free, tolerance)


def status_of_rows(factors: FloatArray, first: int, free: Sequence[int], tolerance: float) -> list[Status]:
    """Status of components that are linear combinations of free ones.

    Args:
        factors: (M, r) one row per component.
        first: number of the first row.
        free: (r,) numbers of the free components.
        tolerance: smaller factors count as zero.
    """
    columns = set(free)
    result: list[Status] = []
    for number, row in enumerate(factors, start=first):
        relation = {free[int(k)]: float(row[k]) for k in np.flatnonzero(np.abs(row) > tolerance)}
        if number in columns:
            result.append(("free", {}))
        else:
            result.append(("tied", relation) if relation else ("forbidden", {}))
    return result


def free_rows(basis: FloatArray) -> list[int]:
    """Ascending indices of r independent rows of an (M, r) matrix of rank r, early ones where factors stay small."""
    count, rank = basis.shape
    remaining = basis.copy()
    free: list[int] = []
    while len(free) < rank:
        norms = np.linalg.norm(remaining, axis=1)
        chosen = int(np.argmax(norms >= _PIVOT * norms.max()))
        direction = remaining[chosen] / norms[chosen]
        remaining = remaining - np.outer(remaining @ direction, direction)
        remaining[chosen] = 0.0
        free.append(chosen)
    # Exchange rows while a factor is large (maximum volume, Goreinov et al. 1997); each exchange grows the
    # determinant of basis[free] by that factor, so this ends.
    for _ in range(count * rank):
        factors = np.abs(basis @ np.linalg.inv(basis[free]))
        row, column = np.unravel_index(int(factors.argmax()), factors.shape)
        if factors[row, column] <= _LARGEST_FACTOR:
            break
        free[column] = int(row)
    return sorted(free)


def relation_text(relation: Relation) -> str:
    """Write a linear combination: ``{"C11": 0.5, "C12": -0.5}`` becomes ``"(C11 - C12)/2"``."""
    magnitudes = {round(abs(factor), 6) for factor in relation.values()}
    if magnitudes == {0.5} and len(relation) > 1:
        return f"({_sum({label: 2 * factor for label, factor in relation.items()})})/2"
    return _sum(relation)


def _sum(relation: Relation) -> str:
    text = ""
    for label, factor in relation.items():
        magnitude = abs(factor)
        fraction = Fraction(magnitude).limit_denominator(6)
        if abs(fraction - magnitude) > 1e-5:
            coefficient = f"{magnitude:.4f} "
        else:
            coefficient = "" if fraction == 1 else f"{fraction} "
        sign = "-" if factor < 0 else "+"
        if text:
            text += f" {sign} {coefficient}{label}"
        else:
            text = f"{'-' if factor < 0 else ''}{coefficient}{label}"
    return text


def direction_symbols(space_group: SpaceGroup) -> list[str]:
    """Name the point part of each operation, e.g. ``"3 [001]"``, ``"-4 [001]"``, ``"m [110]"``.

    The direction (axis, or normal of a mirror) is in the conventional cell of the standard setting.
    """
    centring = np.array(CENTRING[space_group.international[0]])
    symbols = []
    for rotation in space_group.fractional_rotations:
        determinant = round(float(np.linalg.det(rotation)))
        proper = determinant * rotation
        order = _ORDER_BY_TRACE[int(np.trace(proper))]
        if order == "1":
            symbols.append("1" if determinant > 0 else "-1")
            continue
        # The sum of the powers of a rotation projects onto its axis.
        powers = sum(np.linalg.matrix_power(proper, k) for k in range(int(order)))
        conventional = centring @ powers
        column = conventional[:, np.argmax(np.abs(conventional).sum(axis=0))]
        name = "m" if determinant < 0 and order == "2" else f"{'-' if determinant < 0 else ''}{order}"
        symbols.append(f"{name} [{_integer_direction(column)}]")
    return symbols


def _integer_direction(vector: FloatArray) -> str:
    scaled = vector / np.abs(vector[np.abs(vector) > 1e-8]).min()
    multiple = next((k for k in range(1, 7) if np.allclose(k * scaled, np.round(k * scaled), atol=1e-6)), 1)
    integers = np.round(multiple * scaled).astype(int)
    if integers[np.flatnonzero(integers)[-1]] < 0 and (integers < 0).sum() >= (integers > 0).sum():
        integers = -integers
    return "".join(str(k) for k in integers)
