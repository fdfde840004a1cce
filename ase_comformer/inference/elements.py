"""Formation energies of elements: zero for the reference structure, by definition.

A network that learns formation energies from compounds misses the elements by 0.1 eV/atom in the median. Crystals of
one element are therefore referred to their reference structure on one energy surface, that of the potential.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, reference_states

from ase_comformer.crystals.structures import bare
from ase_comformer.devices import shielded_device
from ase_comformer.inference.loaded_model import LoadedModel
from ase_comformer.inference.notices import Notices
from ase_comformer.inference.results import Result
from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.properties.registry import base_of

if TYPE_CHECKING:
    from ase_comformer.inference.potential_evaluator import PotentialEvaluator

#: Reference structures that ASE can build; others (Ga, S, P, ...) have no reference here.
REFERENCE_STRUCTURES = ("fcc", "bcc", "hcp", "diamond")
FORMATION_ENERGY = "formation_energy"
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


def of_element(
    atoms: Atoms, names: Sequence[str], loaded: LoadedModel, potential: PotentialEvaluator | None, notices: Notices
) -> Result:
    """Formation energy of a crystal of one element and its error bar, as far as ``names`` ask for them.

    Zero is the reference structure. The bar is what the potential expects of its energy per atom: bars of the networks
    are of crystals of several elements.

    Args:
        atoms: the crystal; whoever calls keeps other threads from its predictor.
        names: properties that are asked for.
        loaded: the model, which remembers reference energies.
        potential: of the predictor, None without an energy surface.
        notices: shows a warning where there is no reference.

    Returns:
        Empty for compounds and where there is no reference, which leaves them to the networks.
    """
    number = int(atoms.numbers[0])
    asked = [name for name in names if base_of(name) == FORMATION_ENERGY]
    if not asked or potential is None or (atoms.numbers != number).any():
        return {}

    def evaluated(structures: list[Atoms], quantities: tuple[str, ...]) -> list[dict[str, Any]]:
        with shielded_device("cpu"):
            prepared = [potential.prepare(each, warn=_ignore) for each in structures]
            return potential.evaluate_batch(prepared, quantities, warn=_ignore)

    reference = None
    if number in loaded.covered("energy"):
        known = loaded.reference_energies
        if number not in known:
            known[number] = reference_energy(
                number, lambda structures: [float(each["energy"]) for each in evaluated(structures, ("energy",))]
            )
        reference = known[number]
    if reference is None:
        notices.of_missing_reference(chemical_symbols[number])
        return {}
    (found,) = evaluated([bare(atoms)], ("energy", "energy" + UNCERTAINTY))
    referred: Result = {
        FORMATION_ENERGY: float(found["energy"]) / len(atoms) - reference,
        FORMATION_ENERGY + UNCERTAINTY: float(found["energy" + UNCERTAINTY]) / len(atoms),
    }
    return {name: referred[name] for name in asked}


def _ignore(kind: str, message: str) -> None:
    """Show no warning: scaled reference crystals are the package's own business."""
