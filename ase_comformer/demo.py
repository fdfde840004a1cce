"""The demonstration behind ``ase-comformer demo``: six well-known crystals, predicted beside published values."""

import logging
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ase_comformer.errors import UnknownElementError
from ase_comformer.prediction import predict
from ase_comformer.predictor import Result
from ase_comformer.reference_values import DEMO_CRYSTALS, component
from ase_comformer.tensors import PROPERTIES, tensor_property
from ase_comformer.weights import load_model

logger = logging.getLogger(__name__)


def run(*, figure: Path | None, console: Console, model: str = "default") -> list[Result]:
    """Predict, print a table per crystal, write the figure.

    Args:
        figure: file for predicted against published values; None for no figure.
        console: where tables go.
        model: name or path.

    Returns:
        Predictions per crystal, in the order of ``DEMO_CRYSTALS``.
    """
    names = [name for name in PROPERTIES if name in load_model(model, "cpu", "float32").properties]
    results = predict([entry.build() for entry in DEMO_CRYSTALS], names, model=model)
    points: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    for entry, result in zip(DEMO_CRYSTALS, results, strict=True):
        if "error" in result:
            raise UnknownElementError(f"{entry.name}: {result['error']}")
        table = Table(title=entry.name, title_justify="left", title_style="bold")
        for heading in ("component", "predicted", "published", "unit", "source"):
            table.add_column(heading, justify="right" if heading in ("predicted", "published") else "left")
        for value in entry.values:
            if value.property not in result:
                continue
            predicted = component(result[value.property], value)
            published = abs(value.value) if value.magnitude else value.value
            label = f"|{value.label}|" if value.magnitude else value.label
            unit = tensor_property(value.property).unit
            table.add_row(label, f"{predicted:.3g}", f"{published:.3g}", unit, value.source)
            points[value.property][0].append(published)
            points[value.property][1].append(predicted)
        console.print(table)
        for name in names:
            if not any(value.property == name for value in entry.values) and tensor_property(name).rank == 2:
                console.print(f"{name}, predicted:\n{np.array2string(result[name], precision=3, suppress_small=True)}")
    console.print("|x|: the sign depends on the choice of axes, magnitudes are compared.")
    if figure is not None:
        _figure(points, figure, console)
    return results


def _figure(points: dict[str, tuple[list[float], list[float]]], path: Path, console: Console) -> None:
    from ase_comformer.plotting import parity_figure

    # a panel of one or two points shows nothing
    shown = {name: pair for name, pair in points.items() if len(pair[0]) > 2}
    arrays = {name: (np.array(known), np.array(predicted)) for name, (known, predicted) in shown.items()}
    try:
        console.print(f"Figure: {parity_figure(arrays, path, reference='published')}")
    except ImportError as error:
        console.print(f"No figure: {error}")
