"""``ase-comformer symmetry FILE...``: the space group, what it allows of each tensor, and what the network says."""

from __future__ import annotations

import typer

from ase_comformer.cli.options import AsJson, Device, Dtype, Files, Index, ModelName, Properties, Symprec
from ase_comformer.cli.terminal import print_json
from ase_comformer.inference.settings import DEFAULTS


def symmetry(
    files: Files,
    properties: Properties = None,
    index: Index = None,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    dtype: Dtype = DEFAULTS.dtype,
    symprec: Symprec = DEFAULTS.symprec,
    as_json: AsJson = False,
) -> None:
    """Show the space group of each crystal, what it allows of each tensor, and what the network says."""
    from ase_comformer.cli.structures import for_each_crystal
    from ase_comformer.inference.predictor import Predictor

    predictor = Predictor(model=model, device=device, dtype=dtype, symprec=symprec)
    names = None if properties is None else predictor.checked(properties)
    found, status = for_each_crystal(files, index, lambda atoms: predictor.symmetry_report(atoms, names), "symmetry")
    if as_json:
        print_json([{"source": each.source, **each.result.as_dict()} for each in found])
    else:
        typer.echo("\n\n".join(str(each.result) for each in found))
    raise typer.Exit(status)
