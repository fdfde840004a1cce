"""What an index formula means for arrays: symmetrising, distinct components, and counting invariants by characters.

Works for every rank and formula, in the documented form of a property (full or Voigt).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.formula import cycles, index_permutations
from ase_comformer.properties.voigt_kinds import VOIGT_KINDS
from ase_comformer.tensors.voigt import VOIGT_PAIRS, cartesian_to_voigt, voigt_to_cartesian

FloatArray = NDArray[np.float64]
_VOIGT_NUMBER = {pair[::direction]: number for number, pair in enumerate(VOIGT_PAIRS) for direction in (1, -1)}


def symmetrise(tensor: FloatArray, formula: str) -> FloatArray:
    """Average full Cartesian tensors (..., 3, ..., 3) over the signed permutations of a formula."""
    permutations = index_permutations(formula)
    if len(permutations) == 1:
        return tensor
    leading = tuple(range(tensor.ndim - len(permutations[0][1])))
    total = np.zeros_like(tensor)
    for sign, order in permutations:
        total = total + sign * tensor.transpose(*leading, *(len(leading) + axis for axis in order))
    return total / len(permutations)


def symmetrise_documented(entry: TensorProperty, array: FloatArray) -> FloatArray:
    """Average the documented form (..., *shape) over the index permutations of its property."""
    if entry.voigt is None:
        return symmetrise(array, entry.formula)
    vectors, axes, _ = VOIGT_KINDS[entry.voigt]
    order = len(index_permutations(entry.formula)) // 2**axes  # what the Voigt form does not hold already
    if order == 1:
        return array
    if order == 2 and axes == 2 and vectors == 0 and (1, (2, 3, 0, 1)) in index_permutations(entry.formula):
        return (array + array.swapaxes(-1, -2)) / 2
    return cartesian_to_voigt(symmetrise(voigt_to_cartesian(array, entry.voigt), entry.formula), entry.voigt)


@dataclass(frozen=True)
class Component:
    """A distinct component: array index of its first member, and all members with their signs."""

    index: tuple[int, ...]
    members: tuple[tuple[tuple[int, ...], int], ...]


@lru_cache(maxsize=64)
def distinct_components_of(formula: str, voigt: str | None) -> tuple[Component, ...]:
    """Return the components of a documented form that the formula leaves distinct, in the order of reports.

    Components that the formula forces to zero (``"ij=-ji"``: the diagonal) are left out. Where two neighbouring
    indices of a full tensor may be exchanged, the pairs are listed as xx, yy, zz, yz, xz, xy.
    """
    permutations = index_permutations(formula)
    rank = len(permutations[0][1])
    vectors, axes = (rank, 0) if voigt is None else VOIGT_KINDS[voigt][:2]
    found: dict[tuple[int, ...], Component] = {}
    for documented in product(*[range(3)] * vectors, *[range(6)] * axes):
        pairs = (VOIGT_PAIRS[number] for number in documented[vectors:])
        full = (*documented[:vectors], *(axis for pair in pairs for axis in pair))
        members: dict[tuple[int, ...], set[int]] = {}
        for sign, order in permutations:
            turned = tuple(full[axis] for axis in order)
            numbers = (_VOIGT_NUMBER[turned[k : k + 2]] for k in range(vectors, rank, 2))
            members.setdefault((*turned[:vectors], *numbers), set()).add(sign)
        if all(len(signs) == 1 for signs in members.values()) and documented == min(members):
            listed = tuple((index, next(iter(signs))) for index, signs in members.items())
            found[documented] = Component(documented, listed)
    if voigt is None:
        exchanged = [k for k in range(rank - 1) if _exchanges(permutations, k)]
        return tuple(found[index] for index in sorted(found, key=lambda index: _by_pairs(index, exchanged)))
    return tuple(found.values())


def _exchanges(permutations: tuple[tuple[int, tuple[int, ...]], ...], axis: int) -> bool:
    """Whether an index may be exchanged with the next one, the others staying."""
    order = list(range(len(permutations[0][1])))
    order[axis], order[axis + 1] = axis + 1, axis
    return any(other == tuple(order) for _, other in permutations)


def _by_pairs(index: tuple[int, ...], exchanged: list[int]) -> tuple[int, ...]:
    """Sort key: neighbouring indices that may be exchanged count as one Voigt number."""
    key, axis = [], 0
    while axis < len(index):
        if axis in exchanged:
            key.append(_VOIGT_NUMBER[index[axis : axis + 2]])
            axis += 2
        else:
            key.append(index[axis])
            axis += 1
    return tuple(key)


def count_invariants(formula: str, rotations: FloatArray, is_axial: bool = False) -> int:
    """Count the independent components of a crystal tensor under point operations, from characters alone.

    The number is the mean over operations g and permutations p of sign(p) * product over the cycles of p of
    trace(g^length), times det(g) for axial tensors (M. Hamermesh, Group Theory, section 9-8): no basis, no projector.

    Args:
        formula: index symmetry.
        rotations: (G, 3, 3), a whole point group.
        is_axial: whether the tensor is axial.

    Example:
        >>> count_invariants("ijkl=jikl=klij", np.eye(3)[None])  # triclinic stiffness
        21
    """
    permutations = index_permutations(formula)
    powers = [np.eye(3) + 0.0 * rotations]
    for _ in range(len(permutations[0][1])):
        powers.append(powers[-1] @ rotations)
    traces = [np.trace(power, axis1=1, axis2=2) for power in powers]
    total = np.zeros(len(rotations))
    for sign, order in permutations:
        total += sign * np.prod([traces[length] for length in cycles(order)], axis=0)
    if is_axial:
        total *= np.linalg.det(rotations)
    return round(float(total.sum()) / (len(rotations) * len(permutations)))
