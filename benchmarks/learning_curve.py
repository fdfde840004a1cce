"""Accuracy against the number of training formulas: ``python -m benchmarks.learning_curve RUN...``.

Each RUN is the folder of a finished training run (``runs/NAME``), for example of ``learning-curve-25.toml``,
``learning-curve-50.toml`` and ``learning-curve-100.toml``, or of ``tensors-6.toml`` and ``tensors-scratch.toml``: with
and without a start from forces. Its best and last averaged weights are exported to a temporary folder and evaluated on
the validation split, on which the choice between them may rest.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PROPERTIES = (
    "dielectric_tensor",
    "static_dielectric_tensor",
    "born_effective_charges",
    "elastic_tensor",
    "piezoelectric_tensor",
)
#: (property, heading of the figure in the tables of ``evaluate``) -> heading here
FIGURES = {
    ("dielectric_tensor", "EwT 25/10/5 %"): "dielectric EwT %",
    ("static_dielectric_tensor", "EwT 25/10/5 %"): "static EwT %",
    ("born_effective_charges", "MAE (e)"): "Born e",
    ("elastic_tensor", "EwT 25/10/5 %"): "elastic EwT %",
    ("piezoelectric_tensor", "below zero predictor"): "piezo below zero",
    ("piezoelectric_tensor", "Spearman of norm"): "piezo Spearman",
}


def figures(run: Path, checkpoint: str, split: str) -> dict[str, str]:
    """Heading -> formatted figure of one checkpoint."""
    from ase_comformer.training.evaluation.evaluate import run as evaluate
    from ase_comformer.training.export import run as export

    with tempfile.TemporaryDirectory() as folder:
        path = export(run, Path(folder), checkpoint=checkpoint, properties=PROPERTIES)
        result = evaluate(path, split, progress=False)
    row: dict[str, str] = {}
    for (name, heading), shown in FIGURES.items():
        subset = "without eps_inf_* flags" if name == "born_effective_charges" else None
        for section in result.sections:
            cells = section.rows[0][1].cells()
            if section.property_name == name and subset in (None, section.subset) and heading in cells:
                row.setdefault(shown, cells[heading])
    return row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--split", default="val")
    given = parser.parse_args()
    from ase_comformer.training.config import TrainingConfig

    table = Table(title=f"learning curve, {given.split} split")
    for heading in ("run", "formulas", "checkpoint", *FIGURES.values()):
        table.add_column(heading)
    for run in given.runs:
        share: Any = TrainingConfig.read(run / "config.toml").fraction
        for checkpoint in ("best", "last"):
            row = figures(run, checkpoint, given.split)
            table.add_row(run.name, f"{share:.0%}", checkpoint, *(row.get(key, "-") for key in FIGURES.values()))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
