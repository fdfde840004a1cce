"""The space group of a crystal: the largest one whose idealisation moves no atom farther than ``symprec``.

spglib proposes groups at several tolerances. Its operations carry the noise of the structure, so they are rebuilt from
the Hall number (``operations``), and the metric and the positions are averaged over the group (``idealisation``).
Everything downstream (reduced graphs, projection, reports) uses the idealised primitive cell, kept in the Cartesian
orientation of the input.

Index letters: ``g`` operation (G of them, identity first), ``a`` atom of the primitive cell (p), ``i`` input atom (N).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.idealisation import IdealisedCell, idealise
from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.operations import PrimitiveOperations, primitive_operations
from ase_comformer.crystals.point_groups import crystal_system_of
from ase_comformer.crystals.spglib_calls import FoundSymmetry, find_symmetry

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: spglib and the averages are quadratic in the number of atoms and useless for what is larger in practice.
MOST_ATOMS = 2000
#: Tolerances of spglib that are tried, in units of ``symprec``, largest first. Where every atom is within symprec of
#: its ideal place, an image misses an atom by up to two, and spglib's translations by up to four of them.
LADDER = (4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.03, 0.01)


@dataclass(frozen=True)
class SpaceGroup:
    """A crystal's space group, acting on its idealised primitive cell.

    Attributes:
        number: international number, 1 to 230.
        international: Hermann-Mauguin symbol, e.g. ``"Fm-3m"``.
        hall_number: 1 to 530, the setting the operations were rebuilt from.
        point_group: e.g. ``"m-3m"``.
        crystal_system: ``"triclinic"`` to ``"cubic"``.
        symprec: A, the largest distance by which idealisation was allowed to move an atom.
        tolerance: A, the tolerance of spglib at which this group was found; zero where nothing was found or searched.
        primitive: idealised primitive cell (p atoms) in the orientation of the input.
        rotations: (G, 3, 3) Cartesian, orthogonal, one per coset of the translation group, identity first.
        fractional_rotations: (G, 3, 3) integer W in ``x' = W x + w`` (primitive basis).
        translations: (G, 3) w.
        permutations: (G, p) atom ``a`` is carried to atom ``permutations[g, a]``.
        lattice_shifts: (G, p, 3) integer t in ``W x_a + w = x_permuted + t``.
        atom_to_primitive: (N,) the primitive atom that each input atom repeats.
        idealisation_displacement: A, the farthest that an atom was moved relative to the others, or a primitive lattice
            vector was changed; at most ``symprec``.
    """

    number: int
    international: str
    hall_number: int
    point_group: str
    crystal_system: str
    symprec: float
    tolerance: float
    primitive: Atoms
    rotations: FloatArray
    fractional_rotations: IntArray
    translations: FloatArray
    permutations: IntArray
    lattice_shifts: IntArray
    atom_to_primitive: IntArray
    idealisation_displacement: float

    @property
    def order(self) -> int:
        """Number of operations modulo lattice translations (= order of the point group)."""
        return len(self.rotations)

    @property
    def site_groups(self) -> NDArray[np.bool_]:
        """(G, p) which operations leave each atom of the primitive cell in place, modulo lattice translations."""
        return self.permutations == np.arange(self.permutations.shape[1])

    @property
    def is_representative(self) -> NDArray[np.bool_]:
        """(p,) whether an atom is the lowest-numbered of its orbit."""
        return self.permutations.min(axis=0) == np.arange(self.permutations.shape[1])

    @property
    def representatives(self) -> IntArray:
        """(r,) the lowest-numbered primitive atom of each orbit, ascending."""
        return np.flatnonzero(self.is_representative)

    @property
    def carrier(self) -> IntArray:
        """(p,) the operation that carries the representative of an atom's orbit onto the atom."""
        representative = self.permutations.min(axis=0)
        hits = self.permutations[:, representative] == np.arange(len(representative))[None, :]
        return np.argmax(hits, axis=0)

    def with_operations(self, chosen: NDArray[Any]) -> SpaceGroup:
        """Return the same crystal with some of its operations, or all of them in another order.

        Args:
            chosen: (G,) mask, or indices of operations, the identity first; they have to form a group.

        Example:
            >>> import numpy as np
            >>> from ase.build import bulk
            >>> group = analyse_space_group(bulk("MgO", "rocksalt", a=4.21))
            >>> group.with_operations(np.linalg.det(group.rotations) > 0).order
            24
        """
        operations = ("rotations", "fractional_rotations", "translations", "permutations", "lattice_shifts")
        return replace(self, **{name: getattr(self, name)[chosen] for name in operations})


