"""Conventions of every tensor in the package, and conversions between its forms.

Functions take numpy arrays or torch tensors, act on the trailing axes (any leading batch axes), keep the
floating dtype and are differentiable for torch. Voigt order is xx, yy, zz, yz, xz, xy; Mandel has the same
order with orthonormal shear components (factor sqrt(2)). Units are ASE's except where a property says
otherwise (GPa, C/m^2). A rotation ``R`` (proper or improper) acts on vectors as ``x -> R x``. Irreps are in
e3nn's basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import ase
import ase.units
import numpy as np
import torch

from ase_comformer.crystals.ieee_axes import ieee_axes
from ase_comformer.errors import UnknownNameError, check_choice
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import PROPERTIES, tensor_property
from ase_comformer.tensors.arrays import Array, check_trailing, floating, like
from ase_comformer.tensors.cartesian_bases import cartesian_basis
from ase_comformer.tensors.irreps import determinant_sign, harmonic_basis
from ase_comformer.tensors.voigt import (
    VOIGT_KINDS,
    VOIGT_ORDERS,
    cartesian_to_voigt,
    mandel_rotation,
    mandel_to_voigt,
    voigt_to_cartesian,
    voigt_to_mandel,
)


def spherical_basis_l2(dtype: torch.dtype = torch.float64, device: torch.device | str | None = None) -> torch.Tensor:
    """Orthonormal basis (5, 3, 3) of symmetric traceless matrices, e3nn's order xz, xy, y^2, yz, z^2 - x^2.

    A 5-vector c of type 2e is the matrix sum_m c[m] basis[m], and c[m] = sum_ij basis[m, i, j] t[i, j].
    """
    return harmonic_basis(2, dtype).to(device)


def rotation_l2(rotations: np.ndarray) -> np.ndarray:
    """Rotations (G, 3, 3) -> (G, 5, 5), the 2e representation in the basis of ``spherical_basis_l2``."""
    basis = _numpy_basis_l2()
    turned = rotations[:, None] @ basis @ rotations.swapaxes(1, 2)[:, None]
    return (turned.reshape(-1, 5, 9) @ basis.reshape(5, 9).T).swapaxes(1, 2)


@lru_cache(maxsize=1)
def _numpy_basis_l2() -> np.ndarray:
    return spherical_basis_l2().numpy()


def to_cartesian(tensor: Array, property_name: str) -> Array:
    """Documented form of a property to the full Cartesian tensor (..., 3, ..., 3)."""
    entry = tensor_property(property_name)
    tensor = floating(tensor)
    check_trailing(tensor, entry.shape, property_name)
    return tensor if entry.voigt is None else voigt_to_cartesian(tensor, entry.voigt)


def from_cartesian(tensor: Array, property_name: str) -> Array:
    """Full Cartesian tensor to the documented form of a property."""
    entry = tensor_property(property_name)
    tensor = floating(tensor)
    check_trailing(tensor, entry.cartesian_shape, f"Cartesian {property_name}")
    return tensor if entry.voigt is None else cartesian_to_voigt(tensor, entry.voigt)


def rotate(tensor: Array, rotation: Array, property_name: str) -> Array:
    """Rotate a property in its documented form: T'_ij... = R_ia R_jb ... T_ab....

    ``tensor`` (..., *shape of the property), ``rotation`` (..., 3, 3) proper or improper; leading axes
    broadcast, so per-atom tensors (n, 3, 3) take one rotation (3, 3) or one per atom. The atoms themselves
    are not permuted.
    """
    entry = tensor_property(property_name)
    tensor = floating(tensor)
    rotation = like(floating(rotation), tensor)
    check_trailing(tensor, entry.shape, property_name)
    check_trailing(rotation, (3, 3), "rotation")
    turned = _rotated(tensor, rotation, entry)
    if not entry.is_axial:
        return turned
    sign = determinant_sign(rotation)[..., 0, 0]
    return turned * sign.reshape(*sign.shape, *[1] * len(entry.shape))


def _rotated(tensor: Array, rotation: Array, entry: TensorProperty) -> Array:
    """The tensor with every index turned, in the documented form."""
    if entry.rank == 0:
        return tensor
    if entry.rank == 1:
        return (rotation @ tensor[..., None])[..., 0]
    if entry.voigt is None and entry.rank == 2:
        return rotation @ tensor @ rotation.swapaxes(-1, -2)
    if entry.voigt is None:
        return rotate_cartesian(tensor, rotation, entry.rank)
    right = mandel_rotation(rotation)
    mandel = voigt_to_mandel(tensor, entry.voigt)
    if entry.shape == (6,):
        turned = (right @ mandel[..., None])[..., 0]
    else:
        left = right if entry.shape == (6, 6) else rotation
        turned = left @ mandel @ right.swapaxes(-1, -2)
    return mandel_to_voigt(turned, entry.voigt)


def rotate_cartesian(tensor: Array, rotation: Array, rank: int) -> Array:
    """Turn every index of polar Cartesian tensors (..., 3, ..., 3) of a rank by rotations (..., 3, 3)."""
    rest = 3 ** (rank - 1)
    turned = tensor.reshape(*tensor.shape[: tensor.ndim - rank], 3, rest)
    for _ in range(rank):  # turn the first index, then make it the last
        turned = (rotation @ turned).swapaxes(-1, -2)
        turned = turned.reshape(*turned.shape[:-2], 3, rest)
    return turned.reshape(*turned.shape[:-2], *(3,) * rank)


def reorder_voigt(tensor: Array, property_name: str, *, source: str, target: str) -> Array:
    """Reorder the Voigt axes of a piezoelectric, elastic or stress tensor between ``VOIGT_ORDERS``.

    ``source`` and ``target`` ("standard" or "vasp") have no default: the two orders cannot be told apart from
    the numbers. Only the order changes, not units or signs (VASP prints elastic tensors in kbar and stress as
    -sigma).
    """
    kind = tensor_property(property_name).voigt
    if kind is None:
        raise UnknownNameError(f"{property_name} has no Voigt axis; choose a property with one: " + ", ".join(
            name for name, entry in PROPERTIES.items() if entry.voigt is not None))  # fmt: skip
    vectors, axes, _ = VOIGT_KINDS[kind]
    origin = VOIGT_ORDERS[check_choice(source, VOIGT_ORDERS, "Voigt order")]
    order = [origin.index(label) for label in VOIGT_ORDERS[check_choice(target, VOIGT_ORDERS, "Voigt order")]]
    tensor = floating(tensor)
    check_trailing(tensor, (3,) * vectors + (6,) * axes, property_name)
    tensor = tensor[..., order]
    return tensor[..., order, :] if axes == 2 else tensor


#: Value of one unit in ASE units (eV, A, e); only units of one family convert into each other.
_UNITS: dict[str, tuple[str, float]] = {
    "eV/A^3": ("pressure", 1.0),
    "GPa": ("pressure", ase.units.GPa),
    "kbar": ("pressure", 0.1 * ase.units.GPa),
    "e/A^2": ("charge density per area", 1.0),
    "C/m^2": ("charge density per area", ase.units.C / ase.units.m**2),
}


def convert_units(value: Array, *, source: str, target: str) -> Array:
    """Convert elastic constants and stresses (GPa, kbar, eV/A^3) or piezoelectric tensors (C/m^2, e/A^2)."""
    family, factor = _UNITS[check_choice(source, _UNITS, "unit")]
    other, divisor = _UNITS[check_choice(target, _UNITS, "unit")]
    if family != other:
        raise ValueError(f"cannot convert {source} ({family}) to {target} ({other})")
    return floating(value) * (factor / divisor)


def change_of_basis(property_name: str) -> torch.Tensor:
    """Orthonormal matrix (dim_irreps, 3, ..., 3), float64: full Cartesian tensor to irreps coefficients.

    Rows follow the irreps of the property; the basis of repeated irreps is defined in
    ``cartesian_bases.cartesian_basis``.
    """
    return torch.tensor(cartesian_basis(tensor_property(property_name).formula))


@lru_cache(maxsize=64)
def _documented_basis(entry: TensorProperty) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (dim, size) documented form -> irreps and (size, dim) back."""
    basis = cartesian_basis(entry.formula).reshape(-1, 3**entry.rank)
    units = np.eye(int(np.prod(entry.shape))).reshape(-1, *entry.shape)
    full = units if entry.voigt is None else voigt_to_cartesian(units, entry.voigt)
    encode = basis @ full.reshape(-1, 3**entry.rank).T
    columns = basis.reshape(-1, *entry.cartesian_shape)
    columns = columns if entry.voigt is None else cartesian_to_voigt(columns, entry.voigt)
    # Copies: torch shares memory with what numpy hands it and warns about the read-only original.
    return encode.copy(), columns.reshape(len(basis), -1).T.copy()


