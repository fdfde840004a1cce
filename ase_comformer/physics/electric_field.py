"""A homogeneous electric field on a crystal: what it adds to energy, forces and stress, around a reference structure.

The enthalpy in a field E (V/A), to second order and with the coefficients of a reference structure (positions r0, cell
with volume V0; Wu, Vanderbilt, Hamann, Phys. Rev. B 72, 035105 (2005), eqs 1 to 30):

    H = E_pot - E . (sum_a Z_a u_a + V0 ebar : eta) - V0 eps0 E . chi . E / 2,

with Born charges Z, the proper clamped-ion piezoelectric tensor ebar and the electronic susceptibility chi. The lattice
vectors h = (1 + D) h0 give the strain eta = (D + D^T) / 2, and u_a = r_a - (1 + D) r0_a is how far atom a has left the
place that the strained lattice carries it to, without the motion of all atoms together, in the image closest to there.

Derivatives are exact at any strain. A further strain s carries u to (1 + s) u and 1 + D to (1 + s)(1 + D), so that

    F[a, j] = E_i Z[a, i, j],    V stress = -sym(sum_a (Z_a^T E) u_a^T) - V0 sym((E . ebar)(1 + D)^T),

with V the volume of the strained cell. All of it depends on atoms and reference alone, not on the path between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.errors import InvalidStructureError, warn_user
from ase_comformer.physics.response import COULOMB_PER_SQUARE_METRE, EPSILON_0
from ase_comformer.tensors.voigt import voigt_to_cartesian

FloatArray = NDArray[np.float64]

#: V/A: breakdown of the best insulators is below a tenth of this.
LARGEST_FIELD = 1.0
#: Strain, rotation (of the lattice vectors) and displacement (A) beyond which the coefficients of the reference say
#: little about the crystal.
LARGEST_STRAIN, LARGEST_ROTATION, LARGEST_DISPLACEMENT = 0.1, 0.1, 1.0


@dataclass(frozen=True)
class FieldCoefficients:
    """How the reference structure answers a field, to first order in displacement and strain.

    Attributes:
        born_effective_charges: (n, 3, 3) e, [atom, field, displacement]; their sum over atoms is zero.
        dielectric_tensor: (3, 3) electronic, relative.
        clamped_piezoelectric_tensor: (3, 6) C/m^2, proper, Voigt xx, yy, zz, yz, xz, xy.
    """

    born_effective_charges: FloatArray
    dielectric_tensor: FloatArray
    clamped_piezoelectric_tensor: FloatArray


class ElectricField:
    """What a homogeneous field adds to energy, forces and stress of a crystal near a reference structure.

    Args:
        field: (3,) V/A, Cartesian.
        reference: crystal that the coefficients belong to, periodic in three directions, n atoms.
        coefficients: of the reference, in its Cartesian frame and atom order.

    Raises:
        InvalidStructureError: the reference is no crystal or the coefficients have another number of atoms.
        ValueError: the field is not three finite numbers, or above 1 V/A.

    Example:
        >>> import numpy as np
        >>> from ase.build import bulk
        >>> charges = np.array([np.eye(3), -np.eye(3)])
        >>> salt = bulk("NaCl", "rocksalt", a=5.64)
        >>> field = ElectricField((0, 0, 0.01), salt, FieldCoefficients(charges, 2.3 * np.eye(3), np.zeros((3, 6))))
        >>> field.forces(salt)[0].tolist()
        [0.0, 0.0, 0.01]
    """

    def __init__(self, field: Any, reference: Atoms, coefficients: FieldCoefficients) -> None:
        self.field = checked_field(field)
        if not reference.pbc.all() or abs(reference.cell.volume) < 1e-6:
            raise InvalidStructureError(
                f"The field reference {reference.get_chemical_formula()} has pbc={reference.pbc.tolist()}: a "
                "homogeneous field acts on a crystal that is periodic in three directions. Pass a bulk crystal."
            )
        charges = np.asarray(coefficients.born_effective_charges, dtype=np.float64)
        if charges.shape != (len(reference), 3, 3):
            raise InvalidStructureError(
                f"Born charges of shape {charges.shape} do not belong to a field reference of {len(reference)} atoms; "
                f"their shape must be {(len(reference), 3, 3)}, [atom, field, displacement]."
            )
        self.numbers, self.cell = reference.numbers.copy(), reference.cell.array.copy()
        self.fractions = reference.positions @ np.linalg.inv(self.cell)
        self.volume = float(reference.cell.volume)
        self.charges = charges - charges.mean(axis=0)
        self.susceptibility = np.asarray(coefficients.dielectric_tensor, dtype=np.float64) - np.eye(3)
        piezo = np.asarray(coefficients.clamped_piezoelectric_tensor, dtype=np.float64) / COULOMB_PER_SQUARE_METRE
        self.piezo = voigt_to_cartesian(piezo, "piezoelectric_stress")  # e/A^2, [field, strain, strain]
        self._forces = np.einsum("i,aij->aj", self.field, self.charges)

    def forces(self, atoms: Atoms) -> FloatArray:
        """(n, 3) eV/A: the same wherever the atoms are, since charges are those of the reference."""
        self._require_same_atoms(atoms)
        return self._forces.copy()

    def evaluate(self, atoms: Atoms) -> dict[str, Any]:
        """Return what to add to ``energy`` (eV), ``energies`` (n,), ``forces`` (n, 3) eV/A and ``stress`` (6,) eV/A^3.

        Raises:
            InvalidStructureError: other atoms than the reference's, in another order, or a cell that has turned.
        """
        deformation, displacements = self.displacements(atoms)
        strain = (deformation + deformation.T) / 2 - np.eye(3)
        stress_of_field = np.einsum("i,ijk->jk", self.field, self.piezo)
        of_atoms = -np.einsum("aj,aj->a", self._forces, displacements)
        of_cell = -self.volume * float(np.sum(stress_of_field * strain))
        of_cell -= self.volume * EPSILON_0 * float(self.field @ self.susceptibility @ self.field) / 2
        virial = -self._forces.T @ displacements - self.volume * stress_of_field @ deformation.T
        stress = (virial + virial.T) / (2 * atoms.cell.volume)
        energies = of_atoms + of_cell / len(atoms)
        return {
            "energy": float(of_atoms.sum()) + of_cell,
            "energies": energies,
            "forces": self._forces.copy(),
            "stress": full_3x3_to_voigt_6_stress(stress),
        }

    def polarisation(self, atoms: Atoms) -> FloatArray:
        """(3,) C/m^2, proper change of polarisation against the reference without field, electrons included.

        P = (sum_a Z_a u_a + V0 ebar : eta) / V0 + eps0 chi E = -(dH / dE) / V0.
        """
        deformation, displacements = self.displacements(atoms)
        strain = (deformation + deformation.T) / 2 - np.eye(3)
        dipole = np.einsum("aij,aj->i", self.charges, displacements)
        polarisation = dipole / self.volume + np.einsum("ijk,jk->i", self.piezo, strain)
        return (polarisation + EPSILON_0 * self.susceptibility @ self.field) * COULOMB_PER_SQUARE_METRE

    def displacements(self, atoms: Atoms) -> tuple[FloatArray, FloatArray]:
        """Return the deformation 1 + D (3, 3) of the lattice and u (n, 3) A of the atoms within it, see the module."""
        self._require_same_atoms(atoms)
        cell = atoms.cell.array
        deformation = np.linalg.solve(self.cell, cell).T
        self._check_deformation(atoms, deformation)
        inverse = np.linalg.inv(cell)
        difference = atoms.positions @ inverse - self.fractions
        # Atoms against the first one, then against their mean: where the origin lies and which image an atom is in does
        # not matter, and the mean has no jump while atoms stay within half a cell of each other.
        relative = _nearest(difference - difference[0], cell)
        relative = _nearest(relative - relative.mean(axis=0), cell)
        displacements = (relative - relative.mean(axis=0)) @ cell
        farthest = float(np.linalg.norm(displacements, axis=1).max())
        if farthest > LARGEST_DISPLACEMENT:
            atom = int(np.linalg.norm(displacements, axis=1).argmax())
            warn_user(
                f"Atom {atom} is more than {LARGEST_DISPLACEMENT:g} A from its place in the field reference, whose "
                "charges are used. Pass a structure closer to this one as field_reference."
            )
        return deformation, displacements

    def _require_same_atoms(self, atoms: Atoms) -> None:
        if not np.array_equal(atoms.numbers, self.numbers):
            raise InvalidStructureError(
                f"{atoms.get_chemical_formula(mode='reduce')} does not have the atoms of the field reference, in their "
                f"order ({Atoms(numbers=self.numbers).get_chemical_formula(mode='reduce')}). The field acts on charges "
                "of the reference: pass field_reference with these atoms (for a supercell, the repeated reference)."
            )
        if not atoms.pbc.all():
            raise InvalidStructureError(
                f"pbc={atoms.pbc.tolist()}: the field acts on crystals that are periodic in three directions."
            )

    def _check_deformation(self, atoms: Atoms, deformation: FloatArray) -> None:
        """Refuse a cell that has turned or is another one, warn where strain is beyond what the reference knows."""
        left, stretches, right = np.linalg.svd(deformation)
        rotation = left @ right
        angle = float(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1.0, 1.0)))
        if np.linalg.det(rotation) < 0 or angle > LARGEST_ROTATION:
            raise InvalidStructureError(
                f"The cell {np.round(atoms.cell.array, 3).tolist()} is turned by {np.degrees(angle):.1f} degrees "
                f"against that of the field reference {np.round(self.cell, 3).tolist()}, in whose frame the charges "
                "are. Pass a field_reference with the lattice vectors of the crystal."
            )
        if float(np.abs(stretches - 1).max()) > LARGEST_STRAIN:
            warn_user(
                f"The cell is strained by more than {LARGEST_STRAIN:g} against the field reference, whose charges and "
                "piezoelectric tensor are used. Pass a structure closer to this one as field_reference."
            )


def checked_field(field: Any) -> FloatArray:
    """Return the field as (3,) float64.

    Raises:
        ValueError: not three finite numbers, or above 1 V/A.
    """
    try:
        values = np.asarray(field, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.full(1, np.nan)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise ValueError(
            f"electric_field must be three finite numbers in V/A, got {field!r}, for example (0, 0, 0.01)."
        )
    if float(np.linalg.norm(values)) > LARGEST_FIELD:
        raise ValueError(
            f"electric_field {field!r} is above {LARGEST_FIELD:g} V/A, at which crystals break down. The unit is V/A; "
            "1 MV/cm is 0.01 V/A."
        )
    return values


def field_parameters(electric_field: Any, field_reference: Atoms | Mapping[str, Any] | None) -> dict[str, Any]:
    """Check a field and its reference, and return both as lists that JSON takes, None where there is no field.

    Raises:
        ValueError: a field without reference, or what ``checked_field`` and ``reference_as_dict`` refuse.

    Example:
        >>> field_parameters(None, None)
        {'electric_field': None, 'field_reference': None}
    """
    field = None if electric_field is None else checked_field(electric_field).tolist()
    reference = None if field_reference is None else reference_as_dict(field_reference)
    if field is not None and reference is None:
        raise ValueError(
            f"electric_field={field} acts on the charges of a reference structure: pass field_reference=atoms, the "
            "crystal at rest without a field."
        )
    return {"electric_field": field, "field_reference": reference}


def reference_as_dict(reference: Atoms | Mapping[str, Any]) -> dict[str, Any]:
    """Describe a reference by lists that JSON takes: numbers, positions, cell, and given coefficients.

    Args:
        reference: crystal, pymatgen's too, or a mapping with ``numbers``, ``positions`` (n, 3) A, ``cell`` (3, 3) A,
            and of the fields of ``FieldCoefficients`` those that are not to come from the networks.

    Raises:
        ValueError: a key is missing or unknown.

    Example:
        >>> from ase.build import bulk
        >>> sorted(reference_as_dict(bulk("MgO", "rocksalt", a=4.2)))
        ['cell', 'numbers', 'pbc', 'positions']
    """
    if not isinstance(reference, Mapping):
        reference = as_atoms(reference)
        parts: dict[str, Any] = {
            "numbers": reference.numbers,
            "positions": reference.positions,
            "cell": reference.cell.array,
            "pbc": reference.pbc,
        }
    else:
        parts = {"pbc": [True] * 3, **reference}
    known = ("numbers", "positions", "cell", "pbc", *FieldCoefficients.__dataclass_fields__)
    missing, unknown = [key for key in known[:4] if key not in parts], [key for key in parts if key not in known]
    if missing or unknown:
        raise ValueError(
            f"field_reference lacks {missing} and has unknown {unknown}: pass ase.Atoms, or a mapping of "
            f"{', '.join(known)}, of which the last three may be absent and then come from the networks."
        )
    return {key: np.asarray(value).tolist() for key, value in parts.items() if value is not None}


def reference_atoms(reference: Mapping[str, Any]) -> Atoms:
    """Make the atoms that ``reference_as_dict`` describes."""
    return Atoms(
        numbers=reference["numbers"], positions=reference["positions"], cell=reference["cell"], pbc=reference["pbc"]
    )


def _nearest(fractions: FloatArray, cell: FloatArray) -> FloatArray:
    """Fractional differences (n, 3) with their shortest images."""
    reduced = fractions - np.round(fractions)
    # No lattice vector is shorter than the smallest height of the cell: below half of it nothing is closer.
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    vectors = reduced @ cell
    if float(np.linalg.norm(vectors, axis=1).max()) < heights.min() / 2:
        return reduced
    from ase.geometry import find_mic

    nearest: FloatArray = find_mic(vectors, cell, pbc=True)[0]
    return nearest @ np.linalg.inv(cell)