def analyse_space_group(atoms: Any, symprec: float = 1e-2) -> SpaceGroup:
    """Find the largest space group within ``symprec`` and the structure that has it exactly.

    Args:
        atoms: three-dimensionally periodic crystal, N atoms, or a pymatgen ``Structure``. Magnetic moments are ignored.
        symprec: A, the largest distance by which idealisation may move an atom relative to the others, or change a
            primitive lattice vector. It is no tolerance of spglib: those are tried from four times ``symprec`` down.

    Returns:
        The group with its idealised primitive cell. P1 of the input cell, with a warning, where spglib finds nothing
        (overlapping atoms) and where there are more than ``MOST_ATOMS`` atoms.

    Warns:
        UserWarning: the crystal is treated as P1, see above.

    Example:
        >>> from ase.build import bulk
        >>> group = analyse_space_group(bulk("MgO", "rocksalt", a=4.21, cubic=True))
        >>> group.international, group.order, len(group.primitive)
        ('Fm-3m', 48, 2)
    """
    atoms = as_atoms(atoms)
    if len(atoms) > MOST_ATOMS:
        warnings.warn(
            f"{atoms.get_chemical_formula()} has {len(atoms)} atoms; symmetry is not searched above {MOST_ATOMS}, so "
            "it is treated as P1 and tensors are not symmetrised. Pass a smaller cell of the same crystal.",
            UserWarning,
            stacklevel=2,
        )
        return _trivial_group(atoms, symprec)
    answered = False
    for tolerance in (factor * symprec for factor in LADDER):
        found = find_symmetry(atoms, tolerance)
        if found is None:
            continue
        answered = True
        operations = primitive_operations(found.hall_number, found.international[0])
        cell = idealise(atoms, found, operations, symprec)
        if cell is not None:
            return _space_group(found, operations, cell, symprec, tolerance)
    reason = "no group that spglib found maps the atoms onto themselves" if answered else "spglib found no space group"
    warnings.warn(
        f"{atoms.get_chemical_formula()}: {reason} at symprec={symprec} A; treated as P1. "
        "Check the structure for overlapping atoms or change symprec.",
        UserWarning,
        stacklevel=2,
    )
    return _trivial_group(atoms, symprec)


def _space_group(
    found: FoundSymmetry, operations: PrimitiveOperations, cell: IdealisedCell, symprec: float, tolerance: float
) -> SpaceGroup:
    lattice = cell.lattice
    return SpaceGroup(
        number=found.number,
        international=found.international,
        hall_number=found.hall_number,
        point_group=found.point_group,
        crystal_system=crystal_system_of(found.number),
        symprec=symprec,
        tolerance=tolerance,
        primitive=Atoms(numbers=cell.numbers, scaled_positions=cell.positions, cell=lattice, pbc=True),
        rotations=lattice.T @ operations.rotations @ np.linalg.inv(lattice).T,
        fractional_rotations=operations.rotations,
        translations=operations.translations,
        permutations=cell.permutations,
        lattice_shifts=cell.lattice_shifts,
        atom_to_primitive=cell.atom_to_primitive,
        idealisation_displacement=cell.displacement,
    )


def _trivial_group(atoms: Atoms, symprec: float) -> SpaceGroup:
    count = len(atoms)
    primitive = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    return SpaceGroup(
        number=1,
        international="P1",
        hall_number=1,
        point_group="1",
        crystal_system="triclinic",
        symprec=symprec,
        tolerance=0.0,
        primitive=primitive,
        rotations=np.eye(3)[None],
        fractional_rotations=np.eye(3, dtype=np.int64)[None],
        translations=np.zeros((1, 3)),
        permutations=np.arange(count)[None],
        lattice_shifts=np.zeros((1, count, 3), dtype=np.int64),
        atom_to_primitive=np.arange(count),
        idealisation_displacement=0.0,
    )
