"""What the calculator adds to the potential: dispersion and a homogeneous electric field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from ase_comformer.inference.electric_field import electric_field_of
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.dispersion import Dispersion
from ase_comformer.physics.electric_field import ElectricField

#: What is corrected, and under which name the corrections know it.
CORRECTED = {name: name for name in ("energy", "energies", "forces", "stress")} | {"free_energy": "energy"}


class Corrections:
    """Terms beside the potential, each a function of the structure alone.

    Args:
        predictor: gives the charges that the field acts on.
        dispersion: name of a correction of ``physics.dispersion``, or empty.
        electric_field, field_reference: as ``physics.electric_field.field_parameters`` returns them.

    Attributes:
        field: the electric field, None without one.

    Example:
        >>> Corrections(Predictor()).field is None
        True
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        dispersion: str = "",
        electric_field: Sequence[float] | None = None,
        field_reference: Mapping[str, Any] | None = None,
    ) -> None:
        self._terms: list[Any] = [Dispersion(dispersion)] if dispersion else []
        self.field: ElectricField | None = None
        if electric_field is not None and field_reference is not None:
            self.field = electric_field_of(predictor, electric_field, field_reference)
            self._terms.append(self.field)

    def added_to(self, found: Mapping[str, Any], atoms: Atoms) -> dict[str, Any]:
        """Return results of the potential with all terms; other results stay as they are."""
        result = dict(found)
        names = result.keys() & CORRECTED.keys()
        for term in self._terms if names else ():
            changes = term.evaluate(atoms)
            for name in names:
                result[name] = result[name] + changes.get(CORRECTED[name], 0.0)
        return result

    def forces(self, predictor: Predictor, structures: Sequence[Atoms]) -> list[np.ndarray]:
        """(n, 3) eV/A of each structure, potential and terms, evaluated together."""
        found = predictor.predict(structures, ("forces",), on_error="raise")
        return [self.added_to(each, atoms)["forces"] for each, atoms in zip(found, structures, strict=True)]
