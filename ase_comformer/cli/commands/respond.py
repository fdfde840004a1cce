"""``ase-comformer respond FILE...``: the whole linear response to field and strain, atoms at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from ase_comformer.cli.options import AsJson, Device, Files, Index, ModelName, Relax, Symprec
from ase_comformer.inference.settings import DEFAULTS

if TYPE_CHECKING:
    from rich.console import Console

#: What is shown, with units.
QUANTITIES = {
    "elastic_tensor": "GPa",
    "dielectric_tensor": "relative, electronic",
    "static_dielectric_tensor": "relative, fixed strain",
    "free_dielectric_tensor": "relative, fixed stress",
    "piezoelectric_tensor": "e, C/m^2",
    "piezoelectric_strain_tensor": "d, pC/N",
    "born_effective_charges": "e, primitive cell",
    "frequencies": "THz, q = 0, transverse",
    "infrared_intensities": "e^2/u",
}
#: What the response is put together from.
PARTS = ("stress", "born_effective_charges", "dielectric_tensor", "clamped_piezoelectric_tensor")


def respond(
    files: Files,
    index: Index = None,
    relax: Relax = "atoms",
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    symprec: Symprec = DEFAULTS.symprec,
    as_json: AsJson = False,
) -> None:
    """Show how each crystal answers a field and a strain, with the atoms following."""
    from ase_comformer.cli.structures import for_each_crystal, show_each
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.workflows.response import respond as compute

    predictor = Predictor(model=model, device=device, dtype="float64", symprec=symprec)
    found, status = for_each_crystal(
        files, index, lambda atoms: compute(atoms, relax=relax, predictor=predictor), "response"
    )
    functional = {name: predictor.describe(name)["functional"] for name in PARTS if name in predictor.properties}
    facts = {"model": predictor.model.name, "units": QUANTITIES, "functional": functional}
    show_each(found, _values, _show, as_json=as_json, facts=facts)
    raise typer.Exit(status)


def _values(result: Any) -> dict[str, Any]:
    """Collect the quantities that the result has."""
    found = {name: getattr(result, name, None) for name in QUANTITIES}
    values = {name: np.asarray(value) for name, value in found.items() if value is not None}
    return {"space_group": result.space_group, **values, "status": list(result.status)}


def _show(shown: Console, row: dict[str, Any]) -> None:
    from ase_comformer.cli.display import MOST_ATOMS, number_text, print_headline, quantity, values_table

    print_headline(shown, row)
    table = values_table()
    for name, unit in QUANTITIES.items():
        if name in row:
            most = MOST_ATOMS if name == "born_effective_charges" else len(row[name])  # modes are shown all
            table.add_row(quantity(name.replace("_", " "), unit), number_text(row[name], most))
    shown.print(table, highlight=False)
