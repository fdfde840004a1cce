"""The usual path through the Brillouin zone, for the cell as it is given.

seekpath, which chooses it, is imported where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_SPELLED = {"GAMMA": "Γ", "SIGMA": "Σ", "DELTA": "Δ", "LAMBDA": "Λ"}


@dataclass(frozen=True)
class BandPath:
    """Straight pieces between points of high symmetry.

    Attributes:
        labels: names of both ends of each piece, such as ``("Γ", "X")``.
        q: (m, 3) wave vectors of each piece, reduced, both ends included.
        distances: (m,) 1/A of each piece, 2 pi included, counted along the whole path; jumps take no distance.
    """

    labels: tuple[tuple[str, str], ...]
    q: tuple[FloatArray, ...]
    distances: tuple[FloatArray, ...]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and names along the path; both names where the path jumps (``"U|K"``)."""
        found: list[tuple[float, str]] = [(float(self.distances[0][0]), self.labels[0][0])]
        for number, (piece, (_, end)) in enumerate(zip(self.distances, self.labels, strict=True)):
            following = self.labels[number + 1][0] if number + 1 < len(self.labels) else end
            found.append((float(piece[-1]), end if following == end else f"{end}|{following}"))
        return found


def band_path(atoms: Atoms, spacing: float = 0.025) -> BandPath:
    """Find seekpath's path (HPKOT) of a crystal, in the reciprocal basis of the cell that is given.

    Args:
        atoms: a crystal, best its primitive cell.
        spacing: 1/A, 2 pi included, between neighbouring wave vectors.

    Raises:
        ImportError: seekpath is not installed (``pip install seekpath``).
        ValueError: a spacing that is not positive.

    Source: Hinuma et al., Comput. Mater. Sci. 128, 140 (2017).

    Example:
        >>> from ase.build import bulk
        >>> band_path(bulk("MgO", "rocksalt", a=4.21)).labels[0]
        ('Γ', 'X')
    """
    if not spacing > 0:
        raise ValueError(f"the spacing of wave vectors must be positive, got {spacing} 1/A")
    try:
        import seekpath
    except ImportError as error:
        raise ImportError("paths through the Brillouin zone need seekpath: pip install seekpath") from error
    structure = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = seekpath.get_path_orig_cell(structure, symprec=1e-4)
    reciprocal = 2 * np.pi * np.linalg.inv(atoms.cell.array).T
    labels, q, distances = [], [], []
    start = 0.0
    for first, last in found["path"]:
        ends = np.array([found["point_coords"][first], found["point_coords"][last]], dtype=np.float64)
        length = float(np.linalg.norm((ends[1] - ends[0]) @ reciprocal))
        along = np.linspace(0, 1, max(2, round(length / spacing) + 1))
        labels.append((_name(first), _name(last)))
        q.append(ends[0] + along[:, None] * (ends[1] - ends[0]))
        distances.append(start + along * length)
        start += length
    return BandPath(tuple(labels), tuple(q), tuple(distances))


def _name(label: str) -> str:
    """Return a label of seekpath with Greek letters and subscripts: ``SIGMA_0`` is ``Σ₀``."""
    name, _, number = label.partition("_")
    return _SPELLED.get(name, name) + "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in number)
