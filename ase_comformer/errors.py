"""Exceptions of the package: each names the problem, the offending value and the remedy.

All derive from ``ValueError`` so that scripts which guard against bad input keep working.
"""


class InvalidStructureError(ValueError):
    """The structure cannot be evaluated: no periodicity, no volume, NaN or overlapping positions, no atoms."""


class UnknownElementError(ValueError):
    """An element is outside what the requested model was trained on."""


class UnknownNameError(ValueError):
    """A property, model, preset or frame name is not one of the valid choices."""


class WeightsError(ValueError):
    """A weights file is missing, truncated, or does not match its checksum."""
