"""The symmetry report as a figure: each component by what the space group says of it, and what the network said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ase_comformer.plotting.style import COLUMN_WIDTH, GUIDE_COLOUR, NEGATIVE_COLOUR, new_figure, saved, styled
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.reynolds import distinct_indices
from ase_comformer.tensors.symmetry_report import PropertySymmetry, SymmetryReport
from ase_comformer.tensors.voigt import VOIGT_LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FILL = {"free": "#CFE3F3", "tied": "#E9F3EA", "forbidden": "#F2F2F2"}


def symmetry_figure(report: SymmetryReport, path: str | Path | None = None) -> Figure:
    """Draw the matrices of a report: free, tied and forbidden components, values, and relations.

    Args:
        report: of ``GMTNetCalculator.symmetry_report``; tensors of atoms are left out.
        path: file to write, format by its ending.

    Raises:
        ImportError: matplotlib is missing; the message says how to install it.
        ValueError: nothing in the report is a tensor of the crystal.
    """
    entries = [entry for name, entry in report.properties.items() if not tensor_property(name).per_atom]
    if not entries:
        raise ValueError("The report has no tensor of the crystal: ask for one, such as dielectric_tensor.")
    heights = [0.32 * max(1, np.atleast_2d(entry.projected).shape[0]) + 0.75 for entry in entries]
    with styled():
        figure, axes = new_figure(
            len(entries), 1, width=1.35 * COLUMN_WIDTH, height=sum(heights) + 0.4, height_ratios=heights
        )
        for axis, entry in zip(axes[:, 0], entries, strict=True):
            _draw(axis, entry)
        figure.suptitle(f"{report.formula}, {report.international} (No. {report.number})")
        return saved(figure, path)


def _draw(axis: Axes, entry: PropertySymmetry) -> None:
    from matplotlib.patches import Rectangle

    declared = tensor_property(entry.name)
    values = np.atleast_2d(entry.projected)
    components = dict(zip(distinct_indices(declared), entry.components, strict=True))
    for index in np.ndindex(*entry.projected.shape):
        component = components.get(index) or components[tuple(reversed(index))]
        row, column = index if len(index) == 2 else (0, index[0])
        violated = component.violates and component.status == "forbidden"
        edge = NEGATIVE_COLOUR if violated else GUIDE_COLOUR
        axis.add_patch(Rectangle((column, row), 1, 1, facecolor=_FILL[component.status], edgecolor=edge, linewidth=0.8))
        shown = "0" if component.status == "forbidden" else f"{component.projected + 0.0:.3g}"
        axis.text(column + 0.5, row + 0.5, shown, ha="center", va="center", fontsize=7)
    rows, columns = values.shape
    axis.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal")
    axis.set_xticks(np.arange(columns) + 0.5, _names(columns))
    axis.set_yticks(np.arange(rows) + 0.5, _names(rows) if len(entry.projected.shape) == 2 else [""])
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    for side in axis.spines.values():
        side.set_visible(False)
    unit = f" ({entry.unit})" if not entry.unit.startswith("relative") else ""
    axis.set_xlabel(
        f"{entry.name.replace('_', ' ')}{unit}: {entry.independent} independent, residual {entry.residual:.0e}",
        fontsize=7,
    )


def _names(count: int) -> list[str]:
    return list(VOIGT_LABELS) if count == 6 else list("xyz")
