"""Warnings that a calculator shows once, at the line of the user's code that led to them."""

from __future__ import annotations

from collections.abc import Mapping

from ase import Atoms

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.crystals.validation import ignored_information
from ase_comformer.errors import warn_user

IDEALISATION_WARNING = 1e-3
"""A, displacement by idealisation above which a warning says so."""


class Notices:
    """Remembers which warnings were shown; each calculator and each call of ``predict`` has one."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def warn(self, kind: str, message: str) -> None:
        """Show ``message`` unless a warning of this kind was shown already."""
        if kind not in self._shown:
            self._shown.add(kind)
            warn_user(message)

    def of_ignored_information(self, atoms: Atoms) -> None:
        """Warn of charges, magnetic moments and occupancies, which no prediction takes into account."""
        if atoms.arrays.keys() & {"initial_magmoms", "initial_charges"} or "occupancy" in atoms.info:
            for kind, message in ignored_information(atoms).items():
                self.warn(kind, message)

    def of_idealisation(self, atoms: Atoms, group: SpaceGroup) -> None:
        """Warn where tensors belong to a structure that differs from the given one by more than rounding."""
        distance = group.idealisation_displacement
        if distance > IDEALISATION_WARNING and "idealisation" not in self._shown:
            self.warn(
                "idealisation",
                f"{atoms.get_chemical_formula()}: tensors are those of the structure idealised to "
                f"{group.international}, from which it differs by {distance:.2g} Å (symprec={group.symprec:g}). For "
                "tensors and derivatives of the structure as it is, set enforce_symmetry=False.",
            )

    def of_missing_reference(self, symbol: str) -> None:
        """Warn of elements whose formation energy does not vanish as it should."""
        self.warn(
            "reference",
            f"The formation energy of {symbol} is that of a network which learned from compounds: there is no "
            "reference structure of this element here, so that it is zero only within some 0.1 to 0.3 eV/atom.",
        )

    def of_undefined(self, why: Mapping[str, str]) -> None:
        """Warn of structures for which a property has no meaning, once for each kind of reason."""
        for kind, sentence in why.items():
            self.warn(kind, sentence)
