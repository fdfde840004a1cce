"""Table 4 of ComFormer on a CPU: parameters and cost of its networks, of the baselines it names, and of ours.

    python -m benchmarks.table_four              # about three minutes of CPU on one core, resumable

Every network is measured in a process of its own on the same crystals, evenly spaced among those of up to 20 atoms in
the training split of ``formation_energy``, with one thread; those of other packages run in the environments of
``.ci/peers alignn matgl``, and are left out where these are missing. "training" is an epoch of 1,000 crystals (forward,
backward, Adam), "inference" the evaluation of one, in batches, graphs built before; "graph" is what building one takes.
"memory" is what training adds to the process (parameters, Adam, one batch). Graphs are those of the papers: whole
shells of at least 25 neighbours (ComFormer), 12 (Matformer), the 12 nearest (ALIGNN). "/ Matformer" compares with the
same ratio of the paper's epochs, measured on a GPU. Answers are kept in ``--results``: an interrupted run goes on where
it was.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ase_comformer.training.data.records import load_records
from benchmarks.cost.runs import Answers, as_json, machine
from benchmarks.published import NOT_CONFIRMED, Unconfirmed


@dataclass(frozen=True)
class Row:
    """A network of the table: its name among ``benchmarks.cost``, and what papers state.

    ``millions`` of parameters and ``epoch``, seconds on the GPU of ComFormer's Table 4 (arXiv:2403.11857, section 5).
    """

    network: str
    origin: str
    millions: float | None = None
    epoch: float | None = None


ROWS = (
    Row("Matformer", "equations of arXiv:2209.11807", Unconfirmed(2.9), Unconfirmed(64)),
    Row("ALIGNN", "alignn 2026", Unconfirmed(4.0), Unconfirmed(327)),
    Row("eComFormer", "paper preset", Unconfirmed(12.4), Unconfirmed(115)),
    Row("eComFormer-half", "paper preset", Unconfirmed(5.6), Unconfirmed(90)),
    Row("iComFormer (3 layers)", "paper preset", Unconfirmed(4.1), Unconfirmed(69)),
    Row("iComFormer (4 layers)", "paper preset", Unconfirmed(5.0), Unconfirmed(78)),
    Row("MEGNet (matgl)", "matgl 4"),
    Row("MEGNet", "equations of Chem. Mater. 31, 3564"),
    Row("M3GNet", "matgl 4"),
    Row("ETGNN", "equations of arXiv:2201.05770"),
    Row("iComFormer, small", "ours"),
    Row("eComFormer, small", "ours"),
    Row("eComFormer, small, reduced", "ours, symmetry used"),
)
#: Atoms of the largest crystal: the mean is then 11 atoms, about that of the papers' JARVIS set.
LARGEST = 20
#: What is ours, for the sentence about who is cheaper.
OURS = "iComFormer (4 layers)"
SMALL = "eComFormer, small, reduced"


def compared(measured: dict[str, dict[str, float]]) -> list[str]:
    """Say which baselines cost less than ours, and what ours cost beside the cheapest."""
    baselines = [row.network for row in ROWS if "preset" not in row.origin and not row.origin.startswith("ours")]
    lines = []
    for ours in (OURS, SMALL):
        if ours not in measured:
            continue
        for quantity, unit in (("training", "to train"), ("inference", "to evaluate")):
            ratios = {n: measured[n][quantity] / measured[ours][quantity] for n in baselines if n in measured}
            cheaper = [
                f"{name} ({ratio:.2f})" for name, ratio in sorted(ratios.items(), key=lambda x: x[1]) if ratio < 1
            ]
            lines.append(f"cheaper {unit} than {ours} (its cost is 1): {', '.join(cheaper) or 'no baseline'}")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--passes", type=int, default=1, help="over the crystals, after one to warm up")
    parser.add_argument("--results", type=Path, default=Path("runs/table_four.json"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    records = [record for record in load_records("formation_energy", None, ["train"]) if len(record.atoms) <= LARGEST]
    structures = [records[k * len(records) // given.crystals].atoms for k in range(given.crystals)]
    answers, start = Answers(given.results), time.perf_counter()
    shared = {"task": "row", "structures": as_json(structures), "batch": given.batch, "passes": given.passes}
    found = answers.ask([{"network": row.network, **shared} for row in ROWS])
    measured = {row.network: answer for row, answer in zip(ROWS, found, strict=True) if answer is not None}
    console = Console(width=220)
    for line in compared(measured):
        console.print(line)
    atoms = sum(map(len, structures)) / len(structures)
    table = Table(title=f"{len(structures)} crystals of {atoms:.1f} atoms on average, batches of {given.batch}, CPU")
    for heading in (
        "network",
        "origin",
        "parameters, M",
        "paper",
        "edges/atom",
        "angles/atom",
        "training, s per 1,000",
        "/ Matformer",
        "paper, GPU",
        "inference, ms",
        "graph, ms",
        "memory, MiB",
    ):
        table.add_column(heading, justify="left" if heading in ("network", "origin") else "right")
    reference = measured.get("Matformer")
    for row in ROWS:
        if row.network not in measured:
            table.add_row(row.network, f"{row.origin}: not installed")
            continue
        value = measured[row.network]
        table.add_row(
            row.network,
            row.origin,
            f"{value['parameters'] / 1e6:.2f}",
            "" if row.millions is None else f"{row.millions:.1f}",
            f"{value['edges']:.1f}",
            f"{value['pairs']:.0f}" if value["pairs"] else "",
            f"{1e3 * value['training']:.1f}",
            f"{value['training'] / reference['training']:.2f}" if reference else "",
            "" if row.epoch is None else f"{Unconfirmed(row.epoch / 64):.2f}",
            f"{1e3 * value['inference']:.2f}",
            f"{1e3 * value['graph']:.2f}",
            f"{value['memory']:.0f}",
        )
    console.print(table)
    console.print(NOT_CONFIRMED)
    console.print(f"one thread of {machine()}")
    console.print(
        f"{time.perf_counter() - start:.0f} s of wall time in this call; what was kept from earlier calls is not in it"
    )


if __name__ == "__main__":
    main()
