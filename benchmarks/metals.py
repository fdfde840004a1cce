"""Vacancies, surfaces and phases of metals beside published PBE values: ``python -m benchmarks.metals``.

Vacancy formation energies (eV): bcc metals from P.-W. Ma and S. L. Dudarev, Phys. Rev. Materials 3, 013605 (2019),
table IV (PBE, stress-free cells); Al and Cu from T. Angsten et al., New J. Phys. 16, 015018 (2014), table A.1 (PBE).
Surface energies (J/m^2): R. Tran et al., Sci. Data 3, 160080 (2016), doi:10.5061/dryad.f2n6f (PBE, relaxed slabs).
Both were read off the tables of references of a public repository that compares other potentials with them, not off
the papers themselves, and could not be found there again: they carry the ``*`` of ``benchmarks.published``. Energies
of phases (eV/atom): Materials Project (PBE), ``element_polymorphs_mp_pbe`` of the data package. Of Ti only the phases
are compared: no table of the others was at hand. Errors of a group are the sum of the deviations over the sum of the
values, since differences of phases may be next to nothing.
"""

import gzip
import io
from collections import defaultdict
from pathlib import Path

import ase.io
import numpy as np
import spglib
from ase import Atoms
from ase.build import bcc100, bcc110, bulk, fcc100, fcc110, fcc111
from ase.data import atomic_numbers, reference_states
from ase.units import J, m
from rich.table import Table

from ase_comformer.calculator import GMTNetCalculator
from ase_comformer.training.data.records import data_folder, split_of
from benchmarks.published import NOT_CONFIRMED, Unconfirmed
from benchmarks.surface import Clock, one_thread, parser, prepare_console, relax, verdict

METALS = ("W", "Ta", "Nb", "Cr", "V", "Ti", "Fe", "Al", "Mo", "Cu")
VACANCIES = {
    "W": 3.2310, "Ta": 2.8759, "Nb": 2.6589, "Cr": 3.0093, "V": 2.0422, "Fe": 2.1914, "Al": 0.61, "Mo": 2.7955,
    "Cu": 1.07,
}  # fmt: skip
SURFACES = {
    ("W", "110"): 3.228, ("W", "100"): 3.954, ("Ta", "110"): 2.342, ("Ta", "100"): 2.471, ("Nb", "110"): 2.074,
    ("Nb", "100"): 2.275, ("Cr", "110"): 3.201, ("Cr", "100"): 3.632, ("V", "110"): 2.421, ("V", "100"): 2.381,
    ("Fe", "110"): 2.447, ("Fe", "100"): 2.499, ("Al", "111"): 0.795, ("Al", "100"): 0.915, ("Al", "110"): 0.977,
    ("Mo", "110"): 2.797, ("Mo", "100"): 3.182, ("Cu", "111"): 1.314, ("Cu", "100"): 1.468, ("Cu", "110"): 1.561,
}  # fmt: skip
SPACE_GROUPS = {"bcc": 229, "fcc": 225, "hcp": 194}
SLABS = {
    ("bcc", "110"): bcc110, ("bcc", "100"): bcc100, ("fcc", "111"): fcc111, ("fcc", "100"): fcc100,
    ("fcc", "110"): fcc110,
}  # fmt: skip
LAYERS, VACUUM = 9, 8.0  # of slabs, the vacuum in A on each side
REPEATS = 4  # of the primitive cell along each vector, around a vacancy
FMAX, STEPS = 0.02, 200  # eV/A


def published_phases(folder: Path) -> dict[tuple[str, str], float]:
    """Energies (eV/atom) of bcc, fcc and hcp above the crystal that the metal has; the lowest entry of each counts."""
    text = gzip.decompress((folder / "element_polymorphs_mp_pbe.extxyz.gz").read_bytes()).decode()
    found: dict[tuple[str, str], float] = {}
    for atoms in ase.io.read(io.StringIO(text), ":", format="extxyz"):
        symbol, count = str(atoms.symbols[0]), len(atoms)
        if symbol not in METALS or count > 2:
            continue
        dataset = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), 1e-2)
        for name, number in SPACE_GROUPS.items():
            if dataset.number == number:
                energy = atoms.get_potential_energy() / count
                found[symbol, name] = min(found.get((symbol, name), np.inf), energy)
    return {(symbol, name): energy - found[symbol, structure(symbol)] for (symbol, name), energy in found.items()}


