"""The registry of properties: every quantity that the package knows, by name.

``PROPERTIES`` is read by heads, training, evaluation, rotation, projection, reports, the calculator, the command line
and the documentation. ``register`` adds a property of one's own; ``properties.plugins`` finds files that do so. The
registry belongs to the process, like Python's own tables of modules or codecs: register at import time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from ase_comformer.errors import UnknownNameError, check_choice
from ase_comformer.properties import electric, electromechanical, mechanical, potential_energy_surface, scalars
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.lazy import Lazy

PropertyName: TypeAlias = str
"""Public name of a registered property."""
ShippedProperty = Literal[
    "dielectric_tensor",
    "static_dielectric_tensor",
    "born_effective_charges",
    "elastic_tensor",
    "piezoelectric_tensor",
    "formation_energy",
    "band_gap",
    "energy",
    "free_energy",
    "energies",
    "energy_uncertainty",
    "forces_uncertainty",
    "forces",
    "stress",
]
"""Names of the properties that come with the package."""

_FAMILIES = (electric, mechanical, electromechanical, scalars, potential_energy_surface)
_registered: dict[str, TensorProperty] = {entry.name: entry for family in _FAMILIES for entry in family.ENTRIES}
#: Every property by its public name: a view that grows with ``register``.
PROPERTIES: Mapping[str, TensorProperty] = MappingProxyType(_registered)
#: Properties that a network built without a list of names has heads for.
SHIPPED_HEADS: tuple[str, ...] = tuple(
    name for name, entry in PROPERTIES.items() if entry.route == "head" and not entry.is_auxiliary
)


def register(entry: TensorProperty) -> TensorProperty:
    """Add a property to the registry and return it; the same declaration twice is no error.

    Raises:
        ValueError: another property or derived label has the name.

    Example:
        >>> from ase_comformer.properties.entry import TensorProperty
    from ase_comformer.properties.lazy import Lazy
        >>> with temporary_registry():
        ...     raman = TensorProperty("raman_tensor", "R", "ijk=jik", "A^2", "derivative of chi", per_atom=True)
        ...     register(raman).irreps
        '2x1o+2o+3o'
    """
    taken = {label.name: other.name for other in _registered.values() for label in other.derived_labels}
    if entry.name in taken or _registered.get(entry.name, entry) != entry:
        owner = f"derived label of {taken[entry.name]}" if entry.name in taken else "property"
        raise ValueError(f"there is a {owner} with the name {entry.name!r} already: choose another name")
    missing = [name for name in entry.built_on if name not in _registered]
    if missing:
        raise ValueError(f"{entry.name} is built on {missing}, which must be registered before it")
    _registered[entry.name] = entry
    return entry


@contextlib.contextmanager
def temporary_registry() -> Iterator[None]:
    """Undo every registration made while the block runs (tests, notebooks)."""
    before = dict(_registered)
    try:
        yield
    finally:
        _registered.clear()
        _registered.update(before)


def tensor_property(name: PropertyName) -> TensorProperty:
    """Return the registry entry of ``name``; an unknown name first makes installed extensions load.

    Raises:
        UnknownNameError: no such property; the message lists the valid names, and says how extensions are found.
    """
    entry = _registered.get(name) if isinstance(name, str) else None
    if entry is not None:
        return entry
    from ase_comformer.properties.plugins import VARIABLE, load_installed_plugins

    load_installed_plugins()
    try:
        return _registered[check_choice(name, _registered, "property")]
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{error}. If an extension declares it, import that file first or list it in {VARIABLE}"
        ) from None


def names_by_route(route: str) -> tuple[PropertyName, ...]:
    """Return the names of all properties with a route ("head" or "potential") that models may offer."""
    return tuple(name for name, entry in _registered.items() if entry.route == route and not entry.is_auxiliary)


def label_owner(name: str) -> PropertyName:
    """Return the property whose prediction a label is compared with; ``name`` itself where it is no derived label."""
    for entry in _registered.values():
        if any(label.name == name for label in entry.derived_labels):
            return entry.name
    return tensor_property(name).name


def label_loss(name: str) -> Lazy:
    """Return the loss of a label: that of a property, or of a derived label."""
    entry = tensor_property(label_owner(name))
    return next((label.loss for label in entry.derived_labels if label.name == name), entry.training_loss)


def table() -> str:
    """Return the registry as a Markdown table, as the documentation shows it."""
    lines = ["| property | symbol | indices | irreps | shape | unit | kind |", "|---|---|---|---|---|---|---|"]
    for name, entry in _registered.items():
        shape = ", ".join([*(["n"] if entry.per_atom else []), *map(str, entry.shape)])
        cells = (f"`{name}`", entry.symbol, entry.formula or "-", entry.irreps, f"({shape})", entry.unit, entry.kind)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
