"""The documented (Voigt) forms that tensors come in.

Index pairs that may be exchanged are one axis of six: xx, yy, zz, yz, xz, xy. ``tensors.voigt`` converts.
"""

from __future__ import annotations

#: name -> (number of plain vector axes, number of Voigt axes, factor of the shear components in Voigt form).
VOIGT_KINDS: dict[str, tuple[int, int, int]] = {
    "stress": (0, 1, 1),
    "strain": (0, 1, 2),
    "stiffness": (0, 2, 1),
    "compliance": (0, 2, 2),
    "piezoelectric_stress": (1, 1, 1),
    "piezoelectric_strain": (1, 1, 2),
}