def structure(symbol: str) -> str:
    """Name of the crystal structure that the metal has."""
    return str(reference_states[atomic_numbers[symbol]]["symmetry"])


def relaxed_crystal(symbol: str, name: str, calculator: GMTNetCalculator) -> Atoms:
    """The primitive cell at rest, from the volume per atom of the metal's own structure."""
    own = bulk(symbol)
    start = bulk(symbol, name, a=1.0, c=1.62) if name == "hcp" else bulk(symbol, name, a=1.0)
    volume = own.cell.volume / len(own) * len(start)
    start.set_cell(start.cell * (volume / start.cell.volume) ** (1 / 3), scale_atoms=True)
    start.calc = calculator
    relax(start, fmax=0.005, steps=STEPS, cell=True, symprec=1e-3)
    return start


def vacancy_energy(crystal: Atoms, calculator: GMTNetCalculator) -> float:
    """Formation energy (eV) of a vacancy at constant volume, with relaxed neighbours."""
    cell = crystal.repeat(REPEATS)
    whole = crystal.get_potential_energy() / len(crystal) * (len(cell) - 1)
    del cell[0]
    cell.calc = calculator
    relax(cell, fmax=FMAX, steps=STEPS)
    return float(cell.get_potential_energy() - whole)


def surface_energy(symbol: str, face: str, crystal: Atoms, calculator: GMTNetCalculator) -> float:
    """Energy (J/m^2) of a surface with relaxed layers."""
    name = structure(symbol)
    edge = ({"bcc": 2, "fcc": 4}[name] * crystal.cell.volume) ** (1 / 3)
    slab = SLABS[name, face](symbol, (1, 1, LAYERS), a=edge, vacuum=VACUUM)
    slab.pbc, slab.calc = True, calculator
    relax(slab, fmax=FMAX, steps=STEPS)
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    excess = slab.get_potential_energy() - len(slab) * crystal.get_potential_energy() / len(crystal)
    return float(excess / (2 * area) / (J / m**2))


def main() -> None:
    """Print the tables and the mean errors of each group."""
    options = parser(__doc__)
    options.add_argument("--data", type=Path, help="folder of the data package (default: ASE_COMFORMER_DATA)")
    arguments = options.parse_args()
    one_thread()
    console, clock = prepare_console(), Clock()
    calculator = GMTNetCalculator(model=arguments.model, dtype=arguments.dtype)
    phases = published_phases(data_folder(arguments.data))
    table = Table(title=f"metals beside PBE, model {arguments.model}")
    for heading in ("metal", "split", "quantity", "found", "PBE", "difference"):
        table.add_column(heading, justify="right")
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for symbol in METALS:
        split, own = split_of(symbol), structure(symbol)
        crystals = {name: relaxed_crystal(symbol, name, calculator) for name in SPACE_GROUPS}
        energy = {name: crystal.get_potential_energy() / len(crystal) for name, crystal in crystals.items()}
        rows = []
        if symbol in VACANCIES:
            rows.append(("vacancy (eV)", vacancy_energy(crystals[own], calculator), Unconfirmed(VACANCIES[symbol])))
        for (metal, face), published in SURFACES.items():
            if metal == symbol:
                found = surface_energy(symbol, face, crystals[own], calculator)
                rows.append((f"surface ({face}) (J/m²)", found, Unconfirmed(published)))
        for name in SPACE_GROUPS:
            if name != own and (symbol, name) in phases:
                rows.append((f"phase {name} (eV/atom)", energy[name] - energy[own], phases[symbol, name]))
        for quantity, found, published in rows:
            table.add_row(symbol, split, quantity, f"{found:.3f}", f"{published:.3f}", f"{found - published:+.3f}")
            group = sums[split, quantity.split()[0]]
            group[0] += abs(found - published)
            group[1] += abs(published)
        table.add_section()
    console.print(table)
    console.print(NOT_CONFIRMED)
    for split in ("train", "test"):
        errors = {group: 100 * error / size for (part, group), (error, size) in sums.items() if part == split}
        shown = ", ".join(f"{group} {error:.0f} %" for group, error in errors.items())
        limit = {"train": 12, "test": 20}[split]
        console.print(verdict(f"{split} ({shown}), mean", float(np.mean(list(errors.values()))), limit, "%"))
    console.print(str(clock))


if __name__ == "__main__":
    main()
