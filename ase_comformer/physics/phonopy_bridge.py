"""phonopy with forces from anywhere: force constants by displacements, and the non-analytic term.

phonopy is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import ase.units
import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from phonopy import Phonopy

#: Forces (n, 3) in eV/A of each of several structures.
Forces = Callable[[Sequence[Atoms]], Sequence[NDArray[np.float64]]]


def phonopy_with_forces(
    atoms: Atoms,
    supercell: ArrayLike,
    forces: Forces,
    *,
    distance: float = 0.01,
    symprec: float = 1e-5,
    subtract_rest: bool = False,
) -> Phonopy:
    """Phonopy object with symmetrised force constants.

    Args:
        atoms: the cell, which is also taken as the primitive one: phonopy 4 would choose its own by default, and Born
            charges would have to follow.
        supercell: (3, 3) integers, or three for a diagonal; its rows times the cell are the vectors of the supercell.
        forces: of structures that are passed together, for example
            ``lambda structures: [result["forces"] for result in predict(structures, ["forces"])]``.
        distance: A, of the displacements that symmetry leaves.
        symprec: A, tolerance of phonopy's symmetry search.
        subtract_rest: take the forces of the undisplaced supercell off, for structures that are not quite relaxed.

    Raises:
        ImportError: phonopy is not installed (``pip install phonopy``).
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    matrix = np.asarray(supercell)
    matrix = np.diag(matrix) if matrix.ndim == 1 else matrix
    cell = PhonopyAtoms(numbers=atoms.numbers, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions())
    phonon = Phonopy(cell, supercell_matrix=matrix.T, primitive_matrix=np.eye(3), symprec=symprec)
    phonon.generate_displacements(distance=distance)
    structures = [c for c in phonon.supercells_with_displacements or [] if c is not None]
    if subtract_rest:
        structures.append(phonon.supercell)
    found = list(forces([Atoms(numbers=c.numbers, cell=c.cell, positions=c.positions, pbc=True) for c in structures]))
    if subtract_rest:
        rest = found.pop()
        found = [values - rest for values in found]
    phonon.forces = found
    phonon.produce_force_constants(show_drift=False)
    phonon.symmetrize_force_constants(show_drift=False)
    return phonon


def set_non_analytic_term(phonon: Phonopy, born: ArrayLike, dielectric: ArrayLike) -> None:
    """Give phonopy what splits longitudinal from transverse optical modes.

    Args:
        phonon: made by :func:`phonopy_with_forces`.
        born: (n, 3, 3) e, [atom, field, displacement], of the atoms of its cell; phonopy has the same index order.
        dielectric: (3, 3) electronic permittivity.
    """
    phonon.nac_params = {
        "born": np.asarray(born, dtype=np.float64),
        "dielectric": np.asarray(dielectric, dtype=np.float64),
        "factor": ase.units.Hartree * ase.units.Bohr,  # e^2 / (4 pi eps0) in eV A
    }
