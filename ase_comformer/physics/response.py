"""The linear response of a crystal to a field, a strain and displacements of its atoms, put together from its parts.

The electric enthalpy per cell, expanded to second order in displacements u, homogeneous strain eta and field E (Wu,
Vanderbilt, Hamann, Phys. Rev. B 72, 035105 (2005), eqs 1 to 30), has six blocks of second derivatives. ``combine``
lets the atoms follow (their Schur complement) and gives every relaxed-ion tensor, consistent with each other by
construction. Nothing here knows of networks or calculators: blocks in, tensors out.

Index letters: n atoms of the cell; I, J Voigt components xx, yy, zz, yz, xz, xy with engineering shear strain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import GPa, _e, _eps0
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Vacuum permittivity in e^2/(eV A) and one e/A^2 in C/m^2.
EPSILON_0 = _eps0 / _e * 1e-10
COULOMB_PER_SQUARE_METRE = _e * 1e20

#: eV/A^2: stiffness w0 at which the response of a mode is damped, w / (w^2 + w0^2) in place of 1 / w.
SOFTNESS = 0.05


@dataclass(frozen=True)
class ResponseBlocks:
    """Second derivatives of the enthalpy of one cell with n atoms, in the Cartesian frame of the atoms.

    Attributes:
        volume: A^3.
        force_constants: (n, 3, n, 3) eV/A^2 at q = 0 and zero macroscopic field.
        internal_strain: (n, 3, 6) eV/A, force on an atom per homogeneous strain at fixed fractional coordinates.
        clamped_elastic_tensor: (6, 6) GPa, stiffness with the atoms at fixed fractional coordinates.
        born_effective_charges: (n, 3, 3) e, [atom, field, displacement], or None where there is no charge response.
        dielectric_tensor: (3, 3) electronic, relative, or None.
        clamped_piezoelectric_tensor: (3, 6) C/m^2, proper, or None.
    """

    volume: float
    force_constants: FloatArray
    internal_strain: FloatArray
    clamped_elastic_tensor: FloatArray
    born_effective_charges: FloatArray | None = None
    dielectric_tensor: FloatArray | None = None
    clamped_piezoelectric_tensor: FloatArray | None = None


@dataclass(frozen=True)
class Modes:
    """Eigenmodes of the force constants without the three translations, softest first.

    Attributes:
        stiffness: (m,) eV/A^2.
        displacements: (m, n, 3) orthonormal.
        compliance: (m,) A^2/eV, 1 / stiffness, damped where it is small and zero where it is negative.
    """

    stiffness: FloatArray
    displacements: FloatArray
    compliance: FloatArray


@dataclass(frozen=True)
class Response:
    """Tensors of a crystal whose atoms follow field and strain; None where a block they need is missing.

    Attributes:
        elastic_tensor: (6, 6) GPa at constant field.
        elastic_tensor_fixed_displacement: (6, 6) GPa at constant electric displacement.
        compliance: (6, 6) 1/GPa at constant field.
        static_dielectric_tensor: (3, 3) at fixed strain, relative.
        free_dielectric_tensor: (3, 3) at fixed stress, relative.
        piezoelectric_tensor: (3, 6) e, C/m^2.
        piezoelectric_strain_tensor: (3, 6) d, pC/N, columns strain-like (shear counted twice).
        piezoelectric_g_tensor: (3, 6) g, V m/N.
        piezoelectric_h_tensor: (3, 6) h, V/m.
        ionic_dielectric_modes: (m,) trace/3 of what each mode adds to the static dielectric tensor.
        ionic_piezoelectric_modes: (m, 3, 6) C/m^2, what each mode adds to e.
        modes: of the atoms.
        soft_modes: indices of modes softer than ``SOFTNESS`` that carry polar or strain weight.
    """

    elastic_tensor: FloatArray
    modes: Modes
    soft_modes: tuple[int, ...]
    compliance: FloatArray
    static_dielectric_tensor: FloatArray | None = None
    free_dielectric_tensor: FloatArray | None = None
    piezoelectric_tensor: FloatArray | None = None
    piezoelectric_strain_tensor: FloatArray | None = None
    piezoelectric_g_tensor: FloatArray | None = None
    piezoelectric_h_tensor: FloatArray | None = None
    elastic_tensor_fixed_displacement: FloatArray | None = None
    ionic_dielectric_modes: FloatArray | None = None
    ionic_piezoelectric_modes: FloatArray | None = None


def modes_of_force_constants(force_constants: FloatArray, *, softness: float = SOFTNESS) -> Modes:
    """Diagonalise force constants (n, 3, n, 3) in eV/A^2 after the translations are projected out.

    Args:
        force_constants: need not obey the acoustic sum rule exactly.
        softness: eV/A^2, w0 of the damping w / (w^2 + w0^2); 0 gives the bare 1 / w of stable modes.
    """
    count = len(force_constants)
    matrix = force_constants.reshape(3 * count, 3 * count)
    translations = np.tile(np.eye(3), (count, 1)) / np.sqrt(count)
    # an orthonormal basis of all that moves atoms against each other
    relative = np.linalg.svd(translations, full_matrices=True)[0][:, 3:]
    values, vectors = np.linalg.eigh(relative.T @ ((matrix + matrix.T) / 2) @ relative)
    positive = np.maximum(values, 0.0)
    damped = positive / np.maximum(positive**2 + softness**2, np.finfo(float).tiny)
    return Modes(values, (relative @ vectors).T.reshape(-1, count, 3), damped)


def combine(blocks: ResponseBlocks, *, softness: float = SOFTNESS, weight: float = 1e-3) -> Response:
    """Let the atoms follow strain and field: relaxed-ion tensors from the blocks.

    C = C_clamped - L^T K^+ L / V, e = e_clamped + Z K^+ L / V, chi = chi_el + Z K^+ Z^T / (eps0 V), with K^+ the damped
    pseudo-inverse of ``modes_of_force_constants`` (Wu et al., eqs 15, 16, 23). Then d = e S, eps^T = eps^S + d e^T,
    C^D = C + e^T (eps^S)^-1 e, g = (eps^T)^-1 d, h = (eps^S)^-1 e.

    Args:
        blocks: of a crystal at rest.
        softness: eV/A^2, of the damping.
        weight: modes softer than ``softness`` are named in ``soft_modes`` where their coupling to strain (eV/A) or to
            a field (e) exceeds this; soft modes that nothing couples to do not matter.
    """
    volume = blocks.volume
    modes = modes_of_force_constants(blocks.force_constants, softness=softness)
    strain = np.einsum("mnx,nxI->mI", modes.displacements, blocks.internal_strain)
    softened = np.einsum("m,mI,mJ->IJ", modes.compliance, strain, strain) / (volume * GPa)
    elastic = blocks.clamped_elastic_tensor - softened
    compliance = np.linalg.pinv(elastic)
    coupling = np.abs(strain).max(axis=1, initial=0.0)
    if blocks.born_effective_charges is None or blocks.dielectric_tensor is None:
        return Response(elastic, modes, _soft(modes, coupling, softness, weight), compliance)
    charge = np.einsum("mnx,nix->mi", modes.displacements, blocks.born_effective_charges)
    coupling = np.maximum(coupling, np.abs(charge).max(axis=1, initial=0.0))
    ionic = np.einsum("m,mi,mj->mij", modes.compliance, charge, charge) / (EPSILON_0 * volume)
    static = blocks.dielectric_tensor + ionic.sum(axis=0)
    ionic_piezo = np.einsum("m,mi,mJ->miJ", modes.compliance, charge, strain) / volume * COULOMB_PER_SQUARE_METRE
    soft = _soft(modes, coupling, softness, weight)
    trace = np.trace(ionic, axis1=1, axis2=2) / 3
    if blocks.clamped_piezoelectric_tensor is None:
        return Response(
            elastic, modes, soft, compliance, static_dielectric_tensor=static,
            ionic_dielectric_modes=trace, ionic_piezoelectric_modes=ionic_piezo,
        )  # fmt: skip
    stress_tensor = blocks.clamped_piezoelectric_tensor + ionic_piezo.sum(axis=0)
    derived = derived_piezoelectric_tensors(stress_tensor, elastic, static)
    return Response(
        elastic,
        modes,
        soft,
        compliance,
        static_dielectric_tensor=static,
        free_dielectric_tensor=derived.free_dielectric_tensor,
        piezoelectric_tensor=stress_tensor,
        piezoelectric_strain_tensor=derived.strain_tensor,
        piezoelectric_g_tensor=derived.g_tensor,
        piezoelectric_h_tensor=derived.h_tensor,
        elastic_tensor_fixed_displacement=derived.elastic_tensor_fixed_displacement,
        ionic_dielectric_modes=trace,
        ionic_piezoelectric_modes=ionic_piezo,
    )


def _soft(modes: Modes, coupling: FloatArray, softness: float, weight: float) -> tuple[int, ...]:
    """Name the modes whose response is damped or lost although strain or field act on them."""
    return tuple(int(k) for k in np.flatnonzero((modes.stiffness < softness) & (coupling > weight)))


@dataclass(frozen=True)
class PiezoelectricTensors:
    """What e, C at constant field and the dielectric tensor at constant strain imply.

    Attributes:
        strain_tensor: (3, 6) d, pC/N.
        free_dielectric_tensor: (3, 3) at constant stress, relative.
        elastic_tensor_fixed_displacement: (6, 6) GPa.
        g_tensor: (3, 6) V m/N.
        h_tensor: (3, 6) V/m.
    """

    strain_tensor: FloatArray
    free_dielectric_tensor: FloatArray
    elastic_tensor_fixed_displacement: FloatArray
    g_tensor: FloatArray
    h_tensor: FloatArray


def derived_piezoelectric_tensors(
    piezoelectric_tensor: FloatArray, elastic_tensor: FloatArray, static_dielectric_tensor: FloatArray
) -> PiezoelectricTensors:
    """Convert e (3, 6) C/m^2 to d, g, h and the tensors at constant stress and displacement (IEEE 176-1987, table 3).

    Args:
        piezoelectric_tensor: e at constant field.
        elastic_tensor: (6, 6) GPa at constant field, positive definite.
        static_dielectric_tensor: (3, 3) at constant strain, relative.

    Example:
        >>> import numpy as np
        >>> e = np.zeros((3, 6)); e[2, 2] = 1.5
        >>> found = derived_piezoelectric_tensors(e, np.diag([400.0] * 3 + [120.0] * 3), 9.0 * np.eye(3))
        >>> round(float(found.strain_tensor[2, 2]), 2)
        3.75
    """
    # as ``combine``: directions without any stiffness (atoms too far apart to see each other) do not yield
    d_si = piezoelectric_tensor @ np.linalg.pinv(elastic_tensor * 1e9)  # C/N
    strained = static_dielectric_tensor * _eps0
    free = strained + d_si @ piezoelectric_tensor.T
    h: FloatArray = np.asarray(np.linalg.solve(strained, piezoelectric_tensor), dtype=np.float64)
    g: FloatArray = np.asarray(np.linalg.solve(free, d_si), dtype=np.float64)
    return PiezoelectricTensors(
        strain_tensor=d_si * 1e12,
        free_dielectric_tensor=free / _eps0,
        elastic_tensor_fixed_displacement=elastic_tensor + piezoelectric_tensor.T @ h * 1e-9,
        g_tensor=g,
        h_tensor=h,
    )


def coupling_factors(
    piezoelectric_tensor: FloatArray, elastic_tensor: FloatArray, static_dielectric_tensor: FloatArray
) -> dict[str, float]:
    """Electromechanical coupling factors by name, for a polar axis along z (IEEE 176-1987, section 5).

    k33 = d33 / sqrt(s33 eps33^T), k31 = d31 / sqrt(s11 eps33^T), k15 = d15 / sqrt(s55 eps11^T) and the thickness
    coupling kt = e33 / sqrt(C33^D eps33^S), all without unit and without sign.

    Args:
        piezoelectric_tensor: e (3, 6) C/m^2 at constant field.
        elastic_tensor: (6, 6) GPa at constant field.
        static_dielectric_tensor: (3, 3) at constant strain, relative.
    """
    derived = derived_piezoelectric_tensors(piezoelectric_tensor, elastic_tensor, static_dielectric_tensor)
    compliance = np.linalg.pinv(elastic_tensor * 1e9)
    d, free = derived.strain_tensor * 1e-12, derived.free_dielectric_tensor * _eps0
    stiffened = derived.elastic_tensor_fixed_displacement[2, 2] * 1e9 * static_dielectric_tensor[2, 2] * _eps0
    return {
        "k33": float(abs(d[2, 2]) / np.sqrt(compliance[2, 2] * free[2, 2])),
        "k31": float(abs(d[2, 0]) / np.sqrt(compliance[0, 0] * free[2, 2])),
        "k15": float(abs(d[0, 4]) / np.sqrt(compliance[4, 4] * free[0, 0])),
        "kt": float(abs(piezoelectric_tensor[2, 2]) / np.sqrt(stiffened)),
    }
