"""``ase-comformer compare FILE``: tensors of a first-principles calculation beside predicted ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ase_comformer.cli.options import AsJson, Device, Dtype, ModelName
from ase_comformer.cli.terminal import console, indented, print_json
from ase_comformer.inference.settings import DEFAULTS


def compare(
    file: Annotated[
        Path, typer.Argument(help="vasprun.xml or OUTCAR, ph.x output, ABINIT main output or anaddb output.")
    ],
    structure: Annotated[
        str | None, typer.Option(help="Structure file, where FILE does not hold it (anaddb).", show_default=False)
    ] = None,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    dtype: Dtype = DEFAULTS.dtype,
    as_json: AsJson = False,
) -> None:
    """Show tensors of a first-principles calculation and those predicted for its crystal, in the frame of FILE."""
    from ase_comformer.crystals.structure_files import read_structures
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.workflows.compare import compare as compute

    atoms = None if structure is None else read_structures(Path(structure), None)[-1]
    predictor = Predictor(model=model, device=device, dtype=dtype)
    found = compute(file, structure=atoms, predictor=predictor)
    if as_json:
        rows = {
            row.name: {
                "unit": row.unit,
                "functional": row.functional,
                "calculated": row.calculated,
                "predicted": row.predicted,
                "uncertainty": row.uncertainty,
                "relative_difference": row.relative_difference,
                "error": row.error,
            }
            for row in found.rows
        }
        print_json(
            {
                "program": found.program,
                "formula": found.atoms.get_chemical_formula(),
                "status": found.status,
                "model": predictor.model.name,
                "fingerprint": predictor.model.fingerprint,
                "tensors": rows,
            }
        )
        return
    shown = console()
    shown.print(f"[bold]{found.atoms.get_chemical_formula()}[/bold] of {found.program}, {file.name}")
    for row in found.rows:
        if row.predicted is None:
            shown.print(f"  {row.name}: {row.error}", style="red", markup=False, highlight=False)
            continue
        title = f"  {row.name} ({row.unit}): calculated, then predicted ({row.functional})"
        shown.print(title, markup=False, highlight=False)
        shown.print(indented(row.calculated), markup=False, highlight=False)
        shown.print(indented(row.predicted), markup=False, highlight=False)
        difference = f"  relative difference {row.relative_difference:.1%}"
        if row.uncertainty is not None and getattr(row.uncertainty, "ndim", 0) == 0:
            difference += f", expected error {float(row.uncertainty):.3g}"
        shown.print(difference, markup=False, highlight=False)
    if found.status != "ok":
        shown.print(f"  {found.status}", style="yellow", markup=False, highlight=False)
