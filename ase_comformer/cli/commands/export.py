"""``ase-comformer export RUN WEIGHTS``: a training run as weights with a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ase_comformer.cli.options import DataFolder, Properties


def export(
    run_directory: Annotated[Path, typer.Argument(help="Folder of the run: OUTPUT/NAME.", exists=True)],
    weights: Annotated[Path, typer.Argument(help="Folder to write NAME.safetensors, .json and .md to.")],
    name: Annotated[str | None, typer.Option(help="Name of the weights; default: that of the run.")] = None,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    properties: Properties = None,
    data: DataFolder = None,
    half: Annotated[bool, typer.Option("--half", help="Keep parameters in float16: half the size.")] = False,
) -> None:
    """Turn a training run into weights with a model card."""
    from ase_comformer.training.export import run

    written = run(run_directory, weights, name, checkpoint=checkpoint, properties=properties, data=data, half=half)
    typer.echo(str(written))
