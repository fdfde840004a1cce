"""The ``ase-comformer`` command: every command only calls the library and prints what it returns.

Results go to standard output, progress and errors to standard error. Exit status 1 means that an input was refused,
2 that the command line was wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ase import Atoms

app = typer.Typer(
    name="ase-comformer",
    help="Dielectric, Born-charge, piezoelectric and elastic tensors of crystals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

File = Annotated[Path, typer.Argument(help="Structure file that ASE reads (CIF, POSCAR, extxyz, ...).")]
Index = Annotated[str, typer.Option(help="Which structures of the file: an ASE index such as 0, -1 or ':'.")]
Properties = Annotated[
    list[str] | None, typer.Option("--property", "-p", help="Property, may be repeated; default: all of the model.")
]
ModelName = Annotated[str, typer.Option(help="Name or path of the model; see 'ase-comformer models'.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Dtype = Annotated[str, typer.Option(help="float32 or float64.")]
Symprec = Annotated[float, typer.Option(help="Tolerance of the space-group search in Å.")]
EnforceSymmetry = Annotated[bool, typer.Option(help="Return tensors exactly invariant under the space group.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def predict(
    file: File,
    properties: Properties = None,
    index: Index = ":",
    model: ModelName = "default",
    device: Device = "auto",
    dtype: Dtype = "float32",
    symprec: Symprec = 1e-2,
    enforce_symmetry: EnforceSymmetry = True,
    batch_size: Annotated[int, typer.Option(help="Crystals evaluated together.")] = 64,
    as_json: AsJson = False,
) -> None:
    """Predict tensors of the crystals in FILE, in the frame and atom order of the file."""
    with _errors():
        from ase_comformer.inference.predictor import Predictor

        structures = _read(file, index)
        predictor = Predictor(
            model=model, device=device, dtype=dtype, symprec=symprec, enforce_symmetry=enforce_symmetry
        )
        names = predictor.checked(properties or predictor.properties)
        results = predictor.predict(structures, names, batch_size=batch_size, progress=len(structures) > batch_size)
    failed = sum("error" in result for result in results)
    if as_json:
        rows = [
            {"formula": atoms.get_chemical_formula(), **result}
            for atoms, result in zip(structures, results, strict=True)
        ]
        typer.echo(json.dumps({"model": predictor.model.name, "results": rows}, default=_plain))
    else:
        console = _console()
        for number, (atoms, result) in enumerate(zip(structures, results, strict=True)):
            console.print(f"[bold]{number}: {atoms.get_chemical_formula()}[/bold]")
            if "error" in result:
                console.print(f"  {result['error']}", style="red", markup=False)
            for name in names if "error" not in result else ():
                described = predictor.describe(name)
                console.print(f"  {name} ({described['unit']}; {described['kind']}, {described['functional']})")
                console.print(_indented(result[name]), markup=False, highlight=False)
    if failed:
        raise typer.Exit(1)


@app.command()
def symmetry(
    file: File,
    properties: Properties = None,
    index: Annotated[str, typer.Option(help="Which structure of the file.")] = "0",
    model: ModelName = "default",
    device: Device = "auto",
    dtype: Dtype = "float64",
    symprec: Symprec = 1e-2,
    as_json: AsJson = False,
) -> None:
    """Show the space group of FILE, what it allows of each tensor, and what the network says."""
    with _errors():
        from ase_comformer.inference.predictor import Predictor

        predictor = Predictor(model=model, device=device, dtype=dtype, symprec=symprec)
        reports = [predictor.symmetry_report(atoms, properties) for atoms in _read(file, index)]
    if as_json:
        typer.echo(json.dumps([report.as_dict() for report in reports], default=_plain))
    else:
        typer.echo("\n\n".join(map(str, reports)))


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the shipped models."""
    with _errors():
        from ase_comformer.models.registry import available_models, model_card

        cards = {name: model_card(name) for name in available_models()}
    if as_json:
        typer.echo(json.dumps(cards))
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
    _console().print(table)


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="State dict published with one of the papers (.pt).")],
    out: Annotated[Path, typer.Argument(help="What to write: NAME.json (NAME.safetensors beside it) or a folder.")],
    property_name: Annotated[str | None, typer.Option("--property", help="What the network predicts.")] = None,
) -> None:
    """Convert a published ComFormer or GMTNet checkpoint, without running code from it."""
    with _errors():
        from ase_comformer.models.conversion import convert_checkpoint

        is_file = out.suffix in (".json", ".safetensors")
        directory, name = (out.parent, out.stem) if is_file else (out, None)
        written = convert_checkpoint(checkpoint, directory, name, property_name=property_name)
    typer.echo(str(written))


