"""Structures from files of any format that ASE knows, CIFs with care (``cif``), and pymatgen's JSON."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_comformer.crystals.cif import read_cif
from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.validation import has_partial_occupancy
from ase_comformer.errors import UnreadableFileError

_INDEX = re.compile(r"^\s*(-?\d+|(-?\d+)?:(-?\d+)?(:(-?\d+)?)?)\s*$")
_DATABASES = (".db", ".aselmdb")


def read_structures(path: str | Path, index: str | None = None) -> list[Atoms]:
    """Read structures from a file.

    Args:
        path: file of a format that ASE knows, or JSON of pymatgen; ``"FILE@INDEX"`` names the structures too.
        index: which structures: ``"0"``, ``"-1"``, ``":"``, ``"2:8:2"``; for databases also a query; all where None.

    Returns:
        At least one structure.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableFileError: the format is not known, the content is not what the format says, there are no atoms,
            sites are partially occupied, or the index is wrong or beyond the end.

    Example:
        >>> import tempfile
        >>> from ase.build import bulk
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bulk("MgO", "rocksalt", a=4.21).write(f"{folder}/POSCAR")
        ...     read_structures(f"{folder}/POSCAR")[0].get_chemical_formula()
        'MgO'
    """
    structures = read_all_structures(path, index)
    for atoms in structures:
        refuse_partial_occupancy(atoms, str(path))
    return structures


def refuse_partial_occupancy(atoms: Atoms, where: str) -> None:
    """Raise ``UnreadableFileError`` for a disordered crystal, which the networks cannot represent."""
    if has_partial_occupancy(atoms):
        raise UnreadableFileError(
            f"{where} has partially occupied sites, and the networks know only whole atoms. Write an ordered "
            "approximant to a file, for example with pymatgen's OrderDisorderedStructureTransformation, or round the "
            "occupancies of the file to 0 and 1."
        )


def read_all_structures(path: str | Path, index: str | None = None) -> list[Atoms]:
    """Read structures as ``read_structures``, disordered ones too."""
    path, index = _split(Path(path), index)
    if path.suffix not in _DATABASES and not _INDEX.match(index):
        raise UnreadableFileError(f"The index {index!r} is neither a number nor a range: give 0, -1, ':' or '2:8:2'.")
    structures = _read(path, index)
    if not structures:
        raise UnreadableFileError(
            f"{path} has no atoms." if index == ":" else f"{path} has no structure for the index {index!r}."
        )
    empty = [number for number, atoms in enumerate(structures) if len(atoms) == 0]
    if empty and len(structures) == 1:
        raise UnreadableFileError(f"{path} has no atoms.")
    return structures


def _split(path: Path, index: str | None) -> tuple[Path, str]:
    """The file and the index, which may be a part of the name."""
    if path.is_file():
        return path, index or ":"
    name, at, within = path.name.rpartition("@")
    if at and path.with_name(name).is_file():
        if index is not None:
            raise UnreadableFileError(f"{path} and the option --index name structures both; leave one of them out.")
        return path.with_name(name), within or ":"
    kind = "a folder" if path.is_dir() else "missing"
    raise FileNotFoundError(f"There is no file {str(path)!r} (it is {kind}).")


def _read(path: Path, index: str) -> list[Atoms]:
    if path.suffix.lower() == ".cif":
        return _chosen(path, list(read_cif(path)), index)
    if path.suffix.lower() == ".json":
        content = _pymatgen_json(path)
        if content is not None:
            return _chosen(path, content, index)
    return _read_with_ase(path, index)


def _chosen(path: Path, structures: list[Atoms], index: str) -> list[Atoms]:
    if not structures or ":" in index:
        return structures[slice(*(int(part) if part.strip() else None for part in index.split(":")))]
    try:
        return [structures[int(index)]]
    except IndexError as error:
        raise _beyond_the_end(path, index, len(structures)) from error


def _read_with_ase(path: Path, index: str) -> list[Atoms]:
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # the index is passed on, so that one frame of a long trajectory is read without the others
            found = read(path, index=index, do_not_split_by_at_sign=True)
    except UnknownFileTypeError as error:
        raise UnreadableFileError(f"ASE does not know the format of {str(path)!r} ({error}).") from error
    except (IndexError, StopIteration, AssertionError) as error:
        if ":" in index:
            raise _unreadable(path, error) from error
        raise _beyond_the_end(path, index, len(_read_with_ase(path, ":"))) from error
    except Exception as error:  # readers fail in as many ways as files can be wrong
        raise _unreadable(path, error) from error
    return found if isinstance(found, list) else [found]


def _unreadable(path: Path, error: Exception) -> UnreadableFileError:
    reason = (str(error).strip().splitlines() or [""])[0]
    return UnreadableFileError(f"{path} cannot be read ({type(error).__name__}: {reason}).")


def _beyond_the_end(path: Path, index: str, count: int) -> UnreadableFileError:
    valid = f"0 to {count - 1}, or -{count} to -1" if count > 1 else "0 or -1"
    return UnreadableFileError(
        f"{path} has {count} structure{'s' if count != 1 else ''}, none with the index {index}: valid are {valid}."
    )


def _pymatgen_json(path: Path) -> list[Atoms] | None:
    """Structures of a JSON file that pymatgen has written, alone or in a list; None for another JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    entries = content if isinstance(content, list) else [content]
    if not entries or not all(_is_pymatgen(entry) for entry in entries):
        return None
    try:
        from pymatgen.core import Molecule, Structure
    except ImportError as error:
        raise UnreadableFileError(f"{path} was written by pymatgen: install it (pip install pymatgen).") from error
    try:
        kinds = [Structure if "lattice" in entry else Molecule for entry in entries]
        return [as_atoms(kind.from_dict(entry)) for kind, entry in zip(kinds, entries, strict=True)]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _unreadable(path, error) from error


def _is_pymatgen(entry: Any) -> bool:
    return isinstance(entry, dict) and str(entry.get("@module", "")).startswith("pymatgen.core") and "sites" in entry
