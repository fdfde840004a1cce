"""Many structures from what people name: files, ``FILE@INDEX``, folders, patterns; one by one, each with its name.

A single file is read by ``structure_files``; here is which files there are, and what happens where one of many cannot
be read: it becomes a ``Source`` with an error, and the others go on.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from ase_comformer.crystals.structure_files import read_all_structures, refuse_partial_occupancy
from ase_comformer.errors import UnreadableFileError

#: Files of a folder that are taken for structures: by ending, or by the beginning of the name.
SUFFIXES = frozenset({
    ".aims", ".aselmdb", ".cell", ".cfg", ".cif", ".cml", ".db", ".extxyz", ".gen", ".json", ".poscar", ".res", ".traj",
    ".vasp", ".xsd", ".xsf", ".xtl", ".xyz",
})  # fmt: skip
PREFIXES = ("POSCAR", "CONTCAR")
#: Files of many structures that are read as they are consumed.
STREAMED = (".db", ".extxyz", ".traj", ".xyz")


@dataclass(frozen=True)
class Source:
    """A structure with the place it came from.

    Attributes:
        name: ``FILE``, or ``FILE@INDEX`` where the file has several; what ``read_structures`` takes.
        atoms: None where the file cannot be read.
        error: then why.
    """

    name: str
    atoms: Atoms | None = None
    error: Exception | None = None


def structure_paths(names: Iterable[str | Path]) -> list[str]:
    """Files that names stand for: files, ``FILE@INDEX``, folders (all structure files below them), patterns.

    Args:
        names: such as ``"POSCAR"``, ``"all.db@0:2"``, ``"structures/"``, ``"run-*/CONTCAR"``.

    Returns:
        Paths, sorted within a folder or pattern, each once.

    Raises:
        FileNotFoundError: a name stands for no file.

    Example:
        >>> structure_paths(["all.db@0:2"])
        ['all.db@0:2']
    """
    found: dict[str, None] = {}
    for name in map(str, names):
        path = Path(name)
        if path.is_dir():
            files = [str(file) for file in sorted(path.rglob("*")) if _is_structure_file(file, path)]
            if not files:
                raise FileNotFoundError(
                    f"The folder {name!r} has no structure files: none ends in {', '.join(sorted(SUFFIXES))} or begins "
                    f"with {' or '.join(PREFIXES)}. Name the files, or a pattern such as '{name.rstrip('/')}/*'."
                )
        elif not path.exists() and glob.has_magic(name):
            files = sorted(file for file in glob.glob(name, recursive=True) if Path(file).is_file())  # noqa: PTH207, absolute patterns too
            if not files:
                raise FileNotFoundError(f"No file fits the pattern {name!r}.")
        else:
            files = [name]
        found.update(dict.fromkeys(files))
    return list(found)


def _is_structure_file(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.is_file() and (file.suffix.lower() in SUFFIXES or file.name.startswith(PREFIXES))


def iter_sources(paths: Iterable[str | Path], index: str | None = None) -> Iterator[Source]:
    """Structures of files, one by one; a file that cannot be read gives one ``Source`` with its error.

    Databases and extended XYZ files are read as they are consumed, so they may be large.

    Args:
        paths: as ``structure_paths`` returns them.
        index: which structures of each file, as ``read_structures``.
    """
    for name in map(str, paths):
        try:
            if index is None and _is_stream(Path(name)):
                yield from _streamed(Path(name))
                continue
            structures = read_all_structures(name, index)
        except (OSError, ValueError) as error:
            yield Source(name, error=error)
            continue
        bare_name = name if Path(name).exists() else name.rpartition("@")[0]
        numbers = _numbers(name, bare_name, index, len(structures))
        for number, atoms in zip(numbers, structures, strict=True):
            yield _checked(name if len(structures) == 1 else f"{bare_name}@{number}", atoms)


def _checked(name: str, atoms: Atoms) -> Source:
    """The structure with its name, or why it cannot be used."""
    try:
        if len(atoms) == 0:
            raise UnreadableFileError(f"{name} has no atoms.")
        refuse_partial_occupancy(atoms, name)
    except UnreadableFileError as error:
        return Source(name, error=error)
    return Source(name, atoms)


def _numbers(name: str, bare_name: str, index: str | None, count: int) -> list[int]:
    """Places in the file of what an index such as "2:8:2" has chosen; those of a query are counted from zero."""
    chosen = index or (name[len(bare_name) + 1 :] if name != bare_name else ":") or ":"
    parts = chosen.split(":")
    try:
        start, step = int(parts[0] or 0), int((parts[2:] or ["1"])[0] or 1)
    except ValueError:
        start, step = 0, 1
    return [start + step * number for number in range(count)]


def _is_stream(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in STREAMED


def _streamed(path: Path) -> Iterator[Source]:
    """Frames of a file as they are asked for; what breaks it off becomes the last source."""
    number = 0
    try:
        for number, atoms in enumerate(_frames(path), 1):
            yield _checked(f"{path}@{number - 1}", atoms)
    except Exception as error:  # readers fail in as many ways as files can be wrong
        reason = (str(error).strip().splitlines() or [""])[0]
        message = f"{path} cannot be read beyond structure {number} ({type(error).__name__}: {reason})."
        yield Source(f"{path}@{number}", error=UnreadableFileError(message))
        return
    if number == 0:
        yield Source(str(path), error=UnreadableFileError(f"{path} has no atoms."))


def _frames(path: Path) -> Iterator[Atoms]:
    if path.suffix.lower() == ".db":
        from ase.db import connect

        return (row.toatoms() for row in connect(path).select())
    from ase.io import iread

    return iread(path, index=":", do_not_split_by_at_sign=True)
