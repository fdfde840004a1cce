"""The calls of spglib that the package makes, the same for every version from 2.6 on.

spglib has changed how it fails: it returned None (up to 2.6), then returned None with a ``DeprecationWarning`` at each
call, which test suites turn into errors (2.7, 2.8), and it will raise ``SpglibError``. Here a crystal without an answer
gives None, and everything else that goes wrong is an error: a failure must never look like "no symmetry".
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.lattice_reduction import without_skew

logger = logging.getLogger(__name__)

_FILTERS = threading.Lock()


class _NoSuchError(Exception):
    """Stands for spglib's own exception in versions that have none."""


SpglibError: type[Exception] = getattr(spglib, "SpglibError", _NoSuchError)


@dataclass(frozen=True)
class FoundSymmetry:
    """What spglib says of a crystal of N atoms at one tolerance.

    Attributes:
        number: international number, 1 to 230.
        international: Hermann-Mauguin symbol, e.g. ``"Fm-3m"``.
        hall_number: 1 to 530.
        point_group: e.g. ``"m-3m"``.
        transformation: (3, 3) P in ``x_standard = P x + p``, fractional coordinates.
        origin_shift: (3,) p.
        primitive_lattice: (3, 3) A, rows are primitive vectors in the orientation of the input.
        mapping_to_primitive: (N,) atoms with the same number are lattice translations of each other.
    """

    number: int
    international: str
    hall_number: int
    point_group: str
    transformation: NDArray[np.float64]
    origin_shift: NDArray[np.float64]
    primitive_lattice: NDArray[np.float64]
    mapping_to_primitive: NDArray[np.int64]


def find_symmetry(atoms: Atoms, tolerance: float) -> FoundSymmetry | None:
    """Ask spglib for the space group of a crystal.

    Args:
        atoms: three-dimensionally periodic crystal, N atoms.
        tolerance: A, spglib's ``symprec``.

    Returns:
        Its answer, or None where it has none (for example because atoms are closer than the tolerance).
    """
    # spglib ends the process, or fills the memory, in very skew cells
    cell, reduction = without_skew(atoms.cell.array)
    scaled = atoms.get_scaled_positions(wrap=False) if reduction is None else atoms.positions @ np.linalg.inv(cell)
    dataset = _called(spglib.get_symmetry_dataset, (cell, scaled, atoms.numbers), symprec=tolerance)
    if dataset is None:
        return None
    transformation = np.asarray(dataset.transformation_matrix, dtype=np.float64)
    if reduction is not None:  # x_reduced = reduction^-T x
        transformation = transformation @ np.linalg.inv(reduction).T
    return FoundSymmetry(
        number=int(dataset.number),
        international=str(dataset.international),
        hall_number=int(dataset.hall_number),
        point_group=str(dataset.pointgroup).strip(),
        transformation=transformation,
        origin_shift=np.asarray(dataset.origin_shift, dtype=np.float64),
        primitive_lattice=np.asarray(dataset.primitive_lattice, dtype=np.float64),
        mapping_to_primitive=np.asarray(dataset.mapping_to_primitive, dtype=np.int64),
    )


def database_operations(hall_number: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Operations of a Hall setting in its conventional cell: rotations (M, 3, 3) and translations (M, 3).

    Raises:
        ValueError: the Hall number is not one of 1 to 530.
    """
    database = _called(spglib.get_symmetry_from_database, hall_number) if 1 <= hall_number <= 530 else None
    if database is None:
        raise ValueError(f"spglib has no Hall number {hall_number}; valid ones are 1 to 530")
    return np.asarray(database["rotations"], dtype=np.int64), np.asarray(database["translations"], dtype=np.float64)


def niggli_reduce(cell: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Niggli-reduced basis (3, 3) of the lattice with the rows of ``cell``, A; None where spglib finds none."""
    reduced = _called(spglib.niggli_reduce, cell)
    return None if reduced is None else np.asarray(reduced, dtype=np.float64)


def setting_type(hall_number: int) -> Any:
    """Give what spglib's table says of a Hall setting, 1 to 530: ``number``, ``international_full``, ``choice``, ..."""
    return _called(spglib.get_spacegroup_type, hall_number)


#: Functions that warn at each call and cannot be asked not to; the package calls them once for each setting.
_WARN_ALWAYS = (spglib.get_symmetry_from_database, spglib.get_spacegroup_type)


def _called(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The result of a function of spglib, None where it reports failure in whichever way."""
    if _raises_on_request(function):
        options["_throw"] = True
    elif function in _WARN_ALWAYS:
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return function(*arguments, **options)
    try:
        return function(*arguments, **options)
    except SpglibError as error:
        logger.debug("spglib: %s", error)
        return None
    except DeprecationWarning:
        # Only where warnings are errors and this version cannot be asked to raise: the call is made again without.
        # Filters are those of the process; hence the lock, and hence not at every call.
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return function(*arguments, **options)


@functools.lru_cache(maxsize=16)
def _raises_on_request(function: Callable[..., Any]) -> bool:
    """Whether a function takes ``_throw`` (2.7 and 2.8), which raises errors instead of warning at each call."""
    try:
        return "_throw" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a built-in function without a signature
        return False
