"""iComFormer's lattice frame: three primitive lattice vectors chosen by invariants, averaged over ties.

The rule (Yan et al., arXiv:2403.11857) takes the shortest lattice vector, the next one not collinear with it
and the next one not coplanar with both.  Lengths, then angles, decide; what still ties (on any symmetric
lattice) is averaged, so that nothing depends on the choice of cell, its orientation or its handedness.

Signs: the rule makes the angles of e2 and e3 with e1 at most 90 degrees, but a lattice has an inversion
centre: all three signs reversed always tie.  The edge update sums its messages over the three slots
separately, so each slot sees v and -v with equal weight whatever the relative signs, and only lines have to
be enumerated.
"""

import logging
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ase_comformer.crystals.lattice_reduction import reduced_cell
from ase_comformer.crystals.spglib_calls import find_symmetry
from ase_comformer.errors import InvalidStructureError

logger = logging.getLogger(__name__)

# Chains of near ties are followed up to this many tolerances beyond the shortest choice.
_SLACK = 4.0


@dataclass(frozen=True)
class LatticeFrame:
    """Distinct candidates of the three frame slots with their share of the tied frames.

    Attributes:
        vectors: (F, 3) float64, A, Cartesian lattice vectors; v and -v are both listed.
        slots: (F,) int64, 0, 1 or 2: first, second or third vector of the frame.
        weights: (F,) float64, fraction of the tied frames with this vector in this slot; each slot sums to 1.
    """

    vectors: np.ndarray
    slots: np.ndarray
    weights: np.ndarray


def _checked(cell: np.ndarray) -> np.ndarray:
    cell = np.asarray(cell, dtype=float)
    if cell.shape != (3, 3) or not np.isfinite(cell).all():
        message = f"a lattice needs a finite (3, 3) array of row vectors in A, got {cell.tolist()}."
        raise InvalidStructureError(message)
    if abs(np.linalg.det(cell)) <= 1e-10 * np.prod(np.linalg.norm(cell, axis=1)):
        message = (
            f"the lattice with vectors {cell.tolist()} A has no volume. The lattice frame needs three "
            "independent vectors: set a three-dimensional cell."
        )
        raise InvalidStructureError(message)
    return cell


def _short_vectors(basis: np.ndarray, tolerance: float) -> np.ndarray:
    """Integer coefficients (m, 3), one of each pair v, -v, of every vector that can enter a frame.

    Second rows and second layers of a reduced basis are too far away; steps along b1 and b2 soon lengthen b3
    by more than the tolerance, unless b3 is much longer than they are.
    """
    lengths = np.linalg.norm(basis, axis=1)
    reach = 2 + np.ceil(lengths[2] * np.sqrt(2 * _SLACK * tolerance) / lengths[:2]).astype(int)
    first, second = np.arange(-reach[0], reach[0] + 1), np.arange(-reach[1], reach[1] + 1)
    layer = np.stack([grid.ravel() for grid in np.meshgrid(first, second, indexing="ij")], axis=1)
    row = np.stack([first, np.ones_like(first)], axis=1)
    in_plane = np.pad(np.concatenate([[[1, 0]], row]), ((0, 0), (0, 1)))
    coefficients = np.concatenate([in_plane, np.pad(layer, ((0, 0), (0, 1)), constant_values=1)])
    vectors = coefficients @ basis
    limit = (lengths[2] * (1 + _SLACK * tolerance)) ** 2
    return coefficients[np.einsum("ki,ki->k", vectors, vectors) <= limit]


def lowest_cluster(values: np.ndarray, width: float) -> np.ndarray:
    """Return a mask (m,) of the values that are chained to the smallest one by gaps of at most `width`.

    Equivalent choices differ by round-off, far less than `width`, and so are never torn apart.
    """
    ordered = np.sort(values)
    gaps = np.flatnonzero(np.diff(ordered) > width)
    limit = ordered[gaps[0]] if gaps.size else ordered[-1]
    return values <= limit


