"""Figures: predicted against reference values, one panel per property.

Needs matplotlib, the extra ``plot``. Figures are made without ``pyplot``, so no global state is touched and no
display is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ase_comformer.plotting.style import COLOURS, GUIDE_COLOUR, REFERENCE_COLOUR, new_figure, saved, styled
from ase_comformer.properties.registry import tensor_property

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

#: Outliers are named where they are off by this logarithm of a ratio, or by this share of the range; how many at most.
OUTLIER_RATIO, OUTLIER_SHARE, MOST_OUTLIERS = 0.25, 0.08, 3


@dataclass
class ParityPanel:
    """One panel of :func:`panel_figure`.

    Attributes:
        title: what is shown.
        unit: of both axes.
        reference: (n,) values on the horizontal axis.
        predicted: (n,) values on the vertical axis.
        groups: name of the group of each point (colour and legend); empty for one group.
        hollow: whether each point is drawn hollow; empty for none.
        errors: (n,) expected errors of the predicted values, drawn as bars; empty for none.
        labels: (n,) what each point is, written beside those that are farthest off; empty for none.
        logarithmic: both axes; non-positive values are then left out.
        text: note inside the panel.
    """

    title: str
    unit: str
    reference: ArrayLike
    predicted: ArrayLike
    groups: Sequence[str] = ()
    hollow: Sequence[bool] = field(default=())
    logarithmic: bool = True
    text: str = ""
    errors: ArrayLike = ()
    labels: Sequence[str] = ()

    def outliers(self) -> list[tuple[float, float, str]]:
        """Reference, predicted value and label of the points farthest from the diagonal of the panel, at most three."""
        reference, predicted = (np.asarray(v, dtype=np.float64) for v in (self.reference, self.predicted))
        if not len(self.labels):
            return []
        if self.logarithmic:
            drawn = np.flatnonzero((reference > 0) & (predicted > 0))
            distance, limit = np.abs(np.log(predicted[drawn] / reference[drawn])), OUTLIER_RATIO
        else:
            drawn = np.arange(len(reference))
            distance, limit = np.abs(predicted - reference), OUTLIER_SHARE * np.ptp(np.r_[reference, predicted])
        farthest = drawn[np.argsort(-distance, kind="stable")[: int(min(MOST_OUTLIERS, (distance > limit).sum()))]]
        return [(float(reference[k]), float(predicted[k]), self.labels[k]) for k in farthest]

    def arrays(self) -> tuple[FloatArray, FloatArray, NDArray[np.str_], NDArray[np.bool_], FloatArray]:
        """Reference, predicted, groups, hollow and errors (zero where there are none) of the points that can be drawn.

        Raises:
            ValueError: unequal lengths, negative errors, or values that are not finite.
        """
        reference = np.asarray(self.reference, dtype=np.float64)
        predicted = np.asarray(self.predicted, dtype=np.float64)
        groups = np.asarray(self.groups if len(self.groups) else [""] * len(reference), dtype=str)
        hollow = np.asarray(self.hollow if len(self.hollow) else [False] * len(reference), dtype=bool)
        errors = np.asarray(self.errors, dtype=np.float64)
        errors = errors if len(errors) else np.zeros(len(reference))
        lengths = [len(reference), len(predicted), len(groups), len(hollow), len(errors)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"Panel {self.title!r} has unequal lengths of reference, predicted, groups, hollow, errors: {lengths}."
            )
        if not all(np.isfinite(values).all() for values in (reference, predicted, errors)):
            raise ValueError(f"Panel {self.title!r} has values that are not finite.")
        if (errors < 0).any():
            raise ValueError(f"Panel {self.title!r} has a negative expected error: {errors.min():g}.")
        shown = (reference > 0) & (predicted > 0) if self.logarithmic else np.full(len(reference), True)
        return reference[shown], predicted[shown], groups[shown], hollow[shown], errors[shown]


def panel_figure(
    panels: Sequence[ParityPanel],
    path: str | Path | None = None,
    *,
    reference_label: str = "DFT",
    title: str = "",
    columns: int = 3,
    size: float = 3.6,
) -> Figure:
    """Draw predicted against reference values.

    Args:
        panels: drawn row by row.
        path: file to write (format by extension); folders are created.
        reference_label: what the horizontal axes show.
        title: of the figure.
        columns: panels per row.
        size: inches per panel.

    Raises:
        ImportError: matplotlib is missing; the message says how to install it.
        ValueError: no panels, or a panel with inconsistent data.
    """
    if not panels:
        raise ValueError("panel_figure needs at least one panel.")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    names = list(dict.fromkeys(name for panel in panels for name in panel.groups))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    with styled():
        figure, grid = new_figure(rows, columns, width=size * columns, height=size * rows + (0.4 if title else 0.0))
        axes = grid.ravel()
        for axis, panel in zip(axes, panels, strict=False):
            _draw(axis, panel, colours, reference_label)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        if title:
            figure.suptitle(title)
        return saved(figure, path)


def parity_figure(
    points: Mapping[str, tuple[ArrayLike, ArrayLike]], path: Path, *, reference: str = "DFT", size: float = 3.4
) -> Path:
    """One panel per property, see :func:`panel_figure`.

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
    panels = []
    for name, (known, predicted) in points.items():
        entry = tensor_property(name)
        logarithmic = entry.spans_decades
        shown = "" if logarithmic else entry.unit
        panels.append(ParityPanel(name.replace("_", " "), shown, known, predicted, logarithmic=logarithmic))
    panel_figure(panels, path, reference_label=reference, size=size)
    return path


