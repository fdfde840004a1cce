"""How far soft modes can be trusted with a tensor: one number per crystal, continuous in everything it depends on.

Where a mode that field or strain act on is soft, the response 1 / w of the atoms is as uncertain as the stiffness w,
and the response matrix is no better than a guess. ``trust`` falls from one to zero as the softest such mode does;
modes that nothing acts on do not matter, and a mode fades out as its coupling does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import GPa
from numpy.typing import NDArray

from ase_comformer.physics.response import (
    COULOMB_PER_SQUARE_METRE,
    EPSILON_0,
    ResponseBlocks,
    modes_of_force_constants,
)
from ase_comformer.tensors.voigt import voigt_to_mandel

FloatArray = NDArray[np.float64]

#: e and eV/A: mode charges and couplings to strain at which a mode counts half.
CHARGE, STRAIN = 0.3, 1.0
#: What the atoms have to follow for a tensor: a field, a strain or both.
ACTING = ("field", "strain", "both")
#: eV/A^2: a stiffness this small, or unstable by as much, could as well be this large.
UNSURE = 0.02


def unresolved(blocks: ResponseBlocks, acting: str) -> FloatArray:
    """Sum up what damping leaves out of the response of soft and unstable modes, a bound on how wrong it may be.

    The compliance 1 / max(|w|, ``UNSURE``) in place of the damped one, in the documented form and unit: of the static
    dielectric tensor for "field" (3, 3), the elastic tensor for "strain" (6, 6), the piezoelectric tensor for "both"
    (3, 6).

    Args:
        blocks: of the crystal, with Born charges where a field acts.
        acting: one of ``ACTING``.
    """
    modes = modes_of_force_constants(blocks.force_constants)
    missing = 1.0 / np.maximum(np.abs(modes.stiffness), UNSURE) - modes.compliance
    strain = np.einsum("mnx,nxI->mI", modes.displacements, blocks.internal_strain)
    if acting == "strain":
        return np.einsum("m,mI,mJ->IJ", missing, strain, strain) / (blocks.volume * GPa)
    assert blocks.born_effective_charges is not None
    charge = np.einsum("mnx,nix->mi", modes.displacements, blocks.born_effective_charges)
    if acting == "field":
        return np.einsum("m,mi,mj->ij", missing, charge, charge) / (EPSILON_0 * blocks.volume)
    return np.einsum("m,mi,mJ->iJ", missing, charge, strain) / blocks.volume * COULOMB_PER_SQUARE_METRE


@dataclass(frozen=True)
class ModeCouplings:
    """Modes of a crystal and how strongly field and strain act on them.

    Attributes:
        stiffness: (m,) eV/A^2, without the translations, negative for unstable modes.
        charge: (m,) e, length of the mode effective charge; zeros where Born charges are missing.
        strain: (m,) eV/A, Frobenius norm of the coupling to homogeneous strain.
    """

    stiffness: FloatArray
    charge: FloatArray
    strain: FloatArray

    @classmethod
    def of(cls, blocks: ResponseBlocks) -> ModeCouplings:
        """Project the couplings of a crystal's atoms onto its modes."""
        modes = modes_of_force_constants(blocks.force_constants)
        # in the Mandel form the norm is that of the full tensor, which no rotation changes
        internal_strain = voigt_to_mandel(blocks.internal_strain, "stress")
        strain = np.einsum("mnx,nxI->mI", modes.displacements, internal_strain)
        charge = np.zeros((len(strain), 3))
        if blocks.born_effective_charges is not None:
            charge = np.einsum("mnx,nix->mi", modes.displacements, blocks.born_effective_charges)
        return cls(modes.stiffness, np.linalg.norm(charge, axis=1), np.linalg.norm(strain, axis=1))

    def importance(self, acting: str) -> FloatArray:
        """(m,) between zero and one, how much each mode matters to what ``acting`` names (one of ``ACTING``)."""
        of_charge = self.charge**2 / (self.charge**2 + CHARGE**2)
        of_strain = self.strain**2 / (self.strain**2 + STRAIN**2)
        return {"field": of_charge, "strain": of_strain, "both": of_charge * of_strain}[acting]

    def trust(self, acting: str, stiffness: float) -> float:
        """Between zero and one: the least over modes of 1 - importance (1 - w^2 / (w^2 + w0^2)), w0 = ``stiffness``.

        Example:
            >>> import numpy as np
            >>> couplings = ModeCouplings(np.array([0.1, 4.0]), np.array([0.0, 2.0]), np.zeros(2))
            >>> round(couplings.trust("field", 0.5), 2)
            0.98
        """
        stable = np.maximum(self.stiffness, 0.0) ** 2
        reliable = stable / np.maximum(stable + stiffness**2, np.finfo(float).tiny)
        return float((1.0 - self.importance(acting) * (1.0 - reliable)).min(initial=1.0))

    def softest(self, acting: str) -> float:
        """eV/A^2, stiffness of the softest mode that counts at least half; infinite where there is none."""
        return float(self.stiffness[self.importance(acting) >= 0.5].min(initial=np.inf))
