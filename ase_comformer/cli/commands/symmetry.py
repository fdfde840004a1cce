"""``ase-comformer symmetry FILE``: the space group, what it allows of each tensor, and what the network says."""

from __future__ import annotations

import typer

from ase_comformer.cli.options import AsJson, Device, Dtype, File, Index, ModelName, Properties, Symprec
from ase_comformer.cli.terminal import print_json
from ase_comformer.inference.settings import DEFAULTS


def symmetry(
    file: File,
    properties: Properties = None,
    index: Index = None,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    dtype: Dtype = DEFAULTS.dtype,
    symprec: Symprec = DEFAULTS.symprec,
    as_json: AsJson = False,
) -> None:
    """Show the space group of FILE, what it allows of each tensor, and what the network says."""
    from ase_comformer.crystals.structure_files import read_structures
    from ase_comformer.inference.predictor import Predictor

    structures = read_structures(file, index)
    predictor = Predictor(model=model, device=device, dtype=dtype, symprec=symprec)
    reports = [predictor.symmetry_report(atoms, properties) for atoms in structures]
    if as_json:
        print_json([report.as_dict() for report in reports])
    else:
        typer.echo("\n\n".join(map(str, reports)))
