"""``ase-comformer predict FILE``: properties of the structures in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from ase_comformer.cli.options import (
    AsJson,
    BatchSize,
    Device,
    Dtype,
    EnforceSymmetry,
    File,
    Index,
    ModelName,
    Properties,
    Symprec,
)
from ase_comformer.cli.terminal import console, indented, print_json
from ase_comformer.inference.settings import BATCH_SIZE, DEFAULTS

if TYPE_CHECKING:
    from rich.console import Console

    from ase_comformer.inference.predictor import Predictor


def predict(
    file: File,
    properties: Properties = None,
    index: Index = None,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    dtype: Dtype = DEFAULTS.dtype,
    symprec: Symprec = DEFAULTS.symprec,
    enforce_symmetry: EnforceSymmetry = DEFAULTS.enforce_symmetry,
    batch_size: BatchSize = BATCH_SIZE,
    as_json: AsJson = False,
) -> None:
    """Predict properties of the structures in FILE, in the frame and atom order of the file."""
    from ase_comformer.crystals.structure_files import read_structures
    from ase_comformer.inference.predictor import Predictor

    structures = read_structures(file, index)
    predictor = Predictor(model=model, device=device, dtype=dtype, symprec=symprec, enforce_symmetry=enforce_symmetry)
    names = predictor.checked(properties)
    results = predictor.predict(structures, names, batch_size=batch_size, progress=len(structures) > batch_size)
    formulas = [atoms.get_chemical_formula() for atoms in structures]
    if as_json:
        rows = [{"formula": formula, **result} for formula, result in zip(formulas, results, strict=True)]
        print_json({"model": predictor.model.name, "results": rows})
    else:
        shown = console()
        for number, (formula, result) in enumerate(zip(formulas, results, strict=True)):
            shown.print(f"[bold]{number}: {formula}[/bold]")
            _show(shown, predictor, names, result)
    # What nobody asked for by name may be missing: a slab has an energy and no tensors.
    if any("error" in result or (properties and "errors" in result) for result in results):
        raise typer.Exit(1)


def _show(shown: Console, predictor: Predictor, names: Sequence[str], result: Mapping[str, Any]) -> None:
    if "error" in result:
        shown.print(f"  {result['error']}", style="red", markup=False, highlight=False)
        return
    for line in result.get("warnings", ()):
        shown.print(f"  {line}", style="yellow", markup=False, highlight=False)
    for name in names:
        if name in result:
            described = predictor.describe(name)
            shown.print(f"  {name} ({described['unit']}; {described['kind']}, {described['functional']})", markup=False)
            shown.print(indented(result[name]), markup=False, highlight=False)
    for name, message in result.get("errors", {}).items():
        shown.print(f"  {name}: {message}", style="red", markup=False, highlight=False)
