"""``ase-comformer train CONFIG``: a training run from a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(help="TOML configuration.", exists=True, dir_okay=False)],
    pack: Annotated[Path | None, typer.Option(help="Only write the frames of CONFIG to this file.")] = None,
    pack_limit: Annotated[float, typer.Option(help="Largest size of that file, MiB.")] = float("inf"),
    from_pack: Annotated[
        Path | None, typer.Option(help="Frames written by --pack, instead of the data.", exists=True, dir_okay=False)
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Minutes after which no epoch is begun.")] = float("inf"),
) -> None:
    """Train the model that CONFIG describes; a second call resumes."""
    from ase_comformer.training.config import TrainingConfig
    from ase_comformer.training.pack import write_pack
    from ase_comformer.training.runs import run

    if pack is None:
        run(config, from_pack=from_pack, time_limit=time_limit)
    else:
        size = write_pack(TrainingConfig.read(config), pack, limit=pack_limit)
        typer.echo(f"{pack}: {size / 2**20:.1f} MiB")
