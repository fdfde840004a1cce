"""Force constants of a supercell from the forces on a few displaced copies of it, and the space group for the rest.

The operations of the primitive cell, known exactly, are carried over to the supercell by integer arithmetic, so that
no symmetry has to be searched in cells of hundreds of atoms. Which atoms move along which directions is what
``independent_displacements`` says. The result obeys every operation, the exchange of two atoms and the
acoustic sum rule exactly: it is the orthogonal projection of what the forces say onto force constants that do.

Index letters: p atoms of the primitive cell, N atoms of the supercell, D = N / p cells, G operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.physics.independent_displacements import independent_displacements
from ase_comformer.physics.supercells import CellNumbers, keeps_lattice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class DisplacedCopy:
    """A supercell in which one atom of cell 0 is displaced.

    Attributes:
        atom: of the primitive cell.
        displacement: (3,) A.
        reversing: operation that turns the displacement around, so that the opposite one need not be evaluated.
        structure: the supercell, as it is to be evaluated.
        group: what is left of the space group, acting on ``structure``.
    """

    atom: int
    displacement: FloatArray
    reversing: int | None
    structure: Atoms
    group: SpaceGroup


@dataclass(frozen=True)
class SupercellSymmetry:
    """A space group at work in a supercell.

    Attributes:
        group: of the crystal.
        matrix: (3, 3) integers, rows times the primitive cell are the vectors of the supercell.
        primitive_atom: (N,) which primitive atom each atom of the supercell repeats, in the order of whoever made it.
        cell: (N, 3) integer cell of each.
    """

    group: SpaceGroup
    matrix: IntArray
    primitive_atom: IntArray
    cell: IntArray

    @cached_property
    def kept(self) -> SpaceGroup:
        """The group without the operations that do not map the lattice of the supercell onto itself."""
        group, chosen = self.group, keeps_lattice(self.matrix, self.group.fractional_rotations)
        return group if chosen.all() else group.with_operations(chosen)

    @cached_property
    def undisplaced(self) -> Atoms:
        """The supercell (N atoms)."""
        primitive = self.group.primitive
        positions = primitive.positions[self.primitive_atom] + self.cell @ primitive.cell.array
        numbers = primitive.numbers[self.primitive_atom]
        return Atoms(numbers=numbers, positions=positions, cell=self.matrix @ primitive.cell.array, pbc=True)

    @cached_property
    def origin(self) -> IntArray:
        """(p,) atom of the supercell that is the primitive atom in cell 0."""
        return self.index(np.arange(len(self.group.primitive)), np.zeros((len(self.group.primitive), 3), dtype=int))

    @cached_property
    def _lookup(self) -> tuple[CellNumbers, IntArray, IntArray]:
        numbers = CellNumbers(self.matrix)
        codes = self._code(numbers, self.primitive_atom, self.cell)
        order = np.argsort(codes)
        return numbers, codes[order], order

    def index(self, primitive_atom: IntArray, cell: IntArray) -> IntArray:
        """Atom of the supercell at a primitive atom (...) and an integer cell (..., 3)."""
        numbers, codes, order = self._lookup
        return np.asarray(order[np.searchsorted(codes, self._code(numbers, primitive_atom, cell))])

    @staticmethod
    def _code(numbers: CellNumbers, primitive_atom: IntArray, cell: IntArray) -> IntArray:
        return np.asarray(numbers.of(cell) * 2**20 + primitive_atom)

    def carried(self, operations: IntArray, atom: int) -> IntArray:
        """Say where the atoms of the supercell go (K, N).

        Each operation is followed by the translation that takes the image of the primitive ``atom`` to cell 0.
        """
        group = self.kept
        of, cell = self.primitive_atom, self.cell
        image = np.einsum("kxy,ny->knx", group.fractional_rotations[operations], cell)
        image += group.lattice_shifts[operations][:, of] - group.lattice_shifts[operations, atom][:, None]
        return self.index(group.permutations[operations][:, of], image)

    def displaced_copies(self, displacement: float) -> list[DisplacedCopy]:
        """List the copies whose forces are needed, the opposite displacement following where there has to be one.

        Args:
            displacement: A; errors of the force constants are of second order in it.
        """
        if not displacement > 0:
            raise ValueError(f"the displacement must be positive, got {displacement} A")
        copies = []
        for step in independent_displacements(self.kept, prefer_symmetric=True):
            for sign in step.signs:
                moved = self.undisplaced.copy()
                vector = sign * displacement * step.direction
                moved.positions[self.origin[step.atom]] += vector
                group = self._group_of_copy(moved, step.atom, vector)
                copies.append(DisplacedCopy(step.atom, vector, step.reversing, moved, group))
        return copies

    def _group_of_copy(self, moved: Atoms, atom: int, vector: FloatArray) -> SpaceGroup:
        """Site operations of the atom that leave its displacement alone, as a group with the supercell as its cell."""
        group = self.kept
        site = np.flatnonzero(group.permutations[:, atom] == atom)
        still = np.abs(group.rotations[site] @ vector - vector).max(axis=1) < 1e-8
        operations = site[still]
        permutations = self.carried(operations, atom)
        rotations = np.rint(
            np.linalg.inv(self.matrix).T @ group.fractional_rotations[operations] @ self.matrix.T
        ).astype(np.int64)
        scaled = moved.positions @ np.linalg.inv(moved.cell.array)
        centre = scaled[self.origin[atom]]
        translations = centre - np.einsum("kxy,y->kx", rotations, centre)
        images = np.einsum("kxy,ny->knx", rotations, scaled) + translations[:, None]
        shifts = np.rint(images - scaled[permutations]).astype(np.int64)
        return replace(
            group,
            primitive=moved,
            rotations=group.rotations[operations],
            fractional_rotations=rotations,
            translations=translations,
            permutations=permutations,
            lattice_shifts=shifts,
            atom_to_primitive=np.arange(len(moved)),
            idealisation_displacement=0.0,
        )

    def force_constants(self, copies: Sequence[DisplacedCopy], forces: Sequence[FloatArray]) -> FloatArray:
        """Force constants from forces on displaced copies.

        Args:
            copies: of :meth:`displaced_copies`.
            forces: (N, 3) eV/A of each.

        Returns:
            (p, N, 3, 3) eV/A^2 between primitive atoms in cell 0 and all atoms of the supercell.
        """
        group, count = self.kept, len(self.group.primitive)
        rows: dict[int, list[tuple[FloatArray, FloatArray]]] = {}
        site = {atom: np.flatnonzero(group.permutations[:, atom] == atom) for atom in {c.atom for c in copies}}
        moves = {atom: self.carried(operations, atom) for atom, operations in site.items()}
        for copy, force in zip(copies, forces, strict=True):
            for operation, move in zip(site[copy.atom], moves[copy.atom], strict=True):
                turn = group.rotations[operation]
                there = np.empty_like(force)
                there[move] = force @ turn.T
                rows.setdefault(copy.atom, []).append((turn @ copy.displacement, there))
        found = np.zeros((count, len(self.cell), 3, 3))
        of_representative = {}
        for atom, pairs in rows.items():
            inverse = np.linalg.pinv(np.array([vector for vector, _ in pairs]))  # (3, w)
            of_representative[atom] = -np.einsum("kw,wni->nki", inverse, np.array([force for _, force in pairs]))
        for atom, operation in enumerate(group.carrier):
            source, turn = int(group.permutations[:, atom].min()), group.rotations[operation]
            (move,) = self.carried(np.array([operation]), source)
            found[atom, move] = turn @ of_representative[source] @ turn.T
        return self._projected(found)

    def _projected(self, constants: FloatArray) -> FloatArray:
        """Impose the exchange of two atoms and the acoustic sum rule, which commute with each other and the group."""
        count, of = len(self.group.primitive), self.primitive_atom
        # the pair (a, 0), (b, R) is the pair (b, 0), (a, -R) the other way round
        first = np.arange(count)[:, None]
        back = self.index(np.broadcast_to(first, (count, len(of))), np.broadcast_to(-self.cell, (count, len(of), 3)))
        constants = (constants + constants[of[None, :], back].swapaxes(2, 3)) / 2
        summed = np.stack([constants[:, of == atom].sum(axis=1) for atom in range(count)], axis=1)
        centred = summed - summed.mean(axis=0, keepdims=True)
        centred -= centred.mean(axis=1, keepdims=True)
        return np.asarray(constants + ((centred - summed) / (len(of) // count))[:, of])
