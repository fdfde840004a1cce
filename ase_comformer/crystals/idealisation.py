"""The idealised structure: metric and positions averaged over a space group, and how far that moves the atoms.

Index letters: ``g`` operation (G of them, identity first), ``a`` atom of the primitive cell (p), ``i`` input atom (N).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.operations import PrimitiveOperations
from ase_comformer.crystals.spglib_calls import FoundSymmetry

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Images may miss the atoms by this many times what idealisation may move them before the mapping counts as none: both
#: ends of an image are moved, and spglib's origin is that of one atom, which four tolerances bound.
_MISS_FACTOR = 10.0
#: Distances between images and atoms that are held at once (G x p x p of them, 24 bytes each and as much again).
_TABLE_SIZE = 400_000


@dataclass(frozen=True)
class IdealisedCell:
    """A primitive cell that its operations map onto itself exactly.

    Attributes:
        lattice: (3, 3) A, rows are primitive vectors, strained without rotation from those of the input.
        numbers: (p,) atomic numbers.
        positions: (p, 3) fractional.
        permutations: (G, p) atom ``a`` is carried to atom ``permutations[g, a]``.
        lattice_shifts: (G, p, 3) integer t in ``W x_a + w = x_permuted + t``.
        atom_to_primitive: (N,) the primitive atom that each input atom repeats.
        displacement: A, the farthest that any input atom was moved relative to the others, or that a primitive lattice
            vector was changed, whichever is larger. A lattice vector is the distance of an atom from its own image: the
            measure does not depend on the size of a supercell.
    """

    lattice: FloatArray
    numbers: IntArray
    positions: FloatArray
    permutations: IntArray
    lattice_shifts: IntArray
    atom_to_primitive: IntArray
    displacement: float


def idealise(
    atoms: Atoms, found: FoundSymmetry, operations: PrimitiveOperations, largest_displacement: float
) -> IdealisedCell | None:
    """Average a crystal over a space group.

    Args:
        atoms: the crystal, N atoms.
        found: how its cell and origin are related to the standard setting of the group.
        operations: of that setting.
        largest_displacement: A, how far atoms may be moved.

    Returns:
        The idealised primitive cell, or None where the operations do not map the atoms onto themselves or would move
        them, or the lattice vectors, farther than ``largest_displacement``.
    """
    rotations, translations = operations.rotations, operations.translations
    # x_standard = P x + p (spglib), x_primitive = centring^-1 x_standard; lattices: the inverse transpose.
    to_primitive = operations.from_standard @ found.transformation
    given_lattice = np.linalg.inv(to_primitive).T @ atoms.cell.array
    lattice = _symmetrised_lattice(given_lattice, rotations)
    strain = float(np.linalg.norm(lattice - given_lattice, axis=1).max())
    if strain > largest_displacement:
        return None
    scaled = atoms.get_scaled_positions(wrap=False) @ to_primitive.T
    scaled += operations.from_standard @ found.origin_shift

    first, atom_to_primitive = np.unique(found.mapping_to_primitive, return_index=True, return_inverse=True)[1:]
    if len(first) * round(abs(atoms.cell.volume / np.linalg.det(lattice))) != len(atoms):
        return None
    copies = scaled - scaled[first][atom_to_primitive]
    copies -= np.round(copies)
    counts = np.bincount(atom_to_primitive)
    mean_copy = np.stack([np.bincount(atom_to_primitive, copies[:, k]) for k in range(3)], axis=1) / counts[:, None]
    original = scaled[first] + mean_copy
    numbers = atoms.numbers[first]

    limit = max(_MISS_FACTOR * largest_displacement, 1e-4)
    mapped = _site_permutations(original, numbers, rotations, translations, lattice, limit)
    if mapped is None:
        return None
    permutations, shifts = mapped
    # Position of atom a averaged over all g: g^-1 applied to where g should have carried it.
    target = original[permutations] + shifts - translations[:, None, :]
    positions = (target @ operations.inverse_rotations.swapaxes(1, 2)).mean(axis=0)
    moved = (positions - original + mean_copy)[atom_to_primitive] - copies
    moved -= moved.mean(axis=0)  # a shift of all atoms together is a choice of origin
    farthest = float(np.linalg.norm(moved @ lattice, axis=1).max())
    if farthest > largest_displacement:
        return None
    return IdealisedCell(
        lattice=lattice,
        numbers=numbers,
        positions=positions,
        permutations=permutations,
        lattice_shifts=shifts,
        atom_to_primitive=atom_to_primitive.astype(np.int64),
        displacement=max(farthest, strain),
    )


def _symmetrised_lattice(lattice: FloatArray, rotations: IntArray) -> FloatArray:
    """The lattice (rows) with the group-averaged metric, strained without rotation from the given one."""
    metric = lattice @ lattice.T
    mean_metric = (rotations.swapaxes(1, 2) @ metric @ rotations).mean(axis=0)
    inverse = np.linalg.inv(lattice)
    squares, axes = np.linalg.eigh(inverse @ mean_metric @ inverse.T)
    return lattice @ (axes * np.sqrt(squares)) @ axes.T


def _site_permutations(
    positions: FloatArray,
    numbers: IntArray,
    rotations: IntArray,
    translations: FloatArray,
    lattice: FloatArray,
    limit: float,
) -> tuple[IntArray, IntArray] | None:
    """(G, p) permutations and (G, p, 3) lattice shifts; None if an image misses every atom by more than ``limit`` A."""
    images = positions @ rotations.swapaxes(1, 2) + translations[:, None, :]
    order, count = images.shape[:2]
    permutations = np.empty((order, count), dtype=np.int64)
    shifts = np.empty((order, count, 3), dtype=np.int64)
    other_species = numbers[:, None] != numbers[None, :]
    step = max(1, _TABLE_SIZE // count**2)
    for start in range(0, order, step):
        chosen = slice(start, start + step)
        difference = images[chosen, :, None, :] - positions
        whole = np.rint(difference)
        apart = (difference - whole).reshape(-1, 3) @ lattice
        squared = np.einsum("kx,kx->k", apart, apart).reshape(-1, count, count)
        squared[:, other_species] = np.inf
        nearest = squared.argmin(axis=2)
        closest = np.take_along_axis(squared, nearest[:, :, None], axis=2)
        if closest.max() > limit**2 or (np.sort(nearest, axis=1) != np.arange(count)).any():
            return None
        permutations[chosen] = nearest
        shifts[chosen] = np.take_along_axis(whole, nearest[:, :, None, None], axis=2)[:, :, 0]
    return permutations, shifts
