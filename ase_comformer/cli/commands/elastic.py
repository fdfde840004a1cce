"""``ase-comformer elastic FILE...``: elastic tensor, moduli, stability, anisotropy, Debye temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ase_comformer.cli.options import AsJson, Device, Files, Index, ModelName, Relax, Symprec
from ase_comformer.cli.terminal import console, print_json
from ase_comformer.inference.settings import DEFAULTS

if TYPE_CHECKING:
    from rich.console import Console


def elastic(
    files: Files,
    index: Index = None,
    route: Annotated[str, typer.Option(help="response (of the potential) or head (trained network).")] = "response",
    relax: Relax = "cell",
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    symprec: Symprec = DEFAULTS.symprec,
    as_json: AsJson = False,
) -> None:
    """Show the elastic tensor of each crystal, moduli, stability, anisotropy and Debye temperature."""
    from ase_comformer.cli.structures import for_each_crystal
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.workflows.elastic import elastic as compute

    predictor = Predictor(model=model, device=device, dtype="float64", symprec=symprec)
    found, status = for_each_crystal(
        files, index, lambda atoms: compute(atoms, route=route, relax=relax, predictor=predictor), "elastic"
    )
    functional = predictor.describe("elastic_tensor" if route == "head" else "stress")["functional"]
    rows = [
        {"source": name, "formula": atoms.get_chemical_formula(), **result.as_dict()} for name, atoms, result in found
    ]
    if as_json:
        units = {"elastic_tensor": "GPa", "moduli": "GPa", "density": "kg/m^3", "velocities": "m/s", "temperature": "K"}
        print_json({"model": predictor.model.name, "functional": functional, "units": units, "results": rows})
    else:
        for row, (_, _, result) in zip(rows, found, strict=True):
            _show(console(), row, result, functional)
    raise typer.Exit(status)


def _show(shown: Console, row: dict[str, Any], result: Any, functional: str) -> None:
    from ase_comformer.cli.display import number_text, print_headline, quantity, values_table

    print_headline(shown, row)
    summary, moduli = result.summary, result.summary.moduli
    table = values_table()
    table.add_row(quantity("elastic tensor", "GPa", functional.partition(" (")[0]), number_text(result.tensor))
    table.add_row(quantity("bulk modulus", "GPa"), _averages(moduli.bulk_voigt, moduli.bulk_reuss, moduli.bulk))
    table.add_row(quantity("shear modulus", "GPa"), _averages(moduli.shear_voigt, moduli.shear_reuss, moduli.shear))
    low, high = result.softest, result.stiffest
    table.add_row(
        quantity("Young's modulus", "GPa"),
        f"{summary.youngs_modulus:.1f}, from {low[0]:.1f} along {_direction(low[1])} "
        f"to {high[0]:.1f} along {_direction(high[1])}",
    )
    table.add_row(quantity("Poisson ratio", ""), f"{summary.poisson_ratio:.3f}")
    table.add_row(quantity("universal anisotropy", ""), f"{summary.universal_anisotropy:.3f}")
    smallest = float(summary.stiffness_eigenvalues[0])
    verdict = "stable" if summary.is_stable else "UNSTABLE"
    table.add_row(quantity("Born stability", ""), f"{verdict}, smallest eigenvalue {smallest:.1f} GPa")
    table.add_row(quantity("density", "kg/m^3"), f"{summary.density:.0f}")
    if summary.debye_temperature is not None:
        text = f"{summary.longitudinal_velocity:.0f} longitudinal, {summary.transverse_velocity:.0f} transverse"
        table.add_row(quantity("velocity of sound", "m/s"), text)
        table.add_row(quantity("Debye temperature", "K"), f"{summary.debye_temperature:.0f}")
    shown.print(table, highlight=False)


def _averages(voigt: float, reuss: float, hill: float) -> str:
    return f"{hill:.1f} (Hill), {voigt:.1f} (Voigt), {reuss:.1f} (Reuss)"


def _direction(vector: Any) -> str:
    return "(" + " ".join(f"{component + 0.0:.2f}" for component in vector.round(2)) + ")"
