"""Supercells for phonons: as few atoms as keep periodic images apart, and the symmetry of the crystal kept."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.lattice_reduction import reduced_cell
from ase_comformer.crystals.operations import primitive_operations
from ase_comformer.crystals.space_group import SpaceGroup

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Combinations of three short lattice vectors among which the shortest one is.
_COMBINATIONS = np.array([c for c in product((-1, 0, 1), repeat=3) if any(c)])


def symmetric_supercell(group: SpaceGroup, distance: float, most_atoms: int = 1000) -> IntArray:
    """Find the smallest supercell whose lattice has the point group of the crystal and no vector below a length.

    Multiples of the primitive, the conventional and the reduced cell are tried.

    Args:
        group: of the crystal; the supercell is one of its primitive cell.
        distance: A, the least distance of an atom from its own images.
        most_atoms: where all that are long enough have more atoms, the one with the longest shortest vector is taken.

    Returns:
        (3, 3) integers, rows times the primitive cell are the vectors of the supercell.

    Raises:
        ValueError: a distance that is not positive.

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.crystals.space_group import analyse_space_group
        >>> matrix = symmetric_supercell(analyse_space_group(bulk("MgO", "rocksalt", a=4.21)), 10.0)
        >>> 2 * round(abs(np.linalg.det(matrix)))
        128
    """
    if not distance > 0:
        raise ValueError(f"the distance of periodic images must be positive, got {distance} A")
    cell = group.primitive.cell.array
    best: tuple[float, IntArray] = (0.0, np.eye(3, dtype=np.int64))
    for matrix in _candidates(group, distance):
        if round(abs(np.linalg.det(matrix))) * len(group.primitive) > max(most_atoms, len(group.primitive)):
            break
        shortest = shortest_vector(matrix @ cell)
        if shortest >= distance - 1e-6:
            return matrix
        if shortest > best[0] + 1e-6:
            best = shortest, matrix
    return best[1]


def shortest_vector(cell: FloatArray) -> float:
    """Length in A of the shortest vector of the lattice with the rows of ``cell``."""
    reduced = reduced_cell(cell)[0]
    return float(np.linalg.norm(_COMBINATIONS @ reduced, axis=1).min())


def keeps_lattice(matrix: IntArray, rotations: IntArray) -> NDArray[np.bool_]:
    """Tell which operations (G, 3, 3) of the primitive basis map the lattice of a supercell (3, 3) onto itself."""
    carried = matrix @ rotations.swapaxes(1, 2) @ np.linalg.inv(matrix)
    return np.asarray(np.abs(carried - np.rint(carried)).max(axis=(1, 2)) < 1e-6)


def _candidates(group: SpaceGroup, distance: float) -> list[IntArray]:
    """Supercells of full symmetry, the smallest first."""
    cell = group.primitive.cell.array
    bases = [np.eye(3, dtype=np.int64), reduced_cell(cell)[1]]
    if group.order > 1:
        conventional = primitive_operations(group.hall_number, group.international[0]).from_standard.T
        bases.append(np.rint(conventional).astype(np.int64))
    found: dict[tuple[int, ...], IntArray] = {}
    for base in bases:
        lengths = np.linalg.norm(base @ cell, axis=1)
        counts = [range(1, int(np.ceil(1.5 * distance / length)) + 2) for length in lengths]
        multiples = np.array(list(product(*counts)))
        carried = base @ group.fractional_rotations.swapaxes(1, 2) @ np.linalg.inv(base)
        # rows n_i b_i are carried to n_i C_ij b_j, which must be whole multiples of n_j b_j
        ratios = multiples[:, None, :, None] * carried[None] / multiples[:, None, None, :]
        symmetric = np.abs(ratios - np.rint(ratios)).max(axis=(1, 2, 3)) < 1e-6
        for chosen in multiples[symmetric]:
            matrix = chosen[:, None] * base
            found.setdefault(tuple(matrix.ravel().tolist()), matrix)
    return sorted(found.values(), key=lambda matrix: abs(np.linalg.det(matrix)))


class CellNumbers:
    """Numbers integer cells modulo the vectors of a supercell: equal cells have equal numbers."""

    def __init__(self, matrix: IntArray) -> None:
        self._size = round(abs(np.linalg.det(matrix)))
        self._adjugate = np.rint(self._size * np.linalg.inv(matrix)).astype(np.int64)

    def of(self, cells: IntArray) -> IntArray:
        """(..., 3) integers -> (...) numbers."""
        digits = (cells @ self._adjugate) % self._size
        return np.asarray((digits[..., 0] * self._size + digits[..., 1]) * self._size + digits[..., 2])
