"""The neighbour search of the package: every pair of atoms within a cut-off, whatever the cell looks like.

The pairs come from vesin. Around it, cells are made harmless first: the cost of a search grows with the number of
periodic images within the cut-off, which a skewed cell makes large for no reason (it is reduced, and the images are
given in the cell that was passed in) and a nearly flat or very thin one makes absurd (it is refused, with the number).
Wide empty space in directions without periodicity, which would be divided into boxes too, is folded.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from vesin import NeighborList

from ase_comformer.crystals.lattice_reduction import reduced_cell
from ase_comformer.errors import InvalidStructureError

#: Periodic images, the cell itself included, up to which a cell is searched as it is (heights above a third of the
#: cut-off).
_FEW_IMAGES = 7**3
#: Images that even a reduced cell must not exceed. A crystal of one atom per A^3, ten times as dense as diamond, has
#: some thousand within 6 A; a wire or needle with a period of 0.1 A as many.
MOST_IMAGES = 20_000
#: A: coordinates beyond this have lost the digits that forces need.
FARTHEST_COORDINATE = 1e6
#: Neighbours of an atom, on the average, that a search may give: one atom per 0.5 A^3 has some 1,800 within 6 A.
MOST_NEIGHBOURS = 6_000
#: Boxes of one cut-off that a search may be divided into; vesin's own limit is 100,000, where some versions divide by
#: zero if one direction has a single box.
_MOST_BOXES = 50_000
#: Atoms above which crowding is looked for before the search, which would be long and fill the memory.
_MANY_ATOMS = 2_000


class Pairs(NamedTuple):
    """Directed pairs of atoms within the cut-off.

    Attributes:
        receiver: (E,) atom at the origin of the vector.
        sender: (E,) atom whose image is at its end.
        image: (E, 3) integer cell of that image, in the lattice vectors that were passed in.
        vector: (E, 3) A, from the receiver to the image of the sender.
    """

    receiver: NDArray[np.int64]
    sender: NDArray[np.int64]
    image: NDArray[np.int64]
    vector: NDArray[np.float64]

    @property
    def distance(self) -> NDArray[np.float64]:
        """(E,) A, length of the vectors."""
        return np.sqrt(np.einsum("ex,ex->e", self.vector, self.vector))


def pairs_within(atoms: Atoms, cutoff: float, *, both_directions: bool = True) -> Pairs:
    """Find all pairs of atoms closer than ``cutoff``, periodic images included, for any ``pbc``.

    Args:
        atoms: the structure, N atoms; a skewed or left-handed cell and atoms outside the cell are fine.
        cutoff: A, largest distance.
        both_directions: list each pair as i -> j and as j -> i; otherwise once.

    Returns:
        The pairs, in no particular order; an atom and its own images are pairs too.

    Raises:
        InvalidStructureError: more than ``MOST_IMAGES`` periodic images within the cut-off (a nearly flat or very thin
            cell), more than ``MOST_NEIGHBOURS`` neighbours per atom (atoms packed absurdly), or coordinates beyond
            ``FARTHEST_COORDINATE``.

    Example:
        >>> from ase.build import bulk
        >>> len(pairs_within(bulk("Cu", a=3.6), 2.6).receiver)
        12
    """
    _require_near_coordinates(atoms)
    points = np.ascontiguousarray(atoms.positions, dtype=np.float64)
    if len(points) > _MANY_ATOMS:
        _require_room(atoms, points, cutoff)
    box, periodic, folds, transformation = atoms.cell.array, atoms.pbc, None, None
    if not _is_ordinary(box, periodic, cutoff):
        cell, transformation = _searchable_cell(atoms, cutoff)
        box, periodic, folds = _box(points, cell, atoms.pbc, cutoff)
    finder = NeighborList(cutoff=cutoff, full_list=both_directions)
    receiver, sender, image, vector = finder.compute(points=points, box=box, periodic=periodic, quantities="ijSD")
    if folds is not None:  # what meets a part of the box that is no whole one is no pair
        kept = (image % folds == 0).all(axis=1)
        receiver, sender, image, vector = receiver[kept], sender[kept], image[kept] // folds, vector[kept]
    neighbours = len(receiver) * (1 if both_directions else 2) / max(len(points), 1)
    if neighbours > MOST_NEIGHBOURS:
        raise _packed(atoms, f"{neighbours:,.0f} neighbours", cutoff)
    image = image.astype(np.int64)
    if transformation is not None:
        image = image @ transformation
    return Pairs(_as_signed(receiver), _as_signed(sender), image, vector)


def periodic_images(cell: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float) -> float:
    """Number of cells, the first one included, that a search within ``cutoff`` (A) has to visit.

    Args:
        cell: (3, 3) A, rows are lattice vectors; those without periodicity must not be zero.
        pbc: (3,) which directions are periodic.
        cutoff: A.

    Returns:
        The product over the periodic directions of 2 ceil(cutoff / height) + 1, where the height is the distance of
        the lattice planes that the other two vectors span; infinite for a cell without volume.
    """
    if not pbc.any():
        return 1.0
    with np.errstate(all="ignore"):
        try:
            heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        except np.linalg.LinAlgError:
            return float("inf")
        images = np.prod(2.0 * np.ceil(cutoff / heights[pbc]) + 1.0)
    return float(images) if np.isfinite(images) else float("inf")


def _as_signed(index: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    """Atoms as signed integers, without a copy where they have 8 bytes."""
    return index.view(np.int64) if index.dtype.itemsize == 8 else index.astype(np.int64)


def _is_ordinary(cell: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float) -> bool:
    """Whether a crystal can be searched in its cell: few images within the cut-off, and few boxes of one cut-off.

    For small crystals this is most of the work beside the search, hence plain numbers instead of arrays.
    """
    if not pbc.all():
        return False
    vectors = cell.tolist()
    normals = [_cross(vectors[k - 2], vectors[k - 1]) for k in range(3)]
    volume = abs(sum(x * y for x, y in zip(vectors[0], normals[0], strict=True)))
    images, boxes = 1.0, 1.0
    for x, y, z in normals:
        area = math.sqrt(x * x + y * y + z * z)
        if not volume > 0 or not volume > 1e-3 * cutoff * area:  # a height below a thousandth of the cut-off
            return False
        height = volume / area
        images *= 2 * math.ceil(cutoff / height) + 1
        boxes *= max(math.floor(height / cutoff), 1)
    return images <= _FEW_IMAGES and boxes < _MOST_BOXES


def _cross(one: list[float], other: list[float]) -> tuple[float, float, float]:
    (a, b, c), (x, y, z) = one, other
    return b * z - c * y, c * x - a * z, a * y - b * x


def _searchable_cell(atoms: Atoms, cutoff: float) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """Cell (3, 3) to search in and, where it was reduced, the integers that make it from the one of ``atoms``."""
    cell, pbc = atoms.cell.array, atoms.pbc
    whole = atoms.cell.complete().array if pbc.any() else cell
    given = periodic_images(whole, pbc, cutoff)
    if given <= _FEW_IMAGES:
        return cell, None
    reduced, transformation = reduced_cell(whole, pbc)
    images = periodic_images(reduced, pbc, cutoff)
    if images > MOST_IMAGES:
        lengths = np.linalg.norm(whole[pbc], axis=1)
        raise InvalidStructureError(
            f"{_count(images)} periodic images of the cell of {_formula(atoms)} lie within {cutoff:.3g} Å (at most "
            f"{MOST_IMAGES:,} are searched): the cell is nearly flat or very thin. Its periodic vectors have lengths "
            f"{np.array2string(lengths, precision=4)} Å"
            + (f" and a volume of {abs(np.linalg.det(whole)):.3g} Å³ for {len(atoms)} atoms" if pbc.all() else "")
            + ". Check lattice vectors and angles, and that lengths are in Å."
        )
    return (reduced, transformation) if images < given else (cell, None)


def _box(
    points: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64] | None]:
    """Box and periodicity for the search, and into how many parts each vector was folded (None: into one).

    Slabs, wires and what is very wide get a periodic box of their own along the directions without periodicity, too
    wide for images to meet: vesin takes minutes for atoms far outside a box that is periodic in some directions, and
    versions 0.5.4 to 0.5.7 lose pairs where it is turned. A box of too many parts is folded: its vectors are divided by
    whole numbers, and of the pairs that are found those that differ by whole vectors are kept.
    """
    box = cell
    if not pbc.all():
        normals = _nonperiodic_normals(cell, pbc)
        extent = np.ptp(points @ normals.T, axis=0)
        if not pbc.any() and np.prod(extent / cutoff + 1) < _MOST_BOXES:
            return cell, pbc, None
        box = cell.copy()
        box[~pbc] = normals * (extent + 2 * cutoff)[:, None]
    heights = 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)
    parts = np.maximum(np.floor(heights / cutoff), 1.0)
    folds = np.ones(3, dtype=np.int64)
    scale = (_MOST_BOXES / np.prod(parts)) ** (1 / 3)
    if scale < 1 and parts.min() * scale < 2:
        while np.prod(parts) > _MOST_BOXES:
            widest = int(np.argmax(parts))
            parts[widest] = np.ceil(parts[widest] / 2)
            folds[widest] *= 2
    every_direction = np.ones(3, dtype=bool)
    if (folds == 1).all():
        return box, every_direction, None
    return np.ascontiguousarray(box / folds[:, None]), every_direction, folds


def _nonperiodic_normals(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(m, 3) orthonormal directions normal to all periodic vectors."""
    periodic = cell[pbc]
    if not len(periodic):
        return np.eye(3)
    axes, _ = np.linalg.qr(np.concatenate([periodic, np.eye(3)]).T)
    return np.asarray(axes.T[len(periodic) :])


