"""Relaxations in an electric field that keep the symmetry which the field leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from numpy.typing import NDArray

#: Farthest that an operation may turn the direction of the field away from itself, as part of its strength.
TOLERANCE = 1e-3


class FixSymmetryInField(FixSymmetry):
    """ASE's ``FixSymmetry`` with the operations that leave a field invariant: others would undo what the field does.

    Args:
        atoms: crystal as it is without the field, for example the field reference; refined within ``symprec``.
        electric_field: (3,), V/A.
        symprec: A, of spglib.
        adjust_positions, adjust_cell, verbose: as ASE's.

    Example:
        >>> from ase.build import bulk
        >>> nitride = bulk("AlN", "wurtzite", a=3.11, c=4.98)
        >>> [len(FixSymmetryInField(nitride, field).rotations) for field in ((0, 0, 0.1), (0.1, 0, 0), (0.1, 0.2, 0.3))]
        [12, 2, 1]
    """

    def __init__(
        self,
        atoms: Atoms,
        electric_field: Any,
        symprec: float = 0.01,
        adjust_positions: bool = True,
        adjust_cell: bool = True,
        verbose: bool = False,
    ) -> None:
        super().__init__(atoms, symprec, adjust_positions, adjust_cell, verbose)
        self.electric_field = np.asarray(electric_field, dtype=np.float64)
        kept = leaves_field_invariant(np.asarray(self.rotations), atoms.cell.array, self.electric_field)
        self.rotations, self.translations = self.rotations[kept], self.translations[kept]
        self.symm_map = [atoms_of for atoms_of, keep in zip(self.symm_map, kept, strict=True) if keep]

    def todict(self) -> dict[str, Any]:
        """Do as ASE does, with the field; ASE does not read it back and says so, instead of fixing too much."""
        described: dict[str, Any] = super().todict()
        described["name"] = type(self).__name__
        described["kwargs"]["electric_field"] = self.electric_field.tolist()
        return described


def leaves_field_invariant(
    rotations: NDArray[np.int_], cell: NDArray[np.float64], electric_field: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(G,) whether each operation of a crystal maps a field onto itself.

    Args:
        rotations: (G, 3, 3) in fractional coordinates, of columns, as spglib's.
        cell: (3, 3) A, rows are the lattice vectors.
        electric_field: (3,).
    """
    basis = cell.T
    cartesian = basis @ rotations @ np.linalg.inv(basis)
    difference = np.linalg.norm(cartesian @ electric_field - electric_field, axis=1)
    kept: NDArray[np.bool_] = difference <= TOLERANCE * np.linalg.norm(electric_field)
    return kept
