"""Accuracy beside published potentials, same crystals, same protocol: ``python -m benchmarks.beside_peers``.

Phonons as in ``benchmarks.phonons`` (PBEsol DFT), elastic constants from stress and the volumes of the cells relaxed
for them nearly as in ``benchmarks.elastic_from_stress`` (PBE DFT), of crystals spread over the test splits, with at
most ``--largest`` atoms and elements that the model covers; cohesive energies of elements as in
``benchmarks.cohesion_pbe`` (PBE), whose isolated atoms ours was given, but for no peer is it known. Only crystals for
which all give a result are compared; failures, cells that do not come to rest among them, are counted. CHGNet and
SevenNet-0 were trained on relaxations of the Materials Project, TensorNet on MatPES, so these crystals or their like
are not new to them; their formulas are to the model shipped. CHGNet and SevenNet-0 follow energies with corrections of
the Materials Project, whose cohesive energies are not those of PBE. Medians are beside the means because single
unstable crystals dominate those. Each peer runs in its own environment (``.ci/peers``). Half an hour for 20 crystals.
"""

import json
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from rich.table import Table

from ase_comformer import GMTNetCalculator
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.elasticity import elastic_tensor_from_stress
from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.training.data.isolated import FILE
from ase_comformer.training.data.records import Record, data_folder, load_records
from benchmarks.cohesion_pbe import COHESIVE_LABEL, lowest_polymorphs
from benchmarks.peers.process import PEERS, PeerCalculator, installed
from benchmarks.phonons import evaluate, reference
from benchmarks.surface import Clock, one_thread, parser, prepare_console, relax, spread


class Forces:
    """Answers what ``benchmarks.phonons`` asks of a predictor, from an ASE calculator."""

    def __init__(self, calculator: Calculator) -> None:
        self.calculator = calculator

    def predict(self, atoms: Sequence[Atoms], properties: Sequence[str], **_: Any) -> list[dict[str, Any]]:
        """Forces alone."""
        return [{name: self.calculator.get_property(name, each).copy() for name in properties} for each in atoms]


def phonon_errors(records: list[dict[str, Any]], calculator: Calculator, predictor: Any) -> dict[str, dict[str, float]]:
    """Crystal -> errors, of those that gave any."""
    outcomes = evaluate(records, "relaxed", calculator, predictor)
    return {name: found for name, found in outcomes if not isinstance(found, str)}


def elastic_errors(records: Sequence[Record], calculator: Calculator) -> dict[str, dict[str, float]]:
    """Crystal -> errors of moduli (GPa) and of the relaxed volume (%), of those that gave any."""
    found = {}
    for record in records:
        atoms = record.atoms.copy()
        atoms.calc = calculator
        if not relax(atoms, fmax=5e-3, steps=200, cell=True, symprec=1e-2).converged:
            continue
        try:
            fit = elastic_tensor_from_stress(atoms, fmax=5e-3)
        except Exception:  # counted by what is missing
            continue
        own, label = voigt_reuss_hill(fit.tensor), voigt_reuss_hill(np.asarray(record.labels["elastic_tensor"]))
        found[record.id] = {
            "bulk": abs(own.bulk - label.bulk),
            "shear": abs(own.shear - label.shear),
            "softness": 100 * (own.bulk / label.bulk - 1),
            "volume": 100 * abs(atoms.get_volume() / record.atoms.get_volume() - 1),
        }
    return found


def cohesion_errors(crystals: dict[str, Atoms], calculator: Calculator) -> dict[str, dict[str, float]]:
    """Element -> error of its cohesive energy (eV/atom), of those whose crystal and atom give an energy."""
    facts = json.loads((data_folder() / FILE).read_text(encoding="utf-8"))
    found = {}
    for symbol, crystal in crystals.items():
        alone = Atoms([symbol], cell=[20.0] * 3, pbc=True, positions=[[10.0] * 3])
        try:
            energies = [calculator.get_property("energy", atoms) for atoms in (alone, crystal)]
        except Exception:  # counted by what is missing
            continue
        found[symbol] = {"cohesive": abs(energies[0] - energies[1] / len(crystal) + facts[symbol][COHESIVE_LABEL])}
    return found