def _require_room(atoms: Atoms, points: NDArray[np.float64], cutoff: float) -> None:
    """Refuse many atoms in one place before all their pairs are listed."""
    _, counts = np.unique(np.floor(points * (3**0.5 / cutoff)).astype(np.int64), axis=0, return_counts=True)
    crowd = float(np.square(counts).sum()) / len(points)  # atoms in the same box, whose diagonal is one cut-off
    if crowd > MOST_NEIGHBOURS:
        raise _packed(atoms, f"at least {crowd:,.0f} neighbours", cutoff)


def _packed(atoms: Atoms, neighbours: str, cutoff: float) -> InvalidStructureError:
    volume = f"; the cell has {atoms.cell.volume / len(atoms):.3g} Å³ per atom" if atoms.pbc.all() else ""
    return InvalidStructureError(
        f"An atom of {_formula(atoms)} has {neighbours} within {cutoff:.3g} Å on the average (at most "
        f"{MOST_NEIGHBOURS:,}): the atoms are packed beyond anything physical{volume}. Check that positions and cell "
        "are in Å."
    )


def _require_near_coordinates(atoms: Atoms) -> None:
    farthest = float(np.abs(atoms.positions).max(initial=0.0))
    if farthest > FARTHEST_COORDINATE:
        index = int(np.abs(atoms.positions).max(axis=1).argmax())
        raise InvalidStructureError(
            f"Atom {index} has a coordinate of {farthest:.3g} Å, beyond {FARTHEST_COORDINATE:.0e} Å: distances would "
            "be lost in rounding. Move the structure to the origin, or wrap it into the cell with atoms.wrap()."
        )


def _count(images: float) -> str:
    return f"{images:,.0f}" if images < 1e9 else f"{images:.3g}"


def _formula(atoms: Atoms) -> str:
    return atoms.get_chemical_formula() if len(atoms) <= 200 else f"a structure of {len(atoms)} atoms"
