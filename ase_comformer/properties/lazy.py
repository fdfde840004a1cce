"""References to heads, losses, metrics and baselines that are imported when they are used.

The registry says which class or function belongs to a property without importing torch or the training code.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Lazy:
    """A class or function, and keyword arguments that are bound to it.

    Attributes:
        target: ``"package.module:name"``, or the object itself (as an extension file has it at hand).
        arguments: keyword arguments.

    Example:
        >>> Lazy("math:isclose", {"abs_tol": 0.1}).load()(1.0, 1.05)
        True
    """

    target: str | Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def load(self) -> Callable[..., Any]:
        """Import the object and bind the arguments.

        Raises:
            ImportError: there is no such module or name; the message says which.
        """
        found: Any = self.target
        if isinstance(self.target, str):
            module, _, name = self.target.partition(":")
            try:
                found = getattr(importlib.import_module(module), name)
            except AttributeError as error:
                raise ImportError(f"{module} has no {name!r}: write 'package.module:name'") from error
        return functools.partial(found, **self.arguments) if self.arguments else found
