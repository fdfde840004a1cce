"""Energies of isolated atoms, and curves of dimers, from spin-polarised PBE, on the energy scale of the labels.

Total energies depend on pseudopotentials, so energies of two sources can be compared only through differences. Cohesive
energies of elements come from one setting (MatPES); the energy of an isolated atom on the scale of the labels is that
of the elemental crystal there minus the cohesive energy. Elements of other splits than train have no crystal here:
their atoms are moved from the scale of MatPES to that of the labels by what train elements of the same period and block
are moved by on average; lanthanides, whose labels have the f electrons in the core, get the median of train ones.
"""

import gzip
import io
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import ase.io
import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

FILE, DIMERS = "isolated_atoms.json", "dimers_pbe.extxyz.gz"
_ELEMENTS = 104
#: Curves that jump by eV from one electronic state to another.
_BROKEN = frozenset({"Tb", "Dy", "Ho", "Er", "Tm"})
_LANTHANIDES = range(57, 72)
#: Elements beyond have no estimate.
_LAST_ESTIMATED = 94
_NOBLE = (2, 10, 18, 36, 54, 86)
#: Dimers: eV/A and eV, most of what is kept of the repulsive wall.
_LARGE_FORCE, _LARGE_ENERGY = 25.0, 8.0
#: eV, by which energies of dimers at 5 and 6 A may differ where atoms are as good as alone.
_FLAT = 0.02
#: How far the energy at 6 A may be from that of two atoms, in units of the binding there, where it is a label.
_AMBIGUOUS = 0.2
#: Alkali and alkaline-earth metals from Na on, europium and ytterbium; A, distances at which two are as good as alone.
_LARGE, _FAR = (11, 19, 20, 37, 38, 55, 56, 63, 70, 87, 88), (6.4, 8.0)
#: A, edge of the boxes of dimers: beyond twice the longest cut-off.
BOX = 18.0


def isolated_energies(folder: Path, crystals: Mapping[int, float]) -> NDArray[np.float64]:
    """(Z + 1,) eV on the scale of the labels, NaN where nothing is known.

    Args:
        folder: with ``FILE``.
        crystals: atomic number -> eV/atom, lowest labels of elemental crystals of train, read where the file has none.

    Raises:
        FileNotFoundError: without ``FILE``.
    """
    if not (folder / FILE).exists():
        raise FileNotFoundError(f"no energies of isolated atoms: add {FILE} to {folder}")
    facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
    atom, own = np.full(_ELEMENTS, np.nan), np.full(_ELEMENTS, np.nan)
    flat = _flat_dimers(folder)
    for symbol, known in facts.items():
        number = atomic_numbers[symbol]
        if number >= _ELEMENTS:
            continue
        atom[number] = _lowest_atom(symbol, known, flat)
        crystal = known.get("mp_pbe_lowest_crystal_per_atom", crystals.get(number, np.nan))
        if known["split"] == "train" and "matpes_PBE_crystal_per_atom" in known:
            own[number] = crystal - (known["matpes_PBE_crystal_per_atom"] - atom[number])
    places = [_place(number) for number in range(_ELEMENTS)]
    moves = own - atom
    found = own.copy()
    for number in np.flatnonzero(np.isnan(own))[1:]:
        if number > _LAST_ESTIMATED:
            continue
        if number in _LANTHANIDES:
            alike = own[_LANTHANIDES][np.isfinite(own[_LANTHANIDES])]
            found[number] = np.median(alike) if len(alike) else np.nan
            continue
        like = [k for k in range(1, _ELEMENTS) if places[k] == places[number] and k not in _LANTHANIDES]
        known_moves = moves[like][np.isfinite(moves[like])]
        column = [k for k in range(1, _ELEMENTS) if _column(k) == _column(int(number))]
        base = atom[number] if np.isfinite(atom[number]) else _mean(atom[column])
        found[number] = base + (known_moves.mean() if len(known_moves) else 0.0)
    return found


def _lowest_atom(symbol: str, known: Mapping[str, float], flat: frozenset[str]) -> float:
    """eV: MatPES, or half of two atoms at 6 A that feel nothing of each other any more, where that is lower."""
    single, half = (known.get(name, np.nan) for name in ("matpes_PBE_atom", "dimer_6A_half_pbe64"))
    if np.isnan(single):
        return half
    return min(single, half) if symbol in flat else single


