"""Quasi-Newton minimisation of a function of few or many coordinates, of which only the forces are asked.

The formulas are those of ASE's ``BFGS`` and ``LBFGS``, so that relaxations take the same steps as there; coordinates
may be any orthonormal ones, such as those that keep a space group, in which steps are the same and matrices small.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: eV/A^2, the curvature that is assumed before any is known.
_CURVATURE = 70.0
#: Coordinates above which the Hessian is too large to diagonalise at every step.
_MOST_COORDINATES = 300
#: Pairs of steps and force changes that stand for the Hessian of more coordinates.
_MEMORY = 100
#: A, of a step that says nothing about the curvature.
_NO_STEP = 1e-7


class QuasiNewton:
    """Steps towards a minimum.

    Args:
        size: number of coordinates.

    Example:
        >>> import numpy as np
        >>> optimiser, x = QuasiNewton(2), np.array([1.0, -1.0])
        >>> for _ in range(20):
        ...     step = optimiser.step(-np.array([10.0, 200.0]) * x)
        ...     optimiser.take(step)
        ...     x = x + step
        >>> bool(np.abs(x).max() < 1e-6)
        True
    """

    def __init__(self, size: int) -> None:
        self._hessian = _CURVATURE * np.eye(size) if size <= _MOST_COORDINATES else None
        self._pairs: deque[tuple[Array, Array, float]] = deque(maxlen=_MEMORY)
        self._last_forces: Array | None = None
        self._last_step: Array | None = None

    def step(self, forces: Array) -> Array:
        """Return where to go from the point that has these forces (d,); ``take`` says how far one went."""
        if self._last_forces is not None and self._last_step is not None:
            self._learn(self._last_step, forces - self._last_forces)
        self._last_forces = forces.copy()
        if self._hessian is not None:
            values, vectors = np.linalg.eigh(self._hessian)
            return np.asarray(vectors @ (forces @ vectors / np.abs(values)))
        return self._two_loops(forces)

    def take(self, step: Array) -> None:
        """Say which step (d,) was taken."""
        self._last_step = step.copy()

    def _learn(self, step: Array, change: Array) -> None:
        if np.abs(step).max(initial=0.0) < _NO_STEP:
            return
        along = float(step @ change)
        if self._hessian is None:
            self._pairs.append((step, -change, -1.0 / along))
            return
        product = self._hessian @ step
        self._hessian -= np.outer(change, change) / along + np.outer(product, product) / float(step @ product)

    def _two_loops(self, forces: Array) -> Array:
        direction, weights = -forces, []
        for step, change, rate in reversed(self._pairs):
            weights.append(rate * float(step @ direction))
            direction = direction - weights[-1] * change
        direction = direction / _CURVATURE
        for (step, change, rate), weight in zip(self._pairs, reversed(weights), strict=True):
            direction = direction + step * (weight - rate * float(change @ direction))
        return -direction
