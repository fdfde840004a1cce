"""Infrared and Raman spectra of a crystal in the harmonic approximation, far from electronic resonance.

Infrared: modes at q = 0 without macroscopic field are the oscillators of the dielectric function (X. Gonze, C. Lee,
Phys. Rev. B 55, 10355 (1997), eqs 54 to 61); longitudinal modes are its zeros. Raman: a mode changes the electronic
susceptibility (Placzek; D. Porezag, M. R. Pederson, Phys. Rev. B 54, 7830 (1996)); polar modes are taken as transverse,
their coupling to the field of a longitudinal wave is left out.

Frequencies of modes are in THz, grids of spectra in 1/cm. Index letters: p atoms, m modes, k points of a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import Debye, _c, _hplanck, _k
from numpy.typing import ArrayLike, NDArray

from ase_comformer.physics.response import EPSILON_0
from ase_comformer.physics.vibrations import THZ

FloatArray = NDArray[np.float64]

#: 1/cm per THz; km/mol of a mode with a strength of 1 e^2/u (42.2561 (D/A)^2/u).
PER_CM = 1e10 / _c
KM_PER_MOL = 42.2561 / Debye**2
#: A^4/u, activities below which are rounding errors.
_SILENT = 1e-8
#: nm, of the argon laser; K.
LASER, TEMPERATURE = 514.5, 300.0


@dataclass(frozen=True)
class Infrared:
    """What absorbs infrared light.

    Attributes:
        frequencies: (m,) THz of stable modes at q = 0, translations left out, transverse.
        strengths: (m, 3, 3) e^2/u, products of the mode effective charge with itself.
        dielectric_tensor: (3, 3) electronic.
        volume: A^3.
    """

    frequencies: FloatArray
    strengths: FloatArray
    dielectric_tensor: FloatArray
    volume: float

    @property
    def intensities(self) -> FloatArray:
        """(m,) km/mol (of primitive cells), averaged over directions as in a powder."""
        return np.asarray(KM_PER_MOL * np.trace(self.strengths, axis1=1, axis2=2))

    def oriented_intensities(self, polarisation: ArrayLike) -> FloatArray:
        """(m,) km/mol for light polarised along a direction (3,), three times so that an isotropic crystal agrees."""
        along = _unit(polarisation)
        return np.asarray(3 * KM_PER_MOL * (self.strengths @ along @ along))

    def dielectric_contributions(self) -> FloatArray:
        """(m, 3, 3) what each mode adds to the static dielectric tensor."""
        return np.asarray(self._plasma() / self.frequencies[:, None, None] ** 2)

    def _plasma(self) -> FloatArray:
        return np.asarray(self.strengths * THZ**2 / (EPSILON_0 * self.volume))

    def dielectric_function(self, grid: ArrayLike, damping: float = 5.0) -> NDArray[np.complex128]:
        """Infrared dielectric function (k, 3, 3).

        eps(f) = eps_electronic + sum over modes of plasma / (f_m^2 - f^2 - i damping f).

        Args:
            grid: (k,) 1/cm.
            damping: 1/cm, of all modes.
        """
        f = np.asarray(grid, dtype=np.float64)[:, None] / PER_CM
        response = 1 / (self.frequencies**2 - f**2 - 1j * damping / PER_CM * f)
        return np.asarray(self.dielectric_tensor + np.einsum("km,mij->kij", response, self._plasma()))

    def reflectivity(self, grid: ArrayLike, polarisation: ArrayLike, damping: float = 5.0) -> FloatArray:
        """Reflectivity (k,) at normal incidence, of light polarised along a principal axis (3,)."""
        along = _unit(polarisation)
        root = np.sqrt(self.dielectric_function(grid, damping) @ along @ along)
        return np.asarray(np.abs((root - 1) / (root + 1)) ** 2)

    def spectrum(
        self, grid: ArrayLike, width: float = 10.0, polarisation: ArrayLike | None = None, shape: str = "lorentzian"
    ) -> FloatArray:
        """Absorption (k,) km/mol per 1/cm of a powder, or of light polarised along a direction."""
        heights = self.intensities if polarisation is None else self.oriented_intensities(polarisation)
        return broadened(self.frequencies * PER_CM, heights, grid, width, shape)


@dataclass(frozen=True)
class Raman:
    """What scatters light inelastically (experimental: derivatives of a network that was not trained on any).

    Attributes:
        frequencies: (m,) THz of stable modes at q = 0, translations left out, transverse.
        tensors: (m, 3, 3) A^2/sqrt(u), derivative of the polarisability of the primitive cell by the normal coordinate.
    """

    frequencies: FloatArray
    tensors: FloatArray

    @property
    def activities(self) -> FloatArray:
        """(m,) A^4/u, 45 a^2 + 7 g^2 with the mean a and the anisotropy g of the tensor; 0 of silent modes."""
        mean, anisotropy = self._invariants()
        activities = 45 * mean**2 + 7 * anisotropy
        return np.where(activities > _SILENT, activities, 0.0)

    @property
    def depolarisation_ratios(self) -> FloatArray:
        """(m,) 3 g^2 / (45 a^2 + 4 g^2) of a powder, 0.75 for modes that are not totally symmetric."""
        mean, anisotropy = self._invariants()
        both = 45 * mean**2 + 4 * anisotropy
        return np.asarray(3 * anisotropy / np.where(both > 0, both, 1.0))

    def _invariants(self) -> tuple[FloatArray, FloatArray]:
        mean = np.trace(self.tensors, axis1=1, axis2=2) / 3
        deviator = self.tensors - mean[:, None, None] * np.eye(3)
        return mean, 1.5 * np.square(deviator).sum(axis=(1, 2))

    def intensities(self, laser: float = LASER, temperature: float = TEMPERATURE) -> FloatArray:
        """(m,) Stokes intensities of a powder: activities times (f_laser - f)^4 (n + 1) / f, the strongest 1.

        Args:
            laser: nm.
            temperature: K, of the occupation n.
        """
        return _relative(self.activities * self._factor(laser, temperature))

    def oriented_intensities(
        self, incident: ArrayLike, scattered: ArrayLike, laser: float = LASER, temperature: float = TEMPERATURE
    ) -> FloatArray:
        """(m,) Stokes intensities for polarisations (3,) of incident and scattered light, the strongest 1."""
        amplitudes = self.tensors @ _unit(incident) @ _unit(scattered)
        return _relative(amplitudes**2 * self._factor(laser, temperature))

    def _factor(self, laser: float, temperature: float) -> FloatArray:
        if not (laser > 0 and temperature >= 0):
            raise ValueError(
                f"laser (nm) must be positive and temperature (K) not negative, got {laser}, {temperature}"
            )
        light = _c / (laser * 1e-9) * 1e-12
        occupation = np.zeros_like(self.frequencies)
        if temperature > 0:
            occupation = 1 / np.expm1(_hplanck * self.frequencies * 1e12 / (_k * temperature))
        return np.asarray((light - self.frequencies) ** 4 * (occupation + 1) / self.frequencies)

    def spectrum(
        self,
        grid: ArrayLike,
        width: float = 10.0,
        laser: float = LASER,
        temperature: float = TEMPERATURE,
        shape: str = "lorentzian",
    ) -> FloatArray:
        """Intensity (k,) of a powder, arbitrary unit."""
        return broadened(self.frequencies * PER_CM, self.intensities(laser, temperature), grid, width, shape)


def peaks(frequencies: FloatArray, intensities: FloatArray, apart: float = 0.5) -> tuple[FloatArray, FloatArray]:
    """Merge modes that are less than ``apart`` away from each other, degenerate ones above all, and add them up.

    Example:
        >>> import numpy as np
        >>> [part.tolist() for part in peaks(np.array([100.0, 100.1, 300.0]), np.array([1.0, 2.0, 4.0]))]
        [[100.05, 300.0], [3.0, 4.0]]
    """
    order = np.argsort(frequencies)
    groups = np.split(order, np.flatnonzero(np.diff(frequencies[order]) > apart) + 1) if len(order) else []
    places = np.array([frequencies[group].mean() for group in groups])
    return places, np.array([intensities[group].sum() for group in groups])


def broadened(
    positions: ArrayLike, heights: ArrayLike, grid: ArrayLike, width: float = 10.0, shape: str = "lorentzian"
) -> FloatArray:
    """Peaks of finite width; their areas are the heights.

    Args:
        positions: (m,) of the peaks, in the unit of the grid.
        heights: (m,).
        grid: (k,).
        width: full width at half maximum.
        shape: ``"lorentzian"`` or ``"gaussian"``.

    Example:
        >>> import numpy as np
        >>> grid = np.linspace(0, 1000, 4001)
        >>> round(float(np.trapezoid(broadened([400.0], [2.0], grid, 10.0, "gaussian"), grid)), 6)
        2.0
    """
    if not width > 0:
        raise ValueError(f"the width must be positive, got {width}")
    distance = np.asarray(grid, dtype=np.float64)[:, None] - np.asarray(positions, dtype=np.float64)
    if shape == "lorentzian":
        peaks = width / (2 * np.pi) / (distance**2 + width**2 / 4)
    elif shape == "gaussian":
        peaks = np.sqrt(4 * np.log(2) / np.pi) / width * np.exp(-4 * np.log(2) * (distance / width) ** 2)
    else:
        raise ValueError(f"unknown shape {shape!r}: choose 'lorentzian' or 'gaussian'")
    return np.asarray(peaks @ np.asarray(heights, dtype=np.float64))


def _relative(values: FloatArray) -> FloatArray:
    largest = float(values.max(initial=0.0))
    return values / largest if largest > 0 else values


def _unit(direction: ArrayLike) -> FloatArray:
    vector = np.asarray(direction, dtype=np.float64)
    length = float(np.linalg.norm(vector))
    if vector.shape != (3,) or not length > 0:
        raise ValueError(f"a direction must be three numbers, not all zero, got {np.asarray(direction).tolist()}")
    return np.asarray(vector / length)
