"""Which entries of a tensor a crystal forbids, and why: an operation of the crystal that alone forbids it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.properties.registry import PropertyName, tensor_property
from ase_comformer.tensors.components import direction_symbols
from ase_comformer.tensors.forms import rotate
from ase_comformer.tensors.reynolds import distinct_components, invariant_basis, project, unit_tensors

#: Where no single operation forbids a component, but all of them do.
TOGETHER = "several together"


def forbidding_operations(name: PropertyName, space_group: SpaceGroup, tolerance: float = 1e-8) -> list[str]:
    """Name for each distinct component of a crystal's tensor an operation that makes it zero.

    The tensor is averaged over the powers of one operation; what cannot survive that is forbidden by it. Operations are
    tried in the order inversion, mirrors, two-fold axes, others.

    Args:
        name: of a property of crystals (not of atoms) that is no scalar.
        space_group: of the crystal.
        tolerance: below which a component counts as zero.

    Returns:
        One text per distinct component, in the order of the symmetry report: empty where the component is allowed,
        a symbol such as ``"-1"`` or ``"m [001]"``, or ``TOGETHER``.

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.crystals.space_group import analyse_space_group
        >>> group = analyse_space_group(bulk("MgO", "rocksalt", a=4.2), 0.01)
        >>> set(forbidding_operations("piezoelectric_tensor", group))
        {'-1'}
    """
    entry = tensor_property(name)
    allowed = np.abs(invariant_basis(entry, space_group)).max(axis=1, initial=0.0) > tolerance
    units = unit_tensors(entry)
    symbols = direction_symbols(space_group)
    order = sorted(range(len(symbols)), key=lambda g: (_rank(symbols[g]), g))
    found = ["" if free else TOGETHER for free in allowed]
    for operation in order:
        if all(text != TOGETHER for text in found):
            break
        average = np.zeros_like(units)
        rotation, power, count = space_group.rotations[operation], np.eye(3), 0
        while True:
            average = average + rotate(units, power, name)
            power, count = power @ rotation, count + 1
            if np.allclose(power, np.eye(3), atol=1e-8):
                break
        # component i of the average of unit tensor j; i is forbidden where no j contributes
        reached = np.abs(distinct_components(entry, average / count)).max(axis=0)
        for number, size in enumerate(reached):
            if found[number] == TOGETHER and size < tolerance:
                found[number] = symbols[operation]
    return found


def forbidden_entries(name: PropertyName, space_group: SpaceGroup, tolerance: float = 1e-8) -> NDArray[np.bool_]:
    """Say for each entry of a crystal's tensor in its documented form whether symmetry makes it zero.

    Args:
        name: of a property of crystals (not of atoms) that is no scalar.
        space_group: of the crystal; entries are those in its Cartesian frame.
        tolerance: below which an entry counts as zero.

    Returns:
        Mask of the shape of the tensor, for example (3, 6).

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.crystals.space_group import analyse_space_group
        >>> forbidden_entries("dielectric_tensor", analyse_space_group(bulk("MgO", "rocksalt", a=4.2))).sum()
        np.int64(6)
    """
    # entries that no tensor has after the average over the point group
    averaged = project(name, unit_tensors(tensor_property(name)), space_group)
    return np.abs(averaged).max(axis=0) < tolerance


def _rank(symbol: str) -> int:
    kinds = ("-1", "m", "2")
    return next((number for number, kind in enumerate(kinds) if symbol.split(" ")[0] == kind), len(kinds))
