"""phonopy with forces from anywhere: force constants by displacements, and the non-analytic term.

phonopy is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ase.units
import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.physics.supercell_force_constants import DisplacedCopy, SupercellSymmetry

if TYPE_CHECKING:
    from phonopy import Phonopy

#: e^2 / (4 pi eps0) in eV A, with the digits that phonopy writes to its files.
NAC_FACTOR = round(ase.units.Hartree * ase.units.Bohr, 6)
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
        "factor": NAC_FACTOR,
    }


def phonopy_of_group(group: SpaceGroup, matrix: NDArray[np.int64]) -> tuple[Phonopy, SupercellSymmetry]:
    """Phonopy object of a crystal whose space group is known, and that group at work in phonopy's supercell.

    Args:
        group: its idealised primitive cell is phonopy's primitive cell.
        matrix: (3, 3) integers, rows times the primitive cell are the vectors of the supercell.

    Raises:
        ImportError: phonopy is not installed (``pip install phonopy``).
    """
    from phonopy.structure.atoms import PhonopyAtoms

    from ase_comformer.physics.lazy_phonopy import LazyPhonopy

    primitive = group.primitive
    cell = PhonopyAtoms(
        numbers=primitive.numbers,
        cell=primitive.cell.array,
        scaled_positions=primitive.get_scaled_positions(wrap=False),
        masses=primitive.get_masses(),
    )
    phonon = LazyPhonopy(cell, supercell_matrix=matrix.T, primitive_matrix=np.eye(3))
    supercell = phonon.supercell
    of = np.array([supercell.u2u_map[number] for number in supercell.s2u_map], dtype=np.int64)
    inverse = np.linalg.inv(primitive.cell.array)
    cells = np.rint((supercell.positions - primitive.positions[of]) @ inverse).astype(np.int64)
    return phonon, SupercellSymmetry(group, matrix, of, cells)


def set_forces(
    phonon: Phonopy,
    symmetry: SupercellSymmetry,
    copies: Sequence[DisplacedCopy],
    forces: Sequence[NDArray[np.float64]],
) -> None:
    """Give phonopy displacements, forces and the force constants that follow.

    Args:
        phonon: of :func:`phonopy_of_group`.
        symmetry: that came with it.
        copies: of ``symmetry.displaced_copies``.
        forces: (N, 3) eV/A of each copy.
    """
    phonon.dataset = {
        "natom": len(phonon.supercell),
        "first_atoms": [
            {"number": int(symmetry.origin[copy.atom]), "displacement": copy.displacement, "forces": force}
            for copy, force in zip(copies, forces, strict=True)
        ],
    }
    constants = symmetry.force_constants(copies, forces)
    # rows of phonopy's compact form belong to its own choice of primitive atoms
    of, cells = symmetry.primitive_atom, symmetry.cell
    homes = cells[phonon.primitive.p2s_map]
    phonon.force_constants = np.stack([row[symmetry.index(of, cells - homes[a])] for a, row in enumerate(constants)])


def born_lines(born: ArrayLike, dielectric: ArrayLike, inequivalent: Sequence[int]) -> str:
    """Text of phonopy's file BORN with all digits: dielectric tensor, and charges of inequivalent atoms.

    Args:
        born: (n, 3, 3) e, [atom, field, displacement], of the primitive cell.
        dielectric: (3, 3) electronic permittivity.
        inequivalent: atoms, the first of each orbit, in the order of phonopy.
    """
    charges = np.asarray(born, dtype=np.float64)
    lines = [
        f"{NAC_FACTOR:.6f}  # e^2 / (4 pi eps0) in eV A; then the dielectric tensor and Born charges (e) of atoms "
    ]
    lines[0] += " ".join(str(atom + 1) for atom in inequivalent)
    tensors = [np.asarray(dielectric, dtype=np.float64), *(charges[atom] for atom in inequivalent)]
    lines += [" ".join(f"{value:19.14f}" for value in tensor.ravel()) for tensor in tensors]
    return "\n".join(lines) + "\n"


def write_phonopy_files(phonon: Phonopy, folder: str | Path) -> list[Path]:
    """Write ``phonopy_params.yaml``, ``FORCE_SETS`` and, with a non-analytic term, ``BORN``.

    ``phonopy-load phonopy_params.yaml`` in that folder gives the frequencies of ``phonon``.

    Returns:
        The files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "phonopy_params.yaml", folder / "FORCE_SETS"]
    phonon.save(written[0])
    dataset = phonon.dataset
    assert dataset is not None
    lines = [str(dataset["natom"]), str(len(dataset["first_atoms"]))]  # type: ignore[typeddict-item]
    for copy in dataset["first_atoms"]:  # type: ignore[typeddict-item]
        lines += ["", str(copy["number"] + 1), " ".join(f"{value:.16f}" for value in copy["displacement"])]
        lines += [" ".join(f"{value:.14f}" for value in row) for row in copy["forces"]]
    written[1].write_text("\n".join(lines) + "\n", encoding="utf-8")
    nac = phonon.nac_params
    if nac is not None:
        inequivalent = phonon.primitive_symmetry.get_independent_atoms().tolist()
        written.append(folder / "BORN")
        written[2].write_text(born_lines(nac["born"], nac["dielectric"], inequivalent), encoding="utf-8")
    return written


def gamma_modes_text(frequencies: NDArray[np.float64], eigenvectors: NDArray[np.float64]) -> str:
    """Text of a file ``mesh.yaml`` that holds the modes at q = 0 alone.

    phonopy itself writes eigenvectors with arbitrary phases; whoever reads spectra from them asks for real ones.

    Args:
        frequencies: (3p,) THz.
        eigenvectors: (3p, p, 3) real.
    """
    count = eigenvectors.shape[1]
    lines = ["mesh: [ 1, 1, 1 ]", "nqpoint: 1", f"natom: {count}", "phonon:"]
    lines += ["- q-position: [ 0.0, 0.0, 0.0 ]", "  weight: 1", "  band:"]
    for frequency, vector in zip(frequencies, eigenvectors, strict=True):
        lines += ["  -", f"    frequency: {frequency:.10f}", "    eigenvector:"]
        for row in vector:
            lines.append("    -")
            lines += [f"      - [ {value:.14f}, 0.0 ]" for value in row]
    return "\n".join(lines) + "\n"
