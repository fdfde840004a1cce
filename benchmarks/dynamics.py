"""Conservation of energy in dynamics: ``python -m benchmarks.dynamics``.

NVE (velocity Verlet, 1 fs) of Si, NaCl, Cu (64 atoms) and SrTiO3 (40) at about 300 K in their experimental cells.
A Langevin thermostat brings each crystal to the temperature in 200 fs, which are not recorded; then it is switched
off. The drift is the slope of a least-squares line through the total energy, the fluctuation the standard deviation
around it. Random numbers are seeded. Floor (issue 4): 0.1 meV/atom/ps.
"""

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.spacegroup import crystal
from rich.table import Table

from ase_comformer import GMTNetCalculator
from benchmarks.surface import Clock, one_thread, parser, prepare_console, verdict

FLOOR = 0.1
PEROVSKITE = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)]


def structures() -> dict[str, Atoms]:
    """Supercells at the experimental lattice parameters of room temperature."""
    perovskite = crystal(["Sr", "Ti", "O"], PEROVSKITE, spacegroup=221, cellpar=[3.905] * 3 + [90] * 3)
    return {
        "Si": bulk("Si", a=5.431, cubic=True).repeat(2),
        "NaCl": bulk("NaCl", "rocksalt", a=5.640, cubic=True).repeat(2),
        "Cu": bulk("Cu", a=3.615).repeat(4),
        "SrTiO3": Atoms(perovskite).repeat(2),
    }


def total_energies(
    atoms: Atoms, picoseconds: float, temperature: float, step: float, equilibration: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (ps), total energies (meV/atom) and temperatures (K) of every step; shorter if the run broke off."""
    rng = np.random.default_rng(0)
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(spread[:, None] * rng.normal(size=(len(atoms), 3)))
    thermostat = {"temperature_K": temperature, "friction": 0.02 / units.fs, "fixcm": False, "rng": rng}
    Langevin(atoms, step * units.fs, **thermostat).run(round(equilibration / step))
    atoms.set_velocities(atoms.get_velocities() - atoms.get_momenta().sum(axis=0) / atoms.get_masses().sum())
    dynamics = VelocityVerlet(atoms, step * units.fs)
    rows: list[tuple[float, float]] = []

    def record() -> None:
        rows.append((1e3 * atoms.get_total_energy() / len(atoms), atoms.get_temperature()))

    dynamics.attach(record)
    dynamics.run(round(1e3 * picoseconds / step))
    energy, kelvin = np.array(rows).T
    return np.arange(len(rows)) * step * 1e-3, energy, kelvin


def drift(time: np.ndarray, energy: np.ndarray) -> tuple[float, float]:
    """Slope of a line (meV/atom/ps) and standard deviation around it (meV/atom)."""
    slope, offset = np.polyfit(time, energy, 1)
    return float(slope), float(np.std(energy - slope * time - offset))


def main() -> None:
    """Run all trajectories and print the table."""
    made = parser(__doc__)
    made.add_argument("--structures", nargs="*", default=list(structures()), choices=list(structures()))
    made.add_argument("--float32", type=float, default=5.0, metavar="PS", help="length in float32, 0: none")
    made.add_argument("--float64", type=float, default=1.0, metavar="PS", help="length in float64, 0: none")
    made.add_argument("--temperature", type=float, default=300.0, help="K")
    made.add_argument("--step", type=float, default=1.0, help="fs")
    made.add_argument("--equilibration", type=float, default=200.0, help="fs with the thermostat on")
    given = made.parse_args()
    one_thread()
    console, clock = prepare_console(), Clock()
    table = Table(title=f"NVE, {given.step:g} fs, model {given.model}")
    for heading in ("crystal", "atoms", "precision", "ps", "mean K", "drift meV/atom/ps", "fluctuation meV/atom"):
        table.add_column(heading, justify="right")
    drifts, failures = {}, []
    for dtype, picoseconds in (("float32", given.float32), ("float64", given.float64)):
        if picoseconds <= 0:
            continue
        for name in given.structures:
            atoms = structures()[name]
            atoms.calc = GMTNetCalculator(model=given.model, dtype=dtype)
            try:
                result = total_energies(atoms, picoseconds, given.temperature, given.step, given.equilibration)
            except Exception as error:
                failures.append(f"{name} {dtype}: {type(error).__name__}: {error}")
                continue
            time, energy, kelvin = result
            drifts[name, dtype], spread = drift(time, energy)
            cells = (f"{time[-1]:.2f}", f"{kelvin.mean():.0f}", f"{drifts[name, dtype]:+.4f}", f"{spread:.4f}")
            table.add_row(name, str(len(atoms)), dtype, *cells)
    console.print(table)
    for dtype in ("float32", "float64"):
        found = {name: abs(value) for (name, kind), value in drifts.items() if kind == dtype}
        if found:
            worst = max(found, key=lambda name: found[name])
            console.print(verdict(f"largest drift in {dtype} ({worst})", found[worst], FLOOR, "meV/atom/ps"))
    for failure in failures:
        console.print(f"[red]FAILED[/] {failure}")
    console.print(str(clock))


if __name__ == "__main__":
    main()
