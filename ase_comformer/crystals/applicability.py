"""Whether tensors per volume mean anything for a structure: bulk crystals against molecules and layers in a vacuum box.

The dielectric tensor or the elastic constants of a monolayer in a box are numbers that depend on the box. Structures
of this kind are found by what hangs together: atoms are joined where they are bonded (covalent radii) or in contact
(closer than ``CONTACT``), and the joined atoms extend in 3 directions (bulk), 2 (slab), 1 (wire) or 0 (molecule).
Layered and molecular crystals are bulk, since their layers and molecules touch.

Source of the rank of a component: Mounet et al., Nat. Nanotechnol. 13, 246 (2018); Larsen et al., Phys. Rev. Materials
3, 034003 (2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.neighbour_search import pairs_within

#: A: atoms closer than this touch. Layers of graphite are 3.4 A apart, iodine atoms of PbI2 4.2 A, xenon atoms 4.3 A.
CONTACT = 5.0
#: Bonds are shorter than this times the sum of the covalent radii.
BOND_FACTOR = 1.25

_KINDS = {0: "molecules or isolated atoms", 1: "a wire or chain", 2: "a monolayer or slab"}


@dataclass(frozen=True)
class Applicability:
    """What a structure is, as far as tensors per volume are concerned.

    Attributes:
        dimensionality: 3 for bulk crystals, 2, 1 or 0 for slabs, wires and molecules in a vacuum box: directions in
            which atoms that are bonded or in contact extend.
        bonded_dimensionality: the same for bonds alone: 2 for graphite, 0 for solid CO2.
        void_width: A, the widest empty slab between planes of atoms parallel to two lattice vectors.
        status: an English sentence that says why tensors per volume have no meaning, empty for bulk crystals.
    """

    dimensionality: int
    bonded_dimensionality: int
    void_width: float
    status: str

    @property
    def is_bulk(self) -> bool:
        """Whether the structure is a bulk crystal, so that tensors per volume mean something."""
        return self.dimensionality == 3


def assess_applicability(atoms: Any) -> Applicability:
    """Find out whether a structure is a bulk crystal or something in a vacuum box.

    Args:
        atoms: a structure with any ``pbc``, N atoms, or pymatgen's; directions without periodicity count as vacuum.

    Returns:
        Dimensionality, empty width and a sentence for what is no bulk crystal.

    Raises:
        InvalidStructureError: as :func:`pairs_within`.

    Example:
        >>> from ase.build import bulk, mx2
        >>> assess_applicability(bulk("NaCl", "rocksalt", a=5.64)).dimensionality
        3
        >>> layer = mx2("MoS2", vacuum=10.0)
        >>> layer.pbc = True
        >>> assess_applicability(layer).dimensionality
        2
    """
    atoms = as_atoms(atoms)
    radii = covalent_radii[np.clip(atoms.numbers, 0, len(covalent_radii) - 1)]
    reach = max(CONTACT, 2 * BOND_FACTOR * float(radii.max(initial=0.0)))
    pairs = pairs_within(atoms, reach, both_directions=False)
    distance = pairs.distance
    bonded = distance < BOND_FACTOR * (radii[pairs.receiver] + radii[pairs.sender])
    touching = bonded | (distance < CONTACT)
    dimensionality = _dimensionality(len(atoms), pairs.receiver, pairs.sender, pairs.image, touching)
    bonded_dimensionality = _dimensionality(len(atoms), pairs.receiver, pairs.sender, pairs.image, bonded)
    width = _void_width(atoms)
    return Applicability(dimensionality, bonded_dimensionality, width, _status(atoms, dimensionality, width))


def _dimensionality(
    count: int,
    receiver: NDArray[np.int64],
    sender: NDArray[np.int64],
    image: NDArray[np.int64],
    chosen: NDArray[np.bool_],
) -> int:
    """Largest number of directions in which any set of atoms joined by the chosen pairs extends."""
    receiver, sender, image = receiver[chosen], sender[chosen], image[chosen]
    if count == 1:  # all pairs lead to images of the one atom
        return _rank(image)
    # The tree of each set takes one pair of any two atoms; which image that leads to is looked up by the code i N + j.
    code = np.concatenate([receiver * count + sender, sender * count + receiver])
    code, first = np.unique(code, return_index=True)
    step = np.concatenate([image, -image])[first]
    begin = np.searchsorted(code, np.arange(count + 1) * count).tolist()
    partner = (code % count).tolist()
    label, offset, best = np.full(count, -1), np.zeros((count, 3), dtype=np.int64), 0
    # Breadth first, by hand: scipy.sparse takes a tenth of a second to import, and most crystals have few atoms.
    for root in range(count):
        if label[root] >= 0:
            continue
        label[root], reached = root, [root]
        for atom in reached:
            for pair in range(begin[atom], begin[atom + 1]):
                other = partner[pair]
                if label[other] < 0:
                    label[other] = root
                    offset[other] = offset[atom] + step[pair]
                    reached.append(other)
        inside = label[receiver] == root
        # Going out along a pair and back along the tree leads to another image of the set.
        best = max(best, _rank(offset[receiver[inside]] + image[inside] - offset[sender[inside]]))
        if best == 3:
            break
    return best


def _rank(vectors: NDArray[np.int64]) -> int:
    """Number of linearly independent ones among integer vectors (M, 3)."""
    return int(np.linalg.matrix_rank((vectors.T @ vectors).astype(np.float64))) if len(vectors) else 0


def _void_width(atoms: Atoms) -> float:
    """A, the widest gap between neighbouring atoms along the normals of the three faces of the cell."""
    if not atoms.pbc.any():
        return float("inf")
    reciprocal = np.linalg.inv(atoms.cell.complete().array)  # columns
    heights = 1.0 / np.linalg.norm(reciprocal, axis=0)
    widest = 0.0
    for axis in range(3):
        if not atoms.pbc[axis]:
            return float("inf")
        fractions = np.sort((atoms.positions @ reciprocal[:, axis]) % 1.0)
        gaps = np.diff(fractions, append=fractions[0] + 1.0)
        widest = max(widest, float(gaps.max()) * float(heights[axis]))
    return widest


def _status(atoms: Atoms, dimensionality: int, width: float) -> str:
    if dimensionality == 3:
        return ""
    gap = f"separated by empty slabs of {width:.1f} Å" if np.isfinite(width) else "surrounded by vacuum"
    return (
        f"{atoms.get_chemical_formula()} is {_KINDS[dimensionality]} {gap}, no bulk crystal: tensors per volume "
        "(dielectric, elastic, piezoelectric) depend on the size of the box and have no meaning of their own."
    )
