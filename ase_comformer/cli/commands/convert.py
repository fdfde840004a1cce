"""``ase-comformer convert CHECKPOINT OUT``: weights of the papers' authors as a model of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="State dict published with one of the papers (.pt).")],
    out: Annotated[Path, typer.Argument(help="What to write: NAME.json (NAME.safetensors beside it) or a folder.")],
    property_name: Annotated[str | None, typer.Option("--property", help="What the network predicts.")] = None,
) -> None:
    """Convert a published ComFormer or GMTNet checkpoint, without running code from it."""
    from ase_comformer.models.conversion import convert_checkpoint

    is_file = out.suffix in (".json", ".safetensors")
    directory, name = (out.parent, out.stem) if is_file else (out, None)
    typer.echo(str(convert_checkpoint(checkpoint, directory, name, property_name=property_name)))
