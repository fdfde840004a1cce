"""Elastic constants from stress, next to the elastic head: ``python -m benchmarks.elastic_from_stress``.

Crystals of ``elastic_mp`` are relaxed with the potential, cell and atoms, with their space group kept; elastic
constants follow from stresses at strains of +-0.5 % with the atoms relaxed in every strained cell
(``physics.elasticity``). The head reads the PBE structure. Errors are those of K_VRH and G_VRH. The first rows
compare the same crystals; the last one says what remains of the potential's when crystals are left out whose
relaxation did not end or whose tensor is not positive definite. Failures have no tensor: they are counted and listed.
"""

import numpy as np
from rich.table import Table

from ase_comformer import GMTNetCalculator
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.elasticity import ElasticFit, elastic_tensor_from_stress
from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.training.data.records import Record, load_records
from ase_comformer.training.evaluation.modulus_metrics import modulus_metrics
from benchmarks.surface import Clock, Relaxation, one_thread, parser, prepare_console, relax, spread, verdict

BULK, SHEAR = 12.0, 13.0
NAME = "elastic_tensor"


def potential(record: Record, calculator: GMTNetCalculator, strains: list[float]) -> tuple[Relaxation, ElasticFit]:
    """Relax, then strain; raises what the potential raises."""
    atoms = record.atoms.copy()
    atoms.calc = calculator
    ended = relax(atoms, fmax=1e-3, steps=300, cell=True, symprec=1e-2)
    if ended.error:
        raise RuntimeError(ended.error)
    return ended, elastic_tensor_from_stress(atoms, strains=strains)


def main() -> None:
    """Print the table of errors, verdicts and failures."""
    made = parser(__doc__, crystals=0, dtype="float64")
    made.add_argument("--strains", type=float, nargs="+", default=[0.005], help="magnitudes")
    made.add_argument("--each", action="store_true", help="print every crystal too")
    given = made.parse_args()
    one_thread()
    console, clock = prepare_console(), Clock()
    records = spread(load_records("elastic_mp", given.data, (given.split,)), given.crystals)
    calculator = GMTNetCalculator(model=given.model, dtype=given.dtype)
    covered = set(calculator.describe("energy")["elements"])
    usable = [record for record in records if set(map(str, record.atoms.symbols)) <= covered]
    found: list[np.ndarray] = []
    kept: list[Record] = []
    trusted: list[bool] = []
    notes: list[str] = []
    for record in usable:
        name = f"{record.id} {record.formula}"
        try:
            ended, fit = potential(record, calculator, given.strains)
        except Exception as error:  # counted
            notes.append(f"[red]FAILED[/] {name}: {str(error).splitlines()[0]}")
            continue
        tensor = fit.tensor
        positive = bool(np.linalg.eigvalsh(tensor).min() > 0)
        kept.append(record)
        found.append(tensor)
        trusted.append(ended.converged and not fit.unrelaxed and positive)
        if not trusted[-1]:
            reasons = (
                "" if ended.converged else "cell not relaxed",
                f"atoms not relaxed at {', '.join(fit.unrelaxed)}" if fit.unrelaxed else "",
                "" if positive else "not positive definite",
            )
            notes.append(f"[yellow]doubtful[/] {name}: {'; '.join(filter(None, reasons))}")
        if given.each:
            moduli = voigt_reuss_hill(tensor)
            label = voigt_reuss_hill(np.asarray(record.labels[NAME]))
            console.print(
                f"{name}: K {moduli.bulk:.1f} ({label.bulk:.1f}), G {moduli.shear:.1f} ({label.shear:.1f}) GPa, "
                f"strains {' '.join(fit.strained)}, misfit {fit.misfit:.1e}"
            )
    if not found:
        raise SystemExit("no crystal has elastic constants\n" + "\n".join(notes))
    predictor = Predictor(model=given.model)
    title = f"elastic_mp {given.split}, model {given.model}: {len(found)} of {len(records)} crystals"
    table = Table(title=title)
    for heading in ("", *modulus_metrics(found, found).cells()):
        table.add_column(heading, justify="right")
    labels = [np.asarray(record.labels[NAME]) for record in kept]
    metrics = modulus_metrics(found, labels)
    table.add_row("stress of the potential", *metrics.cells().values())
    if NAME in predictor.properties:
        head = predictor.predict([record.atoms for record in kept], [NAME])
        heads = [(result[NAME], label) for result, label in zip(head, labels, strict=True) if NAME in result]
        if heads:
            table.add_row("elastic head", *modulus_metrics(*map(list, zip(*heads, strict=True))).cells().values())
    chosen = np.flatnonzero(trusted)
    if len(chosen):
        without = modulus_metrics([found[k] for k in chosen], [labels[k] for k in chosen])
        table.add_row("stress, without doubtful crystals", *without.cells().values())
    console.print(table)
    console.print(verdict("K_VRH from stress", metrics.bulk_mae, BULK, "GPa"))
    console.print(verdict("G_VRH from stress", metrics.shear_mae, SHEAR, "GPa"))
    console.print(f"left out, elements outside the model: {len(records) - len(usable)}")
    for note in notes:
        console.print(note)
    console.print(str(clock))


if __name__ == "__main__":
    main()
