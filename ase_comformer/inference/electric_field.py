"""An electric field on a crystal, with the charges that the networks see in its reference structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from ase_comformer.crystals.applicability import assess_applicability
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import InvalidStructureError, UnknownElementError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.undefined import predicted_gap, reasons
from ase_comformer.physics.electric_field import ElectricField, FieldCoefficients, reference_atoms


def electric_field_of(predictor: Predictor, field: Any, reference: Mapping[str, Any]) -> ElectricField:
    """Put a field on the crystal ``reference``, with coefficients of networks where it brings none of its own.

    Args:
        predictor: gives Born charges, the electronic dielectric and the clamped-ion piezoelectric tensor.
        field: (3,) V/A.
        reference: see ``physics.electric_field.reference_as_dict``.

    Raises:
        InvalidStructureError: a slab, a molecule or a metal.
        UnknownElementError: a network does not know an element of the reference.
        UnknownNameError: the model has no network for a coefficient.

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.physics.electric_field import reference_as_dict
        >>> magnesia = reference_as_dict(bulk("MgO", "rocksalt", a=4.21))
        >>> electric_field_of(Predictor(), (0, 0, 0.01), magnesia).charges.shape
        (2, 3, 3)
    """
    atoms = reference_atoms(reference)
    _require_insulator(predictor, atoms, is_predicted="dielectric_tensor" not in reference)
    found = {
        name: np.asarray(reference[name], dtype=np.float64) if name in reference else _predicted(predictor, atoms, name)
        for name in FieldCoefficients.__dataclass_fields__
    }
    return ElectricField(field, atoms, FieldCoefficients(**found))


def _predicted(predictor: Predictor, atoms: Atoms, name: str) -> Any:
    try:
        return predictor.evaluate(atoms, [name])[name]
    except UnknownElementError as error:
        if name == "clamped_piezoelectric_tensor" and _has_inversion(predictor, atoms):
            return np.zeros((3, 6))  # by symmetry
        raise UnknownElementError(f"{error} Or pass {name!r} of your own in field_reference, as a mapping.") from error


def _has_inversion(predictor: Predictor, atoms: Atoms) -> bool:
    rotations = analyse_space_group(atoms, predictor.symprec).rotations
    return bool((np.abs(rotations + np.eye(3)).max(axis=(1, 2)) < 1e-6).any())


def _require_insulator(predictor: Predictor, atoms: Atoms, *, is_predicted: bool) -> None:
    """Refuse what is no bulk crystal and, unless the user knows its dielectric tensor, what is likely a metal."""
    bulk_status = assess_applicability(atoms).status or "ok"
    gap = predicted_gap(atoms, predictor) if is_predicted else None
    why = reasons(atoms, ("dielectric_tensor",), bulk_status=bulk_status, gap=gap)
    if "vacuum" in why:
        raise InvalidStructureError(f"{why['vacuum']} A homogeneous field acts on bulk crystals: pass one.")
    if is_predicted and "metal" in why:
        raise InvalidStructureError(
            f"{why['metal']} Leave electric_field out; if the crystal does have a gap, pass its 'dielectric_tensor' in "
            "field_reference, as a mapping."
        )
