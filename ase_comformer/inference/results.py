"""What a prediction is: values by property, what could not be computed and why, and what the structure is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.properties.registry import PropertyName, ShippedProperty

Array = NDArray[np.float64]
Names: TypeAlias = Sequence[ShippedProperty | PropertyName] | ShippedProperty | PropertyName
"""What ``properties=`` takes: one name or several, those that come with the package or registered ones."""


class SymmetryRecord(TypedDict):
    """The space group that tensors were evaluated with.

    ``symprec`` is what was asked for, ``tolerance`` the one of spglib at which the group was found, and
    ``idealisation_displacement`` (A) how far an atom was moved to its ideal place.
    """

    international: str
    number: int
    symprec: float
    tolerance: float
    idealisation_displacement: float


class RouteRecord(TypedDict):
    """Which route gave a relaxed-ion tensor, the weight of the response in it, and what limits it."""

    route: str
    response_weight: float
    note: str


class Prediction(TypedDict, total=False):
    """Results of one structure; properties that were registered by the user have their own names.

    Arrays are float64 in the documented shape and unit (``tensors.PROPERTIES``), in the Cartesian frame and atom order
    of the input. ``errors`` has a message for each property that was asked for and could not be computed, ``error``
    is there only where nothing could be. ``status`` says what the structure is as far as tensors per volume are
    concerned ("ok" for a bulk crystal), ``symmetry`` which group was enforced; both come with tensors only.
    ``functional`` is what dielectric tensors and Born charges follow, and comes with them.
    """

    energy: float
    free_energy: float
    energies: Array
    forces: Array
    stress: Array
    energy_uncertainty: float
    forces_uncertainty: Array
    dielectric_tensor: Array
    static_dielectric_tensor: Array
    born_effective_charges: Array
    piezoelectric_tensor: Array
    clamped_piezoelectric_tensor: Array
    elastic_tensor: Array
    formation_energy: float
    band_gap: float
    dielectric_tensor_uncertainty: float
    static_dielectric_tensor_uncertainty: float
    born_effective_charges_uncertainty: Array
    piezoelectric_tensor_uncertainty: float
    clamped_piezoelectric_tensor_uncertainty: float
    elastic_tensor_uncertainty: float
    formation_energy_uncertainty: float
    band_gap_uncertainty: float
    functional: str
    status: str
    symmetry: SymmetryRecord
    routes: dict[str, RouteRecord]
    errors: dict[str, str]
    error: str


Result = dict[str, Any]
"""A ``Prediction``, or one with properties that were registered by the user."""

METADATA = ("functional", "status", "symmetry", "routes", "errors", "error")
"""Keys of a result that are no properties."""

RESULT_ALIASES = {"becs": "born_effective_charges", "polarizability": "dielectric_tensor"}
"""Keys under which atomate2 reads Born charges and what it adds one to for the dielectric tensor -> ours."""


def aliases_of(found: Mapping[str, Any], wanted: Collection[str]) -> dict[str, Any]:
    """Collect those of ``RESULT_ALIASES`` that are wanted and found: Born charges (n, 3, 3), susceptibility (3, 3).

    Example:
        >>> import numpy as np
        >>> aliases_of({"dielectric_tensor": 3.0 * np.eye(3)}, ["polarizability"])["polarizability"][0].tolist()
        [2.0, 0.0, 0.0]
    """
    values = {alias: found[name] for alias, name in RESULT_ALIASES.items() if alias in wanted and name in found}
    if "polarizability" in values:
        values["polarizability"] = values["polarizability"] - np.eye(3)
    return values


def symmetry_record(group: SpaceGroup) -> SymmetryRecord:
    """The record of an enforced space group; JSON-able."""
    return {
        "international": group.international,
        "number": group.number,
        "symprec": group.symprec,
        "tolerance": group.tolerance,
        "idealisation_displacement": group.idealisation_displacement,
    }


def message_of(error: Exception) -> str:
    """An error as one text, with its kind."""
    return f"{type(error).__name__}: {error}"


def not_implemented(name: str, choices: Sequence[str]) -> PropertyNotImplementedError:
    """Make ASE's error for a property that a model does not have, with the choices."""
    if name == "stresses":
        return PropertyNotImplementedError(
            "The potential has no stresses of single atoms: its dipoles interact in reciprocal space, and the virial "
            "of a wave belongs to no atom. Ask for the stress of the cell."
        )
    return PropertyNotImplementedError(f"{name!r} is not a property of this model. It predicts: {', '.join(choices)}.")


def with_errors(result: Result, errors: dict[str, Exception], asked: tuple[str, ...]) -> Result:
    """``result`` with a message for each property that failed, and one for all where nothing could be computed."""
    if not errors:
        return result
    result["errors"] = {name: message_of(errors[name]) for name in asked if name in errors}
    if len(errors) == len(asked):
        result["error"] = next(iter(result["errors"].values()))
    return result
