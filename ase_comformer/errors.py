"""Exceptions of the package: each names the problem, the offending value and the remedy.

All derive from ``ValueError`` so that scripts which guard against bad input keep working.
"""

from __future__ import annotations

from collections.abc import Iterable


class InvalidStructureError(ValueError):
    """The structure cannot be evaluated: no periodicity, no volume, NaN or overlapping positions, no atoms."""


class UnknownElementError(ValueError):
    """An element is outside what the requested model was trained on."""


class UnknownNameError(ValueError):
    """A property, model, preset or frame name is not one of the valid choices."""


class WeightsError(ValueError):
    """A weights file is missing, truncated, or does not match its checksum."""


def check_choice(name: str, choices: Iterable[str], what: str) -> str:
    """Return ``name`` if it is one of ``choices``; otherwise ``UnknownNameError`` lists the choices."""
    valid = list(choices)
    if not isinstance(name, str):
        raise UnknownNameError(f"{what} must be a string, got {type(name).__name__}; choose one of: {', '.join(valid)}")
    if name not in valid:
        raise UnknownNameError(f"unknown {what} {name!r}; choose one of: {', '.join(valid)}")
    return name
