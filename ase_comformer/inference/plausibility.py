"""Numbers that no matter has are errors, not results: what networks return far outside their training domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.neighbour_search import pairs_within
from ase_comformer.errors import InvalidStructureError

#: Largest magnitude of a component, in the unit of each property, beyond which a prediction is no answer. Known matter
#: stays far below: electronic permittivities below 300, Born charges below 15 e, piezoelectric constants below
#: 50 C/m^2, elastic constants below 1,200 GPa (6,000 at 1 TPa). Energies are per atom, where two uranium nuclei 0.1 A
#: apart repel each other by 450 keV.
LARGEST_MAGNITUDES: Mapping[str, float] = {
    "dielectric_tensor": 1e3,
    "static_dielectric_tensor": 1e5,
    "born_effective_charges": 50.0,
    "piezoelectric_tensor": 100.0,
    "elastic_tensor": 1e4,
    "formation_energy": 100.0,
    "energy": 1e6,
    "free_energy": 1e6,
    "energies": 1e6,
    "forces": 1e8,
    "stress": 1e6,
}
#: eV/A, and part of the largest force: net force per square root of the number of atoms that rounding may leave. The
#: forces of a structure on itself add up to nothing, so that what is left measures the noise of all of them.
_NET_FORCE, _NET_SHARE = 0.1, 1e-3
#: What the message of that error says.
NOT_PRECISE_ENOUGH = "this precision is not enough"
_PER_CELL = frozenset({"energy", "free_energy"})


def require_plausible(values: Mapping[str, Any], atoms: Atoms) -> None:
    """Refuse results that are not finite or larger than anything physical.

    Args:
        values: property name to float or array in the documented unit; other keys are skipped.
        atoms: the structure they belong to.

    Raises:
        InvalidStructureError: a number is NaN, infinite or absurd, or forces do not add up to nothing; the message
            names the property, the value, the shortest distance and the volume per atom.
    """
    for name, value in values.items():
        try:
            magnitudes = np.abs(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError):  # a message or a record
            continue
        largest = float(magnitudes.max(initial=0.0)) / (len(atoms) if name in _PER_CELL else 1)
        limit = LARGEST_MAGNITUDES.get(name, np.inf)
        if largest <= limit and np.isfinite(largest):  # NaN fails
            continue
        what = f"{largest:.3g}, beyond {limit:.3g}" if np.isfinite(largest) else "NaN or infinity"
        raise InvalidStructureError(
            f"The network returned {what} for {name} of {atoms.get_chemical_formula()}, which is no answer: the "
            f"structure is far outside the training domain ({_crowding(atoms)}). Check distances, density and units; "
            "if they are right, try dtype='float64'."
        )
    if "forces" in values:
        _require_balance(np.asarray(values["forces"], dtype=np.float64), atoms)


def _require_balance(forces: NDArray[np.float64], atoms: Atoms) -> None:
    """Refuse forces (n, 3) that do not add up to nothing: nuclei nearly overlap, and large terms cancel badly."""
    net = float(np.abs(forces.sum(axis=0)).max(initial=0.0))
    if net > np.sqrt(len(forces)) * (_NET_FORCE + _NET_SHARE * float(np.abs(forces).max(initial=0.0))):
        raise InvalidStructureError(
            f"The forces on the atoms of {atoms.get_chemical_formula()} add up to {net:.3g} eV/Å, not to nothing: "
            f"{NOT_PRECISE_ENOUGH} for a structure so far outside the training domain ({_crowding(atoms)}). Check "
            "distances and units; if they are right, use dtype='float64'."
        )


def plausible_part(values: Mapping[str, Any], atoms: Atoms) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Divide results into those that :func:`require_plausible` accepts and the errors of the others, by name."""
    kept: dict[str, Any] = {}
    errors: dict[str, Exception] = {}
    for name, value in values.items():
        try:
            require_plausible({name: value}, atoms)
        except InvalidStructureError as error:
            errors[name] = error
        else:
            kept[name] = value
    return kept, errors


def _crowding(atoms: Atoms) -> str:
    distances = pairs_within(atoms, 3.0, both_directions=False).distance
    parts = [f"shortest distance {distances.min():.3g} Å" if len(distances) else "no two atoms within 3 Å"]
    if atoms.pbc.all():
        parts.append(f"{atoms.cell.volume / len(atoms):.3g} Å³ per atom")
    return ", ".join(parts)
