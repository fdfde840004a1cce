"""The Reynolds operator: tensors averaged over the space group, and bases of the invariant tensors.

P = (1/G) sum_g D(g) is the orthogonal projector onto the invariant tensors. For crystal tensors g acts
through its point part; for Born charges and forces it also permutes the atoms. Tensors are in the documented
(Voigt) form and in the Cartesian frame of the ``Atoms`` that the space group was found from. Works for every index
formula of the registry. Index letters: ``g`` operation (G), ``a`` atom of the primitive cell (p), ``i`` input atom (N),
``m`` component.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.forms import rotate, to_cartesian
from ase_comformer.tensors.index_symmetry import distinct_components_of, symmetrise_documented

FloatArray = NDArray[np.float64]


def project(name: str, tensor: ArrayLike, space_group: SpaceGroup) -> FloatArray:
    """Average a tensor over the space group: the closest tensor that has the symmetry of the crystal.

    Args:
        name: public name of the property (a key of ``tensors.PROPERTIES``); scalars are returned as they are.
        tensor: documented form with any leading batch axes; Born charges (..., N, 3, 3) and forces (..., N,
            3) on the N atoms of the input structure, units free.
        space_group: of that structure.

    Returns:
        float64, same shape. Index symmetries (eps_ij = eps_ji, C_ij = C_ji) are imposed too. Per-atom tensors
        are averaged over translationally equivalent atoms first, and those with a sum rule (Born charges, forces)
        sum to zero over the atoms: removing the mean commutes with the group, so both projections are one.

    Raises:
        UnknownNameError: ``name`` is no property.
        ValueError: the shape does not fit the property or the number of atoms.
    """
    entry = tensor_property(name)
    array = checked_array(entry, tensor, space_group)
    if entry.rank == 0:
        return array
    if entry.per_atom:
        return _project_per_atom(entry, array, space_group)
    axes = len(entry.shape)
    symmetric = symmetrise_documented(entry, array)
    copies = rotate(np.expand_dims(symmetric, -axes - 1), space_group.rotations, name)
    return symmetrise_documented(entry, copies.mean(axis=-axes - 1))


def symmetry_residual(name: str, raw: ArrayLike, projected: ArrayLike) -> float:
    """Norm of ``raw - projected`` relative to max(norm of ``raw``, 1) in the documented unit.

    Norms are Frobenius norms of the full Cartesian tensor, so that they do not depend on the frame; per-atom
    tensors take the root mean square over atoms, so that they do not depend on the cell.
    """
    difference = frobenius_norm(name, np.asarray(raw, dtype=np.float64) - np.asarray(projected, dtype=np.float64))
    return difference / max(frobenius_norm(name, np.asarray(raw, dtype=np.float64)), 1.0)


def checked_array(entry: TensorProperty, tensor: ArrayLike, space_group: SpaceGroup) -> FloatArray:
    """Copy as float64; ``ValueError`` where the trailing shape does not fit the property and the atoms."""
    array = np.array(tensor, dtype=np.float64)
    count = len(space_group.atom_to_primitive)
    shape = (count, *entry.shape) if entry.per_atom else entry.shape
    if array.shape[array.ndim - len(shape) :] != shape:
        atoms = f" for {count} atoms" if entry.per_atom else ""
        raise ValueError(f"{entry.name} must have trailing shape {shape}{atoms}, got an array of shape {array.shape}")
    return array


def _project_per_atom(entry: TensorProperty, array: FloatArray, space_group: SpaceGroup) -> FloatArray:
    """Average over translations, then over the group, then impose the sum rule; (..., N, *shape)."""
    primitive = symmetrise_documented(entry, primitive_average(entry, array, space_group))
    averaged = after_each_operation(entry, primitive, space_group).mean(axis=0)
    axis = averaged.ndim - len(entry.shape) - 1
    if entry.sum_rule:
        averaged -= averaged.mean(axis=axis, keepdims=True)
    return np.take(averaged, space_group.atom_to_primitive, axis=axis)


def primitive_average(entry: TensorProperty, array: FloatArray, space_group: SpaceGroup) -> FloatArray:
    """Mean over translationally equivalent atoms: (..., N, *shape) -> (..., p, *shape)."""
    axis = array.ndim - len(entry.shape) - 1
    to_primitive = space_group.atom_to_primitive
    atoms_first = np.moveaxis(array, axis, 0)
    total = np.zeros((len(space_group.primitive), *atoms_first.shape[1:]))
    np.add.at(total, to_primitive, atoms_first)
    return np.moveaxis(total, 0, axis) / np.bincount(to_primitive).reshape(-1, *(1,) * len(entry.shape))


def after_each_operation(entry: TensorProperty, primitive: FloatArray, space_group: SpaceGroup) -> FloatArray:
    """(G, ..., p, *shape): per-atom tensors (..., p, *shape) after each operation, atoms carried along."""
    axis = primitive.ndim - len(entry.shape)  # of the atoms, once the operations stand in front
    trailing = (1,) * len(entry.shape)
    turned = rotate(primitive[None], space_group.rotations.reshape(-1, *(1,) * axis, 3, 3), entry.name)
    source = np.argsort(space_group.permutations, axis=1)  # source[g, b]: the atom that g carries to b
    index = source.reshape(len(source), *(1,) * (axis - 1), -1, *trailing)
    return np.take_along_axis(turned, index, axis)


def invariant_basis(entry: TensorProperty, space_group: SpaceGroup) -> FloatArray:
    """(M, r) basis of the invariant crystal tensors in the M components that the report lists."""
    projected_units = project(entry.name, unit_tensors(entry), space_group)
    projector = distinct_components(entry, projected_units).T  # column m: what becomes of component m
    left, _, _ = np.linalg.svd(projector)
    return left[:, : round(float(np.trace(projector)))]


def distinct_indices(entry: TensorProperty) -> list[tuple[int, ...]]:
    """Array indices of the distinct components of one tensor, in the order of the report."""
    return [component.index for component in distinct_components_of(entry.formula, entry.voigt)]


def distinct_components(entry: TensorProperty, array: FloatArray) -> FloatArray:
    """(..., *shape) -> (..., M) distinct components."""
    # one linear index per component: the trailing axes of the documented form are flattened
    columns = [int(np.ravel_multi_index(index, entry.shape)) for index in distinct_indices(entry)]
    return array.reshape(*array.shape[: array.ndim - len(entry.shape)], -1)[..., columns]


def unit_tensors(entry: TensorProperty) -> FloatArray:
    """(M, *shape), for each distinct component the index-symmetric tensor that has only this one."""
    components = distinct_components_of(entry.formula, entry.voigt)
    units = np.zeros((len(components), *entry.shape))
    for unit, component in zip(units, components, strict=True):
        for index, sign in component.members:
            unit[index] = sign
    return units


def frobenius_norm(name: str, array: FloatArray) -> float:
    """Norm of the full Cartesian tensor; root mean square over atoms for per-atom tensors."""
    entry = tensor_property(name)
    norm = float(np.linalg.norm(to_cartesian(array, name)))
    return norm / np.sqrt(len(array)) if entry.per_atom else norm
