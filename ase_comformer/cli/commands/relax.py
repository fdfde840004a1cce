"""``ase-comformer relax FILE...``: crystals at rest, atoms and cell, with their space group kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ase_comformer.cli.options import AsJson, BatchSize, Device, Files, Index, ModelName, Symprec
from ase_comformer.cli.terminal import complain, console, print_json
from ase_comformer.inference.settings import BATCH_SIZE, DEFAULTS


def relax(
    files: Files,
    index: Index = None,
    cell: Annotated[bool, typer.Option(help="Relax the cell too, not only the atoms.")] = True,
    fmax: Annotated[float, typer.Option(help="Largest force at the end, eV/A.")] = 0.01,
    pressure: Annotated[float, typer.Option(help="Hydrostatic pressure, GPa.")] = 0.0,
    steps: Annotated[int, typer.Option(help="Most steps of the optimiser.")] = 500,
    keep_symmetry: Annotated[bool, typer.Option(help="Stay within the space group.")] = True,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the relaxed structures (any format of ASE).", show_default=False),
    ] = None,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    symprec: Symprec = DEFAULTS.symprec,
    batch_size: BatchSize = BATCH_SIZE,
    as_json: AsJson = False,
) -> None:
    """Relax the structures in FILES and write them to --output."""
    from ase_comformer.crystals.structure_sources import iter_sources, structure_paths
    from ase_comformer.workflows.relax import relax as compute

    sources = list(iter_sources(structure_paths(files), index))
    readable = [source for source in sources if source.atoms is not None]
    for source in sources:
        if source.error is not None:
            complain(source.error)
    began = time.perf_counter()
    found = compute(
        [source.atoms for source in readable if source.atoms is not None],
        cell=cell,
        fmax=fmax,
        pressure=pressure,
        steps=steps,
        keep_symmetry=keep_symmetry,
        batch_size=batch_size,
        model=model,
        device=device,
        symprec=symprec,
    )
    seconds = time.perf_counter() - began
    if as_json:
        rows = []
        for source, result in zip(readable, found, strict=True):
            atoms = result.atoms
            structure = {"cell": atoms.cell.array, "positions": atoms.positions, "symbols": list(atoms.symbols)}
            numbers = {name: value for name, value in vars(result).items() if name != "atoms"}
            rows.append({"source": source.name, "formula": atoms.get_chemical_formula(), **numbers, **structure})
        print_json({"units": {"energy": "eV/atom", "cell": "A", "positions": "A"}, "results": rows})
    else:
        _show([source.name for source in readable], found, seconds)
    if output is not None:
        _write(output, [result.atoms for result in found if not result.error])
    if len(readable) < len(sources) or any(result.error or not result.converged for result in found):
        raise typer.Exit(1)


def _show(names: list[str], found: list, seconds: float) -> None:  # type: ignore[type-arg]
    from rich.table import Table

    from ase_comformer.cli.display import plain

    shown = console()
    table = Table(
        "source", "formula", "space\ngroup", "state", "steps", "eV/atom", "volume\n%", "moved\nA", "a, b, c (A)"
    )
    table.columns[0].overflow, table.columns[0].min_width = "fold", min(max(map(len, names), default=0), 24)
    for column in table.columns[1:]:
        column.overflow = "fold"
    for name, result in zip(names, found, strict=True):
        if result.error:
            table.add_row(plain(name), "", "", "failed")
            continue
        table.add_row(
            plain(name),
            result.atoms.get_chemical_formula(),
            plain(result.space_group),
            "at rest" if result.converged else "not at rest",
            str(result.steps),
            f"{result.energy:.4f}",
            f"{100 * result.volume_change:+.2f}",
            f"{result.largest_displacement:.3f}",
            " ".join(f"{value:.4f}" for value in result.atoms.cell.cellpar()[:3]),
        )
    if found:
        shown.print(table, highlight=False)
    for name, result in zip(names, found, strict=True):
        if result.error:
            complain(f"{name}: {result.error}")
    if len(found) > 1:
        shown.print(
            f"{len(found)} structures in {seconds:.1f} s, {len(found) / seconds:.1f} per second", highlight=False
        )


def _write(path: Path, structures: list) -> None:  # type: ignore[type-arg]
    """Write structures in a format of ASE; one that holds a single structure refuses several."""
    from ase.io import write

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(path, structures if len(structures) != 1 else structures[0])
    except Exception as error:  # formats of ASE refuse in as many ways as there are
        raise ValueError(
            f"{path} cannot be written ({type(error).__name__}: {error}). Give an ending such as .extxyz, .cif, .db or "
            ".traj; POSCAR and others hold one structure."
        ) from error
