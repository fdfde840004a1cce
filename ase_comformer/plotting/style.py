"""The one style of all figures: fonts, colours, sizes, and how a figure is made and saved.

Figures are made without ``pyplot``: no window, no state that outlives the call. A drawing function asks for
``new_figure`` inside ``with styled():`` and ends with ``saved``:

>>> with styled():
...     figure, axes = new_figure(1, 2, width=7.0, height=3.0)
...     (line,) = axes[0, 0].plot([0, 1], [0, 1], color=COLOURS[0])
>>> line.get_color()
'#0072B2'
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What a figure function raises where matplotlib is missing.
MISSING = "matplotlib is not installed. Install the extra: pip install 'ase-comformer[plot]'."

#: Lines and points in this order; told apart by people who are colour-blind (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
#: Of what is compared with (DFT, experiment), of guides to the eye, and of what is negative or unstable.
REFERENCE_COLOUR = "#222222"
GUIDE_COLOUR = "#999999"
NEGATIVE_COLOUR = "#B2182B"
#: Colour maps of magnitudes and of signed quantities.
MAGNITUDE_MAP = "viridis"
SIGNED_MAP = "RdBu_r"

#: Inches: one column and the full width of a journal page.
COLUMN_WIDTH = 3.4
PAGE_WIDTH = 7.0

_PARAMETERS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.top": True,
    "axes.spines.right": True,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "legend.fontsize": 8.0,
    "legend.framealpha": 0.7,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "svg.fonttype": "path",  # the same on every machine
    "svg.hashsalt": "ase-comformer",  # the same file from the same numbers
    "savefig.dpi": 150,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the package; matplotlib's own settings come back at the end.

    Raises:
        ImportError: matplotlib is missing; the message says how to install it.
    """
    try:
        import matplotlib
        from cycler import cycler
    except ImportError as error:
        raise ImportError(MISSING) from error
    parameters: Any = {**_PARAMETERS, "axes.prop_cycle": cycler(color=COLOURS)}
    with matplotlib.rc_context(parameters):
        yield


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = COLUMN_WIDTH, height: float = 2.8, **options: Any
) -> tuple[Figure, Any]:
    """Make a figure and its axes, ``axes[row, column]``, within ``styled``.

    Args:
        rows: of panels.
        columns: of panels.
        width: inches.
        height: inches.
        options: for ``Figure.subplots``, such as ``sharey=True``, ``width_ratios=(3, 1)`` or ``subplot_kw``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def saved(figure: Figure, path: str | Path | None) -> Figure:
    """Write the figure where a path is given (format by ending; folders are made), and return it."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return figure


def as_svg(figure: Figure) -> str:
    """The figure as the text of one ``<svg>`` element, for pages; fonts are drawn, nothing is fetched."""
    from io import StringIO

    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