#: Heading, key of the errors, how those of all crystals are averaged.
Figures = list[tuple[str, str, Callable[..., Any]]]
PHONONS: Figures = [
    ("frequencies, 2x2x2 grid: MAE (THz)", "grid", np.nanmean),
    ("optical modes at Γ: MAE (THz)", "gamma_optical", np.nanmean),
    ("highest frequency: MAE (THz)", "highest", np.nanmean),
    ("highest frequency: median bias (%)", "highest_bias", np.nanmedian),
    ("stable crystals with a soft mode (share)", "spurious", np.nanmean),
]
ELASTIC: Figures = [
    ("K from stress: MAE (GPa)", "bulk", np.nanmean),
    ("K from stress: median error (GPa)", "bulk", np.nanmedian),
    ("G from stress: MAE (GPa)", "shear", np.nanmean),
    ("G from stress: median error (GPa)", "shear", np.nanmedian),
    ("K from stress: median bias (%)", "softness", np.nanmedian),
    ("relaxed volume: median error (%)", "volume", np.nanmedian),
]
COHESION: Figures = [
    ("cohesive energy: MAE (eV/atom)", "cohesive", np.nanmean),
    ("cohesive energy: median error (eV/atom)", "cohesive", np.nanmedian),
]


def add_rows(table: Table, figures: Figures, found: list[dict[str, dict[str, float]]]) -> None:
    """One row per figure, of the crystals that all have."""
    common = set.intersection(*(set(each) for each in found))
    for heading, key, average in figures:
        values = [f"{average([each[name][key] for name in common]):.3g}" for each in found]
        table.add_row(heading, str(len(common)), *values)


def main() -> None:
    """Print one table."""
    made = parser(__doc__, crystals=20, dtype="float64")
    made.add_argument("--largest", type=int, default=12, help="atoms")
    made.add_argument("--peers", nargs="*", choices=list(PEERS), default=[], help="by default all that are installed")
    given = made.parse_args()
    names = [name for name in installed() if not given.peers or name in given.peers]
    if not names:
        raise SystemExit("No peer is installed: .ci/peers chgnet sevennet matgl makes their environments.")
    one_thread()
    console, clock = prepare_console(), Clock()
    warnings.filterwarnings("ignore", message="Mesh")  # phonopy, of the reference's meshes
    ours = GMTNetCalculator(model=given.model, dtype=given.dtype)
    calculators: dict[str, Any] = {"ase-comformer": (ours, Predictor(model=given.model, dtype=given.dtype))}
    for name in names:
        theirs = PeerCalculator(name)
        calculators[name] = theirs, Forces(theirs)
    covered = set(ours.describe("energy")["elements"])
    crystals = [r for r in reference(given.data, 0) if len(r["numbers"]) <= given.largest]
    crystals = spread([r for r in crystals if set(map(str, Atoms(r["numbers"]).symbols)) <= covered], given.crystals)
    solids = [r for r in load_records("elastic_mp", given.data, (given.split,)) if len(r.atoms) <= given.largest]
    solids = spread([r for r in solids if set(map(str, r.atoms.symbols)) <= covered], given.crystals)
    facts = json.loads((data_folder() / FILE).read_text(encoding="utf-8"))
    elements = {
        symbol: atoms
        for symbol, atoms in lowest_polymorphs().items()
        if symbol in covered and facts[symbol].get(COHESIVE_LABEL) is not None
    }
    table = Table(
        title=f"model {given.model}, {len(crystals)} crystals with phonons, {len(solids)} with elastic constants, "
        f"{len(elements)} elements"
    )
    for heading in ("", "compared", *calculators):
        table.add_column(heading, justify="left" if not heading else "right")
    lines, phonons, elastic, cohesion = [], [], [], []
    for name, (calculator, predictor) in calculators.items():
        start = time.process_time()
        phonons.append(phonon_errors(crystals, calculator, predictor))
        elastic.append(elastic_errors(solids, calculator))
        cohesion.append(cohesion_errors(elements, calculator))
        seconds = time.process_time() - start
        if isinstance(calculator, PeerCalculator):
            seconds += calculator.total
            calculator.close()
        missing = (
            f"{len(crystals) - len(phonons[-1])} phonons, {len(solids) - len(elastic[-1])} elastic constants, "
            f"{len(elements) - len(cohesion[-1])} cohesive energies"
        )
        lines.append(f"{name}: {seconds:.0f} s of CPU; without result: {missing}")
    add_rows(table, PHONONS, phonons)
    add_rows(table, ELASTIC, elastic)
    add_rows(table, COHESION, cohesion)
    console.print(table)
    for line in [*lines, str(clock)]:
        console.print(line)


if __name__ == "__main__":
    main()