def to_irreps(property_name: str, tensor: Array) -> Array:
    """Documented form (..., *shape) to irreps coefficients (..., dim).

    Isometric: the norm of the coefficients is the Frobenius norm of the full Cartesian tensor. Parts that
    break the index symmetry of the property (C_ij != C_ji, antisymmetric dielectric) are projected out.
    """
    entry = tensor_property(property_name)
    tensor = floating(tensor)
    check_trailing(tensor, entry.shape, property_name)
    encode = like(_documented_basis(entry)[0], tensor)
    return tensor.reshape(*tensor.shape[: tensor.ndim - len(entry.shape)], -1) @ encode.swapaxes(-1, -2)


def from_irreps(property_name: str, coefficients: Array) -> Array:
    """Inverse of ``to_irreps``: coefficients (..., dim) to the documented form (..., *shape)."""
    entry = tensor_property(property_name)
    coefficients = floating(coefficients)
    decode = like(_documented_basis(entry)[1], coefficients)
    check_trailing(coefficients, (decode.shape[1],), f"irreps coefficients of {property_name}")
    documented = coefficients @ decode.swapaxes(-1, -2)
    # of one number there is no shape to give
    return documented.reshape(*coefficients.shape[:-1], *entry.shape) if entry.rank else documented[..., 0]


