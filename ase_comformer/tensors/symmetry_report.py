"""Projection of tensors onto what the space group allows, and the report of what it does to them.

``project`` is the group average (Reynolds operator, in ``reynolds``). ``symmetry_report`` lists for each
tensor the number of independent components, the residual, and per component what is forbidden, free or tied
and which operation the raw value violates. Tensors are in the documented (Voigt) form and in the Cartesian
frame of the input ``Atoms``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.components import Relation, classify, direction_symbols, relation_text
from ase_comformer.tensors.forms import rotate
from ase_comformer.tensors.reynolds import (
    after_each_operation,
    checked_array,
    distinct_components,
    distinct_indices,
    frobenius_norm,
    invariant_basis,
    primitive_average,
    project,
    symmetry_residual,
)
from ase_comformer.tensors.site_components import independent_components, site_components
from ase_comformer.tensors.voigt import VOIGT_LABELS

__all__ = [
    "ComponentSymmetry",
    "PropertySymmetry",
    "SymmetryReport",
    "independent_components",
    "project",
    "symmetry_report",
    "symmetry_residual",
]

FloatArray = NDArray[np.float64]

# A raw component is said to violate an operation above this fraction of max(norm, 1): float32 rounding stays
# below.
_VIOLATION = 1e-5


@dataclass(frozen=True)
class ComponentSymmetry:
    """One row of the report.

    Attributes:
        label: e.g. ``"C15"``, ``"e14"``, ``"eps_xy"``, ``"Z(Ti1)_xx"`` (element and index in the input).
        raw: value before projection.
        projected: value after projection.
        status: ``"forbidden"``, ``"free"`` or ``"tied"``.
        relation: factors of the free components that a tied one equals, e.g. ``{"C11": 0.5, "C12": -0.5}``.
        violates: the operation under which the raw value changes most, e.g. ``"-4 [001]"``; "sum rule" or
            "index symmetry" where only those are violated; empty if nothing is.
    """

    label: str
    raw: float
    projected: float
    status: str
    relation: Relation
    violates: str

    @property
    def status_text(self) -> str:
        """Status in words, e.g. ``"= (C11 - C12)/2"`` for a tied component."""
        return f"= {relation_text(self.relation)}" if self.status == "tied" else self.status


@dataclass(frozen=True, eq=False)
class PropertySymmetry:
    """What the space group does to one property.

    Attributes:
        name: public name of the property.
        unit: documented unit.
        independent: number of independent components.
        raw: documented form, before projection.
        projected: documented form, after projection.
        residual: norm of the difference relative to max(norm, 1), see :func:`symmetry_residual`.
        components: one row per component; for per-atom tensors of one atom per orbit.
    """

    name: str
    unit: str
    independent: int
    raw: FloatArray
    projected: FloatArray
    residual: float
    components: tuple[ComponentSymmetry, ...]

    def __str__(self) -> str:
        """Aligned text table."""
        head = f"{self.name} ({self.unit}): {self.independent} independent, residual {self.residual:.2g}"
        rows = [("", "raw", "projected", "status", "violates most")]
        for component in self.components:
            raw, projected = (f"{value + 0.0:.4f}" for value in np.round((component.raw, component.projected), 4))
            rows.append((component.label, raw, projected, component.status_text, component.violates))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            f"  {a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:<{widths[3]}}  {e}".rstrip()
            for a, b, c, d, e in rows
        ]
        return "\n".join([head, *lines])


@dataclass(frozen=True, eq=False)
class SymmetryReport:
    """What spglib found, and what it means for each tensor.

    Attributes:
        formula: chemical formula of the primitive cell.
        number: space-group number.
        international: Hermann-Mauguin symbol.
        point_group: e.g. ``"-43m"``.
        crystal_system: ``"triclinic"`` to ``"cubic"``.
        symprec: A, the largest distance by which idealisation was allowed to move an atom.
        tolerance: A, the tolerance at which spglib found the group; zero where it found none.
        idealisation_displacement: A, how far an atom was from its symmetric position, or a primitive lattice vector
            from its symmetric value.
        properties: one entry per property that was passed in.
    """

    formula: str
    number: int
    international: str
    point_group: str
    crystal_system: str
    symprec: float
    tolerance: float
    idealisation_displacement: float
    properties: Mapping[str, PropertySymmetry]

    def __str__(self) -> str:
        """Aligned text, one table per property."""
        head = (
            f"{self.formula}: {self.international} (No. {self.number}), point group {self.point_group}, "
            f"{self.crystal_system}\nsymprec {self.symprec:g} A, atoms moved by at most "
            f"{self.idealisation_displacement:.2g} A to the symmetric structure"
        )
        return "\n\n".join([head, *(str(entry) for entry in self.properties.values())])

    def as_dict(self) -> dict[str, Any]:
        """JSON-able dictionary: numbers, strings, lists and dictionaries only."""
        result: dict[str, Any] = {key: value for key, value in vars(self).items() if key != "properties"}
        result["properties"] = {
            name: {
                **vars(entry),
                "raw": entry.raw.tolist(),
                "projected": entry.projected.tolist(),
                "components": [dict(vars(row)) for row in entry.components],
            }
            for name, entry in self.properties.items()
        }
        return result


def symmetry_report(space_group: SpaceGroup, raw: Mapping[str, ArrayLike], tolerance: float = 1e-4) -> SymmetryReport:
    """Report what the space group allows and what raw tensors violate.

    Args:
        space_group: of the structure that the tensors belong to.
        raw: property name to tensor in documented form (frame and atom order of the input structure); scalars
            are skipped.
        tolerance: relations are read off the projector in the Cartesian frame of the input; factors below
            this count as zero (an axis tilted by less than this many radians from a Cartesian axis counts as
            parallel).
    """
    properties = {}
    for name, tensor in raw.items():
        if tensor_property(name).rank > 0:
            properties[name] = _property_symmetry(name, tensor, space_group, tolerance)
    return SymmetryReport(
        formula=space_group.primitive.get_chemical_formula(),
        number=space_group.number,
        international=space_group.international,
        point_group=space_group.point_group,
        crystal_system=space_group.crystal_system,
        symprec=space_group.symprec,
        tolerance=space_group.tolerance,
        idealisation_displacement=space_group.idealisation_displacement,
        properties=properties,
    )


def _property_symmetry(name: str, tensor: ArrayLike, space_group: SpaceGroup, tolerance: float) -> PropertySymmetry:
    entry = tensor_property(name)
    array = checked_array(entry, tensor, space_group)
    expected = len(entry.shape) + entry.per_atom
    if array.ndim != expected:
        raise ValueError(f"symmetry_report takes one {name} at a time, got an array of shape {array.shape}")
    projected = project(name, array, space_group)
    if entry.per_atom:
        sites = site_components(entry, space_group, tolerance)
        independent, statuses = sites.independent, sites.statuses
    else:
        basis = invariant_basis(entry, space_group)
        independent, statuses = basis.shape[1], classify(basis, tolerance)
    labels = _labels(entry, space_group)
    worst, violates = _violations(entry, array, space_group)
    limit = _VIOLATION * max(frobenius_norm(name, array), 1.0)
    symbols = direction_symbols(space_group)
    components = tuple(
        ComponentSymmetry(
            label=label,
            raw=float(raw_value),
            projected=float(projected_value),
            status=status,
            relation={labels[index]: factor for index, factor in relation.items()},
            violates=_violated(symbols[operation], deviation, abs(raw_value - projected_value), limit, entry),
        )
        for label, raw_value, projected_value, (status, relation), deviation, operation in zip(
            labels,
            _component_values(entry, array, space_group),
            _component_values(entry, projected, space_group),
            statuses,
            worst,
            violates,
            strict=True,
        )
    )
    residual = symmetry_residual(name, array, projected)
    return PropertySymmetry(name, entry.unit, independent, array, projected, residual, components)


def _violated(symbol: str, deviation: float, correction: float, limit: float, entry: TensorProperty) -> str:
    if deviation > limit:
        return symbol
    if correction > limit:  # no operation is violated, yet the value was changed
        return "sum rule" if entry.sum_rule else "index symmetry"
    return ""


def _component_values(entry: TensorProperty, array: FloatArray, space_group: SpaceGroup) -> FloatArray:
    if not entry.per_atom:
        return distinct_components(entry, array)
    first = [int(np.argmax(space_group.atom_to_primitive == atom)) for atom in space_group.representatives]
    return distinct_components(entry, array[first]).reshape(-1)


def _labels(entry: TensorProperty, space_group: SpaceGroup) -> list[str]:
    symbol = entry.symbol
    if entry.voigt is None:
        names = ["".join("xyz"[axis] for axis in index) for index in distinct_indices(entry)]
    elif entry.shape == (6,):
        names = list(VOIGT_LABELS)
    else:
        return [f"{symbol}{''.join(str(number + 1) for number in index)}" for index in distinct_indices(entry)]
    if not entry.per_atom:
        return [f"{symbol}_{name}" for name in names]
    sites = []
    for atom in space_group.representatives:
        index = int(np.argmax(space_group.atom_to_primitive == atom))
        sites.append(f"{space_group.primitive.symbols[atom]}{index}")
    return [f"{symbol}({site})_{name}" for site in sites for name in names]


def _violations(
    entry: TensorProperty, array: FloatArray, space_group: SpaceGroup
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Largest change of each component under an operation, and which operation that is."""
    if entry.per_atom:
        primitive = primitive_average(entry, array, space_group)
        change = np.abs(after_each_operation(entry, primitive, space_group) - primitive)
        change = distinct_components(entry, change[:, space_group.representatives]).reshape(len(change), -1)
    else:
        change = np.abs(distinct_components(entry, rotate(array[None], space_group.rotations, entry.name) - array))
    return change.max(axis=0), change.argmax(axis=0)
