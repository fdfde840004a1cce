"""Short vectors of a lattice, for what is slow or breaks in a skew cell: neighbours, spglib, reciprocal grids."""

from __future__ import annotations

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from ase_comformer.errors import InvalidStructureError

#: A, that reducing a cell may lose: short vectors are differences of long ones.
_ROUNDING = 1e-5
#: Product of the lengths of three vectors over their volume, above which a cell counts as skew; at most 2 if reduced.
_SKEW = 50.0


def reduced_cell(
    cell: NDArray[np.float64], pbc: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Minkowski-reduced vectors of a lattice: the shortest there are, so that nothing depends on how skew a cell is.

    Args:
        cell: (3, 3) A, rows are lattice vectors; all must be set.
        pbc: (3,) directions that are periodic and may be mixed; all where None.

    Returns:
        (3, 3) A, and the integers (3, 3) that make it: ``reduced = transformation @ cell``.

    Raises:
        InvalidStructureError: the cell is so skew that reducing it loses more than ``_ROUNDING`` A.
    """
    try:
        reduced, transformation = minkowski_reduce(cell, True if pbc is None else pbc)
    except RuntimeError:  # ASE gives up after many steps
        lost = np.inf
    else:
        lost = float((np.abs(transformation) @ np.abs(cell)).max() * np.finfo(np.float64).eps)
    if not lost < _ROUNDING:
        raise InvalidStructureError(
            f"The cell {np.round(cell, 3).tolist()} Å is too skew to be reduced in double precision. Give shorter "
            "lattice vectors of the same lattice."
        )
    return np.ascontiguousarray(reduced), np.asarray(transformation, dtype=np.int64)


def without_skew(cell: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """The cell itself, and None, unless it is skew: then as :func:`reduced_cell`."""
    if np.prod(np.linalg.norm(cell, axis=1)) < _SKEW * abs(np.linalg.det(cell)):
        return cell, None
    return reduced_cell(cell)
