"""Crystal axes of IEEE Standard 176-1987 from the lattice and the point group of a structure.

The axes are built from the symmetry elements and the shortest lattice vectors, so they depend neither on the
cell nor on the orientation in which a crystal is given. Where the standard leaves a choice (signs, equivalent
or equally long axes), all admissible frames are enumerated and the one closest to the input frame is taken.
Axes are unit vectors, rows of a matrix, in the Cartesian frame of the input. Tensors are turned in
``tensors``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import ase
import numpy as np
from ase.geometry import minkowski_reduce

from ase_comformer.crystals.space_group import analyse_space_group

#: Lengths closer than this (relative) count as equal, angles closer to 90 degrees than this (cosine) as
#: right.
_TIE = 1e-3


@dataclass(frozen=True)
class IEEEAxes:
    """Axes of IEEE 176-1987 of one crystal.

    Attributes:
        rotation: (3, 3) rows X, Y, Z in the input frame, right-handed; ``rotation @ v`` are the IEEE
        components of v. choices: (c, 3, 3) rotations from the IEEE frame given to every frame that the rules
        admit as well. crystal_system: "triclinic" to "cubic".
        point_group: international symbol.
        note: remark on ties between lattice vectors, empty without.
    """

    rotation: np.ndarray
    choices: np.ndarray
    crystal_system: str
    point_group: str
    note: str


def ieee_axes(atoms: ase.Atoms, symprec: float = 1e-2) -> IEEEAxes:
    """Axes of the IEEE frame of a crystal; ``symprec`` (A) is the tolerance of the space-group search.

    - cubic: the cube axes. Tetragonal, trigonal, hexagonal: Z the main axis, X the shortest lattice vector
      normal to Z; but X along a two-fold axis in -42m and 32 and normal to a mirror in 3m and -6m2, whatever
      the setting.
    - orthorhombic: c < a < b along Z, X, Y; in mm2 Z is the polar axis and a < b.
    - monoclinic: Y the unique axis, Z = c the shortest and a the next vector normal to it, beta obtuse.
    - triclinic: c < a < b the shortest vectors, alpha and beta obtuse, Z along c, Y along c x a.
    - rhombohedral lattices: hexagonal axes in the obverse setting, which the standard does not fix.

    Source: ANSI/IEEE Std 176-1987, section 3; signs that it ties to measured constants stay open
    (``choices``).
    """
    group = analyse_space_group(atoms, symprec)
    cell, _ = minkowski_reduce(group.primitive.cell.array)
    coefficients = np.array([n for n in product(range(-3, 4), repeat=3) if any(n)])
    lattice = coefficients @ np.asarray(cell)
    lattice = lattice[np.argsort(np.linalg.norm(lattice, axis=1), kind="stable")]
    system, rotations = group.crystal_system, group.rotations
    if system == "triclinic":
        frames = _triclinic(lattice)
    elif system == "monoclinic":
        frames = _monoclinic(lattice, _axes(rotations, 2)[0])
    elif system == "orthorhombic":
        frames = _orthorhombic(lattice, rotations)
    elif system == "cubic":
        four = _axes(rotations, 4)
        cube = four if len(four) else _axes(rotations, 2)
        frames = [np.array(triple) for triple in permutations(cube)]
        frames = [signs[:, None] * frame for frame in frames for signs in _SIGNS]
    else:
        frames = _uniaxial(lattice, rotations, system)
    unique: list[np.ndarray] = []
    for frame in frames:
        if np.linalg.det(frame) > 0 and not any(np.allclose(frame, other, atol=1e-6) for other in unique):
            unique.append(frame)
    # Rounded, so that noise does not decide between frames that are equally close.
    best = max(unique, key=lambda frame: round(float(np.trace(frame)), 6))
    note = ""
    expected = {"triclinic": 1, "monoclinic": 2, "orthorhombic": 4}.get(system)
    if expected is not None and len(unique) > expected:
        note = f"lattice vectors tie within {_TIE:g}, so their order or signs are open"
    return IEEEAxes(best, np.array([frame @ best.T for frame in unique]), system, group.point_group, note)


_SIGNS = np.array(list(product((1.0, -1.0), repeat=3)))


def _axes(rotations: np.ndarray, order: int, kind: str = "any") -> list[np.ndarray]:
    """Unit axes (one sign each) of the elements of this rotation order; ``kind`` "proper", "improper" or "any"."""
    found: list[np.ndarray] = []
    trace = 1.0 + 2.0 * np.cos(2.0 * np.pi / order)
    for rotation in rotations:
        sign = np.sign(np.linalg.det(rotation))
        if abs(np.trace(sign * rotation) - trace) > 1e-3 or (kind != "any" and (sign > 0) != (kind == "proper")):
            continue
        values, vectors = np.linalg.eigh(rotation * sign + (rotation * sign).T)
        axis = vectors[:, np.argmax(values)]
        if all(abs(axis @ other) < 0.99 for other in found):
            found.append(axis)
    return found


def _normal_to(lattice: np.ndarray, axis: np.ndarray) -> np.ndarray:
    return lattice[np.abs(lattice @ axis) < 1e-4 * np.linalg.norm(lattice, axis=1)]


def _shortest(vectors: np.ndarray) -> np.ndarray:
    """All vectors as long as the first, which must be the shortest."""
    lengths = np.linalg.norm(vectors, axis=1)
    return vectors[lengths < lengths[0] * (1 + _TIE)]


def _independent(vectors: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """The vectors outside the span of ``others``."""
    basis, _ = np.linalg.qr(np.array(others).T)
    rest = vectors - vectors @ basis @ basis.T
    return vectors[np.linalg.norm(rest, axis=1) > 1e-4 * np.linalg.norm(vectors, axis=1)]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _acute(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(_unit(first) @ _unit(second) > _TIE)


def _triclinic(lattice: np.ndarray) -> list[np.ndarray]:
    frames = []
    for c in _shortest(lattice):
        for a in _shortest(_independent(lattice, c)):
            for b in _shortest(_independent(lattice, c, a)):
                if np.linalg.det([a, b, c]) > 0 and not _acute(b, c) and not _acute(a, c):
                    z, y = _unit(c), _unit(np.cross(c, a))
                    frames.append(np.array([np.cross(y, z), y, z]))
    return frames


def _monoclinic(lattice: np.ndarray, unique_axis: np.ndarray) -> list[np.ndarray]:
    frames = []
    plane = _normal_to(lattice, unique_axis)
    for c in _shortest(plane):
        for a in _shortest(_independent(plane, c)):
            if not _acute(a, c):
                z, y = _unit(c), _unit(np.cross(c, a))
                frames.append(np.array([np.cross(y, z), y, z]))
    return frames


def _orthorhombic(lattice: np.ndarray, rotations: np.ndarray) -> list[np.ndarray]:
    axes = np.array(_axes(rotations, 2))
    polar = _axes(rotations, 2, "proper")
    along = [np.linalg.norm(_parallel_to(lattice, axis), axis=1).min() for axis in axes]
    frames = []
    for order in permutations(range(3)):
        a, b, c = (along[i] for i in order)
        x, y, z = axes[list(order)]
        # mm2 keeps Z on the polar axis, whatever its length.
        z_allowed = abs(z @ polar[0]) > 0.99 if len(polar) == 1 else c < a * (1 + _TIE)
        if z_allowed and a < b * (1 + _TIE):
            frames += [signs[:, None] * np.array([x, y, z]) for signs in _SIGNS]
    return frames


def _parallel_to(lattice: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Lattice vectors parallel to ``axis``."""
    return lattice[np.abs(lattice @ axis) > (1 - 1e-8) * np.linalg.norm(lattice, axis=1)]


