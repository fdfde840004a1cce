"""Operations of a space group in the primitive basis, rebuilt exactly from its Hall number.

spglib's operations of a structure carry the noise of the structure; those of its table do not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.spglib_calls import database_operations

#: Columns: primitive vectors in the basis of the conventional cell (International Tables A, table 1.5.1.1), det > 0.
CENTRING: dict[str, list[list[float]]] = {
    "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "A": [[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]],
    "B": [[0.5, 0, 0.5], [0, 1, 0], [-0.5, 0, 0.5]],
    "C": [[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]],
    "I": [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
    "F": [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    "R": [[2 / 3, -1 / 3, -1 / 3], [1 / 3, 1 / 3, -2 / 3], [1 / 3, 1 / 3, 1 / 3]],
}


@dataclass(frozen=True)
class PrimitiveOperations:
    """Operations ``x' = W x + w`` of a Hall setting, one per coset of the translations, identity first; read-only.

    Attributes:
        rotations: (G, 3, 3) integer W in the primitive basis.
        inverse_rotations: (G, 3, 3) their inverses.
        translations: (G, 3) w, fractions of primitive vectors.
        from_standard: (3, 3) takes fractional coordinates of the conventional cell to those of the primitive one.
    """

    rotations: NDArray[np.int64]
    inverse_rotations: NDArray[np.int64]
    translations: NDArray[np.float64]
    from_standard: NDArray[np.float64]


@functools.lru_cache(maxsize=530)
def primitive_operations(hall_number: int, centring_symbol: str) -> PrimitiveOperations:
    """Operations of a Hall setting.

    Args:
        hall_number: 1 to 530.
        centring_symbol: first letter of the Hermann-Mauguin symbol, a key of ``CENTRING``.

    Raises:
        ValueError: there is no such Hall number.

    Example:
        >>> len(primitive_operations(523, "F").rotations)  # Fm-3m
        48
    """
    database_rotations, database_translations = database_operations(hall_number)
    centring = np.array(CENTRING[centring_symbol])
    inverse = np.linalg.inv(centring)
    rotations = np.round(inverse @ database_rotations @ centring).astype(np.int64)
    translations = database_translations @ inverse.T
    first: NDArray[np.int64] = np.sort(np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)[1])
    is_identity = (rotations[first] == np.eye(3, dtype=np.int64)).all(axis=(1, 2))
    first = np.concatenate([first[is_identity], first[~is_identity]])
    # The database rounds thirds and sixths to six digits or so: restore them.
    exact = np.round(translations[first] * 24) / 24
    translations = np.where(np.abs(exact - translations[first]) < 1e-4, exact, translations[first])
    translations[0] = 0.0
    rotations = rotations[first]
    inverses = np.round(np.linalg.inv(rotations)).astype(np.int64)
    result = PrimitiveOperations(rotations, inverses, translations, inverse)
    for array in vars(result).values():
        array.flags.writeable = False  # shared by all crystals of this setting
    return result
