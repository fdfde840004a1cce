"""``ase-comformer screen FILE... --folder OUT``: properties of very many structures, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ase_comformer.cli.options import (
    AsJson,
    BatchSize,
    Device,
    Dtype,
    EnforceSymmetry,
    Files,
    Functional,
    ModelName,
    Properties,
    Route,
    Symprec,
)
from ase_comformer.cli.terminal import complain, console, counting, print_json
from ase_comformer.inference.settings import BATCH_SIZE, DEFAULTS

#: Failures that are listed; all are in the table.
MOST_FAILURES = 20
#: Characters of a message that are shown.
LONGEST = 200


def screen(
    files: Files,
    folder: Annotated[Path, typer.Option("--folder", "-f", help="Where the table goes: a folder of parquet files.")],
    properties: Properties = None,
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="'local' for a Dask cluster of this machine, or the address of a scheduler.")
    ] = None,
    host: Annotated[str, typer.Option(help="What the scheduler of 'local' binds to.")] = "127.0.0.1",
    chunk_size: Annotated[int, typer.Option(help="Structures handed out together.")] = 256,
    table: Annotated[
        Path | None, typer.Option(help="Also write the whole table to this csv file.", show_default=False)
    ] = None,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    dtype: Dtype = DEFAULTS.dtype,
    symprec: Symprec = DEFAULTS.symprec,
    enforce_symmetry: EnforceSymmetry = DEFAULTS.enforce_symmetry,
    functional: Functional = DEFAULTS.functional,
    route: Route = DEFAULTS.route,
    batch_size: BatchSize = BATCH_SIZE,
    as_json: AsJson = False,
) -> None:
    """Predict properties of very many structures into FOLDER; after a kill the same command goes on.

    What cannot be computed is a row with its reason, and no failure of the command: the exit status is 0.
    """
    from ase_comformer.cli.output import check_output
    from ase_comformer.workflows.screen import screen as compute

    check_output(table, (".csv",))
    with counting("screening") as advance:
        result = compute(
            files,
            folder,
            properties,
            workers=workers,
            scheduler=scheduler,
            host=host,
            chunk_size=chunk_size,
            batch_size=batch_size,
            progress=advance,
            model=model,
            device=device,
            dtype=dtype,
            symprec=symprec,
            enforce_symmetry=enforce_symmetry,
            functional=functional,
            route=route,
        )
    if table is not None:
        _write_table(table, folder)
    if as_json:
        print_json({**vars(result), "folder": str(result.folder), "per_second": result.per_second})
        return
    shown = console()
    problems = [*result.failures, *((source, f"lacks {errors}") for source, errors in result.incomplete)]
    for source, message in problems[:MOST_FAILURES]:
        complain(f"{source}: {message if len(message) <= LONGEST else message[:LONGEST] + ' ...'}")
    if len(problems) > MOST_FAILURES:
        complain(f"and {len(problems) - MOST_FAILURES} more, all in the table")
    rate = result.per_second
    shown.print(
        f"{result.computed} structures in {result.seconds:.1f} s ({rate:.1f} per second), of which "
        f"{len(result.failures)} failed and {len(result.incomplete)} lack some properties; {result.known} were done "
        f"before. Table: {result.folder}",
        markup=False,
        highlight=False,
    )
    if rate and result.computed >= chunk_size:
        shown.print(f"A million structures at this rate: {1e6 / rate / 3600:.1f} hours.", highlight=False)


def _write_table(path: Path, folder: Path) -> None:
    """Write the rows of all shards as one table for spreadsheets."""
    from ase_comformer.cli.output import write_csv
    from ase_comformer.workflows.screening.shards import properties_of, read_screen

    write_csv(path, read_screen(folder), properties_of(folder))
