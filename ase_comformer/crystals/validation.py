"""Validation of ``ase.Atoms`` before anything is computed from them.

Every check either passes or raises an error that names the problem, the offending value and the remedy.
Lengths are in Å. Left-handed cells are valid: nothing in the package depends on the handedness.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from ase_comformer.crystals.lattice_reduction import reduced_cell
from ase_comformer.crystals.neighbour_search import pairs_within
from ase_comformer.errors import InvalidStructureError, UnknownElementError

MINIMUM_DISTANCE = 0.5
"""Atoms closer than this (Å) overlap: the shortest bond there is, H-H, has 0.74 Å."""

TOUCHING = 0.1
"""Atoms closer than this (Å) are refused even in dynamics: the repulsion there exceeds any sensible step."""

_SEARCH = 1.5
"""Smallest cut-off (Å) of the neighbour search."""

SMALLEST_VOLUME = 1.0
"""A crystal with less volume per atom (Å³) is refused: carbon at 1 TPa has 2.5, hydrogen at 500 GPa 1.4."""

_FLAT = 1e-6
"""A cell is flat when its volume is below this fraction of the product of the lengths of its shortest vectors."""

_SKEWEST = 1e-10
"""Below this fraction the volume of a skew cell is known to less than a millionth, and it is refused as it is."""


def validate_atoms(
    atoms: Atoms,
    elements: Collection[str] | None = None,
    property_name: str | None = None,
    *,
    minimum_distance: float = MINIMUM_DISTANCE,
) -> None:
    """Check that ``atoms`` is a crystal which a model can evaluate.

    Args:
        atoms: the structure, n atoms.
        elements: chemical symbols that the model was trained on; ``None`` skips this check.
        property_name: the property asked for, only for the error message.
        minimum_distance: smallest allowed distance in Å between two atoms, periodic images included.

    Raises:
        InvalidStructureError: no atoms, not periodic in all three directions, NaN or infinite cell or
            positions, no volume, a lattice vector or an interatomic distance below ``minimum_distance``.
        UnknownElementError: an element outside ``elements``, or an atomic number that is none.
    """
    validate_structure(atoms, minimum_distance=minimum_distance)
    if elements is not None:
        validate_elements(atoms, elements, property_name)


def validate_structure(atoms: Atoms, *, minimum_distance: float = MINIMUM_DISTANCE, distances: bool = True) -> None:
    """Check everything about ``atoms`` but its elements, see :func:`validate_atoms`; ``distances`` where asked for."""
    if not isinstance(atoms, Atoms):
        raise InvalidStructureError(
            f"Expected an ase.Atoms object, got {type(atoms).__name__}. "
            "Convert the structure first, for example with pymatgen's AseAtomsAdaptor."
        )
    if len(atoms) == 0:
        raise InvalidStructureError("The structure has no atoms (empty Atoms). Pass at least one atom.")
    _validate_numbers(atoms)
    _validate_periodicity(atoms)
    _validate_cell(atoms, minimum_distance)
    _validate_positions(atoms)
    _validate_density(atoms)
    if distances:
        validate_distances(atoms, minimum_distance)


def validate_potential_structure(atoms: Atoms) -> None:
    """Check a structure whose energy and forces are asked for, any ``pbc``, but for overlapping atoms.

    Those are seen where neighbours are found (``energy_surface``), without a search of their own.

    Raises:
        InvalidStructureError: no atoms, NaN or infinite cell or positions, a periodic direction without a lattice
            vector, or no volume.
    """
    if not isinstance(atoms, Atoms) or len(atoms) == 0 or atoms.pbc.all():
        validate_structure(atoms, minimum_distance=TOUCHING, distances=False)
        return
    missing = [axis for axis in range(3) if atoms.pbc[axis] and not atoms.cell.array[axis].any()]
    if missing:
        raise InvalidStructureError(
            f"{_formula(atoms)} is periodic along axis {missing[0]} (pbc={atoms.pbc.tolist()}), but that lattice "
            "vector is zero. Set it in Å, or switch the periodicity off."
        )
    _validate_numbers(atoms)
    _validate_positions(atoms)
    if not np.isfinite(atoms.cell.array).all():
        raise InvalidStructureError(f"The cell has NaN or infinite entries: {atoms.cell.tolist()}. Set it in Å.")
    if atoms.pbc.any():
        whole = Atoms(cell=atoms.cell.complete(), pbc=True)
        _validate_cell(whole, TOUCHING)


def validate_elements(atoms: Atoms, elements: Collection[str], property_name: str | None = None) -> None:
    """Raise :class:`UnknownElementError` for an element of ``atoms`` outside ``elements`` (symbols)."""
    found = sorted({int(number) for number in atoms.numbers})
    unknown = [_symbol(number) for number in found if _symbol(number) not in elements]
    if unknown:
        target = f" for {property_name}" if property_name else ""
        raise UnknownElementError(
            f"{', '.join(unknown)} in {_formula(atoms)} is outside the training set of the model{target}, "
            f"which covers {len(elements)} elements: {' '.join(_sorted_symbols(elements))}. "
            "Use a model trained on this element; there is no sensible extrapolation to unseen elements."
        )


def _symbol(number: int) -> str:
    return chemical_symbols[number] if 0 <= number < len(chemical_symbols) else f"Z={number}"


def _formula(atoms: Atoms) -> str:
    known = (atoms.numbers >= 0) & (atoms.numbers < len(chemical_symbols))
    return atoms.get_chemical_formula() if known.all() else f"a structure of {len(atoms)} atoms"


def _sorted_symbols(elements: Collection[str]) -> list[str]:
    return [symbol for symbol in chemical_symbols if symbol in elements]


def _validate_periodicity(atoms: Atoms) -> None:
    pbc = atoms.pbc
    if pbc.all():
        return
    formula = _formula(atoms)
    if not pbc.any():
        raise InvalidStructureError(
            f"{formula} has no periodic boundary conditions (pbc={pbc.tolist()}), but response tensors are "
            "defined for "
            "crystals. If this is a crystal, set atoms.pbc = True (and a cell); molecules are not supported."
        )
    raise InvalidStructureError(
        f"{formula} is periodic in some directions only (pbc={pbc.tolist()}), but response tensors per "
        "volume need full "
        "3D periodicity. Set atoms.pbc = True if this is a bulk crystal; slabs, layers and wires are not "
        "supported."
    )


def _validate_cell(atoms: Atoms, minimum_distance: float) -> None:
    cell = atoms.cell.array
    if not np.isfinite(cell).all():
        raise InvalidStructureError(f"The cell has NaN or infinite entries: {cell.tolist()}. Set it in Å.")
    lengths = np.linalg.norm(cell, axis=1)
    volume = abs(float(np.linalg.det(cell)))
    if _SKEWEST * float(np.prod(lengths)) < volume <= _FLAT * float(np.prod(lengths)):
        # flat, or a skew description of a healthy lattice?
        cell, _ = reduced_cell(cell)
        lengths = np.linalg.norm(cell, axis=1)
    if volume <= _FLAT * float(np.prod(lengths)):
        raise InvalidStructureError(
            f"The cell has zero volume ({volume:.3g} Å³, lattice vectors of {np.round(lengths, 6).tolist()} "
            "Å). "
            "Give three linearly independent lattice vectors, for example with atoms.set_cell(...), or the reduced "
            "cell of a very skew one (ase.geometry.minkowski_reduce)."
        )
    # A lattice of volume V has a vector no longer than (sqrt(2) V)^(1/3) (Hermite), so this bound also
    # catches cells that are tiny without a short edge, before a neighbour search becomes expensive.
    if min(float(lengths.min()), (2**0.5 * volume) ** (1 / 3)) < minimum_distance:
        raise InvalidStructureError(
            f"The cell is too small: volume {volume:.3g} Å³, shortest lattice vector {lengths.min():.3g} Å, "
            "so atoms overlap "
            f"with their own periodic images (limit {minimum_distance} Å). Is the cell in Å, not in nm or "
            "fractional units?"
        )


def _validate_numbers(atoms: Atoms) -> None:
    bad = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers >= len(chemical_symbols)))
    if len(bad):
        index = int(bad[0])
        raise UnknownElementError(
            f"Atom {index} has the atomic number {int(atoms.numbers[index])}, which is no element "
            f"({len(bad)} of {len(atoms)} atoms). Remove ghost and dummy atoms (symbol X), or set the right element."
        )


def _validate_density(atoms: Atoms) -> None:
    per_atom = float(atoms.cell.volume) / len(atoms)
    if per_atom < SMALLEST_VOLUME:
        raise InvalidStructureError(
            f"{_formula(atoms)} has {per_atom:.3g} Å³ per atom (volume {atoms.cell.volume:.3g} Å³), denser than "
            f"anything physical (limit {SMALLEST_VOLUME} Å³ per atom). Check that the cell is in Å and that no atoms "
            "are duplicated."
        )


def _validate_positions(atoms: Atoms) -> None:
    bad = ~np.isfinite(atoms.positions).all(axis=1)
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        raise InvalidStructureError(
            f"{int(bad.sum())} of {len(atoms)} atoms have NaN or infinite positions, first atom {index} "
            f"({_symbol(int(atoms.numbers[index]))}) at {atoms.positions[index].tolist()}. Set finite "
            "positions in Å."
        )


def validate_distances(atoms: Atoms, minimum_distance: float) -> None:
    """Raise :class:`InvalidStructureError` where two atoms, periodic images included, are closer than that (A)."""
    # the search divides the cell into boxes as wide as the cut-off: very small ones take longer than they save
    pairs = pairs_within(atoms, max(minimum_distance, _SEARCH), both_directions=False)
    first, second, distances = pairs.receiver, pairs.sender, pairs.distance
    k = int(np.argmin(distances)) if len(distances) else 0
    if len(distances) and distances[k] < minimum_distance:
        i, j = int(first[k]), int(second[k])
        raise InvalidStructureError(
            f"Atoms {i} ({_symbol(int(atoms.numbers[i]))}) and {j} ({_symbol(int(atoms.numbers[j]))}) "
            "overlap: "
            f"{float(distances[k]):.3g} Å apart, counting periodic images (limit {minimum_distance} Å). "
            "Remove duplicate "
            "atoms (ase.geometry.get_duplicate_atoms) or check the units of positions and cell."
        )


def require_neighbours(atoms: Atoms, cutoff: float) -> None:
    """Refuse crystals with atoms that have no neighbour within the cut-off of a network, which sees nothing of them.

    Args:
        atoms: a crystal that passed :func:`validate_structure`.
        cutoff: A, of the network.

    Raises:
        InvalidStructureError: an atom has no neighbour; the message names it and the distance to the nearest one.
    """
    lonely = np.setdiff1d(np.arange(len(atoms)), pairs_within(atoms, cutoff).receiver)
    if not len(lonely):
        return
    index = int(lonely[0])
    raise InvalidStructureError(
        f"{len(lonely)} of {len(atoms)} atoms of {_formula(atoms)} have no neighbour within {cutoff:g} Å, the cut-off "
        f"of the model, which therefore knows nothing of them: atom {index} ({_symbol(int(atoms.numbers[index]))}) is "
        f"{_nearest_distance(atoms, index, cutoff)} from its nearest neighbour. Check that the cell is in Å and not "
        "expanded; isolated atoms have no tensor per volume."
    )


def _nearest_distance(atoms: Atoms, index: int, beyond: float) -> str:
    """Distance in A of the nearest atom or image, as text; it is farther than ``beyond``."""
    for cutoff in (2 * beyond, 4 * beyond, 8 * beyond):
        pairs = pairs_within(atoms, cutoff)
        distances = pairs.distance[pairs.receiver == index]
        if len(distances):
            return f"{float(distances.min()):.3g} Å"
    return f"more than {8 * beyond:g} Å"


def has_partial_occupancy(atoms: Atoms) -> bool:
    """Whether sites are shared or partly empty, as ASE notes it in ``atoms.info["occupancy"]``."""
    occupancy = atoms.info.get("occupancy")
    return isinstance(occupancy, dict) and any(
        abs(float(value) - 1.0) > 1e-6
        for site in occupancy.values()
        if isinstance(site, dict)
        for value in site.values()
    )


def ignored_information(atoms: Atoms) -> dict[str, str]:
    """Say what ``atoms`` carry that no prediction takes into account: a sentence for each kind of information."""
    found = {}
    if atoms.has("initial_magmoms") and np.any(atoms.arrays["initial_magmoms"]):
        found["magnetic moments"] = (
            "Initial magnetic moments are ignored: the models are trained on structures without spin labels, and the "
            "space group is that of the non-magnetic structure. Remove them "
            "(atoms.set_initial_magnetic_moments(None)) to silence this warning."
        )
    if atoms.has("initial_charges") and np.any(atoms.arrays["initial_charges"]):
        found["charges"] = (
            "Initial charges are ignored: the networks know neutral cells and no charge states. Remove them "
            "(atoms.set_initial_charges(None)) to silence this warning."
        )
    if has_partial_occupancy(atoms):
        found["occupancy"] = (
            "atoms.info['occupancy'] has partial occupancies (a disordered crystal), which are ignored: every site is "
            "taken as fully occupied by the listed element. Pass an ordered approximant instead."
        )
    return found