@lru_cache(maxsize=4)
def _flat_dimers(folder: Path) -> frozenset[str]:
    """Elements of the p block whose dimers have the same energy at 5 and 6 A."""
    curves: dict[str, list[tuple[float, float]]] = {}
    if not (folder / DIMERS).exists():
        return frozenset()
    for symbol, distance, energy, _ in _curves(folder, ("train",)):
        curves.setdefault(symbol, []).append((distance, energy))
    found = []
    for symbol, points in curves.items():
        distance, energy = np.array(sorted(points)).T
        if _place(atomic_numbers[symbol])[1] == "p" and abs(np.interp(5.0, distance, energy) - energy[-1]) < _FLAT:
            found.append(symbol)
    return frozenset(found)


@lru_cache(maxsize=4)
def _curves(folder: Path, splits: tuple[str, ...]) -> tuple[tuple[str, float, float, float], ...]:
    """Element, distance in A, energy in eV, force in eV/A (positive: apart) of the file."""
    text = gzip.decompress((folder / DIMERS).read_bytes()).decode()
    return tuple(
        (
            dimer.get_chemical_symbols()[0],
            float(np.linalg.norm(dimer.positions[1] - dimer.positions[0])),
            float(dimer.get_potential_energy()),
            float(dimer.get_forces()[1, 0]),
        )
        for dimer in ase.io.read(io.StringIO(text), ":", format="extxyz")
        if dimer.info["split"] in splits
    )


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _column(number: int) -> int:
    """Distance to the next noble gas, of elements without f electrons in that row alike within a block."""
    return next((noble - number for noble in _NOBLE if noble >= number), 118 - number)


def _place(number: int) -> tuple[int, str]:
    """Period and block."""
    period = sum(noble < number for noble in _NOBLE)
    before = 0 if period == 0 else _NOBLE[period - 1]
    if number - before <= 2:
        return period, "s"
    return period, "p" if _column(number) < 6 else "d"


@lru_cache(maxsize=4)
def dimer_rows(folder: Path, splits: tuple[str, ...]) -> tuple[tuple[int, float, float, float], ...]:
    """Atomic number, distance in A, energy above two atoms of the setting in eV (NaN: no label), force in eV/A.

    Forces point along the bond: positive ones push the atoms apart. Energies are labels where what two atoms and the
    dimer at 6 A differ by is small beside the binding, as the atoms of the setting are not always in their lowest
    state; and for alkali and alkaline-earth metals, whose dimers are still bound at 6 A.
    """
    facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
    flat = _flat_dimers(folder)
    rows = []
    for symbol, distance, energy, force in _curves(folder, splits):
        far = 2 * facts[symbol]["dimer_6A_half_pbe64"]
        if symbol in _BROKEN or abs(force) > _LARGE_FORCE or energy - far > _LARGE_ENERGY:
            continue
        atom = _lowest_atom(symbol, facts[symbol], flat)
        in_doubt = abs(far - 2 * atom) > max(0.02, _AMBIGUOUS * abs(energy - far))
        label = np.nan if in_doubt and _place(atomic_numbers[symbol])[1] != "s" else energy - 2 * atom
        rows.append((atomic_numbers[symbol], distance, label, force))
    return tuple(rows)


def distant_pairs(each: int = 8) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Elements (F, 2) and distances (F,) A, from 6 A to the longest cut-off, of pairs of large atoms of any split."""
    first, second = np.triu_indices(len(_LARGE))
    numbers = np.repeat(np.array(_LARGE)[np.stack([first, second], axis=1)], each, axis=0)
    distance = np.random.default_rng(0).uniform(*_FAR, len(numbers))
    return numbers, distance


def nearest_neighbours(
    numbers: NDArray[np.int64], positions: NDArray[np.float64], cell: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) distance of every atom to its nearest one, over the sum of their covalent radii.

    Args:
        numbers: (n,) atomic numbers.
        positions: (n, 3) A, in a periodic cell.
        cell: (3, 3) A, rows are vectors.
    """
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    vectors = positions[None, :, None] - positions[:, None, None] + shifts
    distances = np.linalg.norm(vectors, axis=-1)
    distances[distances < 1e-6] = np.inf
    radii = covalent_radii[numbers]
    return np.asarray((distances.min(axis=2) / (radii[:, None] + radii)).min(axis=1))
