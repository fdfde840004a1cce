"""Elastic constants from stresses: central differences over small strains, atoms relaxed in every strained cell.

Works with any ASE calculator that has stresses. Only the strains that the space group leaves independent are applied
(two of six in a cubic crystal), and the tensor is fitted within the space of tensors that the group allows. With
``GMTNetCalculator`` it is the independent check of the elastic head.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from ase.units import GPa
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.crystals.structures import bare
from ase_comformer.tensors.forms import rotate
from ase_comformer.tensors.symmetry_report import project
from ase_comformer.tensors.voigt import VOIGT_LABELS, mandel_to_voigt, voigt_to_cartesian, voigt_to_mandel

FloatArray = NDArray[np.float64]

#: Strains beyond this are no small strains.
LARGEST_STRAIN = 0.05
#: GPa; at a larger stress of the unstrained crystal its cell is not the one the constants are meant for.
STRESS_AT_REST = 1.0
#: Least singular value of the fit: errors of the stresses are magnified at most by its inverse.
_CONDITION = 0.25


@dataclass(frozen=True)
class ElasticFit:
    """Elastic constants and what they rest on.

    Attributes:
        tensor: (6, 6) GPa, Voigt, symmetric and invariant under the space group, frame of the atoms.
        strained: Voigt components that were applied, for example ``("xx", "yz")``.
        misfit: norm of what the allowed tensors do not reproduce of the measured slopes, relative to them (Mandel).
        residual_stress: (6,) GPa, Voigt, ASE's sign, of the unstrained crystal as passed in.
        unrelaxed: labels such as ``"yz -0.005"`` of strained crystals whose atoms did not come to rest.
    """

    tensor: FloatArray
    strained: tuple[str, ...]
    misfit: float
    residual_stress: FloatArray
    unrelaxed: tuple[str, ...]


def elastic_tensor_from_stress(
    atoms: Atoms,
    *,
    strains: Sequence[float] = (0.005,),
    relax_atoms: bool = True,
    fmax: float = 1e-3,
    steps: int = 100,
    symprec: float = 1e-2,
    use_symmetry: bool = True,
) -> ElasticFit:
    """Elastic tensor of a crystal, relaxed-ion unless ``relax_atoms=False``.

    C_IJ = d sigma_I / d eta_J from Cauchy stresses at symmetric strains of +-d, the deformation being 1 + eta: central
    differences, so the error is of order d^2. These are the elastic constants of the crystal at zero stress; relax the
    cell first. Slopes are fitted by least squares within the tensors that the space group allows, in the Mandel norm:
    with all six strains this is the projection of ``projection.project``.

    Args:
        atoms: crystal, periodic in three directions, with a calculator; not changed. Constraints are ignored.
        strains: magnitudes d of the components (engineering shear for yz, xz, xy); the slope is fitted over them.
        relax_atoms: relax the atoms in every strained cell (BFGS).
        fmax: eV/A, largest force after that.
        steps: most steps of one such relaxation.
        symprec: A, of the space-group search.
        use_symmetry: leave out strains that symmetry makes redundant; otherwise P1, all six.

    Raises:
        ValueError: no calculator, no or zero or too large strains.
        ase.calculators.calculator.PropertyNotImplementedError: the calculator has no stress of these atoms.

    Warns:
        UserWarning: stress of the unstrained crystal above ``STRESS_AT_REST``, or atoms that did not come to rest.

    Source: M. de Jong et al., Sci. Data 2, 150009 (2015), for the method; they fit over +-0.5 % and +-1 %.
    """
    if atoms.calc is None:
        raise ValueError("elastic_tensor_from_stress needs atoms with a calculator; set atoms.calc")
    magnitudes = np.abs(np.asarray(strains, dtype=np.float64))
    if magnitudes.ndim != 1 or not len(magnitudes) or not ((magnitudes > 0) & (magnitudes <= LARGEST_STRAIN)).all():
        raise ValueError(f"strains must be numbers between 0 and {LARGEST_STRAIN}, got {strains!r}; try (0.005,)")
    calculator = atoms.calc
    unstrained = bare(atoms)  # constraints would forbid what a strain does
    unstrained.calc = calculator
    rest = np.asarray(unstrained.get_stress()) / GPa
    if np.abs(rest).max() > STRESS_AT_REST:
        warnings.warn(
            f"{atoms.get_chemical_formula()}: stress of {np.abs(rest).max():.2g} GPa at rest; relax the cell first "
            "(ase.filters.FrechetCellFilter), elastic constants are those of the unstressed crystal.",
            UserWarning,
            stacklevel=2,
        )
    basis = allowed_stiffness_tensors(analyse_space_group(atoms, symprec) if use_symmetry else None)
    columns = independent_strains(basis)
    slopes, unrelaxed = np.zeros((6, 6)), []
    for column in columns:
        total = np.zeros(6)
        for signed, strained in strained_pairs(atoms, column, magnitudes):
            strained.calc = calculator
            if relax_atoms and not BFGS(strained, logfile=None).run(fmax=fmax, steps=steps):
                unrelaxed.append(f"{VOIGT_LABELS[column]} {signed:+g}")
            total += signed * np.asarray(strained.get_stress()) / GPa
        slopes[:, column] = total / (2 * np.square(magnitudes).sum())
    if unrelaxed:
        warnings.warn(
            f"{atoms.get_chemical_formula()}: atoms did not come to rest within {steps} steps at strains "
            f"{', '.join(unrelaxed)}; the crystal may be unstable, or needs more steps.",
            UserWarning,
            stacklevel=2,
        )
    tensor, misfit = fit_stiffness(slopes, basis, columns)
    return ElasticFit(tensor, tuple(VOIGT_LABELS[column] for column in columns), misfit, rest, tuple(unrelaxed))


def strained_pairs(
    atoms: Atoms, column: int, magnitudes: Iterable[float], axes: FloatArray | None = None
) -> Iterator[tuple[float, Atoms]]:
    """Yield crystals strained by + and - each magnitude of one Voigt component, along orthonormal axes (3, 3), rows."""
    unit = np.zeros(6)
    unit[column] = 1.0
    direction = voigt_to_cartesian(unit, "strain")
    if axes is not None:
        direction = axes.T @ direction @ axes
    for magnitude in magnitudes:
        for signed in (float(magnitude), -float(magnitude)):
            strained = bare(atoms)
            strained.set_cell(atoms.cell.array @ (np.eye(3) + signed * direction), scale_atoms=True)
            yield signed, strained


def allowed_stiffness_tensors(group: SpaceGroup | None, axes: FloatArray | None = None) -> FloatArray:
    """(K, 6, 6) orthonormal basis, in Mandel form, of the elastic tensors that the group allows.

    Their components are along orthonormal ``axes`` (3, 3), rows, the Cartesian ones where None.
    """
    units = mandel_to_voigt(np.eye(36).reshape(36, 6, 6), "stiffness")
    allowed = (units + units.swapaxes(1, 2)) / 2
    if group is not None:
        turn = np.eye(3) if axes is None else axes
        in_space = rotate(allowed, turn.T, "elastic_tensor")
        allowed = rotate(project("elastic_tensor", in_space, group), turn, "elastic_tensor")
    projector = voigt_to_mandel(allowed, "stiffness").reshape(36, 36)
    values, vectors = np.linalg.eigh((projector + projector.T) / 2)
    return vectors[:, values > 0.5].T.reshape(-1, 6, 6)


def independent_strains(basis: FloatArray) -> tuple[int, ...]:
    """The fewest Voigt components whose stresses determine every tensor of the basis well."""
    for count in range(1, 6):
        for columns in combinations(range(6), count):
            design = basis[:, :, columns].reshape(len(basis), -1)
            if design.shape[1] >= len(basis) and np.linalg.svd(design, compute_uv=False)[-1] > _CONDITION:
                return columns
    return tuple(range(6))


def fit_stiffness(slopes: FloatArray, basis: FloatArray, columns: tuple[int, ...]) -> tuple[FloatArray, float]:
    """Voigt tensor (6, 6) of the basis whose ``columns`` are closest to the slopes, and the relative misfit."""
    measured = voigt_to_mandel(slopes, "stiffness")[:, columns].ravel()
    design = basis[:, :, columns].reshape(len(basis), -1).T
    coefficients, *_ = np.linalg.lstsq(design, measured, rcond=None)
    misfit = np.linalg.norm(design @ coefficients - measured) / max(float(np.linalg.norm(measured)), 1e-12)
    return mandel_to_voigt(np.tensordot(coefficients, basis, 1), "stiffness"), float(misfit)
