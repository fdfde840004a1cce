"""Noise against symmetry: forbidden piezoelectric constants of noisy crystals, and derivatives of the permittivity.

    python -m benchmarks.symmetry_tolerance --data DIR        # or ASE_COMFORMER_DATA=DIR

First part: centrosymmetric crystals of the data package, whose piezoelectric tensor is zero, as they are, rounded to
three decimals and rattled (normal, per component). A tensor above 0.01 C/m^2 means that the group was lost in the
noise. Second part: GaAs with its atoms moved along the zone-centre optical mode by +-u; the derivative of the
permittivity (a Raman tensor) must not depend on u where the structure is taken as it is (``enforce_symmetry=False``).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from ase_comformer import GMTNetCalculator, predict

FILES = ("dielectric_born", "elastic_mp", "dielectric_mp", "piezo_mp")
CENTROSYMMETRIC = frozenset({"-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m"})
#: C/m^2: the Frobenius norm above which a forbidden tensor counts as one.
FORBIDDEN = 0.01
#: A, amplitudes of the optical mode.
AMPLITUDES = (1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)


def centrosymmetric_crystals(folder: Path, count: int, elements: frozenset[str]) -> list[Atoms]:
    """Crystals of all splits whose point group, by the records themselves, has an inversion centre."""
    rows = []
    for name in FILES:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt") as lines:
            rows += [json.loads(line) for line in lines]
    found: list[Atoms] = []
    for index in np.random.default_rng(0).permutation(len(rows)):
        row = rows[index]
        if row.get("pointgroup") not in CENTROSYMMETRIC or row.get("flags"):
            continue
        atoms = Atoms(row["numbers"], scaled_positions=row["frac"], cell=row["lattice"], pbc=True)
        if set(map(str, atoms.symbols)) <= elements:
            found.append(atoms)
        if len(found) == count:
            break
    return found


def rounded(atoms: Atoms, seed: int) -> Atoms:
    """Cell and Cartesian positions with three decimals, as many files have them."""
    del seed
    return Atoms(atoms.numbers, positions=atoms.positions.round(3), cell=atoms.cell.array.round(3), pbc=True)


def rattled(size: float) -> Callable[[Atoms, int], Atoms]:
    """Normal noise of ``size`` A on each coordinate."""

    def noisy(atoms: Atoms, seed: int) -> Atoms:
        moved = atoms.copy()
        moved.positions += np.random.default_rng(seed).normal(scale=size, size=moved.positions.shape)
        return moved

    return noisy


NOISE: dict[str, Callable[[Atoms, int], Atoms]] = {
    "as they are": lambda atoms, _: atoms,
    "rounded to 3 decimals": rounded,
    "rattled by 0.0005 A": rattled(0.0005),
    "rattled by 0.002 A": rattled(0.002),
    "rattled by 0.005 A": rattled(0.005),
}


def forbidden_share(crystals: Sequence[Atoms]) -> tuple[float, float, int]:
    """Share of the crystals whose tensor is above ``FORBIDDEN``, largest norm, and how many have no tensor."""
    results = predict(crystals, ["piezoelectric_tensor"])
    norms = [np.linalg.norm(result["piezoelectric_tensor"]) for result in results if "piezoelectric_tensor" in result]
    return float(np.mean(np.array(norms) > FORBIDDEN)), float(max(norms)), len(results) - len(norms)


def optical_mode(amplitude: float) -> Atoms:
    """GaAs with Ga and As moved apart along (1, 1, 0) by ``amplitude`` in all, the centre of mass at rest."""
    atoms = bulk("GaAs", "zincblende", a=5.653)
    direction = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
    masses = atoms.get_masses()
    atoms.positions[0] += direction * amplitude * masses[1] / masses.sum()
    atoms.positions[1] -= direction * amplitude * masses[0] / masses.sum()
    return atoms


def derivative(calculator: GMTNetCalculator, amplitude: float) -> np.ndarray:
    """(3, 3) 1/A, central difference of the permittivity along the mode."""
    plus, minus = (calculator.get_property("dielectric_tensor", optical_mode(sign * amplitude)) for sign in (1.0, -1.0))
    return (np.asarray(plus) - np.asarray(minus)) / (2 * amplitude)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=os.environ.get("ASE_COMFORMER_DATA"))
    parser.add_argument("--count", type=int, default=600)
    options = parser.parse_args()
    if options.data is None:
        parser.error("no data: pass --data or set ASE_COMFORMER_DATA")
    warnings.simplefilter("ignore")
    elements = frozenset(GMTNetCalculator().describe("piezoelectric_tensor")["elements"])
    crystals = centrosymmetric_crystals(Path(options.data), options.count, elements)
    print(f"{len(crystals)} centrosymmetric crystals, default settings: |e| > {FORBIDDEN} C/m^2")
    for name, noisy in NOISE.items():
        share, largest, missing = forbidden_share([noisy(atoms, seed) for seed, atoms in enumerate(crystals)])
        print(
            f"  {name:24s} {100 * share:5.1f} %   largest {largest:.3f} C/m^2   without a tensor: {missing}", flush=True
        )
    print("\nd eps_yz / du and d eps_xx / du of GaAs along the optical mode (110), 1/A, float64")
    free = GMTNetCalculator(dtype="float64", enforce_symmetry=False)
    default = GMTNetCalculator(dtype="float64", route="head")
    print(f"  {'u (A)':>8s} {'as it is: yz':>14s} {'xx':>12s} {'idealised: yz':>15s}")
    for amplitude in AMPLITUDES:
        raw, ideal = derivative(free, amplitude), derivative(default, amplitude)
        print(f"  {amplitude:8.0e} {raw[1, 2]:14.6f} {raw[0, 0]:12.2e} {ideal[1, 2]:15.6f}", flush=True)


if __name__ == "__main__":
    main()
