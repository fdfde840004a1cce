"""The registry of properties: every quantity that the package knows, by name.

``PROPERTIES`` is read by heads, training, evaluation, rotation, projection, reports, the calculator, the command line
and the documentation. ``register`` adds a property of one's own; ``properties.plugins`` finds files that do so.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from ase_comformer.errors import UnknownNameError, check_choice
from ase_comformer.properties.entry import UNCERTAINTY, TensorProperty
from ase_comformer.properties.lazy import Lazy
from ase_comformer.properties.plugins import VARIABLE, load_installed_plugins
from ase_comformer.properties.registered import PROPERTIES, register, temporary_registry

__all__ = [
    "PROPERTIES",
    "SHIPPED_HEADS",
    "PropertyName",
    "ShippedProperty",
    "base_of",
    "label_loss",
    "label_owner",
    "names_by_route",
    "register",
    "table",
    "temporary_registry",
    "tensor_property",
]

PropertyName: TypeAlias = str
"""Public name of a registered property."""
ShippedProperty = Literal[
    "dielectric_tensor",
    "static_dielectric_tensor",
    "born_effective_charges",
    "elastic_tensor",
    "piezoelectric_tensor",
    "clamped_piezoelectric_tensor",
    "formation_energy",
    "band_gap",
    "dielectric_tensor_uncertainty",
    "static_dielectric_tensor_uncertainty",
    "born_effective_charges_uncertainty",
    "elastic_tensor_uncertainty",
    "piezoelectric_tensor_uncertainty",
    "clamped_piezoelectric_tensor_uncertainty",
    "formation_energy_uncertainty",
    "band_gap_uncertainty",
    "energy",
    "free_energy",
    "energies",
    "energy_uncertainty",
    "forces_uncertainty",
    "forces",
    "stress",
]
"""Names of the properties that come with the package."""

#: Properties that a network built without a list of names has heads for.
SHIPPED_HEADS: tuple[str, ...] = tuple(
    name for name, entry in PROPERTIES.items() if entry.route == "head" and not entry.is_auxiliary
)


def tensor_property(name: PropertyName) -> TensorProperty:
    """Return the registry entry of ``name``; an unknown name first makes installed extensions load.

    Raises:
        UnknownNameError: no such property; the message lists the valid names, and says how extensions are found.
    """
    entry = PROPERTIES.get(name) if isinstance(name, str) else None
    if entry is not None:
        return entry
    load_installed_plugins()
    try:
        return PROPERTIES[check_choice(name, PROPERTIES, "property")]
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{error}. If an extension declares it, import that file first or list it in {VARIABLE}"
        ) from None


def base_of(name: str) -> str:
    """Return the property whose error bar ``name`` is, or ``name`` itself where it is no error bar.

    Example:
        >>> base_of("elastic_tensor_uncertainty"), base_of("forces_uncertainty")
        ('elastic_tensor', 'forces_uncertainty')
    """
    entry = PROPERTIES.get(name)
    return name.removesuffix(UNCERTAINTY) if entry is not None and entry.route == "calibration" else name


def names_by_route(route: str) -> tuple[PropertyName, ...]:
    """Return the names of all properties with a route ("head" or "potential") that models may offer."""
    return tuple(name for name, entry in PROPERTIES.items() if entry.route == route and not entry.is_auxiliary)


def label_owner(name: str) -> PropertyName:
    """Return the property whose prediction a label is compared with; ``name`` itself where it is no derived label."""
    for entry in PROPERTIES.values():
        if any(label.name == name for label in entry.derived_labels):
            return entry.name
    return tensor_property(name).name


def label_loss(name: str) -> Lazy:
    """Return the loss of a label: that of a property, or of a derived label."""
    entry = tensor_property(label_owner(name))
    return next((label.loss for label in entry.derived_labels if label.name == name), entry.training_loss)


def table() -> str:
    """Return the registry as a Markdown table, as the documentation shows it, without error bars of heads."""
    lines = ["| property | symbol | indices | irreps | shape | unit | kind |", "|---|---|---|---|---|---|---|"]
    for name, entry in PROPERTIES.items():
        if entry.route == "calibration":
            continue
        shape = ", ".join([*(["n"] if entry.per_atom else []), *map(str, entry.shape)])
        cells = (f"`{name}`", entry.symbol, entry.formula or "-", entry.irreps, f"({shape})", entry.unit, entry.kind)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
