"""``ase-comformer spectra FILE...``: infrared and Raman peaks; files for Phonopy-Spectroscopy, a figure."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ase_comformer.cli.options import AsJson, Device, Files, Index, ModelName, Plot, Relax, Symprec, Write
from ase_comformer.inference.settings import DEFAULTS

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from ase_comformer.cli.structures import Computed
    from ase_comformer.workflows.spectra import Spectra

UNITS = {"wave_numbers": "1/cm", "infrared": "km/mol, powder", "raman": "relative, powder; experimental"}


def spectra(
    files: Files,
    index: Index = None,
    relax: Relax = "atoms",
    raman: Annotated[bool, typer.Option(help="Raman scattering too (experimental).")] = True,
    width: Annotated[float, typer.Option(help="Width of the peaks in the figure, 1/cm.")] = 10.0,
    write: Write = None,
    plot: Plot = None,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    symprec: Symprec = DEFAULTS.symprec,
    as_json: AsJson = False,
) -> None:
    """Compute the infrared and Raman peaks of each crystal."""
    from ase_comformer.cli.structures import for_each_crystal, show_each, write_each
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.workflows.spectra import spectra as compute

    predictor = Predictor(model=model, device=device, dtype="float64", symprec=symprec)

    def one(atoms: Any) -> Spectra:
        return compute(atoms, relax=relax, raman=raman, predictor=predictor)

    found, status = for_each_crystal(files, index, one, "spectra")
    show_each(found, _values, _show, as_json=as_json, facts={"model": predictor.model.name, "units": UNITS})
    write_each(found, write, plot, functools.partial(_draw, width=width))
    raise typer.Exit(status)


def _draw(computed: Computed, path: Path, width: float) -> None:
    from ase_comformer.plotting.spectra import spectra_figure

    result: Spectra = computed.result
    title = f"{computed.atoms.symbols.formula.reduce()[0]:metal}, {result.phonons.space_group}"
    spectra_figure(result.infrared, result.raman, path, title=title, width=width)


def _values(found: Spectra) -> dict[str, Any]:
    from ase_comformer.physics.spectra import PER_CM, peaks

    wave_numbers = found.infrared.frequencies * PER_CM
    places, absorption = peaks(wave_numbers, found.infrared.intensities)
    values = {"space_group": found.phonons.space_group, "wave_numbers": places, "infrared": absorption}
    if found.raman is not None:
        scattering = peaks(wave_numbers, found.raman.intensities())[1]
        values["raman"] = scattering / max(float(scattering.max(initial=0.0)), 1e-12)
    return {**values, "status": list(found.status)}


def _show(shown: Console, row: dict[str, Any]) -> None:
    from rich.table import Table

    from ase_comformer.cli.display import print_headline

    print_headline(shown, row)
    table = Table("1/cm", "infrared, km/mol", *(["Raman, relative (experimental)"] if "raman" in row else []))
    for column in table.columns:
        column.justify = "right"
    for number, place in enumerate(row["wave_numbers"]):
        cells = [f"{place:.1f}", _cell(row["infrared"][number], ".1f")]
        if "raman" in row:
            cells.append(_cell(row["raman"][number], ".3f"))
        table.add_row(*cells)
    shown.print(table, highlight=False)


def _cell(value: float, form: str) -> str:
    text = format(value, form)
    return text if float(text) else "-"
