"""Small crystals over the crystal systems, and helpers shared by the tests of tensors."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from ase_comformer import tensors


def random_tensor(name: str, seed: int = 0, batch: tuple[int, ...] = ()) -> np.ndarray:
    """Documented form with the index symmetry of the property, made without the module under test."""
    entry = tensors.PROPERTIES[name]
    array = np.random.default_rng(seed).normal(size=(*batch, *entry.shape))
    symmetric = entry.shape == (6, 6) or (entry.shape == (3, 3) and entry.formula == "ij=ji")
    return (array + array.swapaxes(-1, -2)) / 2 if symmetric else array


def turn(tensor: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Brute force: one einsum per index of a full Cartesian tensor."""
    for axis in range(tensor.ndim):
        tensor = np.moveaxis(np.einsum("ia,a...->i...", rotation, np.moveaxis(tensor, axis, 0)), 0, axis)
    return tensor


def quartz() -> Atoms:
    basis = [(0.4697, 0, 1 / 3), (0.4135, 0.2669, 0.7858)]
    return crystal(["Si", "O"], basis, spacegroup=152, cellpar=[4.916, 4.916, 5.405, 90, 90, 120])


CRYSTALS: dict[str, Atoms] = {
    "cubic m-3m": bulk("NaCl", "rocksalt", a=5.64),
    "cubic -43m": bulk("ZnS", "zincblende", a=5.41),
    "hexagonal 6mm": bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382),
    "trigonal 32": quartz(),
    "trigonal -3m R": crystal(
        ["Al", "O"], [(0, 0, 0.352), (0.306, 0, 0.25)], spacegroup=167, cellpar=[4.76, 4.76, 12.99, 90, 90, 120],
        primitive_cell=True,
    ),
    "trigonal 3m P31m": crystal(
        ["Si", "O"], [(0, 0, 0), (0.3, 0, 0.4)], spacegroup=157, cellpar=[5, 5, 6, 90, 90, 120]
    ),
    "trigonal 32 P312": crystal(
        ["Si", "O"], [(0, 0, 0), (0.3, 0.1, 0.2)], spacegroup=149, cellpar=[6, 6, 7, 90, 90, 120]
    ),
    "hexagonal -6m2": crystal(
        ["Si", "O"], [(0, 0, 0), (0.3, 0.1, 0.2)], spacegroup=189, cellpar=[6, 6, 7, 90, 90, 120]
    ),
    "tetragonal 4/mmm": crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.96, 90, 90, 90]
    ),
    "tetragonal -42m": crystal(
        ["Si", "O"], [(0, 0, 0), (0.2, 0.1, 0.3)], spacegroup=111, cellpar=[5, 5, 6, 90, 90, 90]
    ),
    "tetragonal -4m2": crystal(
        ["Si", "O"], [(0, 0, 0), (0.2, 0.1, 0.3)], spacegroup=115, cellpar=[5, 5, 6, 90, 90, 90]
    ),
    "orthorhombic mm2": crystal(
        ["Si", "O"], [(0, 0, 0), (0.2, 0.1, 0.3)], spacegroup=25, cellpar=[6, 5, 7, 90, 90, 90]
    ),
    "orthorhombic mmm": crystal(
        ["Si", "O"], [(0, 0, 0), (0.2, 0.1, 0.3)], spacegroup=47, cellpar=[6, 5, 7, 90, 90, 90]
    ),
    "monoclinic 2/m": crystal(
        ["Si", "O"], [(0, 0, 0), (0.2, 0.1, 0.3)], spacegroup=14, cellpar=[5, 6, 7, 90, 105, 90]
    ),
    "monoclinic m": crystal(
        ["Si", "O"], [(0, 0, 0), (0.2, 0.1, 0.3)], spacegroup=8, cellpar=[9, 6, 5, 90, 110, 90]
    ),
    "triclinic": crystal(["Si", "O"], [(0, 0, 0), (0.2, 0.1, 0.3)], spacegroup=2, cellpar=[5, 6, 7, 80, 95, 100]),
}  # fmt: skip
