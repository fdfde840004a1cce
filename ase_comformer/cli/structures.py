"""Commands that take crystals one after the other: reading, failures in one line each, the exit status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ase_comformer.cli.terminal import complain, counted
from ase_comformer.errors import UnreadableFileError


def for_each_crystal(
    files: Sequence[str], index: str | None, compute: Callable[..., Any], what: str, *, named: bool = False
) -> tuple[list[tuple[str, Any, Any]], int]:
    """Read crystals and compute something of each; failures go to standard error, and the rest goes on.

    Args:
        files: as typed.
        index: which structures of each file.
        compute: of ``Atoms``.
        what: for the progress, such as "relaxing".
        named: whether ``compute`` takes the name of the source before the atoms.

    Returns:
        Name, atoms and result of each crystal that could be computed, and the exit status: 1 where any could not.
    """
    from ase_comformer.crystals.structure_sources import iter_sources, structure_paths

    found: list[tuple[str, Any, Any]] = []
    status = 0
    for source in counted(iter_sources(structure_paths(files), index), what):
        try:
            if source.atoms is None:
                raise source.error or UnreadableFileError(f"{source.name} cannot be read.")
            found.append(
                (source.name, source.atoms, compute(*((source.name, source.atoms) if named else (source.atoms,))))
            )
        except (ValueError, NotImplementedError) as error:
            complain(f"{source.name}: {type(error).__name__}: {error}")
            status = 1
    return found, status
