"""Properties that are undefined for a structure: what the registry says (``undefined_for``), put into words.

Numbers are given all the same, with a status and a warning: whether a structure is a metal is a guess, and tensors of
slabs can be rescaled by who knows the thickness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ase import Atoms

from ase_comformer.crystals.metallicity import why_metallic
from ase_comformer.errors import InvalidStructureError, UnknownElementError
from ase_comformer.properties.registry import tensor_property

if TYPE_CHECKING:
    from ase_comformer.inference.predictor import Predictor

#: Property that tells metals, where a model has it.
GAP = "band_gap"
_NO_BULK = {"slabs", "molecules"}


def undefined_for(names: Sequence[str]) -> frozenset[str]:
    """Structures of which any of the properties is undefined, among ``properties.entry.STRUCTURES``."""
    return frozenset().union(*(tensor_property(name).undefined_for for name in names))


def reasons(atoms: Atoms, names: Sequence[str], *, bulk_status: str = "ok", gap: float | None = None) -> dict[str, str]:
    """Why properties have no meaning for a structure: sentences by "vacuum" and "metal", empty where all is well.

    Args:
        atoms: the structure.
        names: properties that were asked for.
        bulk_status: "ok" or the sentence of ``crystals.applicability``.
        gap: predicted band gap in eV, None where none is known.

    Example:
        >>> from ase.build import bulk
        >>> print(reasons(bulk("Cu"), ["dielectric_tensor", "elastic_tensor"])["metal"])
        Cu consists of metallic elements only and is likely a metal, whose electrons screen static fields: \
dielectric_tensor has no meaning there.
    """
    found = {}
    kinds = undefined_for(names)
    if kinds & _NO_BULK and bulk_status != "ok":
        found["vacuum"] = bulk_status
    why = why_metallic(atoms, gap) if "metals" in kinds else ""
    if why:
        screened = [name for name in names if "metals" in tensor_property(name).undefined_for]
        verb = "has" if len(screened) == 1 else "have"
        found["metal"] = (
            f"{atoms.get_chemical_formula()} {why}, whose electrons screen static fields: "
            f"{', '.join(screened)} {verb} no meaning there."
        )
    return found


def predicted_gap(atoms: Atoms, predictor: Predictor) -> float | None:
    """Predict the band gap (eV) of a crystal; None where the model knows none."""
    if GAP not in predictor.properties:
        return None
    try:
        return float(predictor.evaluate(atoms, [GAP])[GAP])
    except (UnknownElementError, InvalidStructureError):
        return None
