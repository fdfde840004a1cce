"""An atom crosses the cut-off: ``python -m benchmarks.cutoff_scan``.

Two atoms in vacuum, and an adatom above a slab whose second layer leaves its reach: energy and force on the moving atom
in steps of 1e-3 A across the cut-off radius. Continuous energies and forces change by less and less as steps shrink:
the last columns are the largest differences between neighbouring steps, for steps of 1e-3 and of 1e-4 A, whose ratio is
at least ten for a function with a derivative; a jump would give one.
"""

import numpy as np
from ase import Atoms
from ase.build import fcc111, molecule
from rich.table import Table

from ase_comformer import GMTNetCalculator
from benchmarks.surface import Clock, one_thread, parser, prepare_console


def pair(symbols: str) -> Atoms:
    """Two atoms in a box without periodicity, 1 A apart."""
    atoms = Atoms(symbols, positions=[[0, 0, 0], [0, 0, 1.0]])
    atoms.center(vacuum=8.0)
    return atoms


def scan(atoms: Atoms, moving: int, crossed: int, cutoff: float, step: float) -> tuple[np.ndarray, ...]:
    """Distances, energies (eV) and forces (eV/A) with ``moving`` straight above ``crossed``, ``cutoff`` +- 5 steps."""
    distances = cutoff + step * np.arange(-5, 6)
    energies, forces = [], []
    for distance in distances:
        atoms.positions[moving] = atoms.positions[crossed] + [0, 0, distance]
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces()[moving, 2])
    return distances, np.array(energies), np.array(forces)


def main() -> None:
    """Print the scan of the first structure and the largest differences of all."""
    given = parser(__doc__, dtype="float64").parse_args()
    one_thread()
    console, clock = prepare_console(120), Clock()
    calculator = GMTNetCalculator(model=given.model, dtype=given.dtype)
    surface = calculator._predictor.potential
    assert surface is not None
    cutoff = surface.networks[0].graph_settings.cutoff
    slab = fcc111("Al", (2, 2, 3), a=4.05, vacuum=8.0)
    slab += Atoms("O", positions=[slab.positions[0]])
    cases = {
        "NaCl, two atoms": (pair("NaCl"), 1, 0),
        "H2O, H leaves": (molecule("H2O", vacuum=8.0), 1, 2),
        "O on Al(111)": (slab, len(slab) - 1, 4),
    }
    table = Table(title=f"largest difference between neighbouring steps around {cutoff} A, model {given.model}")
    for heading in ("structure", "energy, 1e-3 A (eV)", "1e-4 A", "ratio", "force, 1e-3 A (eV/A)", "1e-4 A", "ratio"):
        table.add_column(heading, justify="right")
    for name, (atoms, moving, crossed) in cases.items():
        atoms.calc = calculator
        jumps = []
        for step in (1e-3, 1e-4):
            distances, *curves = scan(atoms, moving, crossed, cutoff, step)
            jumps.append([np.abs(np.diff(curve)).max() for curve in curves])
            if step == 1e-3:
                console.print(f"{name}:")
                for row in zip(distances, *curves, strict=True):
                    console.print("  r {:.4f} A   energy {:.10f} eV   force {:+.3e} eV/A".format(*row))
        cells = [f"{value:.1e}" for wide, fine in zip(*jumps, strict=True) for value in (wide, fine, wide / fine)]
        table.add_row(name, *cells)
    console.print(table)
    console.print(str(clock))


if __name__ == "__main__":
    main()
