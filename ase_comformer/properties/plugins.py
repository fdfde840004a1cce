"""Files and modules that register further properties, and where they are looked for.

A training configuration names them (``plugins = ["raman.py"]``), a script imports them; what is installed announces
itself under the entry point group ``ase_comformer.properties``, and ``ASE_COMFORMER_PLUGINS`` lists files or modules
(separated as in ``PATH``) for the command line. The last two are read when a name is met that is not registered.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registered import PROPERTIES, register

VARIABLE = "ASE_COMFORMER_PLUGINS"
GROUP = "ase_comformer.properties"


def load_plugins(plugins: Iterable[str], folder: Path | None = None) -> None:
    """Import modules and files that register properties; a second time registers the same entries again.

    Args:
        plugins: names of modules, or paths that end in ``.py``.
        folder: which relative paths start from; the working directory where None.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: there is no such module, or its import fails.
    """
    for plugin in plugins:
        if plugin.endswith(".py"):
            path = ((folder or Path()) / Path(plugin).expanduser()).resolve()
            if not path.is_file():
                raise FileNotFoundError(f"there is no extension file {str(path)!r}: check plugins or {VARIABLE}")
            entries = _entries_of_file(path, path.stat().st_mtime_ns)
        else:
            entries = _entries_of_module(plugin)
        for entry in entries:
            register(entry)


@functools.lru_cache(maxsize=64)
def _entries_of_file(path: Path, stamp: int) -> tuple[TensorProperty, ...]:
    """Run a file and return what it registered; ``stamp`` makes a changed file run again."""
    name = f"ase_comformer_plugin_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise ImportError(f"{path} cannot be imported as a Python file")
    before = set(PROPERTIES)
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # so that its classes can be pickled and found by name
    specification.loader.exec_module(module)
    return tuple(entry for key, entry in PROPERTIES.items() if key not in before)


@functools.lru_cache(maxsize=64)
def _entries_of_module(name: str) -> tuple[TensorProperty, ...]:
    """Import a module and return what it registered."""
    before = set(PROPERTIES)
    module = importlib.import_module(name)
    new = [entry for key, entry in PROPERTIES.items() if key not in before]
    # where it was imported before, what it registered is among its names
    return tuple(new) or tuple(value for value in vars(module).values() if isinstance(value, TensorProperty))


def load_installed_plugins() -> None:
    """Load what is installed with an entry point, and what the environment variable lists."""
    listed = [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
    load_plugins([*_entry_points(), *listed])


@functools.lru_cache(maxsize=1)
def _entry_points() -> tuple[str, ...]:
    return tuple(point.module for point in importlib.metadata.entry_points(group=GROUP))
