"""Index formulas such as ``"ijk=ikj"``: the language in which the symmetry of a tensor's indices is written.

A formula lists the orders of the indices that leave the tensor unchanged, a minus sign those that change its sign
(``"ij=-ji"``), in the notation of e3nn. Everything here is exact arithmetic on integers, for any rank.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

Permutation = tuple[int, tuple[int, ...]]
"""A sign (1 or -1) and an order of the axes: ``sign * T.transpose(order)`` equals ``T``."""


@lru_cache(maxsize=64)
def index_permutations(formula: str) -> tuple[Permutation, ...]:
    """Return the whole group of signed permutations of axes that a formula generates, the identity first.

    Args:
        formula: for example ``""`` (scalar), ``"i"``, ``"ij=ji"``, ``"ijkl=jikl=ijlk"``, ``"ij=-ji"``.

    Raises:
        ValueError: the formula cannot be read, or it says that the tensor is zero (``"ij=ji=-ji"``).

    Example:
        >>> index_permutations("ijk=ikj")
        ((1, (0, 1, 2)), (1, (0, 2, 1)))
    """
    first, *others = formula.replace(" ", "").split("=")
    letters = first.removeprefix("-")
    if len(set(letters)) != len(letters) or not (letters.isalpha() or not letters):
        raise ValueError(f"index formula {formula!r}: write every index once, as one letter, e.g. 'ijk=ikj'")
    identity: Permutation = (1, tuple(range(len(letters))))
    overall = -1 if first.startswith("-") else 1
    generators = []
    for term in others:
        sign, written = (-1 if term.startswith("-") else 1), term.removeprefix("-")
        if sorted(written) != sorted(letters):
            raise ValueError(f"index formula {formula!r}: {written!r} is no permutation of {letters!r}")
        generators.append((overall * sign, tuple(letters.index(letter) for letter in written)))
    group = {identity: None}  # a dictionary keeps the order in which members were found
    waiting = [identity]
    while waiting:
        sign, order = waiting.pop()
        for other_sign, other in generators:
            product = (sign * other_sign, tuple(order[axis] for axis in other))
            if product not in group:
                group[product] = None
                waiting.append(product)
    if (-1, identity[1]) in group:
        raise ValueError(f"index formula {formula!r} says that the tensor equals minus itself: it is zero")
    return tuple(group)


def rank_of(formula: str) -> int:
    """Return the number of Cartesian indices."""
    return len(index_permutations(formula)[0][1])


def cycles(order: tuple[int, ...]) -> list[int]:
    """Return the lengths of the cycles of a permutation of axes."""
    lengths, seen = [], set()
    for start in range(len(order)):
        length, axis = 0, start
        while axis not in seen:
            seen.add(axis)
            axis = order[axis]
            length += 1
        if length:
            lengths.append(length)
    return lengths


@lru_cache(maxsize=64)
def irreps_of(formula: str, is_axial: bool = False) -> str:
    """Return the O(3) content of tensors with a formula, in e3nn's notation, degrees ascending.

    The character of a rotation by the angle t is the mean over the permutations of sign * product over cycles of
    length c of (1 + 2 cos(c t)); as a Laurent polynomial in exp(i t), the coefficient of l minus that of l + 1 is
    the multiplicity of the irrep l (M. Hamermesh, Group Theory, section 9-8).

    Example:
        >>> irreps_of("ijk=ikj")
        '2x1o+2o+3o'
    """
    permutations = index_permutations(formula)
    rank = rank_of(formula)
    total: Counter[int] = Counter()
    for sign, order in permutations:
        polynomial = Counter({0: sign})
        for length in cycles(order):
            product: Counter[int] = Counter()
            for power, coefficient in polynomial.items():
                for step in (-length, 0, length):
                    product[power + step] += coefficient
            polynomial = product
        for power, coefficient in polynomial.items():
            total[power] += coefficient
    letter = "e" if (rank % 2 == 0) != is_axial else "o"
    terms = []
    for degree in range(rank + 1):
        multiplicity = (total[degree] - total[degree + 1]) // len(permutations)
        if multiplicity:
            terms.append(f"{multiplicity}x{degree}{letter}" if multiplicity > 1 else f"{degree}{letter}")
    return "+".join(terms)
