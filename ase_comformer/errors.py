"""Exceptions and warnings of the package: each names the problem, the offending value and the remedy.

All exceptions derive from ``ValueError`` so that scripts which guard against bad input keep working. Warnings point at
the line of the user's code that led to them.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

#: Packages that stand between the user's code and ours: a warning that pointed into them would help nobody.
_BETWEEN = ("ase", "torch")


class InvalidStructureError(ValueError):
    """The structure cannot be evaluated: no periodicity, no volume, NaN or overlapping positions, no atoms."""


class UnknownElementError(ValueError):
    """An element is outside what the requested model was trained on."""


class UnknownNameError(ValueError):
    """A property, model, preset or frame name is not one of the valid choices."""


class WeightsError(ValueError):
    """A weights file is missing, truncated, or does not match its checksum."""


class UnreadableFileError(ValueError):
    """A structure file cannot be read, or its atoms do not add up to the formula that the file states."""


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the position of the innermost caller outside this package, ASE and torch.

    Where a filter turns warnings into errors, the message is logged instead: results do not depend on filters. Python
    3.12 has ``skip_file_prefixes`` for the position; the package supports 3.11.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warn_user("Magnetic moments are ignored.")
        >>> str(caught[0].message)
        'Magnetic moments are ignored.'
    """
    folders = [str(Path(__file__).parent)]
    for name in _BETWEEN:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            folders.append(str(Path(file).parent))
    prefixes = (*(f"{folder}/" for folder in folders), *(f"{folder}\\" for folder in folders))
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(prefixes) or frame.f_code.co_name == "decorate_context"
    ):
        level, frame = level + 1, frame.f_back
    try:
        warnings.warn(message, category, stacklevel=level)
    except category:
        logger.warning("%s", message)


def check_choice(name: str, choices: Iterable[str], what: str) -> str:
    """Return ``name`` if it is one of ``choices``; otherwise ``UnknownNameError`` lists the choices."""
    valid = list(choices)
    if not isinstance(name, str):
        raise UnknownNameError(f"{what} must be a string, got {type(name).__name__}; choose one of: {', '.join(valid)}")
    if name not in valid:
        raise UnknownNameError(f"unknown {what} {name!r}; choose one of: {', '.join(valid)}")
    return name
