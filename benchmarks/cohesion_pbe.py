"""Cohesive energies against PBE (MatPES): ``python -m benchmarks.cohesion_pbe``.

The most stable polymorph of each element (Materials Project, of at most 32 atoms, as PBE relaxed it) against its
isolated atom, compared with the cohesive energy of ``isolated_atoms.json``; elements of train and of
other splits apart: of the latter only energies of isolated atoms were used. Printed too is how far PBE itself is from
the measured energies of ``benchmarks.cohesion``.
"""

import json

import numpy as np
from ase import Atoms
from rich.table import Table

from ase_comformer.calculator import GMTNetCalculator
from ase_comformer.errors import UnknownElementError
from ase_comformer.training.data.frame_sources import load_frames
from ase_comformer.training.data.isolated import FILE
from ase_comformer.training.data.records import data_folder
from benchmarks.cohesion import COHESIVE
from benchmarks.surface import Clock, one_thread, parser, prepare_console

_LARGEST = 32  # atoms
_SHOWN = 0.1  # eV/atom, errors that are listed
_LIMITS = {"train": 0.10, "others": 0.25}  # eV/atom
COHESIVE_LABEL = "matpes_PBE_cohesive_per_atom"  # eV, negative


def lowest_polymorphs() -> dict[str, Atoms]:
    """Find the most stable polymorph of every element of the file, whatever its split."""
    frames = load_frames("polymorphs", ("train", "val", "test"), None, _LARGEST)
    found: dict[str, tuple[float, Atoms]] = {}
    for start, count, cell, energy in zip(frames.start, frames.count, frames.cell, frames.energy, strict=True):
        rows = slice(start, start + count)
        atoms = Atoms(frames.numbers[rows], positions=frames.positions[rows], cell=cell, pbc=True)
        symbol = atoms.symbols[0]
        if symbol not in found or energy / count < found[symbol][0]:
            found[symbol] = energy / count, atoms
    return {symbol: atoms for symbol, (_, atoms) in found.items()}


def main() -> None:
    """Print errors of the model, found minus PBE."""
    arguments = parser(__doc__).parse_args()
    console, clock = prepare_console(), Clock()
    one_thread()
    facts = json.loads((data_folder() / FILE).read_text(encoding="utf-8"))
    calculator = GMTNetCalculator(model=arguments.model, dtype=arguments.dtype)
    errors: dict[str, dict[str, float]] = {"train": {}, "others": {}}
    for symbol, crystal in lowest_polymorphs().items():
        expected = facts[symbol].get(COHESIVE_LABEL)
        if expected is None:
            continue
        try:
            bound, alone = (calculator.get_property("energy", atoms) for atoms in (crystal, Atoms([symbol])))
        except UnknownElementError:
            console.print(f"{symbol}: the model does not cover it")
            continue
        group = "train" if facts[symbol]["split"] == "train" else "others"
        errors[group][symbol] = alone - bound / len(crystal) + expected  # the file has negative energies
    table = Table(title=f"cohesive energies against PBE (eV/atom), model {arguments.model}")
    for heading in ("elements", "number", "MAE", "bias", "largest", f"beyond {_SHOWN}"):
        table.add_column(heading, justify="right")
    for group, found in errors.items():
        values = np.array(list(found.values()))
        listed = ", ".join(f"{symbol} {error:+.2f}" for symbol, error in found.items() if abs(error) > _SHOWN)
        mean = np.abs(values).mean()
        table.add_row(
            group, str(len(values)), f"{mean:.3f}", f"{values.mean():+.3f}", f"{np.abs(values).max():.2f}", listed
        )
    console.print(table)
    for group, found in errors.items():
        mean = float(np.abs(list(found.values())).mean())
        verdict = "reached" if mean <= _LIMITS[group] else "missed"
        console.print(f"{group}: {mean:.3f}; at most {_LIMITS[group]}: {verdict}")
    own = [
        measured + facts[symbol][COHESIVE_LABEL]
        for symbol, measured in COHESIVE.items()
        if facts.get(symbol, {}).get(COHESIVE_LABEL)
    ]
    console.print(f"PBE itself against measured ones, {len(own)} elements: {np.abs(own).mean():.3f}")
    console.print(str(clock))


if __name__ == "__main__":
    main()
