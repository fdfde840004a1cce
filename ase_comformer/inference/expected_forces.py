"""Whether forces will follow an energy that is asked for alone, as in optimisers: then one evaluation gives both."""

from __future__ import annotations

from collections.abc import Collection

from ase_comformer.inference.potential_ensemble import UNCERTAINTIES

#: What takes derivatives of the energy; the energy alone is a forward pass.
DERIVATIVES = frozenset({"forces", "stress"})
_ENERGIES = frozenset({"energy", "free_energy", "energies", *UNCERTAINTIES})


class ExpectedForces:
    """Learns from one structure what will be asked of the next.

    Who asked for an energy and then for forces of the same structure will do so again; who leaves forces that were
    computed for that reason unread will not.

    Example:
        >>> forces = ExpectedForces()
        >>> forces.along_with(("energy",), has_energy=False), forces.along_with(("forces",), has_energy=True)
        (('energy',), ('forces',))
        >>> forces.along_with(("energy",), has_energy=False)
        ('energy', 'forces')
        >>> forces.end_of_structure()
        >>> forces.along_with(("energy",), has_energy=False)
        ('energy',)
    """

    def __init__(self) -> None:
        self._expected = self._unread = False

    def along_with(self, names: tuple[str, ...], *, has_energy: bool) -> tuple[str, ...]:
        """Names of what to compute, where the energy of the structure is known already or not."""
        if not DERIVATIVES.isdisjoint(names):
            self._expected = self._expected or has_energy
        elif self._expected and not _ENERGIES.isdisjoint(names):
            self._unread = True
            return (*names, "forces")
        return names

    def read(self, names: Collection[str]) -> None:
        """Note that these properties were asked for."""
        if not DERIVATIVES.isdisjoint(names):
            self._unread = False

    def end_of_structure(self) -> None:
        """Note that nothing more will be asked of the structure."""
        if self._unread:
            self._expected = self._unread = False