def _uniaxial(lattice: np.ndarray, rotations: np.ndarray, system: str) -> list[np.ndarray]:
    main = _axes(rotations, 4 if system == "tetragonal" else 3)[0]
    plane = _shortest(_normal_to(lattice, main))
    mirrors = [axis for axis in _axes(rotations, 2, "improper") if abs(axis @ main) < 0.5]
    two_fold = [axis for axis in _axes(rotations, 2, "proper") if abs(axis @ main) < 0.5]
    special = mirrors if mirrors and system != "tetragonal" else two_fold
    if special and not any(abs(_unit(plane[0]) @ axis) > 0.99 for axis in special):
        plane = np.array([sign * axis for axis in special for sign in (1.0, -1.0)])
    frames = []
    for z in (main, -main):
        for vector in plane:
            x = _unit(vector - (vector @ z) * z)
            y = np.cross(z, x)
            if system != "trigonal" or _is_obverse(lattice, x, y, z):
                frames.append(np.array([x, y, z]))
    return frames


def _is_obverse(lattice: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> bool:
    """False for the reverse setting of a rhombohedral lattice; primitive hexagonal lattices have no such setting."""
    heights = lattice @ z
    length = np.linalg.norm(_shortest(_normal_to(lattice, z))[0])
    tilted = lattice[(heights > 1e-4) & (np.linalg.norm(np.cross(lattice, z), axis=1) < 0.9 * length)]
    tilted = tilted[np.linalg.norm(np.cross(tilted, z), axis=1) > 0.1 * length]
    if len(tilted) == 0:
        return True
    # (2a + b + c) / 3 lies 30 degrees from X towards Y; in the reverse setting that direction belongs to -Z.
    lowest = tilted[tilted @ z < (tilted @ z).min() * (1 + _TIE)]
    target = np.cos(np.pi / 6) * x + np.sin(np.pi / 6) * y
    return bool(np.max(lowest @ target) > 0.9 * np.linalg.norm(np.cross(lowest[0], z)))
