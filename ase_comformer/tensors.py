"""Conventions of every tensor in the package, and conversions between its forms.

Functions take numpy arrays or torch tensors, act on the trailing axes (any leading batch axes), keep the floating
dtype and are differentiable for torch. Voigt order is xx, yy, zz, yz, xz, xy; Mandel has the same order with
orthonormal shear components (factor sqrt(2)). Units are ASE's except where a property says otherwise (GPa, C/m^2).
A rotation ``R`` (proper or improper) acts on vectors as ``x -> R x``. Representation matrices and the Cartesian <->
irreps change of basis are in ``_irreps``, the IEEE frame in ``frames``; both are re-exported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import ase
import ase.units
import numpy as np
import torch

from ase_comformer._arrays import Array, check_choice, check_trailing, floating, like
from ase_comformer._irreps import (
    cartesian_basis,
    harmonic_basis,
    parse_irreps,
    representation,
    wigner_3j,
    wigner_d,
)
from ase_comformer.errors import UnknownNameError

VOIGT_PAIRS: tuple[tuple[int, int], ...] = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
VOIGT_LABELS: tuple[str, ...] = ("xx", "yy", "zz", "yz", "xz", "xy")
#: Known orders of the six Voigt components. VASP prints piezoelectric and elastic tensors as XX YY ZZ XY YZ ZX.
VOIGT_ORDERS: dict[str, tuple[str, ...]] = {
    "standard": VOIGT_LABELS,
    "vasp": ("xx", "yy", "zz", "xy", "yz", "xz"),
}


@dataclass(frozen=True)
class TensorProperty:
    """One physical quantity: symbol table for its indices, irreps, documented shape and unit.

    ``formula`` lists Cartesian index permutations that leave the tensor unchanged (e3nn's notation), ``irreps`` the
    O(3) content in e3nn's notation, ``shape`` the documented (Voigt where there is one) form of one tensor without
    the leading atom axis, ``kind`` the entry of ``VOIGT_KINDS`` that relates it to the Cartesian form (or None).
    """

    name: str
    formula: str
    irreps: str
    shape: tuple[int, ...]
    cartesian_shape: tuple[int, ...]
    per_atom: bool
    unit: str
    kind: str | None
    description: str

    @property
    def rank(self) -> int:
        """Number of Cartesian indices."""
        return len(self.cartesian_shape)

    @property
    def parity(self) -> int:
        """Sign under inversion: all properties are polar tensors, so (-1)**rank."""
        return -1 if self.rank % 2 else 1


def _registry(*entries: TensorProperty) -> dict[str, TensorProperty]:
    return {entry.name: entry for entry in entries}


#: Every property by its public name.
PROPERTIES: dict[str, TensorProperty] = _registry(
    TensorProperty(
        "dielectric_tensor", "ij=ji", "0e+2e", (3, 3), (3, 3), False, "relative permittivity", None,
        "electronic (clamped-ion, high-frequency) dielectric tensor",
    ),
    TensorProperty(
        "static_dielectric_tensor", "ij=ji", "0e+2e", (3, 3), (3, 3), False, "relative permittivity", None,
        "static dielectric tensor at fixed cell: electronic plus ionic part",
    ),
    TensorProperty(
        "born_effective_charges", "ij", "0e+1e+2e", (3, 3), (3, 3), True, "e", None,
        "Z[atom, i, j]: polarisation i (field) against displacement j, volume * dP_i / du_j",
    ),
    TensorProperty(
        "piezoelectric_tensor", "ijk=ikj", "2x1o+2o+3o", (3, 6), (3, 3, 3), False, "C/m^2", "piezoelectric_stress",
        "relaxed-ion piezoelectric stress tensor e_i(jk) at constant field (no factor 2 on shear)",
    ),
    TensorProperty(
        "elastic_tensor", "ijkl=jikl=klij", "2x0e+2x2e+4e", (6, 6), (3, 3, 3, 3), False, "GPa", "stiffness",
        "relaxed-ion elastic stiffness tensor",
    ),
    TensorProperty(
        "formation_energy", "", "0e", (), (), False, "eV/atom", None, "formation energy per atom from the elements",
    ),
    TensorProperty("energy", "", "0e", (), (), False, "eV", None, "potential energy of the cell"),
    TensorProperty("forces", "i", "1o", (3,), (3,), True, "eV/A", None, "forces on the atoms"),
    TensorProperty(
        "stress", "ij=ji", "0e+2e", (6,), (3, 3), False, "eV/A^3", "stress",
        "stress in ASE's sign (positive = tension), Voigt",
    ),
)  # fmt: skip

#: name -> (number of plain vector axes, number of Voigt axes, factor of the shear components in Voigt form).
VOIGT_KINDS: dict[str, tuple[int, int, int]] = {
    "stress": (0, 1, 1),
    "strain": (0, 1, 2),
    "stiffness": (0, 2, 1),
    "compliance": (0, 2, 2),
    "piezoelectric_stress": (1, 1, 1),
    "piezoelectric_strain": (1, 1, 2),
}


def tensor_property(name: str) -> TensorProperty:
    """Return the registry entry of ``name``; ``UnknownNameError`` lists the valid names."""
    return PROPERTIES[check_choice(name, PROPERTIES, "property")]


def _voigt_matrices() -> tuple[np.ndarray, np.ndarray]:
    """(6, 9) averaging matrix 3x3 -> 6 and its (9, 6) right inverse, exact in floating point."""
    expand = np.zeros((9, 6))
    for column, (i, j) in enumerate(VOIGT_PAIRS):
        expand[3 * i + j, column] = expand[3 * j + i, column] = 1.0
    return expand.T / expand.sum(axis=0)[:, None], expand


_AVERAGE, _EXPAND = _voigt_matrices()
_SHEAR = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
_MANDEL_BASIS = (_EXPAND.T / np.sqrt(_EXPAND.sum(axis=0))[:, None]).reshape(6, 3, 3)


def _apply(matrix: Array, tensor: Array, axes: int) -> Array:
    """Multiply the last axis (``axes`` = 1) or the last two axes (2) of ``tensor`` by ``matrix``."""
    tensor = tensor @ matrix.swapaxes(-1, -2)
    return matrix @ tensor if axes == 2 else tensor


def _scale_voigt(tensor: Array, factor: float, axes: int) -> Array:
    """Multiply the shear components along the last ``axes`` Voigt axes by ``factor``."""
    weights = 1.0 + _SHEAR * (factor - 1.0)
    return tensor * like(np.outer(weights, weights) if axes == 2 else weights, tensor)


def cartesian_to_voigt(tensor: Array, kind: str) -> Array:
    """Full Cartesian tensor to Voigt form; entries that symmetry makes equal are averaged.

    ``kind`` is one of ``VOIGT_KINDS``: stress and strain (..., 3, 3) -> (..., 6), stiffness and compliance
    (..., 3, 3, 3, 3) -> (..., 6, 6), piezoelectric_stress (e) and piezoelectric_strain (d) (..., 3, 3, 3) ->
    (..., 3, 6). Strain-like Voigt axes (strain, compliance, d) carry the factor 2 of engineering shear (Nye 1985).
    """
    vectors, axes, factor = VOIGT_KINDS[check_choice(kind, VOIGT_KINDS, "Voigt kind")]
    tensor = floating(tensor)
    check_trailing(tensor, (3,) * (vectors + 2 * axes), f"Cartesian {kind} tensor")
    flat = tensor.reshape(*tensor.shape[: tensor.ndim - 2 * axes], *(9,) * axes)
    return _scale_voigt(_apply(like(_AVERAGE, flat), flat, axes), factor, axes)


def voigt_to_cartesian(tensor: Array, kind: str) -> Array:
    """Inverse of ``cartesian_to_voigt``: (..., 6), (..., 3, 6) or (..., 6, 6) to the full Cartesian tensor."""
    vectors, axes, factor = VOIGT_KINDS[check_choice(kind, VOIGT_KINDS, "Voigt kind")]
    tensor = floating(tensor)
    check_trailing(tensor, (3,) * vectors + (6,) * axes, f"Voigt {kind} tensor")
    flat = _apply(like(_EXPAND, tensor), _scale_voigt(tensor, 1.0 / factor, axes), axes)
    return flat.reshape(*flat.shape[: flat.ndim - axes], *(3,) * (2 * axes))


def voigt_to_mandel(tensor: Array, kind: str) -> Array:
    """Voigt to Mandel form of the same shape; norms in Mandel form are the Frobenius norms of the full tensor."""
    vectors, axes, factor = VOIGT_KINDS[check_choice(kind, VOIGT_KINDS, "Voigt kind")]
    tensor = floating(tensor)
    check_trailing(tensor, (3,) * vectors + (6,) * axes, f"Voigt {kind} tensor")
    return _scale_voigt(tensor, np.sqrt(2.0) / factor, axes)


def mandel_to_voigt(tensor: Array, kind: str) -> Array:
    """Inverse of ``voigt_to_mandel``."""
    vectors, axes, factor = VOIGT_KINDS[check_choice(kind, VOIGT_KINDS, "Voigt kind")]
    tensor = floating(tensor)
    check_trailing(tensor, (3,) * vectors + (6,) * axes, f"Mandel {kind} tensor")
    return _scale_voigt(tensor, factor / np.sqrt(2.0), axes)


def cartesian_to_mandel(tensor: Array, kind: str) -> Array:
    """Full Cartesian tensor to Mandel form; ``kind`` as in ``cartesian_to_voigt`` (stress and strain agree here)."""
    return voigt_to_mandel(cartesian_to_voigt(tensor, kind), kind)


def mandel_to_cartesian(tensor: Array, kind: str) -> Array:
    """Inverse of ``cartesian_to_mandel``."""
    return voigt_to_cartesian(mandel_to_voigt(tensor, kind), kind)


def mandel_basis() -> np.ndarray:
    """Orthonormal basis (6, 3, 3) of the symmetric matrices in Mandel order: s = sum_I mandel(s)[I] basis[I]."""
    return _MANDEL_BASIS.copy()


def mandel_rotation(rotation: Array) -> Array:
    """Orthogonal matrix (..., 6, 6) M of a rotation (..., 3, 3): mandel(R s R^T) = M mandel(s) (Mehrabadi 1990)."""
    rotation = floating(rotation)
    check_trailing(rotation, (3, 3), "rotation")
    basis = like(_MANDEL_BASIS, rotation)
    matrix = rotation[..., None, :, :]
    turned = matrix @ basis @ matrix.swapaxes(-1, -2)  # (..., J, 3, 3)
    flat = turned.reshape(*turned.shape[:-2], 9)
    return basis.reshape(6, 9) @ flat.swapaxes(-1, -2)


def spherical_basis_l2(
    dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
) -> torch.Tensor:
    """Orthonormal basis (5, 3, 3) of symmetric traceless matrices, e3nn's order xz, xy, y^2, yz, z^2 - x^2.

    A 5-vector c of type 2e is the matrix sum_m c[m] basis[m], and c[m] = sum_ij basis[m, i, j] t[i, j].
    """
    return harmonic_basis(2, dtype).to(device)


def to_cartesian(tensor: Array, property_name: str) -> Array:
    """Documented form of a property to the full Cartesian tensor (..., 3, ..., 3)."""
    entry = tensor_property(property_name)
    tensor = floating(tensor)
    check_trailing(tensor, entry.shape, property_name)
    return tensor if entry.kind is None else voigt_to_cartesian(tensor, entry.kind)


def from_cartesian(tensor: Array, property_name: str) -> Array:
    """Full Cartesian tensor to the documented form of a property."""
    entry = tensor_property(property_name)
    tensor = floating(tensor)
    check_trailing(tensor, entry.cartesian_shape, f"Cartesian {property_name}")
    return tensor if entry.kind is None else cartesian_to_voigt(tensor, entry.kind)


def rotate(tensor: Array, rotation: Array, property_name: str) -> Array:
    """Rotate a property in its documented form: T'_ij... = R_ia R_jb ... T_ab....

    ``tensor`` (..., *shape of the property), ``rotation`` (..., 3, 3) proper or improper; leading axes broadcast, so
    per-atom tensors (n, 3, 3) take one rotation (3, 3) or one per atom. The atoms themselves are not permuted.
    """
    entry = tensor_property(property_name)
    tensor = floating(tensor)
    rotation = like(floating(rotation), tensor)
    check_trailing(tensor, entry.shape, property_name)
    check_trailing(rotation, (3, 3), "rotation")
    if entry.rank == 0:
        return tensor
    if entry.rank == 1:
        return (rotation @ tensor[..., None])[..., 0]
    if entry.kind is None:
        return rotation @ tensor @ rotation.swapaxes(-1, -2)
    right = mandel_rotation(rotation)
    mandel = voigt_to_mandel(tensor, entry.kind)
    if entry.shape == (6,):
        turned = (right @ mandel[..., None])[..., 0]
    else:
        left = right if entry.shape == (6, 6) else rotation
        turned = left @ mandel @ right.swapaxes(-1, -2)
    return mandel_to_voigt(turned, entry.kind)


def reorder_voigt(tensor: Array, property_name: str, *, source: str, target: str) -> Array:
    """Reorder the Voigt axes of a piezoelectric, elastic or stress tensor between ``VOIGT_ORDERS``.

    ``source`` and ``target`` ("standard" or "vasp") have no default: the two orders cannot be told apart from the
    numbers. Only the order changes, not units or signs (VASP prints elastic tensors in kbar and stress as -sigma).
    """
    kind = tensor_property(property_name).kind
    if kind is None:
        raise UnknownNameError(f"{property_name} has no Voigt axis; choose a property with one: " + ", ".join(
            name for name, entry in PROPERTIES.items() if entry.kind is not None))  # fmt: skip
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
    """Orthonormal matrix (dim_irreps, 3, ..., 3), float64, from the full Cartesian tensor to irreps coefficients.

    Rows follow the irreps of the property; the basis of repeated irreps is defined in ``_irreps.cartesian_basis``.
    """
    return torch.tensor(cartesian_basis(tensor_property(property_name).formula))


@lru_cache(maxsize=len(PROPERTIES))
def _documented_basis(property_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (dim, size) documented form -> irreps and (size, dim) back."""
    entry = tensor_property(property_name)
    basis = cartesian_basis(entry.formula).reshape(-1, 3**entry.rank)
    units = np.eye(int(np.prod(entry.shape))).reshape(-1, *entry.shape)
    encode = basis @ to_cartesian(units, property_name).reshape(-1, 3**entry.rank).T
    decode = (
        from_cartesian(basis.reshape(-1, *entry.cartesian_shape), property_name).reshape(len(basis), -1).T
    )
    return encode, decode


def to_irreps(property_name: str, tensor: Array) -> Array:
    """Documented form (..., *shape) to irreps coefficients (..., dim).

    Isometric: the norm of the coefficients is the Frobenius norm of the full Cartesian tensor. Parts that break the
    index symmetry of the property (C_ij != C_ji, antisymmetric dielectric) are projected out.
    """
    entry = tensor_property(property_name)
    tensor = floating(tensor)
    check_trailing(tensor, entry.shape, property_name)
    encode = like(_documented_basis(property_name)[0], tensor)
    return tensor.reshape(*tensor.shape[: tensor.ndim - len(entry.shape)], -1) @ encode.swapaxes(-1, -2)


def from_irreps(property_name: str, coefficients: Array) -> Array:
    """Inverse of ``to_irreps``: coefficients (..., dim) to the documented form (..., *shape)."""
    entry = tensor_property(property_name)
    coefficients = floating(coefficients)
    decode = like(_documented_basis(property_name)[1], coefficients)
    check_trailing(coefficients, (decode.shape[1],), f"irreps coefficients of {property_name}")
    return (coefficients @ decode.swapaxes(-1, -2)).reshape(*coefficients.shape[:-1], *entry.shape)
