"""Tensors of crystals: every convention, and conversions between forms.

Public names of ``forms`` (documented form, rotation, units), ``voigt`` (Voigt and Mandel), ``irreps``
(representations) and of the registry of properties, in one place.
"""

from ase_comformer.crystals.ieee_axes import IEEEAxes, ieee_axes
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import PROPERTIES, tensor_property
from ase_comformer.tensors.cartesian_bases import cartesian_basis
from ase_comformer.tensors.forms import (
    FramedTensor,
    change_of_basis,
    convert_units,
    from_cartesian,
    from_irreps,
    ieee_frame,
    reorder_voigt,
    rotate,
    rotation_l2,
    spherical_basis_l2,
    to_cartesian,
    to_irreps,
)
from ase_comformer.tensors.irreps import (
    harmonic_basis,
    parse_irreps,
    representation,
    spherical_harmonics,
    wigner_3j,
    wigner_d,
)
from ase_comformer.tensors.voigt import (
    VOIGT_KINDS,
    VOIGT_LABELS,
    VOIGT_ORDERS,
    VOIGT_PAIRS,
    cartesian_to_mandel,
    cartesian_to_voigt,
    mandel_basis,
    mandel_rotation,
    mandel_to_cartesian,
    mandel_to_voigt,
    voigt_to_cartesian,
    voigt_to_mandel,
)

__all__ = [
    "PROPERTIES",
    "VOIGT_KINDS",
    "VOIGT_LABELS",
    "VOIGT_ORDERS",
    "VOIGT_PAIRS",
    "FramedTensor",
    "IEEEAxes",
    "TensorProperty",
    "cartesian_basis",
    "cartesian_to_mandel",
    "cartesian_to_voigt",
    "change_of_basis",
    "convert_units",
    "from_cartesian",
    "from_irreps",
    "harmonic_basis",
    "ieee_axes",
    "ieee_frame",
    "mandel_basis",
    "mandel_rotation",
    "mandel_to_cartesian",
    "mandel_to_voigt",
    "parse_irreps",
    "reorder_voigt",
    "representation",
    "rotate",
    "rotation_l2",
    "spherical_basis_l2",
    "spherical_harmonics",
    "tensor_property",
    "to_cartesian",
    "to_irreps",
    "voigt_to_cartesian",
    "voigt_to_mandel",
    "wigner_3j",
    "wigner_d",
]
