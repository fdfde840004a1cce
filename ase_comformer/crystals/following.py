"""Known operations carried over to a structure that moved: relaxations with exact symmetry need no new search.

A search with spglib costs more than evaluating a small cell. Strains and displacements that keep the symmetry keep the
operations in fractional coordinates; they are verified on the new structure, in well under a millisecond.

Index letters as in ``symmetry``: g operation, a atom of the primitive cell, i input atom.
"""

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup


@dataclass(frozen=True)
class FollowedGroup:
    """A space group and how the input cell was made of the primitive one.

    Attributes:
        group: of the structure that it was found for.
        numbers: (N,) of that structure.
        multiple: (3, 3) integer, input cell = multiple @ primitive cell.
        first: (p,) the first input atom of every primitive atom.
    """

    group: SpaceGroup
    numbers: NDArray[np.int64]
    multiple: NDArray[np.float64]
    first: NDArray[np.int64]

    @classmethod
    def of(cls, atoms: Atoms, group: SpaceGroup) -> "FollowedGroup":
        """Remember ``group``, which was found for ``atoms``."""
        first = np.unique(group.atom_to_primitive, return_index=True)[1]
        return cls(group, atoms.numbers.copy(), cell_multiple(atoms, group), first)

    def on(self, atoms: Atoms, tolerance: float) -> SpaceGroup | None:
        """The group of ``atoms``, or None where an operation misses the structure by more than ``tolerance`` (A)."""
        group = self.group
        if not np.array_equal(atoms.numbers, self.numbers):
            return None
        cell = np.linalg.solve(self.multiple, atoms.cell.array)
        inverse = np.linalg.inv(cell)
        rotations = cell.T @ group.fractional_rotations @ inverse.T
        skew = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max()
        if skew * np.abs(cell).max() > tolerance:
            return None
        fractional = atoms.positions @ inverse
        basis = fractional[self.first]
        copies = fractional - basis[group.atom_to_primitive]
        copies -= np.rint(copies)
        images = np.einsum("gxy,ay->gax", group.fractional_rotations, basis)
        miss = images + group.translations[:, None] - basis[group.permutations]
        # the origin may have moved, by half a lattice vector even: atoms are rounded relative to the first one
        origin = miss[:, :1] - np.rint(miss[:, :1])
        shifts = np.rint(miss - origin)
        miss -= shifts
        # what all atoms miss in common belongs to the translation
        common = miss.mean(axis=1)
        miss -= common[:, None]
        error = max(np.abs(copies @ cell).max(initial=0.0), np.abs(miss @ cell).max(initial=0.0))
        if error > tolerance:
            return None
        translations = group.translations - common
        average = np.zeros_like(basis)
        np.add.at(average, group.permutations, images + translations[:, None] - shifts)
        left, _, right = np.linalg.svd(rotations)
        primitive = Atoms(group.primitive.numbers, cell=cell, pbc=True)
        primitive.positions = average / group.order @ cell
        return replace(
            group,
            primitive=primitive,
            rotations=left @ right,
            translations=translations,
            lattice_shifts=shifts.astype(np.int64),
            idealisation_displacement=float(error),
        )


def cell_multiple(atoms: Atoms, group: SpaceGroup) -> NDArray[np.float64]:
    """(3, 3) whole numbers M with the cell of ``atoms`` = M @ primitive cell of ``group``."""
    multiple: NDArray[np.float64] = np.rint(np.linalg.solve(group.primitive.cell.array.T, atoms.cell.array.T).T)
    return multiple
