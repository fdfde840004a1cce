"""Independent components of per-atom tensors: the site symmetry of one atom per orbit, joined by the sum rule.

Sites are independent but for the sum rule, which couples few combinations of them. Each site is therefore classified
on its own, and as many free components as the sum rule has conditions are expressed by the others: a crystal without
symmetry costs as much as its number of atoms says, not its square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.components import Status, free_rows, status_of_rows
from ase_comformer.tensors.forms import rotate
from ase_comformer.tensors.reynolds import distinct_components, invariant_basis, unit_tensors

FloatArray = NDArray[np.float64]


def independent_components(name: str, space_group: SpaceGroup) -> int:
    """Number of independent components of a property: the trace of its projector.

    For per-atom tensors: over all atoms of the primitive cell, after the sum rule where there is one.
    """
    entry = tensor_property(name)
    if entry.rank == 0:
        return 1
    if entry.per_atom:
        return site_components(entry, space_group).independent
    return invariant_basis(entry, space_group).shape[1]


@dataclass(frozen=True)
class SiteComponents:
    """What the space group leaves of a per-atom tensor.

    Attributes:
        independent: number of independent components of all atoms of the primitive cell.
        statuses: of the m components of each representative atom, one atom after the other; relations refer to this
            order.
    """

    independent: int
    statuses: list[Status]


def site_components(entry: TensorProperty, space_group: SpaceGroup, tolerance: float = 1e-4) -> SiteComponents:
    """Classify the components of one atom per orbit; factors and rows below ``tolerance`` count as zero."""
    units = unit_tensors(entry)
    # operations[g, m, k]: component m of unit tensor k after operation g
    turned = rotate(units[None], space_group.rotations[:, None], entry.name)
    operations = distinct_components(entry, turned).swapaxes(1, 2)
    point_projector = operations.mean(axis=0)
    factors: list[FloatArray] = []  # of each site: its components from its free ones
    free: list[int] = []
    conditions: list[FloatArray] = []
    size = len(units)
    for order, fixing in enumerate(space_group.site_groups.T[space_group.representatives]):
        left, values, _ = np.linalg.svd(operations[fixing].mean(axis=0))
        basis = left[:, values > 0.5]
        rows = free_rows(basis)
        of_site = basis @ np.linalg.inv(basis[rows])
        factors.append(of_site)
        free += [order * size + row for row in rows]
        multiplicity = len(operations) / np.count_nonzero(fixing)
        conditions.append(multiplicity * point_projector @ of_site)  # the sum over the orbit
    kept, expression = _solved(np.hstack(conditions) if entry.sum_rule else np.zeros((0, len(free))))
    statuses: list[Status] = []
    start = 0
    names = [free[column] for column in kept]
    for of_site in factors:
        stop = start + of_site.shape[1]
        statuses += status_of_rows(of_site @ expression[start:stop], len(statuses), names, tolerance)
        start = stop
    return SiteComponents(len(kept), statuses)


def _solved(conditions: FloatArray) -> tuple[list[int], FloatArray]:
    """Solve ``conditions @ y = 0``: the columns that stay free, and y (K, r) as a linear map of those.

    Late columns are preferred as the dependent ones, unless factors would become large.
    """
    count = conditions.shape[1]
    _, values, right = np.linalg.svd(conditions, full_matrices=False)
    independent = right[values > 1e-8].T  # (K, q)
    if not independent.size:
        return list(range(count)), np.eye(count)
    dependent = sorted(count - 1 - row for row in free_rows(independent[::-1]))
    kept = sorted(set(range(count)) - set(dependent))
    expression = np.zeros((count, len(kept)))
    expression[kept, range(len(kept))] = 1.0
    expression[dependent] = -np.linalg.solve(independent[dependent].T, independent[kept].T)
    return kept, expression
