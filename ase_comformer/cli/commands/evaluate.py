"""``ase-comformer evaluate MODEL``: accuracy on a split of the data, next to baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ase_comformer.cli.options import BatchSize, DataFolder, Device, Dtype, EnforceSymmetry, Properties, Symprec
from ase_comformer.cli.terminal import console
from ase_comformer.inference.settings import BATCH_SIZE, DEFAULTS


def evaluate(
    model: Annotated[str, typer.Argument(help="Name or path of the model.")] = DEFAULTS.model,
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    data: DataFolder = None,
    properties: Properties = None,
    compare: Annotated[list[str] | None, typer.Option(help="Another model to show beside it; may repeat.")] = None,
    enforce_symmetry: EnforceSymmetry = DEFAULTS.enforce_symmetry,
    batch_size: BatchSize = BATCH_SIZE,
    dtype: Dtype = DEFAULTS.dtype,
    device: Device = DEFAULTS.device,
    symprec: Symprec = DEFAULTS.symprec,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
    log_path: Annotated[Path | None, typer.Option("--log", help="Also append the log to this file.")] = None,
    record: Annotated[bool, typer.Option(help="Write the figures (all properties, test) into the model card.")] = False,
) -> None:
    """Print the accuracy of a model on a split of the data, next to baselines."""
    if record and (split != "test" or properties):
        raise typer.BadParameter("a model card holds all properties on the test split: leave --split and -p out")
    from ase_comformer.models.cards import record_metrics
    from ase_comformer.training.evaluation.evaluate import run

    result = run(
        model,
        split,
        folder=data,
        properties=properties,
        comparisons=compare or (),
        enforce_symmetry=enforce_symmetry,
        batch_size=batch_size,
        dtype=dtype,
        device=device,
        symprec=symprec,
        json_path=json_path,
        log_path=log_path,
        console=console(),
    )
    if record:
        typer.echo(str(record_metrics(model, result.card_metrics(), result.card_table())))
