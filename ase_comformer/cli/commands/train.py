"""``ase-comformer train CONFIG``: a training run from a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(config: Annotated[Path, typer.Argument(help="TOML configuration.", exists=True, dir_okay=False)]) -> None:
    """Train the model that CONFIG describes; a second call resumes."""
    from ase_comformer.training.runs import run

    run(config)
