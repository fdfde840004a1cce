"""From a structure to what networks read: checks, space group, graphs, and what cannot be computed of it and why."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from ase_comformer.crystals.applicability import assess_applicability
from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.crystals.structures import bare
from ase_comformer.crystals.validation import validate_elements, validate_potential_structure, validate_structure
from ase_comformer.devices import shielded_device
from ase_comformer.inference.loaded_model import LoadedModel
from ase_comformer.inference.notices import Notices
from ase_comformer.inference.potential_ensemble import POTENTIAL_PROPERTIES, UNCERTAINTIES
from ase_comformer.inference.potential_evaluator import PotentialEvaluator
from ase_comformer.inference.prepared import PreparedCrystal
from ase_comformer.inference.settings import Settings

Errors = dict[str, Exception]

_OF_POTENTIAL = frozenset({*POTENTIAL_PROPERTIES, *UNCERTAINTIES})


@dataclass(eq=False)
class Preparation:
    """A structure on its way into a batch.

    Attributes:
        crystal: with its graphs.
        names: of what can be evaluated.
        errors: by the names of what cannot.
    """

    crystal: PreparedCrystal
    names: tuple[str, ...]
    errors: Errors


class Preparer:
    """Prepares structures for the networks of a model.

    Args:
        loaded: the model.
        settings: of the predictor.
        potential: evaluator of the energy surface, where the model has one.
        notices: shows warnings.
    """

    def __init__(
        self, loaded: LoadedModel, settings: Settings, potential: PotentialEvaluator | None, notices: Notices
    ) -> None:
        self.loaded, self.settings, self.potential, self.notices = loaded, settings, potential, notices
        self._lock = threading.Lock()

    def crystal(self, atoms: Atoms) -> PreparedCrystal:
        """Check a crystal and find its space group; raises what ``validate_structure`` raises."""
        validate_structure(atoms)
        group = analyse_space_group(atoms, self.settings.symprec) if self.settings.enforce_symmetry else None
        found = assess_applicability(atoms)
        return PreparedCrystal(bare(atoms), group, status=found.status or "ok")

    def prepare(self, atoms: Any, names: Sequence[str]) -> Preparation:
        """Check a structure and build its graphs; what cannot be evaluated is among the errors.

        Raises:
            InvalidStructureError: ``atoms`` is no structure.
        """
        atoms = as_atoms(atoms)
        self.notices.of_ignored_information(atoms)
        own, of_potential = divided(tuple(names))
        crystal, errors = None, self.uncovered(atoms, own)
        if len(errors) < len(own):
            try:
                crystal = self.crystal(atoms)
            except Exception as error:
                errors = dict.fromkeys(own, error)
        if crystal is not None:
            for network, asked in self.loaded.networks(tuple(name for name in own if name not in errors)).items():
                try:
                    crystal.graph(network)
                except Exception as error:
                    errors |= dict.fromkeys(asked, error)
        crystal = crystal or PreparedCrystal(bare(atoms), None)
        if of_potential and self.potential is not None:
            try:
                self.validate_potential(atoms, of_potential)
                with shielded_device("cpu"), self._lock:
                    crystal.potential = self.potential.prepare(crystal.atoms, warn=self.notices.warn)
            except Exception as error:
                errors |= dict.fromkeys(of_potential, error)
            if "stress" in of_potential and not has_stress(atoms):
                errors.setdefault("stress", absent("stress", atoms))
        return Preparation(crystal, tuple(name for name in names if name not in errors), errors)

    def validate_potential(self, atoms: Atoms, names: Sequence[str]) -> None:
        """Check a structure whose energy or forces are asked for; raises the first problem."""
        validate_potential_structure(atoms)
        numbers = set(atoms.numbers.tolist())
        for name in names:
            if not numbers <= self.loaded.covered(name):
                validate_elements(atoms, self.loaded.elements(name), name)

    def uncovered(self, atoms: Atoms, names: Sequence[str]) -> Errors:
        """Errors of the properties that do not know an element of ``atoms``."""
        numbers = set(atoms.numbers.tolist())
        errors: Errors = {}
        for name in names:
            if not numbers <= self.loaded.covered(name):
                try:
                    validate_elements(atoms, self.loaded.elements(name), name)
                except ValueError as error:
                    errors[name] = error
        return errors


@functools.lru_cache(maxsize=256)
def divided(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of crystal properties, and of what the energy surface gives."""
    own = tuple(name for name in names if name not in _OF_POTENTIAL)
    return own, tuple(name for name in names if name in _OF_POTENTIAL) if len(own) < len(names) else ()


def has_stress(atoms: Atoms) -> bool:
    """Whether a structure has a periodic direction and a volume."""
    return bool(atoms.cell.rank == 3 and atoms.pbc.any())


def absent(name: str, atoms: Atoms) -> Exception:
    """Why the energy surface has given no ``name``."""
    if name == "stress" and not has_stress(atoms):
        return PropertyNotImplementedError(
            f"{atoms.get_chemical_formula()} has no stress: it needs a periodic direction and a cell with volume "
            f"(pbc={atoms.pbc.tolist()}, rank of the cell {atoms.cell.rank}). Ask for energy and forces only."
        )
    return PropertyNotImplementedError(f"The model has no {name} for {atoms.get_chemical_formula()}.")
