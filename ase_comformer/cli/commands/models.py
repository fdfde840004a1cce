"""``ase-comformer models``: the shipped models."""

from __future__ import annotations

from rich.table import Table

from ase_comformer.cli.options import AsJson
from ase_comformer.cli.terminal import console, print_json


def models(as_json: AsJson = False) -> None:
    """List the shipped models."""
    from ase_comformer.models.registry import available_models, model_card

    cards = {name: model_card(name) for name in available_models()}
    if as_json:
        print_json(cards)
        return
    table = Table("name", "kind", "properties", "parameters", "elements")
    for name, card in cards.items():
        if "members" in card:
            members = sum(len(set(names)) for names in card["members"].values())
            table.add_row(name, f"bundle of {members}", "\n".join(card["members"]), "", "")
        else:
            elements = [str(len(entry["elements"])) for entry in card["properties"].values()]
            parameters = f"{card.get('parameters', 0):,}"
            table.add_row(name, card["architecture"], "\n".join(card["properties"]), parameters, "\n".join(elements))
    console().print(table)
