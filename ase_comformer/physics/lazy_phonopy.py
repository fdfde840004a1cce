"""A ``Phonopy`` that searches the symmetry of its supercell only if somebody asks for it.

The search takes seconds in a cell of a few hundred atoms and serves displacements and force constants, which come from
elsewhere here (``supercell_force_constants``). Import this where phonopy is needed: it imports phonopy.
"""

from __future__ import annotations

from typing import Any

from phonopy import Phonopy
from phonopy.structure.symmetry import Symmetry


class LazyPhonopy(Phonopy):
    """``phonopy.Phonopy`` in every respect but when symmetry is searched.

    A phonopy that searches in another way than by ``_search_symmetry`` does so at once: slower, not wrong.
    """

    _found_symmetry: Symmetry | None = None

    def _search_symmetry(self) -> None:
        self._found_symmetry = None

    def _search_primitive_symmetry(self) -> None:
        self._primitive_symmetry = Symmetry(self._primitive, self._symprec, self._is_symmetry)

    @property
    def _symmetry(self) -> Any:
        if self._found_symmetry is None:
            super()._search_symmetry()
        return self._found_symmetry

    @_symmetry.setter
    def _symmetry(self, value: Any) -> None:
        self._found_symmetry = value
