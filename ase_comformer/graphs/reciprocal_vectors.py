"""The reciprocal vectors of a cell, in which the interaction of distant dipoles is summed (``nn.electrostatics``).

E = sum_k c(k) |sum_i k.p_i exp(i k.r_i)|^2 over one of each pair k, -k of reciprocal vectors shorter than a cut-off,
c(k) = 4 pi e^2 / (4 pi eps0) g(k) / (V k^2). The Coulomb interaction has g = 1; here g falls smoothly from one at k = 0
to zero at the cut-off, which leaves distant atoms as they are, takes the singularity from close ones and makes the sum
finite and smooth in the cell. There is no k = 0: the macroscopic field is zero, as in any periodic calculation.

In directions without periodicity the interaction of charges is cut off beyond the structure, and its images are kept
out of that reach: for slabs with the kernel of Ismail-Beigi, Phys. Rev. B 73, 233103 (2006), for wires with that of
Rozzi et al., Phys. Rev. B 73, 205119 (2006). What g leaves of the images falls with ``_MARGIN``; tests
hold it below 3e-5 eV. Finite structures have no reciprocal vectors, see ``nn.electrostatics``. Index letters: B cells,
K reciprocal vectors.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.units import _e, _eps0
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.crystals.lattice_reduction import without_skew
from ase_comformer.errors import InvalidStructureError

#: e^2 / (4 pi eps0) in eV A.
COULOMB = _e / (4 * math.pi * _eps0) * 1e10
#: Power of the polynomial by which the interaction falls to zero: two derivatives are zero at the cut-off.
ENVELOPE_POWER = 3
#: A: steps of the size of boxes, so that it seldom changes; reach of the interaction beyond the structure.
_BOX_STEP, _MARGIN = 5.0, 40.0
#: 1/A, below which a reciprocal vector does not run along a slab or wire at all; in any strain such reciprocal vectors
#: stay what they are.
_FLAT = 1e-9
#: Points of the reciprocal grid of a cell; more, of boxes of some 400 A, would take gigabytes.
_LARGEST_GRID = 10_000_000


@dataclass(frozen=True)
class ReciprocalVectors:
    """K reciprocal vectors for each of B cells, filled up with ones of weight zero.

    Attributes:
        vector: (B, K, 3) 1/A.
        weight: (B, K) eV/e^2, c(k).
        slope: (B, K, 3) derivative of the weight in the reciprocal vector, at constant volume.
    """

    vector: NDArray[np.floating]
    weight: NDArray[np.floating]
    slope: NDArray[np.floating]


def batched_reciprocal_vectors(cells: NDArray[np.float64], cutoff: float) -> ReciprocalVectors:
    """Find those of cells (B, 3, 3) in A that are periodic in three directions; ``cutoff`` in 1/A."""
    vector = _half_of_the_lattice(cells, cutoff)
    length = np.linalg.norm(vector, axis=2)
    inside = (length < cutoff) & (length > 0)
    # those that count first, then only as many columns as the fullest cell needs
    order = np.argsort(~inside, axis=1, kind="stable")[:, : inside.sum(axis=1).max(initial=0)]
    inside, length = np.take_along_axis(inside, order, 1), np.take_along_axis(length, order, 1)
    vector = np.take_along_axis(vector, order[:, :, None], 1) * inside[:, :, None]
    length = np.where(inside, length, cutoff)
    x, p = length / cutoff, ENVELOPE_POWER
    envelope = 1 + x**p * (-(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * (p * (p + 1) / 2)))
    envelope_slope = x ** (p - 1) * (1 - x) ** 2 * (-p * (p + 1) * (p + 2) / (2 * cutoff))
    scale = 4 * math.pi * COULOMB / np.abs(np.linalg.det(cells))[:, None] * inside
    weight = scale * envelope / length**2
    slope = (scale * envelope_slope / length**3 - 2 * weight / length**2)[:, :, None] * vector
    return ReciprocalVectors(vector, weight, slope)


def _half_of_the_lattice(cells: NDArray[np.float64], cutoff: float) -> NDArray[np.float64]:
    """(B, ., 3) reciprocal vectors, one of each pair; all that may be shorter than ``cutoff``, and others."""
    longest = np.linalg.norm(cells, axis=2).max(axis=0, initial=0.0)
    reach = np.floor(cutoff * longest / (2 * math.pi))
    if np.prod(2 * reach + 1) > _LARGEST_GRID:
        raise InvalidStructureError(
            f"A cell of {' x '.join(f'{x:.4g}' for x in longest)} Å is too large for the sum over reciprocal vectors "
            "(a box around the atoms, in directions without periodicity). Set atoms.pbc = False where there is vacuum, "
            "and remove atoms that are far from all others."
        )
    reach = reach.astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    # the grid is symmetric about its middle, which is zero
    half = grid[len(grid) // 2 + 1 :]
    reciprocal = 2 * math.pi * np.linalg.inv(cells).swapaxes(1, 2)
    return np.asarray(half @ reciprocal)


def structure_reciprocal_vectors(atoms: Atoms, cutoff: float) -> ReciprocalVectors:
    """Find those of a structure with any ``pbc``; B = 1, and none where there is no periodic direction."""
    if atoms.pbc.all():
        return _kept_reciprocal_vectors(without_skew(atoms.cell.array)[0].tobytes(), cutoff)
    if not atoms.pbc.any():
        return ReciprocalVectors(np.zeros((1, 0, 3)), np.zeros((1, 0)), np.zeros((1, 0, 3)))
    box = _box(atoms)
    reciprocal_vectors = _kept_reciprocal_vectors(box.tobytes(), cutoff)
    return (_cut_at_slab if atoms.pbc.sum() == 2 else _cut_at_wire)(reciprocal_vectors, box)


#: Parts of a graph that reciprocal vectors are, each (B, K, ...).
RECIPROCAL_FIELDS = ("reciprocal_vector", "reciprocal_weight", "reciprocal_slope")


def reciprocal_tensors(reciprocal_vectors: ReciprocalVectors) -> dict[str, Tensor]:
    """``RECIPROCAL_FIELDS`` of a graph."""
    return {
        name: torch.from_numpy(getattr(reciprocal_vectors, name.removeprefix("reciprocal_")))
        for name in RECIPROCAL_FIELDS
    }


def reciprocal_fields(atoms: Atoms, cutoff: float) -> dict[str, Tensor]:
    """Make what the graph of a structure has of reciprocal vectors, in float64; nothing where the cut-off is zero."""
    if not cutoff:
        return {}
    return {
        "atom_position": torch.from_numpy(atoms.positions.copy()),
        **reciprocal_tensors(structure_reciprocal_vectors(atoms, cutoff)),
        "reciprocal_cutoff": torch.tensor([cutoff], dtype=torch.float64),
        "nonperiodic_directions": torch.from_numpy(nonperiodic_directions(atoms))[None],
    }


@functools.lru_cache(maxsize=8)
def _kept_reciprocal_vectors(cell: bytes, cutoff: float) -> ReciprocalVectors:
    """The cell seldom changes in dynamics; that of the last structures is kept."""
    return batched_reciprocal_vectors(np.frombuffer(cell).reshape(1, 3, 3), cutoff)


def nonperiodic_directions(atoms: Atoms) -> NDArray[np.float64]:
    """(3, 3) projector on the directions in which a structure is not periodic."""
    if atoms.pbc.all():
        return np.zeros((3, 3))
    normals = _normals(atoms)
    return normals.T @ normals


def _normals(atoms: Atoms) -> NDArray[np.float64]:
    """(m, 3) orthonormal directions without periodicity; they turn with the cell."""
    cell = atoms.cell.complete().array
    axes, _ = np.linalg.qr(np.concatenate([cell[atoms.pbc], cell[~atoms.pbc]]).T)
    return np.asarray(axes.T[atoms.pbc.sum() :])


def _box(atoms: Atoms) -> NDArray[np.float64]:
    """(3, 3) A, the periodic vectors before orthogonal ones of one length, twice the reach of the interaction."""
    periodic, normals = atoms.cell.array[atoms.pbc], _normals(atoms)
    extent = float(np.linalg.norm(np.ptp(atoms.positions @ normals.T, axis=0)))
    reach = _BOX_STEP * math.ceil((extent + 1e-6) / _BOX_STEP) + _MARGIN
    return np.concatenate([periodic, 2 * reach * normals])


def _cut_at_slab(reciprocal_vectors: ReciprocalVectors, box: NDArray[np.float64]) -> ReciprocalVectors:
    """No interaction beyond half of the third vector of the box, which is normal to the others.

    Reach R, reciprocal vectors k along the slab and n pi / R across it. Slopes across it are not made: atoms move
    there in a strain
    and the box does not (``electrostatics``).
    """
    reach, unit = np.linalg.norm(box[2]) / 2, box[2] / np.linalg.norm(box[2])
    across = reciprocal_vectors.vector @ unit
    within = reciprocal_vectors.vector - across[:, :, None] * unit
    length = np.linalg.norm(within, axis=2)
    flat = length < _FLAT
    wave, decay = np.cos(across * reach), np.exp(-length * reach)
    factor = np.where(flat, 1 - wave, 1 - decay * wave)
    change = np.where(flat, 0.0, reach * decay * wave / np.where(flat, 1.0, length))
    return _scaled(reciprocal_vectors, factor, change[:, :, None] * within)


def _cut_at_wire(reciprocal_vectors: ReciprocalVectors, box: NDArray[np.float64]) -> ReciprocalVectors:
    """No interaction beyond a cylinder about the first vector of the box, half as wide as the others are long.

    What vanishes in neutral structures is left out. Slopes as for slabs.
    """
    from scipy.special import j0, j1, k0, k1  # a tenth of a second, and few structures are wires

    reach, unit = np.linalg.norm(box[2]) / 2, box[0] / np.linalg.norm(box[0])
    along = reciprocal_vectors.vector @ unit
    across = np.linalg.norm(reciprocal_vectors.vector - along[:, :, None] * unit, axis=2)
    flat = np.abs(along) < _FLAT
    x, y = np.where(flat, 1.0, np.abs(along) * reach), across * reach
    factor = np.where(flat, 1 - j0(y), 1 + y * j1(y) * k0(x) - x * j0(y) * k1(x))
    slope = np.where(flat, 0.0, x * j0(y) * k0(x) - y * j1(y) * k1(x)) * reach * np.sign(along)
    return _scaled(reciprocal_vectors, factor, slope[:, :, None] * unit)


def _scaled(
    reciprocal_vectors: ReciprocalVectors, factor: NDArray[np.floating], change: NDArray[np.floating]
) -> ReciprocalVectors:
    """Weights times factors (B, K), whose derivatives in the reciprocal vector are (B, K, 3)."""
    slope = factor[:, :, None] * reciprocal_vectors.slope + reciprocal_vectors.weight[:, :, None] * change
    return ReciprocalVectors(reciprocal_vectors.vector, factor * reciprocal_vectors.weight, slope)
