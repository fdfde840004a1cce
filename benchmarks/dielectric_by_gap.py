"""Shows where the dielectric tensor is right: ``python -m benchmarks.dielectric_by_gap``.

Crystals of ``dielectric_born`` without ``eps_inf_*`` flags, by the band gap that the record carries (PBE of the
Materials Project; not an input of the network): share with a relative error below 25 and 10 %, and of the others how
many are predicted too small. A small gap makes the electronic response large and the label sensitive to its own
convergence. Crystals without a gap in the record have a row of their own.
"""

import itertools

import numpy as np
from rich.table import Table

from ase_comformer.inference.predictor import Predictor
from ase_comformer.training.data.records import load_records
from benchmarks.surface import Clock, one_thread, parser, prepare_console

#: eV, lower ends of the rows.
EDGES = (0.0, 0.25, 0.5, 1.0, 2.0, np.inf)
NAME = "dielectric_tensor"


def main() -> None:
    """Print the table."""
    given = parser(__doc__, crystals=0).parse_args()
    one_thread()
    console, clock = prepare_console(120), Clock()
    records = [
        record
        for record in load_records("dielectric_born", given.data, [given.split])
        if NAME in record.labels and not any(flag.startswith("eps_inf_") for flag in record.flags)
    ]
    predictor = Predictor(model=given.model, dtype=given.dtype)
    found = predictor.predict([record.atoms for record in records], [NAME])
    kept = [k for k, values in enumerate(found) if NAME in values]
    wrong = np.array([found[k][NAME] - records[k].labels[NAME] for k in kept])
    label = np.array([records[k].labels[NAME] for k in kept])
    error = np.linalg.norm(wrong, axis=(1, 2)) / np.linalg.norm(label, axis=(1, 2))
    below = np.trace(wrong, axis1=1, axis2=2) < 0
    gap = np.array([records[k].extras.get("gap") for k in kept], dtype=float)
    table = Table(title=f"dielectric_born, {given.split} split, model {given.model}: {len(kept)} crystals by band gap")
    for heading in ("band gap (eV)", "crystals", "within 25 %", "within 10 %", "misses", "of them too small"):
        table.add_column(heading, justify="right")
    rows = [
        (f"{low:g} to {high:g}" if high < np.inf else f"{low:g} and more", (gap >= low) & (gap < high))
        for low, high in itertools.pairwise(EDGES)
    ]
    rows += [("unknown", np.isnan(gap)), ("all", np.ones(len(kept), dtype=bool))]
    for name, chosen in rows:
        if chosen.any():
            missed = chosen & (error >= 0.25)
            shares = (f"{100 * (error[chosen] < limit).mean():.1f} %" for limit in (0.25, 0.1))
            table.add_row(name, str(chosen.sum()), *shares, str(missed.sum()), str((missed & below).sum()))
    console.print(table)
    console.print(f"without prediction (elements): {len(records) - len(kept)}")
    console.print(str(clock))


if __name__ == "__main__":
    main()
