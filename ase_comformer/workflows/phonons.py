"""``phonons``: bands, densities of states and thermal properties of a crystal in one call, with LO-TO splitting.

The potential gives the forces, networks the Born charges and the electronic dielectric tensor; ``physics.phonons``
answers. All of it belongs to one idealised primitive cell.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import GPa
from numpy.typing import ArrayLike, NDArray

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.metallicity import why_metallic
from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.errors import InvalidStructureError, UnknownElementError, check_choice, warn_user
from ase_comformer.inference.crystal_response import RELAXATIONS, STRESS_WARNING
from ase_comformer.inference.known_symmetry import forces_of_symmetric
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.relaxation import at_rest
from ase_comformer.inference.settings import DEFAULTS
from ase_comformer.inference.undefined import predicted_gap
from ase_comformer.physics.force_response import DISPLACEMENT
from ase_comformer.physics.phonons import IMAGINARY, Phonons, at_wave_vectors, imaginary_modes
from ase_comformer.physics.phonopy_bridge import (
    born_lines,
    phonopy_of_group,
    set_forces,
    set_non_analytic_term,
)
from ase_comformer.physics.supercells import shortest_vector, symmetric_supercell
from ase_comformer.workflows.loading import predictor_for

if TYPE_CHECKING:
    from phonopy import Phonopy

FloatArray = NDArray[np.float64]

#: A, least distance of an atom from its images in the supercell that is chosen.
IMAGE_DISTANCE = 10.0
#: Of the logarithm of the volume, between the cells of Grueneisen parameters.
VOLUME_STEP = 0.02
#: Wave vectors at which convergence is judged, and atoms beyond which a supercell is not enlarged.
_WAVE_VECTORS, MOST_ATOMS = 30, 500
_ELECTRIC = ("born_effective_charges", "dielectric_tensor")
#: e, below which charges split nothing (elements, by the acoustic sum rule).
_NO_CHARGE = 1e-6


def phonons(
    atoms: Any,
    *,
    relax: str | None = "atoms",
    supercell: ArrayLike | float | None = None,
    convergence: float | None = None,
    nac: bool = True,
    gruneisen: bool = False,
    displacement: float = DISPLACEMENT,
    fmax: float = 1e-3,
    predictor: Predictor | None = None,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    symprec: float = DEFAULTS.symprec,
) -> Phonons:
    """Compute the phonons of a crystal.

    Args:
        atoms: crystal, periodic in three directions (``Atoms`` or pymatgen ``Structure``); not changed.
        relax: ``"atoms"`` brings the atoms to rest in the given cell, ``"cell"`` the cell too, with the space group
            kept; ``None`` (or ``"none"``) takes the crystal as it is.
        supercell: a number is the least distance (A) of an atom from its images: the smallest supercell with the
            symmetry of the crystal is taken; three integers or (3, 3) multiply the primitive cell. None: 10 A, where
            frequencies differ by 0.05 THz on average from those of 17 A and more (0.06 at 8 A, 0.02 at 12 A).
        convergence: THz; enlarge that supercell until frequencies at random wave vectors change by less on average.
        nac: split longitudinal and transverse optical modes at Gamma, by predicted Born charges and dielectric tensor;
            never done where there is no gap.
        gruneisen: prepare mode Grueneisen parameters, which takes two more crystals of other volume.
        displacement: A, of single atoms.
        fmax: eV/A, largest force at rest.
        predictor: loaded model in float64; made from the arguments below where None.
        model: name or path, as ``predict``.
        device: ``"auto"`` or a torch device.
        symprec: A, the largest distance by which idealisation may move an atom.

    Returns:
        ``Phonons``: ``.bands()``, ``.density_of_states()``, ``.thermal_properties()``, ``.frequencies(q)``,
        ``.imaginary_modes``, ``.write(folder)``, and ``.phonopy``.

    Raises:
        InvalidStructureError: no crystal.
        UnknownElementError: the potential does not know an element.
        UnknownNameError: unknown ``relax``, model or device.
        ImportError: phonopy is missing.

    Warns:
        UserWarning: imaginary modes, stress above 1 GPa, atoms that do not come to rest, charges that are missing.

    Example:
        >>> from ase.build import bulk
        >>> found = phonons(bulk("MgO", "rocksalt", a=4.25))
        >>> bool(found.frequencies([0, 0, 0], direction=[1, 0, 0])[-1] > found.frequencies([0, 0, 0])[-1] + 5)
        True

    Source: X. Gonze, C. Lee, Phys. Rev. B 55, 10355 (1997) for the non-analytic term.
    """
    check_choice("none" if relax is None else relax, RELAXATIONS, "relax")
    given = as_atoms(atoms)
    predictor = predictor_for(predictor, model=model, device=device, symprec=symprec)
    group = analyse_space_group(given, predictor.symprec)
    status: list[str] = []
    if relax not in (None, "none"):
        group, rests = at_rest(group, predictor, cell=relax == "cell", fmax=fmax)
        if not rests:
            status.append(f"atoms did not come to rest below {fmax:g} eV/A")
    matrix = _supercell(group, supercell)
    stress = predictor.evaluate(group.primitive, ["stress"])["stress"] / GPa
    if np.abs(stress).max() > STRESS_WARNING:
        status.append(f"stress of {np.abs(stress).max():.2g} GPa at rest: relax the cell (relax='cell')")
    tensors, why = _screening(group, predictor) if nac else (None, "")
    phonon = _phonopy(group, matrix, predictor, displacement, tensors)
    if convergence is not None:
        phonon, matrix, change = _converged(phonon, group, matrix, predictor, displacement, tensors, convergence)
        if not change < convergence:
            status.append(f"frequencies still change by {change:.3f} THz at {len(phonon.supercell)} atoms")
    strained = None
    if gruneisen:
        strained = _at_other_volumes(group, matrix, predictor, displacement, fmax, tensors is not None)
    unstable = imaginary_modes(phonon, matrix)
    if unstable:
        status.append(
            f"{len(unstable)} imaginary modes below -{IMAGINARY:g} THz, the lowest at {unstable[0].frequency:.2f} THz, "
            f"q = {np.round(unstable[0].q, 4).tolist()}: the crystal is no minimum of the potential"
        )
    for text in status:
        warn_user(f"{given.get_chemical_formula()}: {text}")
    if why:  # as it should be in a metal
        status.append(f"no LO-TO splitting: the crystal {why}")
    return Phonons(
        phonopy=phonon,
        group=group,
        supercell=matrix,
        born_effective_charges=tensors[0] if tensors else None,
        dielectric_tensor=tensors[1] if tensors else None,
        stress=stress,
        imaginary_modes=unstable,
        status=tuple(status) or ("ok",),
        strained=strained,
    )


def write_born(
    atoms: Any,
    path: str | Path = "BORN",
    *,
    predictor: Predictor | None = None,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    symprec: float = DEFAULTS.symprec,
) -> Path:
    """Write phonopy's file ``BORN`` with predicted charges and dielectric tensor, for force constants of one's own.

    Args:
        atoms: phonopy's primitive cell (``phonon.primitive``), in its orientation and order of atoms.
        path: file to write.
        predictor: loaded model; made from the arguments below where None.
        model: name or path, as ``predict``.
        device: ``"auto"`` or a torch device.
        symprec: A, the largest distance by which idealisation may move an atom.

    Returns:
        ``path``.

    Raises:
        InvalidStructureError: ``atoms`` is no primitive cell, for whose atoms charges are listed.
        UnknownElementError: the networks do not know an element.
    """
    given = as_atoms(atoms)
    predictor = predictor_for(predictor, model=model, device=device, symprec=symprec)
    group = analyse_space_group(given, predictor.symprec)
    if len(group.primitive) != len(given):
        raise InvalidStructureError(
            f"{given.get_chemical_formula()} has {len(given)} atoms, its primitive cell {len(group.primitive)}: BORN "
            "belongs to phonopy's primitive cell. Pass that cell (phonon.primitive)."
        )
    found = predictor.evaluate(given, _ELECTRIC)
    orbits = group.permutations.min(axis=0)[group.atom_to_primitive]
    inequivalent = [int(np.flatnonzero(orbits == orbit)[0]) for orbit in dict.fromkeys(orbits.tolist())]
    Path(path).write_text(born_lines(found[_ELECTRIC[0]], found[_ELECTRIC[1]], inequivalent), encoding="utf-8")
    return Path(path)


def _supercell(group: SpaceGroup, wanted: ArrayLike | float | None) -> NDArray[np.int64]:
    if wanted is None or np.ndim(wanted) == 0:
        return symmetric_supercell(group, IMAGE_DISTANCE if wanted is None else float(wanted))  # type: ignore[arg-type]
    matrix = np.asarray(wanted)
    matrix = np.diag(matrix) if matrix.ndim == 1 else matrix
    if matrix.shape != (3, 3) or (matrix != np.rint(matrix)).any() or round(np.linalg.det(matrix)) < 1:
        raise ValueError(
            f"supercell must be a distance in A, three positive integers or (3, 3) integers with a positive "
            f"determinant, got {np.asarray(wanted).tolist()}"
        )
    return matrix.astype(np.int64)


def _phonopy(
    group: SpaceGroup,
    matrix: NDArray[np.int64],
    predictor: Predictor,
    displacement: float,
    tensors: tuple[FloatArray, FloatArray] | None,
) -> Phonopy:
    phonon, symmetry = phonopy_of_group(group, matrix)
    copies = symmetry.displaced_copies(displacement)
    if tensors is not None:  # first: phonopy prepares its dynamical matrix whenever either changes
        set_non_analytic_term(phonon, *tensors)
    set_forces(phonon, symmetry, copies, forces_of_symmetric(predictor, [copy.group for copy in copies]))
    return phonon


def _converged(
    phonon: Phonopy,
    group: SpaceGroup,
    matrix: NDArray[np.int64],
    predictor: Predictor,
    displacement: float,
    tensors: tuple[FloatArray, FloatArray] | None,
    limit: float,
) -> tuple[Phonopy, NDArray[np.int64], float]:
    """Enlarge a supercell until frequencies hold still; return the last one and the last change (THz)."""
    if not limit > 0:
        raise ValueError(f"convergence must be a positive frequency in THz, got {limit}")
    q = np.random.default_rng(0).uniform(-0.5, 0.5, (_WAVE_VECTORS, 3))
    last, change = at_wave_vectors(phonon, q)["frequencies"], float("inf")
    while not change < limit:
        distance = shortest_vector(matrix @ group.primitive.cell.array)
        larger = symmetric_supercell(group, distance + 1.0, MOST_ATOMS)
        if shortest_vector(larger @ group.primitive.cell.array) < distance + 0.5:
            break
        matrix = larger
        phonon = _phonopy(group, matrix, predictor, displacement, tensors)
        found = at_wave_vectors(phonon, q)["frequencies"]
        last, change = found, float(np.abs(found - last).mean())
    return phonon, matrix, change


def _screening(group: SpaceGroup, predictor: Predictor) -> tuple[tuple[FloatArray, FloatArray] | None, str]:
    """Born charges and dielectric tensor of an insulator; or None, and why where that is worth a word."""
    missing = [name for name in _ELECTRIC if name not in predictor.properties]
    if missing:
        return None, f"is given to a model without {' and '.join(missing)}"
    if metal := why_metallic(group.primitive, predicted_gap(group.primitive, predictor)):
        return None, metal
    try:
        charges, dielectric = _charges(group, predictor)
    except (UnknownElementError, InvalidStructureError) as error:
        return None, f"has no charges: {error}"
    return (None if np.abs(charges).max() < _NO_CHARGE else (charges, dielectric)), ""


def _charges(group: SpaceGroup, predictor: Predictor) -> tuple[FloatArray, FloatArray]:
    found = predictor.evaluate(group.primitive, _ELECTRIC)
    return found[_ELECTRIC[0]], found[_ELECTRIC[1]]


def _at_other_volumes(
    group: SpaceGroup, matrix: NDArray[np.int64], predictor: Predictor, displacement: float, fmax: float, nac: bool
) -> tuple[Phonopy, Phonopy]:
    """Phonopy objects of the crystal scaled to both sides, its atoms at rest again."""
    made = []
    for sign in (-1, 1):
        atoms = group.primitive.copy()
        atoms.set_cell(atoms.cell.array * np.exp(sign * VOLUME_STEP / 6), scale_atoms=True)
        scaled, _ = at_rest(analyse_space_group(atoms, 1e-4), predictor, cell=False, fmax=fmax)
        made.append(_phonopy(scaled, matrix, predictor, displacement, _charges(scaled, predictor) if nac else None))
    return made[0], made[1]
