"""Tensors as maps: predicted beside reference, every entry a coloured cell, forbidden entries marked.

What the talks of GMTNet show of its tensors: 3x3, 3x6 and 6x6 arrays side by side, zero where the space group asks for
zero. Entries that symmetry forbids carry a cross; one that is not zero all the same gets a red frame.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ase_comformer.plotting.style import (
    GUIDE_COLOUR,
    NEGATIVE_COLOUR,
    SIGNED_MAP,
    new_figure,
    saved,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

#: A forbidden entry counts as violated beyond this share of the largest entry shown.
VIOLATION = 1e-3
#: Cells between the two arrays of a panel, and on either side of both.
_GAP, _MARGIN = 0.5, 0.6
#: Inches above the arrays for their labels.
_HEADING = 0.17


@dataclass
class TensorComparison:
    """One panel of :func:`tensor_map_figure`.

    Attributes:
        title: above the panel, such as the formula and the space group.
        reference: (rows, columns) left array.
        predicted: (rows, columns) right array.
        forbidden: (rows, columns) whether symmetry forbids an entry (``tensors.forbidden.forbidden_entries``).
    """

    title: str
    reference: ArrayLike
    predicted: ArrayLike
    forbidden: ArrayLike

    def arrays(self) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """Reference, predicted and forbidden as arrays of one shape.

        Raises:
            ValueError: they are not matrices of the same shape, or have values that are not finite.
        """
        reference, predicted = (np.asarray(v, dtype=np.float64) for v in (self.reference, self.predicted))
        forbidden = np.asarray(self.forbidden, dtype=bool)
        shapes = [reference.shape, predicted.shape, forbidden.shape]
        if len(set(shapes)) > 1 or reference.ndim != 2:
            raise ValueError(f"Panel {self.title!r} needs three matrices of one shape, got the shapes {shapes}.")
        if not (np.isfinite(reference).all() and np.isfinite(predicted).all()):
            raise ValueError(f"Panel {self.title!r} has values that are not finite.")
        return reference, predicted, forbidden

    def violations(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Forbidden entries that are not zero, of the reference and of the prediction.

        Examples:
            >>> panel = TensorComparison("", [[2.0, 0.0]], [[2.1, 0.3]], [[False, True]])
            >>> panel.violations()[1].tolist()
            [[False, True]]
        """
        reference, predicted, forbidden = self.arrays()
        limit = VIOLATION * _largest(reference, predicted)
        return forbidden & (np.abs(reference) > limit), forbidden & (np.abs(predicted) > limit)


def tensor_map_figure(
    panels: Sequence[TensorComparison],
    path: str | Path | None = None,
    *,
    columns: int = 3,
    title: str = "",
    reference_label: str = "DFT",
    predicted_label: str = "predicted",
    width: float = 9.0,
) -> Figure:
    """Draw tensors beside their reference, one scale of colours per panel.

    Args:
        panels: drawn row by row, all arrays of one shape.
        path: file to write (format by ending); folders are created.
        columns: panels per row.
        title: of the figure, with the unit.
        reference_label: above the left arrays.
        predicted_label: above the right arrays.
        width: inches.

    Raises:
        ImportError: matplotlib is missing; the message says how to install it.
        ValueError: no panels, or arrays that do not fit together.
    """
    if not panels:
        raise ValueError("tensor_map_figure needs at least one panel.")
    shapes = {panel.arrays()[0].shape for panel in panels}
    if len(shapes) > 1:
        raise ValueError(f"All panels of a figure need arrays of one shape, got {sorted(shapes)}.")
    ((height, breadth),) = shapes
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    cell = width / columns / (2 * breadth + _GAP + 2 * _MARGIN)
    with styled():
        figure, axes = new_figure(
            rows, columns, width=width, height=rows * (cell * height + 0.48) + (0.35 if title else 0.05)
        )
        for axis, panel in zip(axes.ravel(), panels, strict=False):
            _draw(axis, panel, cell, (reference_label, predicted_label))
        for axis in axes.ravel()[len(panels) :]:
            axis.set_visible(False)
        if title:
            figure.suptitle(title)
        return saved(figure, path)


def _draw(axis: Axes, panel: TensorComparison, cell: float, labels: tuple[str, str]) -> None:
    from matplotlib.patches import Rectangle

    reference, predicted, forbidden = panel.arrays()
    rows, columns = reference.shape
    scale = _largest(reference, predicted)
    size = min(7.0, 72 * cell * 0.3)  # points; four characters fit into a cell
    shown = zip((reference, predicted), panel.violations(), labels, (0.0, columns + _GAP), strict=True)
    for values, violated, label, start in shown:
        extent = (start, start + columns, rows, 0)
        axis.imshow(values, cmap=SIGNED_MAP, vmin=-1.15 * scale, vmax=1.15 * scale, extent=extent)
        axis.text(start + columns / 2, -0.03 / cell, label, ha="center", va="bottom", fontsize=7)
        for row, column in np.ndindex(rows, columns):
            at = (start + column, row)
            if violated[row, column]:
                axis.add_patch(Rectangle(at, 1, 1, fill=False, edgecolor=NEGATIVE_COLOUR, linewidth=1.2, zorder=3))
            if forbidden[row, column] and not violated[row, column]:
                axis.text(at[0] + 0.5, row + 0.5, "×", ha="center", va="center", color=GUIDE_COLOUR, fontsize=7)
            else:
                dark = abs(values[row, column]) > 0.7 * scale
                text = short_number(float(values[row, column]), scale)
                axis.text(
                    at[0] + 0.5,
                    row + 0.5,
                    text,
                    ha="center",
                    va="center",
                    color="white" if dark else "black",
                    fontsize=size,
                )
        axis.add_patch(Rectangle((start, 0), columns, rows, fill=False, edgecolor=GUIDE_COLOUR, linewidth=0.7))
    breadth = 2 * columns + _GAP
    axis.set(xlim=(-_MARGIN, breadth + _MARGIN), ylim=(rows + 0.05, -_HEADING / cell), aspect="equal")
    axis.set_title(panel.title, fontsize=8.5, pad=2)
    axis.axis("off")


def short_number(value: float, scale: float) -> str:
    """At most four characters beside a sign, with the decimals that the largest entry of the panel leaves.

    Examples:
        >>> short_number(165.8, 165.8), short_number(2.345, 9.1), short_number(-0.0001, 0.4)
        ('166', '2.3', '0')
    """
    decimals = 0 if scale >= 20 else 1 if scale >= 2 else 2
    text = f"{value:.{decimals}f}"
    return "0" if float(text) == 0 else text


def formula_text(formula: str) -> str:
    """A formula with its numbers as subscripts, for matplotlib.

    Examples:
        >>> formula_text("BaTi(BO3)2")
        'BaTi(BO$_{3}$)$_{2}$'
    """
    return re.sub(r"(\d+)", r"$_{\1}$", formula)


def space_group_text(international: str) -> str:
    r"""A space-group symbol with screw axes as subscripts and bars over numbers, for matplotlib.

    Examples:
        >>> space_group_text("P6_3/mmc"), space_group_text("F-43m")
        ('P6$_{3}$/mmc', 'F$\\bar{4}$3m')
    """
    return re.sub(r"-(\d)", r"$\\bar{\1}$", re.sub(r"_(\d)", r"$_{\1}$", international))


def _largest(reference: FloatArray, predicted: FloatArray) -> float:
    """Largest magnitude of both arrays; one of nothing."""
    return float(max(np.abs(reference).max(initial=0.0), np.abs(predicted).max(initial=0.0))) or 1.0
