"""Commands that take crystals one after the other: reading, failures in one line each, the exit status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ase_comformer.cli.terminal import complain, counted


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
        problem = source.error
        if source.atoms is not None:
            arguments = (source.name, source.atoms) if named else (source.atoms,)
            try:
                found.append((source.name, source.atoms, compute(*arguments)))
            except (ValueError, NotImplementedError) as error:
                problem = error
        if problem is not None:
            complain(f"{source.name}: {type(problem).__name__}: {problem}")
            status = 1
    return found, status


def numbered(path: Path, number: int) -> Path:
    """Name the file of one of several crystals.

    Example:
        >>> numbered(Path("bands.png"), 3).name
        'bands-3.png'
    """
    return path.with_name(f"{path.stem}-{number}{path.suffix}")
