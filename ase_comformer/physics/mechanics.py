"""What an elastic tensor means: stability, anisotropy, moduli of polycrystals, sound and Debye temperature.

Pure functions of a stiffness (6, 6) in GPa, Voigt order xx, yy, zz, yz, xz, xy with engineering shear strain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import _amu, _hbar, _k
from numpy.typing import ArrayLike, NDArray

from ase_comformer.physics.moduli import Moduli, voigt_reuss_hill
from ase_comformer.tensors.voigt import voigt_to_mandel

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MechanicalSummary:
    """Numbers that a stiffness implies.

    Attributes:
        moduli: bulk and shear moduli of polycrystals (GPa): Voigt, Reuss, Hill (``.bulk``, ``.shear``).
        youngs_modulus: GPa, of an isotropic polycrystal (Hill).
        poisson_ratio: of an isotropic polycrystal (Hill).
        universal_anisotropy: A^U, zero for an isotropic crystal.
        stiffness_eigenvalues: (6,) GPa, ascending, in the Mandel form: the Born criterion is that all are positive.
        is_stable: whether they are.
        density: kg/m^3; None without masses.
        longitudinal_velocity: m/s, mean sound of polycrystals; None without masses or where unstable.
        transverse_velocity: m/s.
        debye_temperature: K, from the mean velocity of sound.
    """

    moduli: Moduli[np.ndarray]
    youngs_modulus: float
    poisson_ratio: float
    universal_anisotropy: float
    stiffness_eigenvalues: FloatArray
    is_stable: bool
    density: float | None = None
    longitudinal_velocity: float | None = None
    transverse_velocity: float | None = None
    debye_temperature: float | None = None


def mechanical_summary(
    stiffness: ArrayLike, *, volume: float | None = None, masses: ArrayLike | None = None
) -> MechanicalSummary:
    """Collect what a stiffness says of a crystal.

    Args:
        stiffness: (6, 6) GPa.
        volume: A^3 of the cell that ``masses`` belong to.
        masses: (n,) u of its atoms.

    Raises:
        ValueError: not a (6, 6) array, or it is singular.

    Example:
        >>> import numpy as np
        >>> silicon = np.diag([165.8] * 3 + [79.6] * 3)
        >>> silicon[:3, :3] += 63.9 * (1 - np.eye(3))
        >>> found = mechanical_summary(silicon, volume=40.05, masses=[28.085] * 2)
        >>> round(float(found.moduli.bulk), 1), round(found.universal_anisotropy, 2), round(found.debye_temperature)
        (97.9, 0.24, 649)

    Sources: Voigt-Reuss-Hill averages, R. Hill, Proc. Phys. Soc. A 65, 349 (1952); A^U = 5 G_V/G_R + K_V/K_R - 6,
    Ranganathan, Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008); stability, Mouhat, Coudert, Phys. Rev. B 90,
    224104 (2014); Debye temperature, O. L. Anderson, J. Phys. Chem. Solids 24, 909 (1963).
    """
    matrix = np.asarray(stiffness, dtype=np.float64)
    if matrix.shape != (6, 6):
        raise ValueError(f"An elastic tensor is a (6, 6) array in Voigt order, got the shape {matrix.shape}.")
    matrix = (matrix + matrix.T) / 2
    try:
        moduli = voigt_reuss_hill(matrix)
    except np.linalg.LinAlgError as error:
        raise ValueError("The elastic tensor is singular: a strain costs no energy, there is no compliance.") from error
    bulk, shear = float(moduli.bulk), float(moduli.shear)
    eigenvalues = np.linalg.eigvalsh(voigt_to_mandel(matrix, "stiffness"))
    sound: dict[str, float] = {}
    stable = bool(eigenvalues[0] > 0)
    if volume is not None and masses is not None:
        sound = _sound(bulk, shear, volume, np.asarray(masses, dtype=np.float64), stable)
    return MechanicalSummary(
        moduli=moduli,
        youngs_modulus=9 * bulk * shear / (3 * bulk + shear),
        poisson_ratio=(3 * bulk - 2 * shear) / (2 * (3 * bulk + shear)),
        universal_anisotropy=float(
            5 * moduli.shear_voigt / moduli.shear_reuss + moduli.bulk_voigt / moduli.bulk_reuss - 6
        ),
        stiffness_eigenvalues=eigenvalues,
        is_stable=stable,
        **sound,
    )


def _sound(bulk: float, shear: float, volume: float, masses: FloatArray, stable: bool) -> dict[str, float]:
    """Density, velocities and Debye temperature of the polycrystal; only the density where it is unstable."""
    density = float(masses.sum()) * _amu / (volume * 1e-30)
    if not stable:
        return {"density": density}
    longitudinal = np.sqrt((bulk + 4 * shear / 3) * 1e9 / density)
    transverse = np.sqrt(shear * 1e9 / density)
    mean = ((1 / longitudinal**3 + 2 / transverse**3) / 3) ** (-1 / 3)
    per_atom = volume * 1e-30 / len(masses)
    return {
        "density": density,
        "longitudinal_velocity": float(longitudinal),
        "transverse_velocity": float(transverse),
        "debye_temperature": float(_hbar / _k * mean * (6 * np.pi**2 / per_atom) ** (1 / 3)),
    }
