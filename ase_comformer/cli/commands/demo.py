"""``ase-comformer demo``: well-known crystals, predicted beside published values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ase_comformer.cli.terminal import console


def demo(
    figure: Annotated[Path, typer.Option(help="Figure to write (predicted against published values).")] = Path(
        "demo.png"
    ),
) -> None:
    """Predict tensors of well-known crystals and print them beside published values."""
    from ase_comformer.demo.tables import run

    run(figure=figure, console=console())
