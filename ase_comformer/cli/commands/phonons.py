"""``ase-comformer phonons FILE...``: frequencies, stability and thermal properties; files for phonopy, a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ase_comformer.cli.options import AsJson, Device, Files, Index, ModelName, Plot, Relax, Symprec, Write
from ase_comformer.inference.settings import DEFAULTS

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from ase_comformer.cli.structures import Computed
    from ase_comformer.physics.phonons import Phonons

#: K.
ROOM = 300.0
#: What is printed, with units.
UNITS = {
    "frequencies": "THz, q = 0, transverse",
    "longitudinal": "THz, q -> 0 along x, y and z",
    "highest": "THz, along the path",
    "lowest": "THz, along the path; negative: imaginary",
    "free_energy": "kJ/mol of primitive cells, 300 K",
    "entropy": "J/(mol K), 300 K",
    "heat_capacity": "J/(mol K), 300 K",
}


def phonons(
    files: Files,
    index: Index = None,
    relax: Relax = "atoms",
    supercell: Annotated[float, typer.Option(help="Least distance (A) of an atom from its periodic images.")] = 10.0,
    convergence: Annotated[
        float | None,
        typer.Option(help="Enlarge the supercell until frequencies change by less (THz).", show_default=False),
    ] = None,
    nac: Annotated[bool, typer.Option(help="Split longitudinal and transverse optical modes.")] = True,
    write: Write = None,
    plot: Plot = None,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    symprec: Symprec = DEFAULTS.symprec,
    as_json: AsJson = False,
) -> None:
    """Compute the phonons of each crystal: bands with LO-TO splitting, stability, thermal properties."""
    from ase_comformer.cli.structures import for_each_crystal, show_each, write_each
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.workflows.phonons import phonons as compute

    predictor = Predictor(model=model, device=device, dtype="float64", symprec=symprec)

    def one(atoms: Any) -> Phonons:
        return compute(atoms, relax=relax, supercell=supercell, convergence=convergence, nac=nac, predictor=predictor)

    found, status = for_each_crystal(files, index, one, "phonons")
    show_each(found, _values, _show, as_json=as_json, facts={"model": predictor.model.name, "units": UNITS})
    write_each(found, write, plot, _draw)
    raise typer.Exit(status)


def _draw(computed: Computed, path: Path) -> None:
    from ase_comformer.plotting.phonons import phonon_figure

    phonon_figure(computed.result, path)


def _values(found: Phonons) -> dict[str, Any]:
    thermal, bands = found.thermal_properties([ROOM]), found.bands()
    limits = {}
    if found.has_non_analytic_term:
        limits = {"longitudinal": [float(found.frequencies([0, 0, 0], direction=axis)[-1]) for axis in np.eye(3)]}
    return {
        "space_group": found.space_group,
        "supercell": found.supercell,
        "frequencies": found.frequencies([0, 0, 0]),
        **limits,
        "highest": bands.highest,
        "lowest": bands.lowest,
        "imaginary_modes": [
            {
                "q": mode.q,
                "frequency": mode.frequency,
                "eigenvector": np.stack([mode.eigenvector.real, mode.eigenvector.imag]),
            }
            for mode in found.imaginary_modes
        ],
        "free_energy": float(thermal.free_energy[0]),
        "entropy": float(thermal.entropy[0]),
        "heat_capacity": float(thermal.heat_capacity[0]),
        "status": list(found.status),
    }


def _show(shown: Console, row: dict[str, Any]) -> None:
    from ase_comformer.cli.display import number_text, print_headline, quantity, values_table

    print_headline(shown, row)
    table = values_table()
    for name, unit in UNITS.items():
        if name in row:
            text = _with_multiplicity(row[name]) if name == "frequencies" else number_text(row[name])
            table.add_row(quantity(name.replace("_", " "), unit), text)
    unstable = row["imaginary_modes"]
    text = ", ".join(f"{mode['frequency']:.2f} THz at {np.round(mode['q'], 3).tolist()}" for mode in unstable[:3])
    table.add_row(quantity("imaginary modes", ""), f"{len(unstable)}: {text}" if unstable else "none")
    shown.print(table, highlight=False)


def _with_multiplicity(frequencies: Any) -> str:
    """Optical modes, degenerate ones once: ``11.90 (3)``; five to a line."""
    ordered = np.sort(np.delete(frequencies, np.argsort(np.abs(frequencies))[:3]))
    groups = np.split(ordered, np.flatnonzero(np.diff(ordered) > 5e-3) + 1) if len(ordered) else []
    texts = [f"{group.mean():.2f}" + (f" ({len(group)})" if len(group) > 1 else "") for group in groups]
    return (
        "\n".join(", ".join(texts[start : start + 6]) for start in range(0, len(texts), 6)) or "none but acoustic ones"
    )
