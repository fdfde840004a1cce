"""The table behind the registry: what is registered, and how to add to it.

The table belongs to the process, like Python's own tables of modules or codecs: register at import time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ase_comformer.properties import electric, electromechanical, mechanical, potential_energy_surface, scalars
from ase_comformer.properties.entry import TensorProperty

_FAMILIES = (electric, mechanical, electromechanical, scalars, potential_energy_surface)
_registered: dict[str, TensorProperty] = {}


def _add(entry: TensorProperty) -> None:
    """Put an entry into the table, with its error bar where networks predict it."""
    _registered[entry.name] = entry
    if entry.route == "head" and not entry.is_auxiliary:
        _registered[entry.error_bar.name] = entry.error_bar


for _family in _FAMILIES:
    for _entry in _family.ENTRIES:
        _add(_entry)

#: Every property by its public name: a view that grows with ``register``.
PROPERTIES: Mapping[str, TensorProperty] = MappingProxyType(_registered)


def register(entry: TensorProperty) -> TensorProperty:
    """Add a property to the registry and return it; the same declaration twice is no error.

    Raises:
        ValueError: another property or derived label has the name.

    Example:
        >>> from ase_comformer.properties.entry import TensorProperty
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
    _add(entry)
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
