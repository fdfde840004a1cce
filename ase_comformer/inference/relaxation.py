"""Atoms, or the cell too, brought to rest on the energy surface of a predictor with the space group kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group

if TYPE_CHECKING:
    from ase_comformer.inference.predictor import Predictor

#: Steps after which a relaxation is given up.
MOST_STEPS = 200
#: A, within which the relaxed crystal has to have its space group.
_EXACT = 1e-4


class _Surface(Calculator):
    """The energy surface of a predictor, for ASE's optimisers; no more than they ask for."""

    implemented_properties: list[str] = ["energy", "forces", "stress"]  # noqa: RUF012, declared so by ASE

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self._predictor = predictor

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate energy, forces and stress together."""
        super().calculate(atoms, properties, system_changes)
        self.results = self._predictor.evaluate(self.atoms, self.implemented_properties)


def at_rest(group: SpaceGroup, predictor: Predictor, *, cell: bool, fmax: float) -> tuple[SpaceGroup, bool]:
    """Relax the primitive cell of a crystal and return the group of what came out, and whether it came to rest.

    Args:
        group: of the crystal.
        predictor: in float64.
        cell: whether the cell moves too.
        fmax: eV/A, largest force at rest.
    """
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    atoms = group.primitive.copy()
    atoms.calc = _Surface(predictor)
    if not cell and np.abs(atoms.get_forces()).max() < fmax:
        return group, True
    atoms.set_constraint(FixSymmetry(atoms, symprec=_EXACT, adjust_cell=cell))
    moved: Any = FrechetCellFilter(atoms) if cell else atoms
    ended = bool(BFGS(moved, logfile=None).run(fmax=fmax, steps=MOST_STEPS))
    atoms.set_constraint()
    return analyse_space_group(atoms, _EXACT), ended
