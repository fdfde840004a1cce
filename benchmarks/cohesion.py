"""Energies that hold crystals and molecules together: ``python -m benchmarks.cohesion``.

Crystals of the elements and the molecules of the G2-1 set are relaxed, and their energies compared with those of
isolated atoms. Measured: cohesive energies at 0 K from Kittel, Introduction to Solid State Physics, 8th edition,
chapter 3, table 1 (as several public repositories transcribe it alike); atomization energies (from heats of formation,
without vibrations) and geometries (MP2) of molecules from Curtiss et al., J. Chem. Phys. 106, 1063 (1997), as they come
with ASE. Zero-point energies of crystals (at most 0.1 eV but for carbon) are left in; the distance of PBE itself from
measurements is larger.
"""

import itertools
from collections import Counter, defaultdict

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.data import covalent_radii
from ase.data.g2_1 import get_atomization_energy, molecule_names
from rich.console import Console
from rich.table import Table

from ase_comformer.calculator import GMTNetCalculator
from ase_comformer.training.data.records import split_of
from benchmarks.surface import Clock, mean, one_thread, parser, prepare_console, relax

#: eV/atom, of chosen elements whose crystals ASE builds.
COHESIVE = {
    "Li": 1.63, "C": 7.37, "Na": 1.113, "Mg": 1.51, "Al": 3.39, "Si": 4.63, "K": 0.934, "Ca": 1.84,
    "Ti": 4.85, "V": 5.31, "Fe": 4.28, "Ni": 4.44, "Cu": 3.49, "Zn": 1.35, "Ge": 3.85, "Rb": 0.852,
    "Sr": 1.72, "Zr": 6.25, "Nb": 7.57, "Mo": 6.82, "Pd": 3.89, "Ag": 2.95, "Cs": 0.804, "Ba": 1.90,
    "Hf": 6.44, "Ta": 8.10, "W": 8.90, "Pt": 5.84, "Au": 3.81, "Pb": 2.03, "Ar": 0.080, "Kr": 0.116, "Xe": 0.16,
}  # fmt: skip
APART = 12.0  # A, a box for an isolated atom
BOND = 1.25  # sums of covalent radii, of the longest bonds


def isolated_energy(symbol: str, calculator: GMTNetCalculator) -> float:
    """Energy (eV) of an atom without neighbours."""
    atoms = Atoms(symbol, cell=APART * np.eye(3), pbc=True)
    atoms.calc = calculator
    return float(atoms.get_potential_energy())


def cohesion(atoms: Atoms, calculator: GMTNetCalculator) -> float:
    """Energy (eV) by which isolated atoms lie above the structure as it is."""
    atoms.calc = calculator
    return sum(isolated_energy(symbol, calculator) for symbol in atoms.symbols) - atoms.get_potential_energy()


def bonds(atoms: Atoms) -> np.ndarray:
    """(n, n) which atoms are bonded, by their covalent radii."""
    reach = covalent_radii[atoms.numbers]
    return (atoms.get_all_distances() < BOND * (reach[:, None] + reach)) & ~np.eye(len(atoms), dtype=bool)


def bond_change(before: Atoms, after: Atoms) -> float:
    """Largest change of the length of a bond, A; NaN where there is none."""
    change = np.abs(before.get_all_distances() - after.get_all_distances())[bonds(before)]
    return float(change.max(initial=-np.inf)) if len(change) else np.nan


def angle_change(before: Atoms, after: Atoms) -> float:
    """Largest change of an angle between two bonds, degrees; NaN where there is none."""
    bonded = bonds(before)
    triples = [
        (int(j), i, int(k)) for i in range(len(before)) for j, k in itertools.combinations(np.flatnonzero(bonded[i]), 2)
    ]
    return max((abs(before.get_angle(*triple) - after.get_angle(*triple)) for triple in triples), default=np.nan)


def crystal_table(calculator: GMTNetCalculator, model: str) -> Table:
    """Cohesive energies beside measured ones."""
    table = Table(title=f"cohesive energy (eV/atom), model {model}")
    for heading in ("element", "found", "measured", "difference"):
        table.add_column(heading, justify="right")
    differences = []
    for symbol, measured in COHESIVE.items():
        atoms = bulk(symbol)
        atoms.calc = calculator
        if not relax(atoms, fmax=0.01, steps=200, cell=True).converged:
            table.add_row(symbol, "not relaxed", f"{measured:.2f}", "")
            continue
        found = cohesion(atoms, calculator) / len(atoms)
        differences.append(found - measured)
        table.add_row(symbol, f"{found:.2f}", f"{measured:.2f}", f"{differences[-1]:+.2f}")
    table.add_section()
    table.add_row("mean", "", "", f"{mean(differences):+.2f}")
    table.add_row("mean absolute", "", "", f"{mean(np.abs(differences)):.2f}")
    return table


def molecule_table(calculator: GMTNetCalculator, model: str, each: Console | None) -> Table:
    """Errors of atomization energies and geometries, of formulas of the training split and of val and test.

    Args:
        calculator: of energies and forces.
        model: shown in the title.
        each: where the errors of every molecule are printed, nowhere if None.
    """
    errors: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    failed: Counter[str] = Counter()
    for name in molecule_names:
        start = molecule(name)
        split = split_of(start.get_chemical_formula(empirical=True))
        if len(start) < 2 or split == "withheld":
            continue
        atoms, kind = start.copy(), "train" if split == "train" else "val and test"
        atoms.calc = calculator
        if not relax(atoms, fmax=0.01, steps=300).converged:
            failed[kind] += 1
            continue
        energy = cohesion(atoms, calculator) - get_atomization_energy(name) * units.kcal / units.mol
        bond, angle = bond_change(start, atoms), angle_change(start, atoms)
        errors[kind].append((energy / len(atoms), bond, angle))
        if each is not None:
            each.print(f"{name} ({kind}): atomization {energy:+.2f} eV, bonds {bond:.3f} Å, angles {angle:.1f}°")
    table = Table(title=f"molecules of the G2-1 set, not periodic, model {model}; largest change in each molecule")
    headings = ("formulas of", "molecules", "not relaxed", "atomization, MAE (eV/atom)", "bias", "bonds, median (Å)")
    for heading in (*headings, "90th percentile", "angles, median (°)", "90th percentile"):
        table.add_column(heading, justify="right")
    for kind, found in errors.items():
        energies, changes, turns = np.array(found).T
        values = [mean(np.abs(energies)), mean(energies), *np.nanpercentile(changes, [50, 90])]
        shown = [f"{value:.3f}" for value in values]
        angles = [f"{value:.1f}" for value in np.nanpercentile(turns, [50, 90])]
        table.add_row(kind, str(len(found) + failed[kind]), str(failed[kind]), *shown, *angles)
    return table


def main() -> None:
    """Print both tables."""
    made = parser(__doc__, dtype="float64")
    made.add_argument("--each", action="store_true", help="print the errors of every molecule")
    given = made.parse_args()
    one_thread()
    console, clock = prepare_console(150), Clock()
    calculator = GMTNetCalculator(model=given.model, dtype=given.dtype)
    console.print(crystal_table(calculator, given.model))
    console.print(molecule_table(calculator, given.model, console if given.each else None), clock)


if __name__ == "__main__":
    main()
