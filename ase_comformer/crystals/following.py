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
        adjugate: (3, 3) integer, determinant of ``multiple`` times its inverse.
    """

    group: SpaceGroup
    numbers: NDArray[np.int64]
    multiple: NDArray[np.float64]
    first: NDArray[np.int64]
    adjugate: NDArray[np.int64]

    @classmethod
    def of(cls, atoms: Atoms, group: SpaceGroup) -> "FollowedGroup":
        """Remember ``group``, which was found for ``atoms``."""
        first = np.unique(group.atom_to_primitive, return_index=True)[1]
        multiple = cell_multiple(atoms, group)
        adjugate = np.rint(np.linalg.det(multiple) * np.linalg.inv(multiple)).astype(np.int64)
        return cls(group, atoms.numbers.copy(), multiple, first, adjugate)

    def on(self, atoms: Atoms, tolerance: float) -> SpaceGroup | None:
        """The group of ``atoms``, or None where it does not apply.

        Args:
            atoms: a structure; the group applies if it has the same atomic numbers, its atoms fill all sites, each
                with one atom, and every operation maps it onto itself.
            tolerance: A, farthest that an operation may miss an atom.
        """
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
        cells = np.rint(copies)
        if not fills_every_site(cells.astype(np.int64), group.atom_to_primitive, self.adjugate):
            return None
        copies -= cells
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


def fills_every_site(
    cells: NDArray[np.int64], atom_to_primitive: NDArray[np.int64], adjugate: NDArray[np.int64]
) -> bool:
    """Whether the N atoms of a supercell sit on N different sites of it.

    Modulo the primitive lattice a vacancy beside a doubly filled site cannot be told from the perfect crystal.

    Args:
        cells: (N, 3) integer, primitive cell that each atom sits in.
        atom_to_primitive: (N,) the primitive atom that it repeats.
        adjugate: (3, 3) integer, determinant times inverse of the matrix that makes the supercell.
    """
    volume = round(abs(np.linalg.det(adjugate)) ** 0.5)  # the determinant of an adjugate is that of the matrix squared
    # n and n' are the same cell modulo the supercell exactly if (n - n') adjugate is a multiple of the determinant
    digits = (cells @ adjugate) % volume
    code = ((atom_to_primitive * volume + digits[:, 0]) * volume + digits[:, 1]) * volume + digits[:, 2]
    return len(np.unique(code)) == len(code)


def cell_multiple(atoms: Atoms, group: SpaceGroup) -> NDArray[np.float64]:
    """(3, 3) whole numbers M with the cell of ``atoms`` = M @ primitive cell of ``group``."""
    multiple: NDArray[np.float64] = np.rint(np.linalg.solve(group.primitive.cell.array.T, atoms.cell.array.T).T)
    return multiple
