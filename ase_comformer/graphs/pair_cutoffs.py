"""Cut-offs that follow the size of a pair of atoms.

Atoms of most elements see each other out to one cut-off. Those with large shells (alkali metals, heavy alkaline earths,
noble gases) stand further apart than that in their own crystals, so each has a *reach*, and two atoms see each other
out to the sum of their reaches where that is more than the common cut-off: only pairs of large atoms cost more.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ase_comformer.errors import UnknownNameError

#: Element -> reach in Angstrom, of elements that have one of their own.
Reach = tuple[tuple[str, float], ...]
#: A, of every other element; small, so that large atoms see small ones hardly further than the common cut-off.
SMALL_REACH = 1.5
#: Atomic numbers that tables cover.
_LARGEST = 118


def sorted_reach(given: Mapping[str, float] | Iterable[tuple[str, float]]) -> Reach:
    """A mapping, or pairs as JSON stores them, in the order of atomic numbers.

    Raises:
        UnknownNameError: for what is no element.
        ValueError: for a reach that is not positive.
    """
    pairs = given.items() if isinstance(given, Mapping) else given
    entries = {str(symbol): float(value) for symbol, value in pairs}
    for symbol, value in entries.items():
        if symbol not in atomic_numbers or not atomic_numbers[symbol]:
            raise UnknownNameError(f"reach is given for {symbol!r}, which is no element")
        if not value > 0:
            raise ValueError(f"the reach of {symbol} must be positive, got {value}")
    return tuple(sorted(entries.items(), key=lambda entry: atomic_numbers[entry[0]]))


@lru_cache(maxsize=16)
def reach_table(reach: Reach) -> NDArray[np.float64]:
    """(Z + 1,) A, of every element; not to be changed."""
    table = np.full(_LARGEST + 1, SMALL_REACH)
    for symbol, value in reach:
        table[atomic_numbers[symbol]] = value
    table.flags.writeable = False
    return table


def pair_cutoffs(
    reach: Reach, cutoff: float, first: NDArray[np.integer], second: NDArray[np.integer]
) -> NDArray[np.float64]:
    """A, of pairs of atomic numbers (arrays that broadcast)."""
    table = reach_table(reach)
    return np.maximum(cutoff, table[first] + table[second])


def longest_cutoff(reach: Reach, cutoff: float, numbers: NDArray[np.integer]) -> float:
    """A, the longest among atoms of these atomic numbers: of the two with the furthest reach."""
    if not reach or not len(numbers):
        return cutoff
    return max(cutoff, 2.0 * float(reach_table(reach)[numbers].max()))


def near_pairs(
    reach: Reach,
    cutoff: float,
    numbers: NDArray[np.integer],
    receiver: NDArray[np.integer],
    sender: NDArray[np.integer],
    vector: NDArray[np.float64],
) -> NDArray[np.bool_] | None:
    """(E,) which edges are within the cut-off of their pair; None where all have one cut-off.

    Args:
        reach: of the graph.
        cutoff: A, of the graph.
        numbers: (A,) atomic numbers.
        receiver: (E,) of the edges, found out to ``longest_cutoff``.
        sender: (E,) of the edges.
        vector: (E, 3) A.
    """
    if longest_cutoff(reach, cutoff, numbers) <= cutoff:
        return None
    cutoffs = pair_cutoffs(reach, cutoff, numbers[receiver], numbers[sender])
    return np.asarray(np.einsum("ex,ex->e", vector, vector) < cutoffs**2)
