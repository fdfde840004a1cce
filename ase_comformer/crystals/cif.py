"""Crystals from CIF files whose symbol names a setting, checked against the formula that the file states.

ASE reads files with a list of operations correctly. Without one it takes the space-group number in its standard
setting, whatever the symbol says, and so makes another crystal without a word of every file with the second of two
origins (``F d -3 m :2``), rhombohedral axes (``R -3 c :R``) or other axes (``P b n m``, ``P 1 21/n 1``). Here the
operations of the setting that the Hall symbol, the Hermann-Mauguin symbol and the cell name are taken from spglib's
table of 530 settings, and atoms that do not add up to the file's own formula are refused.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import isclose
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.formula import Formula
from ase.io.cif import CIFBlock, old_spacegroup_names, parse_cif

from ase_comformer.crystals.spglib_calls import database_operations, setting_type
from ase_comformer.errors import UnreadableFileError, warn_user

_NUMBERS = ("_space_group_it_number", "_space_group.it_number", "_symmetry_int_tables_number")
_SYMBOLS = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group.name_h-m_alt")
_HALL_SYMBOLS = ("_space_group_name_hall", "_symmetry_space_group_name_hall", "_space_group.name_hall")
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
#: What ASE reads of the setting, and reads wrongly.
_SETTINGS = ("_symmetry_space_group_setting", "_space_group_crystal_system", "_symmetry_cell_setting")
_FORMULA_UNITS = ("_cell_formula_units_z", "_cell.formula_units_z")
#: Setting at the end of a Hermann-Mauguin symbol: ":1", ":2", " Z", " S", ":H", ":R", also in lower case.
_SUFFIX = re.compile(r"^(?P<symbol>.*?)(?:\s*:\s*(?P<colon>[12HRSZhrsz])|\s+(?P<plain>[SZ]))\s*$")
_CHOICES = {"1": "1", "S": "1", "2": "2", "Z": "2", "H": "H", "R": "R"}
_MISSING = (None, "?", ".", "")


@dataclass(frozen=True)
class _Setting:
    """One of spglib's 530 settings: number, what it is called, and choice of origin or axes ("1", "R", "b2")."""

    hall_number: int
    number: int
    names: frozenset[str]
    hall_symbol: str
    choice: str


