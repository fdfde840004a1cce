"""Short keys of compositions and crystals: equal for what is the same material, however it is written down.

A crystal is told by its reduced formula, its space group and the atoms of its primitive cell, so that cells of another
functional, of another setting or supercells are the same crystal; polymorphs that agree in all three are one.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable

from ase import Atoms
from ase.data import chemical_symbols

from ase_comformer.crystals.spglib_calls import find_symmetry

#: Bits of a key: among 10^5 keys a foreign one is taken for known once in 10^7 times.
BITS = 40
#: A, tolerance of the space group, that of the data sets.
_SYMPREC = 1e-2


def reduced_formula(numbers: Iterable[int]) -> str:
    """Elements in alphabetical order with their smallest whole numbers.

    Example:
        >>> reduced_formula([22, 8, 8, 22, 8, 8])
        'O2Ti'
    """
    counts = Counter(chemical_symbols[int(number)] for number in numbers)
    divisor = math.gcd(*counts.values())
    return "".join(f"{symbol}{count // divisor if count > divisor else ''}" for symbol, count in sorted(counts.items()))


def formula_key(numbers: Iterable[int]) -> int:
    """Key of a composition, below ``2 ** BITS``."""
    return _key(reduced_formula(numbers))


def crystal_key(atoms: Atoms) -> int | None:
    """Key of a crystal, None where spglib finds no space group."""
    found = find_symmetry(atoms, _SYMPREC)
    if found is None:
        return None
    return _key(f"{reduced_formula(atoms.numbers)} {found.number} {len(set(found.mapping_to_primitive.tolist()))}")


def _key(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: BITS // 8], "big")
