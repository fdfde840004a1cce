"""Tolerances, transformations of crystals and hypothesis strategies for tests of equivariance and invariance.

The transformations return the same crystal described differently (another cell, origin, order, orientation) and, where
atoms are copied or reordered, the index of the original atom behind each new one. Only ``rotate_atoms`` leaves the
Cartesian frame. The strategies need hypothesis (extra ``test``); nothing else here does.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from ase_comformer.crystals.spglib_calls import FoundSymmetry, find_symmetry, niggli_reduce

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

#: Invariance and equivariance of network outputs in float64, relative.
FLOAT64_INVARIANCE = 1e-8
#: The same in float32.
FLOAT32_INVARIANCE = 1e-4
#: Agreement with reference values of another implementation.
FLOAT32_PARITY = 1e-5
FLOAT64_PARITY = 1e-9
#: Symmetry-reduced against plain evaluation in float64.
REDUCED_EVALUATION = 1e-10
#: Idempotence of projectors, exactness of conversions in float64.
PROJECTION = 1e-12


def _as_numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def relative_error(actual: Any, expected: Any) -> float:
    """Frobenius norm of the difference over max(norm of ``expected``, 1); NaN where either holds NaN."""
    left, right = _as_numpy(actual), _as_numpy(expected)
    if left.shape != right.shape:
        raise ValueError(f"shapes differ: {left.shape} and {right.shape}")
    return float(np.linalg.norm(left - right) / max(float(np.linalg.norm(right)), 1.0))


def assert_relative(actual: Any, expected: Any, tolerance: float, what: str = "value") -> None:
    """Raise ``AssertionError`` unless ``relative_error`` is at most ``tolerance`` (NaN fails)."""
    error = relative_error(actual, expected)
    if not error <= tolerance:
        raise AssertionError(f"{what}: relative error {error:.2e} above {tolerance:.0e}")


def rotate_atoms(atoms: Atoms, rotation: np.ndarray) -> Atoms:
    """Crystal with every vector v turned to ``rotation @ v``; (3, 3) proper or improper.

    After an improper rotation the cell vectors are negated, which leaves the lattice alone and keeps the cell
    right-handed.
    """
    result = atoms.copy()
    sign = np.sign(np.linalg.det(rotation))
    result.set_cell(sign * atoms.cell.array @ rotation.T, scale_atoms=False)
    result.positions = atoms.positions @ rotation.T
    return result


def shift_origin(atoms: Atoms, shift: np.ndarray, wrap: bool = True) -> Atoms:
    """Crystal with all atoms moved by the Cartesian vector ``shift`` (3,), A; wrapped into the cell by default."""
    result = atoms.copy()
    result.positions += np.asarray(shift)
    if wrap:
        result.wrap()
    return result


def permute_atoms(atoms: Atoms, permutation: np.ndarray) -> Atoms:
    """Crystal whose atom k is atom ``permutation[k]`` of the input."""
    order = np.asarray(permutation)
    if not np.array_equal(np.sort(order), np.arange(len(atoms))):
        raise ValueError(f"need a permutation of {len(atoms)} atoms, got {order.tolist()}")
    return atoms[order]


def change_cell(atoms: Atoms, cell: np.ndarray, tolerance: float = 1e-3) -> tuple[Atoms, np.ndarray]:
    """Describe the same crystal by other lattice vectors, in the same Cartesian frame.

    Args:
        atoms: periodic crystal with n atoms.
        cell: (3, 3) rows are lattice vectors of the crystal, A: a supercell, an equivalent cell or a smaller one.
        tolerance: A, atoms that a smaller cell makes equal must agree within it.

    Returns:
        The crystal in the new cell and (m,) the atom of the input behind each new atom.

    Raises:
        ValueError: ``cell`` is not a lattice of this crystal.
    """
    ratio = np.asarray(cell) @ np.linalg.inv(atoms.cell.array)
    count = round(len(atoms) * abs(np.linalg.det(ratio)))
    old = atoms.get_scaled_positions(wrap=True)
    corners = np.array(list(product((0, 1), repeat=3))) @ ratio
    ranges = [range(low, high + 1) for low, high in zip(
        np.floor(corners.min(axis=0)).astype(int) - 1, np.ceil(corners.max(axis=0)).astype(int) + 1, strict=True
    )]  # fmt: skip
    images = np.array(list(product(*ranges)))
    index = np.tile(np.arange(len(atoms)), len(images))
    fractional = (old[None] + images[:, None]).reshape(-1, 3) @ np.linalg.inv(ratio)
    inside = np.all((fractional > -0.01) & (fractional < 1.01), axis=1)
    fractional, index = fractional[inside] % 1.0, index[inside]
    kept: list[int] = []
    for k in range(len(index)):  # quadratic, for test crystals
        same = [j for j in kept if atoms.numbers[index[j]] == atoms.numbers[index[k]]]
        difference = fractional[same] - fractional[k] if same else np.ones((1, 3))
        if not same or np.linalg.norm((difference - np.round(difference)) @ cell, axis=1).min() > tolerance:
            kept.append(k)
    if len(kept) != count or count == 0:
        raise ValueError(
            f"the cell {np.asarray(cell).tolist()} is not a lattice of the crystal: it holds {len(kept)} atoms, "
            f"its volume asks for {count}. Pass integer combinations of (primitive) lattice vectors."
        )
    result = Atoms(numbers=atoms.numbers[index[kept]], scaled_positions=fractional[kept], cell=cell, pbc=atoms.pbc)
    return result, index[kept]


def supercell(atoms: Atoms, repeats: tuple[int, int, int] | np.ndarray) -> tuple[Atoms, np.ndarray]:
    """Supercell by three repeats or an integer (3, 3) matrix; returns it and the original atom behind each atom."""
    matrix = np.asarray(repeats)
    return change_cell(atoms, (np.diag(matrix) if matrix.ndim == 1 else matrix) @ atoms.cell.array)


def niggli_cell(atoms: Atoms) -> tuple[Atoms, np.ndarray]:
    """Niggli-reduced cell of the lattice spanned by the given cell, in the same Cartesian frame."""
    cell = atoms.cell.array
    reduced = niggli_reduce(cell)
    if reduced is None:
        raise ValueError(f"spglib cannot reduce the cell {cell.tolist()}")
    transform = np.rint(reduced @ np.linalg.inv(cell))
    # A basis that spglib returned in another orientation would give a wrong transform silently.
    if not np.allclose(transform @ cell, reduced, atol=1e-4):
        raise ValueError(f"spglib turned the reduced basis of the cell {cell.tolist()}; pass a right-handed cell")
    return change_cell(atoms, transform @ cell)


def primitive_cell(atoms: Atoms, symprec: float = 1e-4) -> tuple[Atoms, np.ndarray]:
    """A primitive cell (spglib's, not standardised) in the same Cartesian frame."""
    fraction = atoms.cell.array @ np.linalg.inv(_symmetry_dataset(atoms, symprec).primitive_lattice)
    return change_cell(atoms, np.linalg.inv(np.rint(fraction)) @ atoms.cell.array)


def conventional_cell(atoms: Atoms, symprec: float = 1e-4) -> tuple[Atoms, np.ndarray]:
    """The conventional cell of spglib's standard setting, not idealised, in the same Cartesian frame."""
    transformation = _symmetry_dataset(atoms, symprec).transformation
    primitive, index = primitive_cell(atoms, symprec)
    conventional = np.linalg.inv(transformation).T @ atoms.cell.array
    ratio = np.rint(conventional @ np.linalg.inv(primitive.cell.array))
    result, second = change_cell(primitive, ratio @ primitive.cell.array)
    return result, index[second]


def _symmetry_dataset(atoms: Atoms, symprec: float) -> FoundSymmetry:
    dataset = find_symmetry(atoms, symprec)
    if dataset is None:
        raise ValueError(f"spglib finds no symmetry for {atoms.get_chemical_formula()} at symprec={symprec} A")
    return dataset


def random_rotation(generator: np.random.Generator, improper: bool = False) -> np.ndarray:
    """Uniformly distributed rotation (3, 3), times the inversion if ``improper``."""
    matrix = Rotation.from_quat(generator.normal(size=4)).as_matrix()
    return -matrix if improper else matrix


def rotations(improper: bool | None = None) -> SearchStrategy[np.ndarray]:
    """Strategy for rotations (3, 3), uniform on SO(3); ``improper`` True, False or None for both kinds."""
    from hypothesis import strategies

    def build(u: float, v: float, w: float, inverted: bool) -> np.ndarray:
        # Shoemake's map from the unit cube; shrinks to the identity.
        first, second, (a, b) = np.sqrt(u), np.sqrt(1 - u), (2 * np.pi * v, 2 * np.pi * w)
        quaternion = [first * np.sin(b), first * np.cos(b), second * np.sin(a), second * np.cos(a)]
        matrix = Rotation.from_quat(quaternion).as_matrix()
        return -matrix if inverted else matrix

    unit = strategies.floats(0.0, 1.0)
    inverted = strategies.booleans() if improper is None else strategies.just(improper)
    return strategies.builds(build, unit, unit, unit, inverted)


def strains(magnitude: float = 0.01) -> SearchStrategy[np.ndarray]:
    """Strategy for symmetric strains (3, 3) with components up to ``magnitude``."""
    from hypothesis import strategies

    def build(values: list[float]) -> np.ndarray:
        matrix = np.zeros((3, 3))
        matrix[np.triu_indices(3)] = values
        return (matrix + matrix.T) / 2

    component = strategies.floats(-magnitude, magnitude)
    return strategies.builds(build, strategies.lists(component, min_size=6, max_size=6))


def cells(shortest: float = 3.0, longest: float = 8.0, skew: float = 0.4) -> SearchStrategy[np.ndarray]:
    """Strategy for right-handed cells (3, 3), A: lengths scaled between the limits, off-diagonals up to ``skew``."""
    from hypothesis import strategies

    if not 0 <= skew < 0.5:
        raise ValueError(f"skew must be in [0, 0.5) to keep the volume positive, got {skew}")

    def build(lengths: list[float], tilts: list[float]) -> np.ndarray:
        matrix = np.eye(3)
        matrix[~np.eye(3, dtype=bool)] = tilts
        return np.array(lengths)[:, None] * matrix

    return strategies.builds(
        build,
        strategies.lists(strategies.floats(shortest, longest), min_size=3, max_size=3),
        strategies.lists(strategies.floats(-skew, skew), min_size=6, max_size=6),
    )
