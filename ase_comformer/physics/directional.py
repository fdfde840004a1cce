"""How tensors look along a direction: Young's modulus, compressibility, piezoelectric response, permittivity.

Directions are unit vectors (..., 3) in the Cartesian frame of the tensor, results have the leading shape. Formulas:
J. F. Nye, Physical Properties of Crystals (1985), chapters VIII and IX.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def sphere(polar: int = 37, azimuthal: int = 73) -> FloatArray:
    """Directions (polar, azimuthal, 3) over the sphere; the last azimuth repeats the first, so that surfaces close.

    Example:
        >>> sphere(3, 5).shape
        (3, 5, 3)
    """
    theta = np.linspace(0.0, np.pi, polar)[:, None]
    phi = np.linspace(0.0, 2 * np.pi, azimuthal)[None, :]
    return np.stack(np.broadcast_arrays(np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)), -1)


def circle(normal: str, count: int = 361) -> FloatArray:
    """Directions (count, 3) in the plane across an axis ("x", "y" or "z"), starting at the next axis in order.

    Example:
        >>> circle("z", 5).round(1)[1].tolist()
        [0.0, 1.0, 0.0]
    """
    axis = "xyz".index(normal)
    angle = np.linspace(0.0, 2 * np.pi, count)
    directions = np.zeros((count, 3))
    directions[:, (axis + 1) % 3] = np.cos(angle)
    directions[:, (axis + 2) % 3] = np.sin(angle)
    return directions


def _squares(directions: ArrayLike, shear: float) -> FloatArray:
    """(..., 6) products n_i n_j in Voigt order, those of different axes times ``shear``."""
    n = np.asarray(directions, dtype=np.float64)
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    return np.stack([x * x, y * y, z * z, shear * y * z, shear * x * z, shear * x * y], axis=-1)


def youngs_modulus(stiffness: ArrayLike, directions: ArrayLike) -> FloatArray:
    """Young's modulus along directions, in the unit of the stiffness: 1/E = s_ijkl n_i n_j n_k n_l.

    Args:
        stiffness: (6, 6), Voigt.
        directions: (..., 3) unit vectors.

    Example:
        >>> import numpy as np
        >>> silicon = np.diag([165.8] * 3 + [79.6] * 3); silicon[:3, :3] += 63.9 * (1 - np.eye(3))
        >>> youngs_modulus(silicon, [[1, 0, 0], np.ones(3) / np.sqrt(3)]).round(1).tolist()  # measured 130.2 and 187.9
        [130.2, 187.9]
    """
    compliance = np.linalg.inv(np.asarray(stiffness, dtype=np.float64))
    products = _squares(directions, 1.0)
    inverse = np.einsum("...I,IJ,...J->...", products, compliance, products)
    result: FloatArray = 1.0 / inverse
    return result


def linear_compressibility(stiffness: ArrayLike, directions: ArrayLike) -> FloatArray:
    """Relative shortening along directions per hydrostatic pressure, 1 / the unit of the stiffness.

    Args:
        stiffness: (6, 6), Voigt.
        directions: (..., 3) unit vectors.
    """
    compliance = np.linalg.inv(np.asarray(stiffness, dtype=np.float64))
    result: FloatArray = _squares(directions, 1.0) @ compliance[:, :3].sum(axis=1)
    return result


def longitudinal_piezoelectric(tensor: ArrayLike, directions: ArrayLike, *, kind: str = "e") -> FloatArray:
    """Polarisation along n per strain (e) or stress (d) along n, in the unit of the tensor.

    Args:
        tensor: (3, 6) Voigt, e (stress tensor) or d (strain tensor, shear columns counted twice).
        directions: (..., 3) unit vectors.
        kind: ``"e"`` or ``"d"``.

    Raises:
        ValueError: another kind.
    """
    if kind not in ("e", "d"):
        raise ValueError(f"kind must be 'e' or 'd', got {kind!r}.")
    products = _squares(directions, 2.0 if kind == "e" else 1.0)
    matrix = np.asarray(tensor, dtype=np.float64)
    result: FloatArray = np.einsum("...i,iJ,...J->...", np.asarray(directions, dtype=np.float64), matrix, products)
    return result


def along(tensor: ArrayLike, directions: ArrayLike) -> FloatArray:
    """A symmetric second-rank tensor (3, 3) along directions: n_i t_ij n_j, in its unit."""
    n = np.asarray(directions, dtype=np.float64)
    result: FloatArray = np.einsum("...i,ij,...j->...", n, np.asarray(tensor, dtype=np.float64), n)
    return result
