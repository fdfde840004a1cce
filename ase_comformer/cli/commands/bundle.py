"""``ase-comformer bundle FOLDER NAME PROPERTY=NETWORK,...``: networks put together to one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bundle(
    folder: Annotated[Path, typer.Argument(help="Folder with the weights (NAME.json, NAME.safetensors).")],
    name: Annotated[str, typer.Argument(help="Name of the bundle.")],
    members: Annotated[
        list[str], typer.Argument(help="PROPERTY=NETWORK or PROPERTY=NETWORK,NETWORK (whose mean is taken), several.")
    ],
) -> None:
    """Put networks of a FOLDER together to a model that predicts all their properties."""
    from ase_comformer.errors import UnknownNameError
    from ase_comformer.models.registry import load_model, model_card, save_bundle

    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}.")
    chosen: dict[str, list[str]] = {}
    for member in members:
        property_name, equals, networks = member.partition("=")
        if not (equals and property_name and networks):
            raise typer.BadParameter(f"{member!r} is not of the form PROPERTY=NETWORK,NETWORK.", param_hint="members")
        chosen[property_name] = networks.split(",")
    for property_name, networks_of in chosen.items():
        for network in networks_of:
            card = model_card(folder / f"{network}.json")
            if property_name not in card.get("properties", {}):
                offered = ", ".join(card.get("properties", {})) or "nothing, it is a bundle"
                raise UnknownNameError(f"The network {network!r} does not predict {property_name!r}; it has {offered}.")
    path = save_bundle(folder, name, chosen)
    load_model(path, "cpu")  # checks every file
    typer.echo(str(path))
