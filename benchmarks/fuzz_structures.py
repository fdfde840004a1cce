"""Structures of every bad kind, made from a seed and a number alone, for ``benchmarks.fuzz``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule, mx2

Generator = np.random.Generator


def _prototype(rng: Generator) -> Atoms:
    """A small healthy crystal."""
    a = float(rng.uniform(0.97, 1.03))
    choices = [
        lambda: bulk("NaCl", "rocksalt", a=5.64 * a),
        lambda: bulk("MgO", "rocksalt", a=4.21 * a, cubic=True),
        lambda: bulk("GaAs", "zincblende", a=5.65 * a),
        lambda: bulk("ZnO", "wurtzite", a=3.25 * a, c=5.2 * a, u=0.382),
        lambda: bulk("Si", "diamond", a=5.43 * a),
        lambda: bulk("CsCl", "cesiumchloride", a=4.12 * a),
        lambda: bulk("Cu", "fcc", a=3.61 * a),
        lambda: bulk("Mg", "hcp", a=3.21 * a, c=5.21 * a),
        lambda: bulk("CaF2", "fluorite", a=5.46 * a),
    ]
    return choices[int(rng.integers(len(choices)))]()


def _random_elements(rng: Generator, count: int) -> np.ndarray:
    return rng.choice([1, 3, 6, 8, 9, 11, 12, 13, 14, 16, 17, 20, 22, 30, 31, 33, 38, 53, 55, 56, 82, 83], count)


def _random_cell(rng: Generator, length: float) -> np.ndarray:
    return length * (np.eye(3) + 0.3 * rng.normal(size=(3, 3)))


def _flat(rng: Generator) -> Atoms:
    kind = int(rng.integers(3))
    count = int(rng.integers(1, 11))
    cell = np.diag(rng.uniform(3, 8, 3))
    small = 10 ** rng.uniform(-7, -0.3)
    if kind == 0:  # a lattice vector nearly in the plane of the others
        cell[2] = rng.uniform(-1, 1, 2) @ cell[:2] + [0, 0, small]
    elif kind == 1:  # two lattice vectors a small angle apart
        cell[1] = cell[0] * rng.uniform(0.8, 1.2) + [0, small, 0]
    else:
        cell[2] = [0, 0, small]
    return Atoms(_random_elements(rng, count), cell=cell, scaled_positions=rng.random((count, 3)), pbc=True)


def _needle(rng: Generator) -> Atoms:
    count = int(rng.integers(1, 4))
    lengths = np.array([10 ** rng.uniform(-3, 0.3), *10 ** rng.uniform(0.3, 1.7, 2)])
    atoms = Atoms(_random_elements(rng, count), cell=lengths, scaled_positions=rng.random((count, 3)), pbc=True)
    atoms.pbc = [True, *(rng.random(2) < 0.7)]
    return atoms


def _sparse(rng: Generator) -> Atoms:
    count = int(rng.integers(1, 9))
    cell = np.diag(10 ** rng.uniform(0.8, 2.8, 3))
    return Atoms(
        _random_elements(rng, count), cell=cell, scaled_positions=rng.random((count, 3)), pbc=rng.random() < 0.7
    )


def _one_atom(rng: Generator) -> Atoms:
    return Atoms(_random_elements(rng, 1), cell=_random_cell(rng, rng.uniform(1, 14)), pbc=rng.random(3) < 0.8)


def _dense(rng: Generator) -> Atoms:
    count = int(rng.integers(2, 40))
    length = (count * 10 ** rng.uniform(-2, 1)) ** (1 / 3)
    points = rng.random((count, 3))
    if rng.random() < 0.5:  # evenly spaced rather than at random, so that distances alone do not tell
        side = int(np.ceil(count ** (1 / 3)))
        points = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:count] / side
    return Atoms(_random_elements(rng, count), cell=np.eye(3) * length, scaled_positions=points, pbc=True)


def _overlapping(rng: Generator) -> Atoms:
    atoms = _prototype(rng).repeat(tuple(rng.integers(1, 4, 3)))
    if len(atoms) == 1:
        atoms = atoms.repeat((2, 1, 1))
    first, second = rng.choice(len(atoms), 2, replace=False)
    direction = rng.normal(size=3)
    distance = rng.choice([0.0, 1e-6, 1e-3, 0.05, 0.2, 0.45, 0.6])
    atoms.positions[first] = atoms.positions[second] + distance * direction / np.linalg.norm(direction)
    if rng.random() < 0.5:
        atoms.positions[first] += rng.integers(-2, 3, 3) @ atoms.cell.array
    return atoms


def _far_away(rng: Generator) -> Atoms:
    atoms = _prototype(rng)
    if rng.random() < 0.5:
        atoms.positions += 10 ** rng.uniform(1, 14) * rng.normal(size=3)
    else:
        atoms.positions[0] += rng.normal(size=3) * 10 ** rng.uniform(1, 14)
    if rng.random() < 0.3:
        atoms.pbc = rng.random(3) < 0.5
    return atoms


def _mixed_periodicity(rng: Generator) -> Atoms:
    layer = mx2("MoS2", vacuum=float(rng.uniform(2, 12)))
    choices: list[Callable[[], Atoms]] = [
        lambda: fcc111("Cu", (1, 1, 3), vacuum=float(rng.uniform(1, 10))),
        lambda: layer,
        lambda: molecule("H2O"),
        lambda: molecule("CH4", cell=[8, 9, 10]),
        lambda: _prototype(rng),
    ]
    atoms = choices[int(rng.integers(len(choices)))]()
    atoms.pbc = rng.random(3) < 0.5
    if rng.random() < 0.2:
        atoms.cell[int(rng.integers(3))] = 0.0
    return atoms


def _skewed(rng: Generator) -> Atoms:
    atoms = _prototype(rng)
    matrix = np.eye(3, dtype=int)
    for _ in range(int(rng.integers(1, 5))):
        i, j = rng.choice(3, 2, replace=False)
        matrix[i] += int(rng.integers(-30, 31)) * matrix[j]
    atoms.set_cell(matrix @ atoms.cell.array, scale_atoms=False)
    return atoms


def _left_handed(rng: Generator) -> Atoms:
    atoms = _prototype(rng).repeat(tuple(rng.integers(1, 3, 3)))
    atoms.set_cell(atoms.cell.array[[1, 0, 2]] if rng.random() < 0.5 else -atoms.cell.array, scale_atoms=False)
    atoms.rattle(float(10 ** rng.uniform(-4, -1)), seed=int(rng.integers(1000)))
    return atoms


def _ghosts(rng: Generator) -> Atoms:
    atoms = _prototype(rng)
    if rng.random() < 0.5:
        atoms.numbers[int(rng.integers(len(atoms)))] = rng.choice([0, 0, 119, 200, -1, 61, 84, 118, 95])
    else:
        atoms += Atoms("X", positions=[atoms.cell.array.sum(axis=0) * 0.37])
    return atoms


def _wrong_types(rng: Generator) -> Any:
    atoms = _prototype(rng)
    where = tuple(int(rng.integers(n)) for n in atoms.positions.shape)
    choice = int(rng.integers(12))
    if choice == 0:
        return "NaCl"
    if choice == 1:
        return 3.14
    if choice == 2:
        return [atoms]
    if choice == 3:
        return atoms.cell.array
    if choice == 4:
        return Atoms()
    if choice == 5:
        return Atoms(cell=[4, 4, 4], pbc=True)
    if choice == 6:
        atoms.positions[where] = rng.choice([np.nan, np.inf, -np.inf, 1e300, 1e308])
    elif choice == 7:
        atoms.cell[int(rng.integers(3)), int(rng.integers(3))] = rng.choice([np.nan, np.inf, 1e300, 1e160])
    elif choice == 8:
        atoms.set_initial_magnetic_moments(rng.normal(size=len(atoms)))
        atoms.info["occupancy"] = {"0": {"Na": 0.5}, 1: None}
    elif choice == 9:
        atoms.arrays["positions"] = atoms.positions.astype(np.float32)
    elif choice == 10:
        atoms.arrays["numbers"] = atoms.numbers.astype(np.int16)
    else:
        atoms.arrays["positions"] = np.asfortranarray(atoms.positions)
    return atoms


def _healthy(rng: Generator) -> Atoms:
    atoms = _prototype(rng).repeat(tuple(rng.integers(1, 4, 3)))
    atoms.rattle(float(rng.choice([0.0, 1e-9, 1e-4, 2e-3, 0.05, 0.3])), seed=int(rng.integers(1000)))
    return atoms


def _vacancy_and_double(rng: Generator) -> Atoms:
    """A supercell, one atom of which sits on another of its species: the perfect crystal modulo the lattice."""
    perfect = _prototype(rng).repeat((3, 2, 2))
    same = np.flatnonzero(perfect.numbers == perfect.numbers[0])
    if rng.random() < 0.7:
        perfect.positions[same[1]] = perfect.positions[same[0]] + int(rng.integers(-1, 2)) * perfect.cell.array[0]
    return perfect


KINDS: dict[str, Callable[[Generator], Any]] = {
    "flat": _flat,
    "needle": _needle,
    "sparse": _sparse,
    "one atom": _one_atom,
    "dense": _dense,
    "overlapping": _overlapping,
    "far away": _far_away,
    "mixed pbc": _mixed_periodicity,
    "skewed": _skewed,
    "left-handed": _left_handed,
    "ghost atoms": _ghosts,
    "wrong types": _wrong_types,
    "healthy": _healthy,
    "vacancy and double": _vacancy_and_double,
}


def made(seed: int, number: int) -> tuple[str, Any]:
    """Kind and structure of this number: kinds take turns."""
    kind = list(KINDS)[number % len(KINDS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind, KINDS[kind](np.random.default_rng((seed, number)))
