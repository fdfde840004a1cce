"""Pairs of different crystals that incomplete descriptions of geometry cannot tell apart.

Every pair comes with the cut-off (A) below which its neighbours are taken, and the reason why it is hard. Sources:
stackings of close-packed layers, whose first two shells agree; environments of four neighbours with the same distances
and the same set of angles (Pozdnyakov, Willatt, Bartok, Ortner, Csanyi, Ceriotti, Phys. Rev. Lett. 125, 166001 (2020)),
solved for here and repeated periodically (Pozdnyakov, Ceriotti, arXiv:2201.07136); Pauling and Shappell's homometric
crystals (Z. Kristallogr. 75, 128 (1930); arXiv:2509.15088); left and right quartz.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from numpy.typing import NDArray
from scipy.optimize import least_squares

FloatArray = NDArray[np.float64]
_BONDS = list(combinations(range(4), 2))


@dataclass(frozen=True)
class Pair:
    """Two crystals and how they are compared.

    Attributes:
        cutoff: A, for neighbours.
        mirror_images: whether a mirror maps one onto the other.
        same_parts: whether the parts into which the graphs fall are congruent, though the crystals are not.
    """

    name: str
    first: Atoms
    second: Atoms
    cutoff: float
    mirror_images: bool = False
    same_parts: bool = False


def close_packed(stacking: str, distance: float) -> Atoms:
    """Close-packed layers of copper in the order of ``stacking``, such as "ABC" (fcc), with ideal spacing."""
    spacing, cell = distance * np.sqrt(2 / 3), distance * np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 0]])
    shift = {"A": (0.0, 0.0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}
    cell[2, 2] = spacing * len(stacking)
    scaled = [(*shift[layer], index / len(stacking)) for index, layer in enumerate(stacking)]
    return Atoms(f"Cu{len(stacking)}", scaled_positions=scaled, cell=cell, pbc=True)


def tetrahedral_stack(stacking: str, bond: float) -> Atoms:
    """Silicon carbide from double layers with ideal tetrahedra: "ABC" is zincblende, "AB" wurtzite."""
    metal = close_packed(stacking, bond * np.sqrt(8 / 3))
    carbon = metal.copy()
    carbon.positions[:, 2] += bond
    metal.symbols[:], carbon.symbols[:] = "Si", "C"
    return metal + carbon


def environments_with_equal_angles(seed: int) -> tuple[FloatArray, FloatArray]:
    """Two sets of four unit vectors (4, 3) with the same six angles, which no rotation or mirror maps onto each other.

    Six cosines belong to four vectors in space where the determinant of their Gram matrix vanishes; they are chosen so
    that it vanishes for two assignments of the cosines to the pairs. All angles are above 78 degrees, so that the four
    are not each other's neighbours.
    """
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(6)
        start = np.clip(-1 / 3 + 0.25 * random.normal(size=6), -0.95, 0.42)
        found = least_squares(_determinants, start, args=(order,), xtol=1e-15, ftol=1e-15, gtol=1e-15).x
        spectra = [np.linalg.eigvalsh(_gram(cosines)) for cosines in (found, found[order])]
        spread = np.diff(np.sort(found)).min()
        if found.max() < 0.2 and spread > 0.03 and all(abs(w[0]) < 1e-12 and w[1] > 0.05 for w in spectra):
            first, second = (_vectors(cosines) for cosines in (found, found[order]))
            if abs(_triple_products(first) - _triple_products(second)).max() > 0.02:
                return first, second


def _gram(cosines: FloatArray) -> FloatArray:
    made = np.eye(4)
    for (i, j), value in zip(_BONDS, cosines, strict=True):
        made[i, j] = made[j, i] = value
    return made


def _determinants(cosines: FloatArray, order: NDArray[np.int64]) -> FloatArray:
    return np.array([np.linalg.det(_gram(cosines)), np.linalg.det(_gram(cosines[order]))])


def _vectors(cosines: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(_gram(cosines))
    return vectors[:, 1:] * np.sqrt(values[1:])


def _triple_products(vectors: FloatArray) -> FloatArray:
    """Volumes of the four parallelepipeds, sorted: they differ where two sets are not congruent."""
    return np.sort([abs(np.linalg.det(vectors[list(three)])) for three in combinations(range(4), 3)])


def molecules_in_a_box(directions: FloatArray, bond: float, box: tuple[float, float, float]) -> Atoms:
    """Return carbon with hydrogen in the given directions, one molecule in every orthorhombic cell."""
    positions = np.vstack([np.zeros(3), bond * directions])
    return Atoms(f"CH{len(directions)}", positions, cell=box, pbc=True)


def linked_molecules(directions: FloatArray, bond: float, box: float) -> Atoms:
    """Return the molecules of a cubic box, linked into a network by neon on the edges of the cell."""
    made = molecules_in_a_box(directions, bond, (box, box, box))
    steps = np.arange(bond, box - 0.6 * bond, bond)
    links = [axis * step * (box / (len(steps) + 1)) / bond for axis in np.eye(3) for step in steps]
    return made + Atoms(f"Ne{len(links)}", links)


def bixbyite_metals(u: float) -> Atoms:
    """Metal atoms of bixbyite, Ia-3 with 8b and 24d (u, 0, 1/4): those of u and -u have the same distances."""
    return crystal(["Mn", "Mn"], [(0.25, 0.25, 0.25), (u, 0, 0.25)], spacegroup=206, cellpar=[9.4] * 3 + [90] * 3)


def quartz(*, left: bool) -> Atoms:
    """Alpha-quartz, left or right: the second is the first seen in a mirror."""
    made = crystal(
        ["Si", "O"],
        [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.7858)],
        spacegroup=154,
        cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
    )
    return mirrored(made) if left else made


def mirrored(atoms: Atoms) -> Atoms:
    """The crystal with z turned into -z."""
    made = atoms.copy()
    made.set_cell(atoms.cell.array * [1, 1, -1])
    made.positions = atoms.positions * [1, 1, -1]
    return made


def chiral_triclinic() -> Atoms:
    """Four different atoms in a triclinic cell, without any symmetry."""
    scaled = [(0.05, 0.1, 0.0), (0.5, 0.45, 0.1), (0.2, 0.6, 0.55), (0.7, 0.15, 0.6)]
    return Atoms("NaClOS", scaled_positions=scaled, cell=[[4.4, 0, 0], [0.7, 4.9, 0], [0.4, 1.1, 5.3]], pbc=True)


def pairs() -> list[Pair]:
    """All pairs, made anew."""
    first, second = environments_with_equal_angles(seed=1)
    third, fourth = environments_with_equal_angles(seed=2)
    turned = first @ _rotation(0.7).T
    corners = np.array([[1, 1, 1], [-1, -1, 1], [1, 1, 1], [-1, -1, -1]]) / np.sqrt(3)
    box = (9.0, 10.0, 11.0)
    cubic = (10.0, 10.0, 10.0)
    return [
        Pair("fcc and hcp", close_packed("ABC", 3.2), close_packed("AB", 3.2), 5.0),
        Pair("fcc and double hcp", close_packed("ABC", 3.2), close_packed("ABAC", 3.2), 5.0),
        Pair("zincblende and wurtzite", tetrahedral_stack("ABC", 1.9), tetrahedral_stack("AB", 1.9), 3.13),
        Pair("silicon carbide 4H and 6H", tetrahedral_stack("ABAC", 1.9), tetrahedral_stack("ABCACB", 1.9), 3.13),
        Pair("equal angles, in a box", *(molecules_in_a_box(d, 2.0, cubic) for d in (first, second)), 2.5),
        Pair("equal angles, second", *(molecules_in_a_box(d, 2.0, box) for d in (third, fourth)), 2.5),
        Pair("equal angles, linked", *(linked_molecules(d, 2.0, 10.0) for d in (first, second)), 2.5),
        Pair(
            "molecule turned in its box",
            *(molecules_in_a_box(d, 2.0, box) for d in (first, turned)),
            2.5,
            same_parts=True,
        ),
        Pair("signs of cosines", *(molecules_in_a_box(d, 1.2, box) for d in (corners[:2], corners[2:])), 1.9),
        Pair("Pauling's homometric crystals", bixbyite_metals(0.03), bixbyite_metals(-0.03), 5.0),
        Pair("left and right quartz", quartz(left=True), quartz(left=False), 4.0, mirror_images=True),
        Pair(
            "triclinic and its mirror image", chiral_triclinic(), mirrored(chiral_triclinic()), 5.0, mirror_images=True
        ),
        Pair("rocksalt and zincblende", bulk("MgO", "rocksalt", a=4.2), bulk("MgO", "zincblende", a=4.2), 5.0),
    ]


def _rotation(angle: float) -> FloatArray:
    """Turn about the diagonal (1, 1, 1) by an angle in radians."""
    axis = np.ones(3) / np.sqrt(3)
    cross = np.cross(np.eye(3), axis)
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)