@dataclass(frozen=True)
class FramedTensor:
    """A tensor in another frame: ``tensor`` = rotate(input, ``rotation``), and what the frame leaves open."""

    tensor: np.ndarray
    rotation: np.ndarray
    note: str


#: Frames that tensors are given in: that of the atoms, or IEEE 176-1987.
FRAMES = ("cartesian", "ieee")


def framed(tensor: np.ndarray, atoms: ase.Atoms, property_name: str, frame: str, symprec: float = 1e-2) -> FramedTensor:
    """Tensor in the frame of ``atoms`` turned to one of ``FRAMES``; arguments otherwise as ``ieee_frame``.

    Raises:
        UnknownNameError: ``frame`` is not one of ``FRAMES``.

    Example:
        >>> from ase.build import bulk
        >>> framed(np.eye(3), bulk("Si"), "dielectric_tensor", "cartesian").rotation.tolist()[0]
        [1.0, 0.0, 0.0]
    """
    check_choice(frame, FRAMES, "frame")
    return (
        FramedTensor(tensor, np.eye(3), "")
        if frame == "cartesian"
        else ieee_frame(tensor, atoms, property_name, symprec=symprec)
    )


def ieee_frame(
    tensor: np.ndarray, atoms: ase.Atoms, property_name: str, symprec: float = 1e-2, tolerance: float = 1e-2
) -> FramedTensor:
    """Tensor of a crystal in the frame of IEEE 176-1987 (``ieee_axes`` states the rules).

    ``tensor`` is in the documented form and in the Cartesian frame of ``atoms`` (one tensor, no batch axes;
    per-atom tensors (n, *shape)). Rows of ``rotation`` (3, 3) are the IEEE axes X, Y, Z in the frame of
    ``atoms``, right-handed. ``note`` is empty when every admissible choice of axes gives the same tensor
    within ``tolerance`` (relative to its largest component); otherwise it lists components whose sign or
    value depends on a choice that the lattice leaves open.
    """
    axes = ieee_axes(atoms, symprec)
    framed = rotate(floating(np.asarray(tensor)), axes.rotation, property_name)
    entry = tensor_property(property_name)
    scale = tolerance * max(float(np.abs(framed).max(initial=0.0)), np.finfo(float).tiny)
    varying = np.zeros(framed.shape, dtype=bool)
    for choice in axes.choices:
        varying |= np.abs(rotate(framed, choice, property_name) - framed) > scale
    notes = [axes.note] if axes.note else []
    if varying.any() and entry.per_atom:
        notes.append("several choices of axes agree with the standard; values belong to the rotation given")
    elif varying.any():
        names = ", ".join("".join(str(i + 1) for i in index) for index in np.argwhere(varying))
        notes.append(f"{len(axes.choices)} choices of axes are open; components {names} depend on them")
    return FramedTensor(framed, axes.rotation, "; ".join(notes))
