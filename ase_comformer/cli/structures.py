"""Commands that take crystals one after the other: reading, failures in one line each, results, files per crystal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase_comformer.cli.terminal import complain, console, counted, print_json

if TYPE_CHECKING:
    from ase import Atoms
    from rich.console import Console


@dataclass(frozen=True)
class Computed:
    """What a command has computed of a crystal.

    Attributes:
        source: name of the file, with an index where it has several crystals.
        atoms: the crystal as read.
        result: what ``compute`` returned.
    """

    source: str
    atoms: Atoms
    result: Any


def for_each_crystal(
    files: Sequence[str], index: str | None, compute: Callable[..., Any], what: str, *, named: bool = False
) -> tuple[list[Computed], int]:
    """Read crystals and compute something of each; failures go to standard error, and the rest goes on.

    Args:
        files: as typed.
        index: which structures of each file.
        compute: of ``Atoms``.
        what: for the progress, such as "relaxing".
        named: whether ``compute`` takes the name of the source before the atoms.

    Returns:
        What could be computed, and the exit status: 1 where something could not.
    """
    from ase_comformer.crystals.structure_sources import iter_sources, structure_paths

    found: list[Computed] = []
    status = 0
    for source in counted(iter_sources(structure_paths(files), index), what):
        problem = source.error
        if source.atoms is not None:
            arguments = (source.name, source.atoms) if named else (source.atoms,)
            try:
                found.append(Computed(source.name, source.atoms, compute(*arguments)))
            except (ValueError, NotImplementedError) as error:
                problem = error
        if problem is not None:
            complain(f"{source.name}: {type(problem).__name__}: {problem}")
            status = 1
    return found, status


def show_each(
    found: Sequence[Computed],
    values: Callable[[Any], Mapping[str, Any]],
    show: Callable[[Console, dict[str, Any]], None],
    *,
    as_json: bool,
    facts: Mapping[str, Any],
) -> None:
    """Print results, as JSON or one after the other.

    Args:
        found: of ``for_each_crystal``.
        values: numbers of a result, by name; source and formula are put before them.
        show: prints such a row on a console.
        as_json: print one JSON object instead.
        facts: what stands beside the results in JSON: model, units.
    """
    rows = [
        {"source": each.source, "formula": each.atoms.get_chemical_formula(), **values(each.result)} for each in found
    ]
    if as_json:
        print_json({**facts, "results": rows})
        return
    shown = console()
    for row in rows:
        show(shown, row)


def write_each(
    found: Sequence[Computed], folder: Path | None, figure: Path | None, draw: Callable[[Computed, Path], object]
) -> None:
    """Write the files and the figure of each result, numbered where there are several.

    Args:
        found: of ``for_each_crystal``; results have ``write(folder)``.
        folder: where files go; None for no files.
        figure: image to draw; None for none.
        draw: draws the figure of one crystal.
    """
    several = len(found) > 1
    for number, each in enumerate(found):
        if folder is not None:
            each.result.write(folder / str(number) if several else folder)
        if figure is not None:
            draw(each, numbered(figure, number) if several else figure)


def numbered(path: Path, number: int) -> Path:
    """Name the file of one of several crystals.

    Example:
        >>> numbered(Path("bands.png"), 3).name
        'bands-3.png'
    """
    return path.with_name(f"{path.stem}-{number}{path.suffix}")
