"""``ase-comformer calibrate MODEL``: weights of the response route and error bars, after training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ase_comformer.cli.options import DataFolder, Properties
from ase_comformer.cli.terminal import console
from ase_comformer.inference.settings import DEFAULTS


def calibrate(
    model: Annotated[str, typer.Argument(help="Name or path of the model.")] = DEFAULTS.model,
    properties: Properties = None,
    data: DataFolder = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of responses; default: ~/.cache/ase-comformer.")] = None,
    seconds: Annotated[float, typer.Option(help="CPU seconds after which to stop; a later call goes on.")] = 1e9,
) -> None:
    """Fit how head and response are mixed, and error bars, on crystals that no network was trained on."""
    from ase_comformer.training.calibrate import run

    written = run(model, data=data, cache=cache, properties=properties, seconds=seconds, console=console())
    if written is None:
        raise typer.Exit(1)
    typer.echo(str(written))
