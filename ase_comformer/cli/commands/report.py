"""``ase-comformer report FILE...``: one self-contained HTML page per crystal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ase_comformer.cli.options import Device, Files, Index, ModelName, Symprec
from ase_comformer.inference.settings import DEFAULTS


def report(
    files: Files,
    index: Index = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="HTML file, or a folder for several crystals.", show_default=False),
    ] = None,
    with_phonons: Annotated[bool, typer.Option("--phonons/--no-phonons", help="Phonons and spectra too.")] = True,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    symprec: Symprec = DEFAULTS.symprec,
) -> None:
    """Write an HTML page of each crystal: symmetry, tensors, phonons, spectra, surfaces that turn."""
    from ase_comformer.cli.structures import for_each_crystal
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.workflows.report import report as compute

    predictor = Predictor(model=model, device=device, dtype="float64", symprec=symprec, route="combined")
    used: set[Path] = set()

    def write(name: str, atoms: object) -> None:
        path = _free(output if output is not None and output.suffix == ".html" else _path(output, name), used)
        typer.echo(str(compute(atoms, path, name=name, with_phonons=with_phonons, predictor=predictor)))

    _, status = for_each_crystal(files, index, write, "report", named=True)
    raise typer.Exit(status)


def _path(folder: Path | None, source: str) -> Path:
    """A name for the page of a source, with nothing in it that file systems take amiss."""
    stem = re.sub(r"[^\w.@+-]+", "_", Path(source).name) or "crystal"
    return (folder or Path()) / f"{stem}.html"


def _free(path: Path, used: set[Path]) -> Path:
    """The path, or one with a number where this run has written it already."""
    number, free = 1, path
    while free in used:
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    used.add(free)
    return free
