"""``ase-comformer predict FILE...``: properties of the structures in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from ase_comformer.cli.options import (
    AsJson,
    BatchSize,
    Device,
    Dtype,
    EnforceSymmetry,
    Files,
    Functional,
    Index,
    ModelName,
    Output,
    Properties,
    Route,
    Symprec,
)
from ase_comformer.cli.terminal import console, counted, print_json
from ase_comformer.inference.settings import BATCH_SIZE, DEFAULTS

if TYPE_CHECKING:
    from ase_comformer.crystals.structure_sources import Source


def predict(
    files: Files,
    properties: Properties = None,
    index: Index = None,
    model: ModelName = DEFAULTS.model,
    device: Device = DEFAULTS.device,
    dtype: Dtype = DEFAULTS.dtype,
    symprec: Symprec = DEFAULTS.symprec,
    enforce_symmetry: EnforceSymmetry = DEFAULTS.enforce_symmetry,
    functional: Functional = DEFAULTS.functional,
    route: Route = "combined",
    batch_size: BatchSize = BATCH_SIZE,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Predict properties of the structures in FILES, in the frame and atom order of each file."""
    from ase_comformer.cli.display import show_rows
    from ase_comformer.cli.output import check_output, write_rows
    from ase_comformer.crystals.structure_sources import iter_sources, structure_paths
    from ase_comformer.inference.predictor import Predictor
    from ase_comformer.workflows.predict_sources import predict_sources

    check_output(output)
    paths = structure_paths(files)
    predictor = Predictor(
        model=model,
        device=device,
        dtype=dtype,
        symprec=symprec,
        enforce_symmetry=enforce_symmetry,
        functional=functional,
        route=route,
    )
    names = predictor.checked(properties)
    sources = refuse_single(iter_sources(paths, index), alone=len(paths) == 1)
    rows = list(counted(predict_sources(predictor, sources, names, batch_size=batch_size), "predicting"))
    facts = {name: predictor.describe(name) for name in names}
    weights = {"name": predictor.model.name, "fingerprint": predictor.model.fingerprint}
    if as_json:
        keys = ("unit", "shape", "kind", "functional", "description")
        what = {name: {key: facts[name][key] for key in keys} for name in names}
        results = [row.as_dict() for row in rows]
        print_json(
            {"model": weights["name"], "fingerprint": weights["fingerprint"], "properties": what, "results": results}
        )
    else:
        show_rows(console(), rows, names, facts)
    if output is not None:  # last: a file that cannot be written takes no result along
        write_rows(output, rows, predictor)
    # What nobody asked for by name may be missing: a slab has an energy and no tensors.
    if any(row.error or (properties and row.errors) for row in rows):
        raise typer.Exit(1)


def refuse_single(sources: Iterable[Source], *, alone: bool) -> Iterator[Source]:
    """Pass sources on, but raise the error of a file that is the only one."""
    for number, source in enumerate(sources):
        if alone and number == 0 and source.error is not None:
            raise source.error
        yield source