def _draw(axis: Axes, panel: ParityPanel, colours: dict[str, str], reference_label: str) -> None:
    reference, predicted, groups, hollow, errors = panel.arrays()
    few = len(reference) < 60
    if errors.any():
        axis.errorbar(
            reference, predicted, yerr=errors, fmt="none", ecolor=REFERENCE_COLOUR, elinewidth=0.9, capsize=0, zorder=1
        )
    for name in dict.fromkeys(groups.tolist()):
        member = groups == name
        for empty in (False, True):
            chosen = member & (hollow == empty)
            if not chosen.any():
                continue
            colour = colours.get(name, COLOURS[0])
            # One entry in the legend per group, whether it has full points, hollow points or both.
            first = not empty or not (member & ~hollow).any()
            axis.scatter(
                reference[chosen],
                predicted[chosen],
                s=(14 if errors.any() else 28) if few else 7,
                alpha=0.9 if few else 0.35,
                linewidths=1.2 if few else 0,
                facecolors="none" if empty else colour,
                edgecolors=colour if few else "none",
                label=name if name and first else None,
                rasterized=not few,
            )
    if len(reference):
        both = np.concatenate([reference, predicted])
        low, high = float(both.min()), float(both.max())
        if panel.logarithmic:
            low, high = low / 1.3, high * 1.3
            axis.set_xscale("log")
            axis.set_yscale("log")
            _plain_ticks(axis, decades=float(np.log10(high / low)))
        else:
            margin = 0.06 * (high - low) + 1e-9
            low, high = low - margin, high + margin
        axis.plot([low, high], [low, high], color=GUIDE_COLOUR, linewidth=0.8, zorder=0)
        axis.set_xlim(low, high)
        axis.set_ylim(low, high)
    for known, found, label in panel.outliers():
        # away from the diagonal, and inwards near the edges
        across = float(axis.transAxes.inverted().transform(axis.transData.transform((known, found)))[0])
        left = across > 2 / 3 or (across > 1 / 3 and found > known)
        shift, side = ((-5, 0), "right") if left else ((5, 0), "left")
        place: dict[str, Any] = {
            "xytext": shift,
            "textcoords": "offset points",
            "ha": side,
            "va": "center",
            "fontsize": 7,
        }
        axis.annotate(label, (known, found), **place)
    axis.set_aspect("equal", adjustable="box")
    unit = f" ({panel.unit})" if panel.unit else ""
    axis.set_title(panel.title)
    axis.set_xlabel(f"{reference_label}{unit}")
    axis.set_ylabel(f"predicted{unit}")
    if panel.text:
        axis.text(0.04, 0.96, panel.text, transform=axis.transAxes, va="top", fontsize=8)
    if any(groups):
        axis.legend(fontsize=7, loc="lower right", framealpha=0.6, handletextpad=0.2)


def _plain_ticks(axis: Axes, decades: float) -> None:
    """Ticks such as 2, 5, 10 instead of powers of ten, fewer of them over many decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,)))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        side.set_minor_formatter(NullFormatter())
