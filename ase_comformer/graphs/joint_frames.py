"""Whole lattice frames of iComFormer: three lattice vectors with their signs, averaged over the frames that tie.

iComFormer (Yan et al., arXiv:2403.11857, section 3.2) describes an edge by its length and its angles with three lattice
vectors. Three signed cosines fix the direction of an edge, so the features of all edges fix the crystal: this is what
makes the network complete. On every lattice several frames tie, because it has an inversion centre at least, and an
answer that does not depend on the choice of the cell has to average over them. The average has to be taken over whole
frames, at the end of the network: an average over the signs of each vector on its own, inside the layer
(``lattice_frame``), forgets how the cosines of one edge with different vectors, and those of different edges with one
vector, belong together.

Where the crystal has symmetry, frames that one of its operations maps onto each other give the same answer, so one of
each such orbit is evaluated: one or two for most crystals (``benchmarks.reconstruction``), instead of up to 48.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ase_comformer.graphs.lattice_frame import lowest_cluster, tied_lines

HANDS = ("both", "right")
_SIGNS = np.array(list(product((1.0, -1.0), repeat=3)))


@dataclass(frozen=True)
class JointFrames:
    """Frames that tie, one of each orbit.

    Attributes:
        vectors: (F, 3, 3) float64, A; row s of a frame is its vector in slot s, Cartesian.
        weights: (F,) float64, share of the tied frames that each stands for; they sum to 1.
    """

    vectors: NDArray[np.float64]
    weights: NDArray[np.float64]


def joint_frames(
    cell: NDArray[np.float64],
    rotations: NDArray[np.float64] | None = None,
    *,
    hands: str = "both",
    tolerance: float = 1e-3,
) -> JointFrames:
    """Return the lattice frames of iComFormer that tie, with signs.

    Lines are chosen as in ``lattice_frame``. Signs are those for which the angles of the second and third vector with
    the first, then of the third with the second, are at most 90 degrees; where an angle is 90 degrees both signs tie.
    The result is the same for every basis of the lattice and turns with it.

    Args:
        cell: (3, 3) A, rows span the primitive lattice.
        rotations: (G, 3, 3) Cartesian point operations of the crystal, proper and improper; frames that they map onto
            each other are given once. None: every frame is given.
        hands: ``"both"``, so that a crystal and its mirror image count the same, as energies do; ``"right"`` takes
            right-handed frames only, as the paper does, and tells them apart.
        tolerance: lengths closer than this relatively, and cosines closer than this, tie.

    Raises:
        InvalidStructureError: if the cell has no volume or is not finite.
        ValueError: for hands or a tolerance that do not exist.

    Example:
        >>> import numpy as np
        >>> cubic = 4.0 * np.eye(3)
        >>> len(joint_frames(cubic).weights), len(joint_frames(cubic, hands="right").weights)
        (48, 24)
        >>> len(joint_frames(cubic, np.stack([np.eye(3), -np.eye(3)])).weights)
        24
    """
    if hands not in HANDS:
        raise ValueError(f"hands is {hands!r}; choose one of {', '.join(HANDS)}")
    vectors, lines = tied_lines(cell, tolerance)
    frames = (vectors[lines.T][:, None] * _SIGNS[None, :, :, None]).reshape(-1, 3, 3)
    unit = frames / np.linalg.norm(frames, axis=2, keepdims=True)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        cosine = (unit[:, first] * unit[:, second]).sum(axis=1)
        kept = lowest_cluster(-cosine, tolerance)
        frames, unit = frames[kept], unit[kept]
    if hands == "right":
        frames = frames[np.linalg.det(frames) > 0]
        proper = None if rotations is None else rotations[np.linalg.det(rotations) > 0]
        return _one_of_each_orbit(frames, proper)
    return _one_of_each_orbit(frames, rotations)


def _one_of_each_orbit(frames: NDArray[np.float64], rotations: NDArray[np.float64] | None) -> JointFrames:
    """Keep one frame of each orbit under the operations, with the size of the orbit as its weight."""
    count = len(frames)
    if rotations is None:
        return JointFrames(frames, np.full(count, 1.0 / count))
    flat = frames.reshape(count, 9)
    # Distinct frames differ by a lattice vector at least; images agree to round-off of the operations.
    width = 1e-2 * np.linalg.norm(frames, axis=2).min()
    open_frames = np.ones(count, dtype=bool)
    chosen, weights = [], []
    for index in range(count):
        if not open_frames[index]:
            continue
        images = (frames[index] @ rotations.transpose(0, 2, 1)).reshape(-1, 9)
        orbit = (np.abs(flat[:, None] - images[None]).max(axis=2) < width).any(axis=1) & open_frames
        orbit[index] = True
        open_frames &= ~orbit
        chosen.append(index)
        weights.append(orbit.sum() / count)
    return JointFrames(frames[chosen], np.array(weights))