@app.command()
def train(config: Annotated[Path, typer.Argument(help="TOML configuration.", exists=True, dir_okay=False)]) -> None:
    """Train the model that CONFIG describes; a second call resumes."""
    with _errors():
        from ase_comformer.training.engines.trainer import run

        run(config)


@app.command()
def export(
    run_directory: Annotated[Path, typer.Argument(help="Folder of the run: OUTPUT/NAME.", exists=True)],
    weights: Annotated[Path, typer.Argument(help="Folder to write NAME.safetensors, .json and .md to.")],
    name: Annotated[str | None, typer.Option(help="Name of the weights; default: that of the run.")] = None,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    properties: Properties = None,
    data: Annotated[Path | None, typer.Option(help="Data folder; default: $ASE_COMFORMER_DATA.")] = None,
) -> None:
    """Turn a training run into weights with a model card."""
    with _errors():
        from ase_comformer.training.export import run

        written = run(run_directory, weights, name, checkpoint=checkpoint, properties=properties, data=data)
    typer.echo(str(written))


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Name or path of the model.")] = "default",
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    data: Annotated[Path | None, typer.Option(help="Data folder; default: $ASE_COMFORMER_DATA.")] = None,
    properties: Properties = None,
    compare: Annotated[list[str] | None, typer.Option(help="Another model to show beside it; may repeat.")] = None,
    enforce_symmetry: EnforceSymmetry = True,
    batch_size: Annotated[int, typer.Option(help="Crystals evaluated together.")] = 64,
    dtype: Dtype = "float32",
    device: Device = "auto",
    symprec: Symprec = 1e-2,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
    log_path: Annotated[Path | None, typer.Option("--log", help="Also append the log to this file.")] = None,
    record: Annotated[bool, typer.Option(help="Write the figures (all properties, test) into the model card.")] = False,
) -> None:
    """Print the accuracy of a model on a split of the data, next to baselines."""
    if record and (split != "test" or properties):
        raise typer.BadParameter("a model card holds all properties on the test split: leave --split and -p out")
    with _errors():
        from ase_comformer.models.cards import record_metrics
        from ase_comformer.training.evaluation.evaluate import run

        result = run(
            model,
            split,
            folder=data,
            properties=properties,
            comparisons=compare or (),
            enforce_symmetry=enforce_symmetry,
            batch_size=batch_size,
            dtype=dtype,
            device=device,
            symprec=symprec,
            json_path=json_path,
            log_path=log_path,
            console=_console(),
        )
        if record:
            typer.echo(str(record_metrics(model, result.card_metrics(), result.card_table())))


@app.command()
def demo(
    figure: Annotated[Path, typer.Option(help="Figure to write (predicted against published values).")] = Path(
        "demo.png"
    ),
) -> None:
    """Predict tensors of well-known crystals and print them beside published values."""
    with _errors():
        from ase_comformer.demo.tables import run

        run(figure=figure, console=_console())


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Refusals of the library (all ``ValueError``) and unreadable files as one line instead of a traceback."""
    try:
        yield
    except (ValueError, OSError, NotImplementedError) as error:
        _console(stderr=True).print(f"{type(error).__name__}: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(1) from error


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 160  # a file or a pipe has no width, and 80 columns would break the tables
    return console


def _read(file: Path, index: str) -> list[Atoms]:
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    if not file.is_file():
        raise FileNotFoundError(f"There is no file {str(file)!r}.")
    try:
        structures = read(file, index=index)
    except UnknownFileTypeError as error:
        raise ValueError(f"ASE does not know the format of {str(file)!r} ({error}).") from error
    return structures if isinstance(structures, list) else [structures]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON-able")


def _indented(value: Any) -> str:
    text = np.array2string(np.asarray(value), precision=4, suppress_small=True, max_line_width=120)
    return "\n".join(f"    {line}" for line in text.splitlines())
