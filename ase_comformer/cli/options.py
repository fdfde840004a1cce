"""Arguments and options that commands share, with the defaults of the library (``inference.settings``)."""

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[
    list[str],
    typer.Argument(
        help="Structure files that ASE reads (CIF, POSCAR, extxyz, ase.db, ...), pymatgen JSON, FILE@INDEX such as "
        "all.db@0:2, folders, patterns."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Also write the results here: .csv, .jsonl, .extxyz, .db or .parquet.",
        show_default=False,
    ),
]
Index = Annotated[
    str | None, typer.Option(help="Which structures of the file: 0, -1, 2:8, ...; all by default.", show_default=False)
]
Properties = Annotated[
    list[str] | None,
    typer.Option("--property", "-p", help="Property, may repeat; all of the model by default.", show_default=False),
]
ModelName = Annotated[str, typer.Option(help="Name or path of the model; see 'ase-comformer models'.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Dtype = Annotated[str, typer.Option(help="float32 or float64.")]
Symprec = Annotated[float, typer.Option(help="Farthest (in A) that idealisation may move an atom.")]
EnforceSymmetry = Annotated[bool, typer.Option(help="Return tensors exactly invariant under the space group.")]
Functional = Annotated[
    str,
    typer.Option(
        help="What dielectric tensors and Born charges follow: PBEsol (default) or PBE.",
        show_default=False,
    ),
]
Route = Annotated[
    str, typer.Option(help="Relaxed-ion tensors: head (fastest), response, or combined (best, tenths of a second).")
]
BatchSize = Annotated[int, typer.Option(help="Crystals evaluated together.")]
Relax = Annotated[str, typer.Option(help="What comes to rest before: cell, atoms or none.")]
Write = Annotated[
    Path | None,
    typer.Option(
        help="Folder for phonopy's files; one folder in it per crystal where there are several.", show_default=False
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(help="Figure to write (.png, .svg, .pdf); numbered where there are several.", show_default=False),
]
DataFolder = Annotated[Path | None, typer.Option(help="Data folder; default: $ASE_COMFORMER_DATA.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