def tied_lines(cell: np.ndarray, tolerance: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Return the lattice frames that tie, as lines without a sign.

    Keys, each the smallest first: length of e1, length of e2, |cos(e1, e2)|, length of e3, |cos(e1, e3)|,
    |cos(e2, e3)|.

    Args:
        cell: (3, 3) float64, A, rows span the primitive lattice, either handedness.
        tolerance: lengths closer than this relatively, and cosines closer than this, tie.

    Returns:
        Lattice vectors (m, 3) in A, one of each pair v, -v, and the frames (3, F): which vector is in which slot.

    Raises:
        InvalidStructureError: if the cell has no volume or is not finite.
        ValueError: if the tolerance is not in (0, 0.1].
    """
    if not 0 < tolerance <= 0.1:
        message = f"tolerance is {tolerance}; ties of lengths and cosines need a value in (0, 0.1], such as 1e-3."
        raise ValueError(message)
    basis, _ = reduced_cell(_checked(cell))  # sorted by length
    coefficients = _short_vectors(basis, tolerance)
    vectors = coefficients @ basis
    lengths = np.linalg.norm(vectors, axis=1)
    basis_lengths = np.linalg.norm(basis, axis=1)
    directions = vectors / lengths[:, None]
    cosines = np.abs(directions @ directions.T)
    count = len(lengths)

    first = np.flatnonzero(lowest_cluster(lengths, tolerance * lengths.min()))
    # Coprime coefficients, one of each pair v, -v: two different entries are never collinear.
    one, two = (index.ravel() for index in np.meshgrid(first, np.arange(count), indexing="ij"))
    frames = np.stack([one, two])[:, one != two]
    frames = frames[:, lowest_cluster(lengths[frames[1]], tolerance * basis_lengths[1])]
    frames = frames[:, lowest_cluster(cosines[frames[0], frames[1]], tolerance)]
    normals = np.cross(coefficients[frames[0]], coefficients[frames[1]])
    pair, three = np.nonzero(normals @ coefficients.T)
    frames = np.stack([frames[0, pair], frames[1, pair], three])
    frames = frames[:, lowest_cluster(lengths[frames[2]], tolerance * basis_lengths[2])]
    frames = frames[:, lowest_cluster(cosines[frames[0], frames[2]], tolerance)]
    frames = frames[:, lowest_cluster(cosines[frames[1], frames[2]], tolerance)]
    return vectors, frames


def lattice_frame(cell: np.ndarray, tolerance: float = 1e-3) -> LatticeFrame:
    """Average over the tied lattice frames of iComFormer (Yan et al., arXiv:2403.11857).

    Keys, each the smallest first: length of e1, length of e2, |cos(e1, e2)|, length of e3, |cos(e1, e3)|,
    |cos(e2, e3)|.  The result is the same for every basis of the lattice and turns with it: the candidates of
    `cell @ R.T` are `vectors @ R.T` with the same slots and weights, for proper and improper R.

    Args:
        cell: (3, 3) float64, A, rows span the primitive lattice (see `primitive_lattice`), either handedness.
        tolerance: lengths closer than this relatively, and cosines closer than this, tie.

    Returns:
        The candidates of the three slots: the average over the tied frames of a sum over slots of any
        function of one vector equals the weighted sum over the candidates.

    Raises:
        InvalidStructureError: if the cell has no volume or is not finite.
        ValueError: if the tolerance is not in (0, 0.1].
    """
    vectors, frames = tied_lines(cell, tolerance)
    shares = np.stack([np.bincount(line, minlength=len(vectors)) for line in frames]) / frames.shape[1]
    slots, lines = np.nonzero(shares)
    chosen = vectors[lines]
    return LatticeFrame(
        vectors=np.concatenate([chosen, -chosen]),
        slots=np.concatenate([slots, slots]),
        weights=np.tile(shares[slots, lines] / 2, 2),
    )


def primitive_lattice(atoms: Atoms, symprec: float = 1e-2) -> np.ndarray:
    """Primitive lattice of a crystal in the orientation of the input, the same for every supercell of it.

    spglib finds the translations; the lattice is then rebuilt as a rational fraction of the input cell, so
    that noise in the positions does not enter.

    Args:
        atoms: a crystal with three periodic directions.
        symprec: A, translations may miss an atom by this much.

    Returns:
        (3, 3) float64, A, rows are primitive vectors, not standardised and not rotated.

    Raises:
        InvalidStructureError: if there are no atoms, a direction is not periodic, or the cell has no volume.
    """
    if len(atoms) == 0:
        message = "the structure has no atoms; a primitive lattice needs at least one."
        raise InvalidStructureError(message)
    if not atoms.pbc.all():
        message = (
            f"the structure has pbc={atoms.pbc.tolist()}, but the lattice frame needs three periodic "
            "directions. Set atoms.pbc = True, or use a model without a lattice frame."
        )
        raise InvalidStructureError(message)
    cell = _checked(atoms.cell.array)
    if len(atoms) == 1:
        return cell
    dataset = find_symmetry(atoms, symprec)
    formula = atoms.get_chemical_formula()
    if dataset is None:
        logger.warning("spglib failed on %s at symprec=%g: its cell is taken as primitive.", formula, symprec)
        return cell
    multiples = cell @ np.linalg.inv(dataset.primitive_lattice)
    whole = np.rint(multiples)
    # A primitive cell that does not divide the input one would be worse than none.
    if np.abs(multiples - whole).max() > 0.25 or abs(np.linalg.det(whole)) < 0.5:
        logger.warning("spglib's primitive cell does not divide the cell of %s: its cell is used.", formula)
        return cell
    return np.linalg.solve(whole, cell)
