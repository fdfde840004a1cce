"""Orbits of directed edges under the site-symmetry groups of a crystal, by integer arithmetic alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class EdgeOrbits:
    """Orbits of directed edges whose receiver represents its atom orbit, under the receiver's site group.

    Attributes:
        representative: (O,) index of one edge of each orbit in the edge list that was passed in.
        size: (O,) number of edges in the orbit.
    """

    representative: IntArray
    size: IntArray


def edge_orbits(group: SpaceGroup, receiver: IntArray, sender: IntArray, image: IntArray) -> EdgeOrbits:
    """Group directed edges into orbits of the site-symmetry groups of their receivers (docs/architecture.md section 6).

    Args:
        group: the space group.
        receiver: (E,) primitive atoms; edges whose receiver is no representative are left out of the result.
        sender: (E,) primitive atoms.
        image: (E, 3) integer cell of the sender, the receiver being in cell 0.

    Returns:
        One representative per orbit and the orbit sizes. Integer arithmetic only, hence exact.
    """
    site_groups = group.site_groups
    kept = np.flatnonzero(group.is_representative[receiver])
    receiver, sender, image = receiver[kept], sender[kept], image[kept]
    # Operation g carries (i, 0) -> (j, n) to (g i, t_i) -> (g j, W n + t_j), t being its lattice shifts. Only the
    # operations of the receiver's site group are needed: one row per edge and operation.
    which = np.flatnonzero(site_groups[:, receiver].T)
    edge, operation = np.divmod(which, group.order)
    carried_image = np.einsum("kxy,ky->kx", group.fractional_rotations[operation], image[edge])
    carried_image += group.lattice_shifts[operation, sender[edge]] - group.lattice_shifts[operation, receiver[edge]]
    span = int(np.abs(carried_image).max(initial=0)) * 2 + 1
    digits = carried_image + span // 2
    carried_sender = group.permutations[operation, sender[edge]]
    code = ((carried_sender * span + digits[:, 0]) * span + digits[:, 1]) * span + digits[:, 2]
    # The first operation of every edge is the identity. An edge represents its orbit if no operation makes its code
    # smaller; the orbit has as many members as the site group has cosets of what leaves the edge in place.
    first = np.flatnonzero(operation == 0)
    own = code[first]
    representative = np.flatnonzero(np.minimum.reduceat(code, first) == own) if len(first) else first
    fixing = np.add.reduceat((code == own[edge]).astype(np.int64), first) if len(first) else first
    size = site_groups.sum(axis=0)[receiver[representative]] // fixing[representative]
    return EdgeOrbits(representative=kept[representative], size=size)
