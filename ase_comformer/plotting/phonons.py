"""Figures of phonons: bands along the path and the density of states beside them.

Needs matplotlib, the extra ``plot``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ase_comformer.physics.phonons import IMAGINARY, Bands, DensityOfStates, Phonons
from ase_comformer.plotting.style import COLOURS, GUIDE_COLOUR, NEGATIVE_COLOUR, PAGE_WIDTH, new_figure, saved, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A, mesh of the density of states, as in ``Phonons.density_of_states``.
MESH = 40.0


def phonon_figure(
    found: Phonons, path: str | Path | None = None, *, title: str | None = None, by_element: bool = True
) -> Figure:
    """Draw bands and density of states; imaginary frequencies are negative and red.

    Args:
        found: of :func:`ase_comformer.phonons`.
        path: file to write, format by its ending.
        title: formula and space group where None.
        by_element: divide the density of states among the elements.

    Raises:
        ImportError: matplotlib is missing; the message says how to install it.
    """
    if title is None:
        title = f"{found.primitive.symbols.formula.reduce()[0]:metal}, {found.space_group}"
    density = found.density_of_states(MESH, by_element=by_element)
    with styled():
        figure, axes = new_figure(
            1, 2, width=PAGE_WIDTH, height=3.4, sharey=True, width_ratios=(3, 1), gridspec_kw={"wspace": 0.04}
        )
        draw_bands(axes[0, 0], found.bands())
        draw_density(axes[0, 1], density)
        axes[0, 0].set_ylabel("frequency (THz)")
        axes[0, 0].set_title(title, loc="left")
        return saved(figure, path)


def bands_figure(
    crystals: Mapping[str, Bands], path: str | Path | None = None, *, columns: int = 2, height: float = 2.4
) -> Figure:
    """Draw the bands of several crystals.

    Args:
        crystals: title -> bands.
        path: file to write, format by its ending.
        columns: panels side by side.
        height: inches per row.
    """
    rows = -(-len(crystals) // columns)
    with styled():
        figure, axes = new_figure(rows, columns, width=PAGE_WIDTH, height=height * rows)
        for axis, (title, bands) in zip(axes.ravel(), crystals.items(), strict=False):
            draw_bands(axis, bands)
            axis.set_title(title, loc="left")
        for axis in axes[:, 0]:
            axis.set_ylabel("frequency (THz)")
        for axis in axes.ravel()[len(crystals) :]:
            axis.set_visible(False)
        return saved(figure, path)


def draw_bands(axis: Axes, bands: Bands) -> None:
    """Draw bands on axes of one's own."""
    for distances, frequencies in zip(bands.path.distances, bands.frequencies, strict=True):
        axis.plot(distances, frequencies, color=COLOURS[0], linewidth=1.0)
        unstable = np.where(frequencies < -IMAGINARY, frequencies, np.nan)
        axis.plot(distances, unstable, color=NEGATIVE_COLOUR, linewidth=1.0)
    ticks = bands.path.ticks
    for place, _ in ticks:
        axis.axvline(place, color=GUIDE_COLOUR, linewidth=0.6, zorder=0)
    axis.axhline(0, color=GUIDE_COLOUR, linewidth=0.6, zorder=0)
    axis.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
    axis.tick_params(axis="x", length=0)
    axis.set_xlim(ticks[0][0], ticks[-1][0])
    low, high = min(0.0, bands.lowest), bands.highest
    axis.set_ylim(1.05 * low if bands.lowest < -IMAGINARY else 0.0, 1.04 * high)


def draw_density(axis: Axes, density: DensityOfStates) -> None:
    """Draw a density of states sideways, frequencies upwards."""
    axis.plot(density.total, density.frequencies, color="black", linewidth=0.9, label="total")
    for number, (symbol, values) in enumerate((density.by_element or {}).items()):
        axis.plot(values, density.frequencies, color=COLOURS[(number + 1) % len(COLOURS)], label=symbol)
    axis.axhline(0, color=GUIDE_COLOUR, linewidth=0.6, zorder=0)
    axis.set_xlim(0, 1.05 * float(density.total.max()))
    axis.set_xlabel("states (1/THz)")
    if density.by_element:
        axis.legend(loc="upper right")
