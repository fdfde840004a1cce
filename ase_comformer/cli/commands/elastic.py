"""``ase-comformer elastic FILE...``: elastic tensor, moduli, stability, anisotropy, Debye temperature."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ase_comformer.cli.options import AsJson, Device, Files, Index, ModelName, Relax, Symprec
from ase_comformer.inference.settings import DEFAULTS

if TYPE_CHECKING:
    from rich.console import Console

UNITS = {"elastic_tensor": "GPa", "moduli": "GPa", "density": "kg/m^3", "velocities": "m/s", "temperature": "K"}


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
    from ase_comformer.cli.structures import for_each_crystal, show_each
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.workflows.elastic import ElasticProperties
    from ase_comformer.workflows.elastic import elastic as compute

    predictor = Predictor(model=model, device=device, dtype="float64", symprec=symprec)
    found, status = for_each_crystal(
        files, index, lambda atoms: compute(atoms, route=route, relax=relax, predictor=predictor), "elastic"
    )
    functional = predictor.describe("elastic_tensor" if route == "head" else "stress")["functional"]
    facts = {"model": predictor.model.name, "functional": functional, "units": UNITS}
    show = functools.partial(_show, functional=functional.partition(" (")[0])
    show_each(found, ElasticProperties.as_dict, show, as_json=as_json, facts=facts)
    raise typer.Exit(status)


def _show(shown: Console, row: dict[str, Any], functional: str) -> None:
    from ase_comformer.cli.display import number_text, print_headline, quantity, values_table

    print_headline(shown, row)
    table = values_table()
    table.add_row(quantity("elastic tensor", "GPa", functional), number_text(row["elastic_tensor"]))
    table.add_row(quantity("bulk modulus", "GPa"), _averages(**row["bulk_modulus"]))
    table.add_row(quantity("shear modulus", "GPa"), _averages(**row["shear_modulus"]))
    (low, high), (soft, stiff) = row["youngs_modulus_range"], row["youngs_modulus_directions"]
    table.add_row(
        quantity("Young's modulus", "GPa"),
        f"{row['youngs_modulus']:.1f}, from {low:.1f} along {_direction(soft)} to {high:.1f} along {_direction(stiff)}",
    )
    table.add_row(quantity("Poisson ratio", ""), f"{row['poisson_ratio']:.3f}")
    table.add_row(quantity("universal anisotropy", ""), f"{row['universal_anisotropy']:.3f}")
    verdict = "stable" if row["is_stable"] else "UNSTABLE"
    smallest = f"{verdict}, smallest eigenvalue {row['stiffness_eigenvalues'][0]:.1f} GPa"
    table.add_row(quantity("Born stability", ""), smallest)
    table.add_row(quantity("density", "kg/m^3"), f"{row['density']:.0f}")
    if row["debye_temperature"] is not None:
        text = f"{row['longitudinal_velocity']:.0f} longitudinal, {row['transverse_velocity']:.0f} transverse"
        table.add_row(quantity("velocity of sound", "m/s"), text)
        table.add_row(quantity("Debye temperature", "K"), f"{row['debye_temperature']:.0f}")
    shown.print(table, highlight=False)


def _averages(voigt: float, reuss: float, hill: float) -> str:
    return f"{hill:.1f} (Hill), {voigt:.1f} (Voigt), {reuss:.1f} (Reuss)"


def _direction(vector: Any) -> str:
    return "(" + " ".join(f"{component + 0.0:.2f}" for component in vector.round(2)) + ")"
