"""Second derivatives of the energy of any structure, from differences of forces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: A, displacement: the error is of second order in it.
DISPLACEMENT = 0.005


def hessian(
    atoms: Atoms,
    forces: Callable[[Sequence[Atoms]], Sequence[FloatArray]],
    *,
    displacement: float = DISPLACEMENT,
) -> FloatArray:
    """Differentiate forces with respect to positions, without use of symmetry.

    Args:
        atoms: n atoms, any ``pbc``; of a crystal this is the zone centre of the cell.
        forces: (n, 3) eV/A of every structure in a list.
        displacement: A, of each atom in both directions of each axis.

    Returns:
        (n, 3, n, 3) eV/A^2, H[a, i, b, j] = -dF[b, j] / dr[a, i], symmetric under exchange of (a, i) and (b, j).

    Raises:
        ValueError: a displacement that is not positive.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> def forces(structures):
        ...     return [EMT().get_property("forces", atoms) for atoms in structures]
        >>> hessian(bulk("Cu", cubic=True), forces).shape
        (4, 3, 4, 3)
    """
    if displacement <= 0:
        raise ValueError(f"displacement must be positive, got {displacement} A")
    count = len(atoms)
    moved: list[Atoms] = []
    for atom in range(count):
        for axis in range(3):
            for sign in (1, -1):
                structure = atoms.copy()
                structure.calc = None
                structure.positions[atom, axis] += sign * displacement
                moved.append(structure)
    found = np.array(forces(moved), dtype=np.float64).reshape(3 * count, 2, 3 * count)
    matrix = (found[:, 1] - found[:, 0]) / (2 * displacement)
    symmetric: FloatArray = (matrix + matrix.T) / 2
    return symmetric.reshape(count, 3, count, 3)
