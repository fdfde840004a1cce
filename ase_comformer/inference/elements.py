"""Formation energies of elements: zero for the reference structure, by definition.

A network that learns formation energies from compounds misses the elements by 0.1 eV/atom in the median. Crystals of
one element are therefore referred to their reference structure on one energy surface, that of the potential.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, reference_states

from ase_comformer.crystals.structures import bare
from ase_comformer.devices import shielded_device
from ase_comformer.inference.loaded_model import LoadedModel
from ase_comformer.inference.notices import Notices
from ase_comformer.inference.results import Result

if TYPE_CHECKING:
    from ase_comformer.inference.potential_evaluator import PotentialEvaluator

#: Reference structures that ASE can build; others (Ga, S, P, ...) have no reference here.
REFERENCE_STRUCTURES = ("fcc", "bcc", "hcp", "diamond")
#: Factors of the lengths of the measured cell among which the least energy is looked for.
_SCALES = np.linspace(0.9, 1.12, 12)

#: Energies in eV of structures.
Energies = Callable[[list[Atoms]], list[float]]


def reference_crystal(number: int) -> Atoms | None:
    """Build the reference structure of an element at its measured lattice constant; None where ASE has none.

    Example:
        >>> len(reference_crystal(29)), reference_crystal(31)
        (1, None)
    """
    from ase.build import bulk  # slow to import, and crystals of one element are few

    state = reference_states[number] if 0 < number < len(reference_states) else None
    if not state or state["symmetry"] not in REFERENCE_STRUCTURES:
        return None
    try:
        return bulk(chemical_symbols[number])
    except (KeyError, ValueError):  # no lattice constant
        return None


def reference_energy(number: int, energies: Energies) -> float | None:
    """Energy per atom (eV) of the reference structure at the volume where it is least; None without one.

    Args:
        number: atomic number.
        energies: of a list of structures, eV per cell.
    """
    crystal = reference_crystal(number)
    if crystal is None:
        return None
    scaled = []
    for scale in _SCALES:
        atoms = crystal.copy()
        atoms.set_cell(crystal.cell * scale, scale_atoms=True)
        scaled.append(atoms)
    found = np.array(energies(scaled)) / len(crystal)
    least = int(np.clip(np.argmin(found), 1, len(found) - 2))
    a, b, c = np.polyfit(_SCALES[least - 1 : least + 2], found[least - 1 : least + 2], 2)
    vertex = c - b * b / (4 * a) if a > 0 else np.inf
    return float(min(vertex, found.min()) if np.isfinite(vertex) else found.min())


def refer_element(
    atoms: Atoms, result: Result, loaded: LoadedModel, potential: PotentialEvaluator | None, notices: Notices
) -> None:
    """Replace the formation energy of a crystal of one element: zero is its reference structure.

    Args:
        atoms: the crystal; whoever calls keeps other threads from its predictor.
        result: of the crystal, changed in place.
        loaded: the model, which remembers reference energies.
        potential: of the predictor, None without an energy surface.
        notices: shows a warning where there is no reference.
    """
    number = int(atoms.numbers[0])
    if potential is None or (atoms.numbers != number).any():
        return
    if number not in loaded.covered("energy"):
        notices.of_missing_reference(chemical_symbols[number])
        return

    def energies(structures: list[Atoms]) -> list[float]:
        with shielded_device("cpu"):
            prepared = [potential.prepare(each, warn=_ignore) for each in structures]
            found = potential.evaluate_batch(prepared, ("energy",), warn=_ignore)
        return [float(values["energy"]) for values in found]

    known = loaded.reference_energies
    if number not in known:
        known[number] = reference_energy(number, energies)
    reference = known[number]
    if reference is None:
        notices.of_missing_reference(chemical_symbols[number])
        return
    (energy,) = energies([bare(atoms)])
    result["formation_energy"] = energy / len(atoms) - reference


def _ignore(kind: str, message: str) -> None:
    """Show no warning: scaled reference crystals are the package's own business."""