def read_cif(path: Path) -> Iterator[Atoms]:
    """Read the crystals of a CIF, one per data block that has atoms.

    Args:
        path: the file.

    Returns:
        Conventional cells with all atoms that the operations of the space group make.

    Raises:
        UnreadableFileError: the text is no CIF, lacks coordinates or a cell, names an unknown space group or a setting
            that ASE has no operations for, or the atoms do not add up to ``_chemical_formula_sum``.

    Warns:
        UserWarning: the file lists no operations and does not say which of two origins it uses.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            blocks = list(parse_cif(str(path)))
    except Exception as error:  # whatever the parser stumbles over is a fault of the file
        raise UnreadableFileError(f"{path} is not a CIF that can be read ({_first_line(error)}).") from error
    for block in blocks:
        if block.has_structure():
            yield _crystal(path, block)


def _crystal(path: Path, block: CIFBlock) -> Atoms:
    tags = dict(block)
    where = f"{path}, block {block.name!r}" if block.name else str(path)
    if any(tags.get(key) in _MISSING for key in CIFBlock.cell_tags):
        raise UnreadableFileError(f"{where} has atoms but no complete cell (lengths and angles).")
    _settle_setting(where, tags)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ASE's remarks on settings: they are settled above
            atoms = CIFBlock(block.name, tags).get_atoms()
    except Exception as error:  # "?" for a coordinate, an unknown symbol or group, operations that are no operations
        raise UnreadableFileError(
            f"{where} does not describe a crystal ({type(error).__name__}: {_first_line(error)}). Check coordinates, "
            "element symbols and the space group of the file."
        ) from error
    _check_formula(where, tags, atoms)
    return atoms


def _settle_setting(where: str, tags: dict[str, Any]) -> None:
    """Replace what ``tags`` say of the space group by a list of operations, where they have none."""
    if any(tags.get(key) not in (*_MISSING, []) for key in _OPERATIONS):
        return
    setting = _setting(where, tags)
    for key in (*_OPERATIONS, *_SYMBOLS, *_HALL_SYMBOLS, *_NUMBERS, *_SETTINGS):
        tags.pop(key, None)
    if setting is None:
        warn_user(f"{where} names no space group and lists no operations: its atoms are taken as all there are (P1).")
        return
    rotations, translations = database_operations(setting.hall_number)
    tags[_NUMBERS[0]] = setting.number
    tags[_OPERATIONS[0]] = [
        _operation_text(rotation, translation) for rotation, translation in zip(rotations, translations, strict=True)
    ]


def _setting(where: str, tags: dict[str, Any]) -> _Setting | None:
    """The setting that symbols, number and cell name; None where the file names no space group."""
    hall = _first_of(tags, _HALL_SYMBOLS)
    for setting in _settings():
        if hall is not None and _plain(str(hall)) == setting.hall_symbol:
            return setting
    symbol, number, stated = _first_of(tags, _SYMBOLS), _first_of(tags, _NUMBERS), _first_of(tags, _SETTINGS[:1])
    if symbol is None and number is None:
        return None
    choice = None if stated is None else str(stated)
    match = _SUFFIX.match(str(symbol))
    if match:
        symbol, choice = match["symbol"], _CHOICES[(match["colon"] or match["plain"]).upper()]
    symbol = _RENAMED.get(_plain(str(symbol)), symbol)
    candidates = [s for s in _settings() if number is None or str(s.number) == str(number).strip()]
    named = [s for s in candidates if symbol is None or _plain(str(symbol)) in s.names]
    if not candidates or (not named and number is None):
        raise UnreadableFileError(
            f"{where} names space group {symbol if symbol is not None else number!r}, which is not known, and lists no "
            "operations. Correct it, or list the operations (_space_group_symop_operation_xyz)."
        )
    if not named:
        warn_user(
            f"{where} lists no operations, and {symbol!r} is no known symbol of space group {number}: its standard "
            "setting is assumed. List the operations (_space_group_symop_operation_xyz)."
        )
    return _fitting(where, tags, named or candidates, choice)


def _fitting(where: str, tags: dict[str, Any], candidates: list[_Setting], choice: str | None) -> _Setting:
    """The candidate with the stated choice, or with the axes that the cell has."""
    a, b, c, alpha, beta, gamma = (float(tags[key]) for key in CIFBlock.cell_tags)
    choices = {setting.choice[:1] for setting in candidates}  # "1cab" is the first origin with other axes
    if choices == {"H", "R"}:
        lengths = isclose(a, b, rel_tol=1e-3) and isclose(b, c, rel_tol=1e-3)
        angles = isclose(alpha, beta, abs_tol=0.05) and isclose(beta, gamma, abs_tol=0.05)
        choice = "R" if lengths and angles else "H"  # whatever the symbol, the cell cannot be wrong
    elif choices == {"1", "2"} and choice not in choices:
        warn_user(
            f"{where} lists no operations and does not say which of two origins it uses; the first is assumed. Append "
            "':1' or ':2' to the symbol of the space group, or list the operations (_space_group_symop_operation_xyz)."
        )
        choice = "1"
    elif any(setting.choice.lstrip("-")[:1] in ("a", "b", "c") for setting in candidates):
        oblique = [axis for axis, angle in zip("abc", (alpha, beta, gamma), strict=True) if not isclose(angle, 90.0)]
        if len(oblique) == 1:
            unique = [setting for setting in candidates if setting.choice.lstrip("-").startswith(oblique[0])]
            candidates = unique or candidates
    return next((setting for setting in candidates if choice and setting.choice.startswith(choice)), candidates[0])


def _plain(symbol: str) -> str:
    """A symbol without spaces, underscores and differences of case."""
    return re.sub(r"[\s_'\"]", "", symbol).lower()


#: Symbols before the glide plane e had a name.
_RENAMED = {_plain(old): new for old, new in old_spacegroup_names.items()}


@functools.cache
def _settings() -> tuple[_Setting, ...]:
    """The table of spglib, in its order: the standard setting of a space group comes first."""
    found = []
    for hall_number in range(1, 531):
        kind = setting_type(hall_number)
        texts = {kind.international_full, *kind.international.split("=")}
        monoclinic = 3 <= kind.number <= 15
        if not monoclinic:
            texts.add(kind.international_short)
        # "P 1 21/n 1" is also called "P 21/n"
        short = {" ".join(part for part in text.split() if part != "1") for text in texts if monoclinic}
        names = frozenset(map(_plain, texts if not monoclinic else {kind.international_full, *short}))
        found.append(_Setting(hall_number, kind.number, names, _plain(kind.hall_symbol), kind.choice))
    return tuple(found)


def _first_of(tags: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((tags[key] for key in keys if tags.get(key) not in _MISSING), None)


def _operation_text(rotation: Any, translation: Any) -> str:
    """An operation as in CIFs, such as ``-x,y+1/2,z``."""
    parts = []
    for row, shift in zip(rotation, translation, strict=True):
        text = "".join(f"{'+' if factor > 0 else '-'}{axis}" for factor, axis in zip(row, "xyz", strict=True) if factor)
        fraction = Fraction(float(shift)).limit_denominator(24)
        parts.append(text + (f"+{fraction}" if fraction else ""))
    return ",".join(parts)


def _check_formula(where: str, tags: dict[str, Any], atoms: Atoms) -> None:
    """Refuse atoms in other proportions, or another number of formula units, than the file states."""
    occupancy = tags.get("_atom_site_occupancy", 1.0)
    shares = occupancy if isinstance(occupancy, list) else [occupancy]
    stated = _composition(tags.get("_chemical_formula_sum"))
    if not stated or any(not isinstance(share, int | float) or share != 1 for share in shares):
        return
    found = Counter(atoms.symbols)
    units = {symbol: found[symbol] / stated[symbol] for symbol in stated}
    each = next(iter(units.values()))
    z = next((tags[key] for key in _FORMULA_UNITS if isinstance(tags.get(key), int | float)), None)
    same = all(isclose(count, each, rel_tol=1e-3) for count in units.values()) and set(found) == set(stated)
    if same and (z is None or isclose(each, z, rel_tol=1e-3)):
        return
    times = f" times {z:g}" if z is not None else ""
    raise UnreadableFileError(
        f"{where} states the formula {tags['_chemical_formula_sum']!r}{times}, but its atoms and space group make "
        f"{atoms.get_chemical_formula()}: the origin or setting is probably another one than assumed, or atoms are "
        "missing. List the operations in the file (_space_group_symop_operation_xyz) or convert it to another format."
    )


def _composition(text: Any) -> dict[str, float]:
    """Elements and amounts of a CIF formula such as 'Al2 O3'; empty where it cannot be read."""
    if not isinstance(text, str):
        return {}
    parts = re.findall(r"([A-Z][a-z]?)\s*([0-9]*\.?[0-9]*)", text)
    if re.sub(r"[A-Z][a-z]?\s*[0-9]*\.?[0-9]*|\s", "", text):
        return {}
    found: dict[str, float] = {}
    for symbol, count in parts:
        name = "H" if symbol == "D" else symbol
        found[name] = found.get(name, 0.0) + (float(count) if count else 1.0)
    try:
        Formula("".join(found), strict=True)
    except ValueError:
        return {}
    return {name: count for name, count in found.items() if count > 0}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
