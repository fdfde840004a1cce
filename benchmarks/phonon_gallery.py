"""Phonons of eight well-known crystals from nothing but the calculator: ``python -m benchmarks.phonon_gallery``.

    python -m benchmarks.phonon_gallery [--figure docs/phonon_gallery.png] [--no-load]

For each crystal: transverse and longitudinal optical frequencies at the zone centre, unstable modes, and the largest
difference between our frequencies and those of ``phonopy.load`` (which is what phonopy-load runs) on the files written,
at 30 random wave vectors and along the path. Then the CPU seconds of one thread from a CIF to everything (``respond``,
``phonons``, bands, density of states, thermal properties), imports and weights not counted, and where they go.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import ase.io
import numpy as np
import phonopy
from ase import Atoms
from rich.table import Table

from ase_comformer import phonons, respond
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.phonons import Phonons
from ase_comformer.plotting.phonons import bands_figure
from benchmarks.surface import Clock, one_thread, prepare_console, verdict
from benchmarks.well_known_crystals import CRYSTALS

SHOWN = ("NaCl", "MgO", "GaAs", "AlN", "quartz", "TiO2", "BaTiO3, cubic", "Cs")
#: CPU seconds from a CIF to everything.
BUDGETS = {"AlN": 1.5, "MgO": 1.5, "TiO2": 1.5, "quartz": 5.0}
IDENTITY = 1e-6


def difference_from_load(found: Phonons) -> float:
    """THz, largest difference from what phonopy makes of the files; at Gamma translations are left out."""
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (30, 3))
    path = np.concatenate(found.bands().path.q)
    points = np.concatenate([points, path[np.linalg.norm(path - np.rint(path), axis=1) > 1e-6]])
    with tempfile.TemporaryDirectory() as folder:
        found.write(folder)
        loaded = phonopy.load(Path(folder) / "phonopy_params.yaml")
        loaded.run_qpoints(points)
        return float(np.abs(loaded.qpoints.frequencies - found.frequencies(points)).max())


def times(atoms: Atoms, predictor: Predictor) -> dict[str, float]:
    """CPU seconds of each step from a CIF on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crystal.cif"
        ase.io.write(path, atoms)
        spent: dict[str, float] = {}
        last = time.process_time()

        def done(name: str) -> None:
            nonlocal last
            now = time.process_time()
            spent[name], last = now - last, now

        crystal = ase.io.read(path)
        done("CIF")
        at_rest = respond(crystal, predictor=predictor).primitive
        done("respond")
        found = phonons(at_rest, relax=None, predictor=predictor)
        done("phonons")
        found.bands()
        done("bands")
        found.density_of_states(40.0)
        done("states")
        found.thermal_properties(mesh=40.0)
        done("thermal")
        return spent


def main() -> None:
    """Print both tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, help="bands of all crystals")
    parser.add_argument("--no-load", action="store_true", help="leave phonopy out")
    given = parser.parse_args()
    one_thread()
    console, clock = prepare_console(150), Clock()
    warnings.simplefilter("ignore")
    predictor = Predictor(dtype="float64")
    table = Table(title="phonons of the shipped model")
    for heading in (
        "crystal",
        "group",
        "atoms",
        "TO, Γ (THz)",
        "LO, Γ along x, z",
        "lowest",
        "unstable",
        "load differs",
    ):
        table.add_column(heading, justify="right")
    bands, worst = {}, 0.0
    for name in SHOWN:
        found = phonons(CRYSTALS[name], predictor=predictor)
        bands[name] = found.bands()
        limits = [found.frequencies([0, 0, 0], direction=axis)[-1] for axis in ([1, 0, 0], [0, 0, 1])]
        differs = float("nan") if given.no_load else difference_from_load(found)
        worst = max(worst, differs)
        table.add_row(
            name, found.space_group, str(len(found.phonopy.supercell)), f"{found.frequencies([0, 0, 0])[-1]:.2f}",
            ", ".join(f"{value:.2f}" for value in limits) if found.has_non_analytic_term else "no term",
            f"{bands[name].lowest:.2f}", str(len(found.imaginary_modes)), f"{differs:.1e}",
        )  # fmt: skip
    console.print(table)
    if not given.no_load:
        console.print(verdict("largest difference from phonopy-load (THz)", worst, IDENTITY))
    if given.figure:
        bands_figure(bands, given.figure)
    steps = Table(title="CPU seconds from a CIF, one thread")
    rows = {name: times(CRYSTALS[name], predictor) for name in BUDGETS}
    for heading in ("crystal", *next(iter(rows.values())), "together"):
        steps.add_column(heading, justify="right")
    for name, spent in rows.items():
        steps.add_row(name, *(f"{value:.2f}" for value in spent.values()), f"{sum(spent.values()):.2f}")
    console.print(steps)
    for name, limit in BUDGETS.items():
        console.print(verdict(f"{name}, CIF to everything (CPU s)", sum(rows[name].values()), limit))
    console.print(str(clock))


if __name__ == "__main__":
    main()
