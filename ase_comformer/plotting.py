"""Figures: predicted against reference values, one panel per property. matplotlib is the ``plot`` extra."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ase_comformer.tensors import tensor_property

#: Panels with values over decades of one sign are easier to read in logarithmic axes.
_LOGARITHMIC = ("dielectric_tensor", "static_dielectric_tensor")


def parity_figure(
    points: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path, *, reference: str = "DFT", size: float = 2.9
) -> Path:
    """Scatter predicted against reference values.

    Args:
        points: property -> (reference (k,), predicted (k,)) in the unit of the property.
        path: file to write; the ending gives the format.
        reference: name of the horizontal axis.
        size: inches per panel.

    Returns:
        ``path``.

    Raises:
        ImportError: matplotlib is missing; install ``ase-comformer[plot]``.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import NullFormatter
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install 'ase-comformer[plot]'") from error
    columns = min(3, len(points))
    rows = -(-len(points) // columns)
    figure = Figure(figsize=(size * columns, size * rows), layout="constrained")
    for number, (name, (known, predicted)) in enumerate(points.items()):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.scatter(known, predicted, s=6 if len(known) > 60 else 18, alpha=0.5, linewidths=0, rasterized=True)
        if name in _LOGARITHMIC and len(known) > 60:
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_minor_formatter(NullFormatter())
        low, high = float(min(known.min(), predicted.min())), float(max(known.max(), predicted.max()))
        axes.plot([low, high], [low, high], color="black", linewidth=0.8)
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.set_xlabel(f"{reference} ({tensor_property(name).unit or '-'})", fontsize=8)
        axes.set_ylabel("predicted", fontsize=8)
        axes.tick_params(labelsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path
