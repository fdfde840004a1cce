"""Figures of infrared and Raman spectra.

Needs matplotlib, the extra ``plot``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ase_comformer.physics.spectra import PER_CM, Infrared, Raman
from ase_comformer.plotting.style import COLOURS, PAGE_WIDTH, REFERENCE_COLOUR, new_figure, saved, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def spectra_figure(
    infrared: Infrared,
    raman: Raman | None = None,
    path: str | Path | None = None,
    *,
    title: str = "",
    width: float = 10.0,
    published: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draw absorption of a powder, the infrared dielectric function, and Raman scattering of a powder.

    Args:
        infrared: of :func:`ase_comformer.spectra`.
        raman: likewise; left out where None.
        path: file to write, format by its ending.
        title: of the figure.
        width: 1/cm, of the peaks.
        published: 1/cm, places of peaks to mark, by panel (``"infrared"``, ``"raman"``).

    Raises:
        ImportError: matplotlib is missing; the message says how to install it.
    """
    published = published or {}
    highest = max(float(infrared.frequencies.max(initial=1.0)) * PER_CM * 1.35, 100.0)
    grid = np.linspace(0.0, highest, 2001)[1:]
    absorbs = bool(infrared.intensities.max(initial=0.0) > 1e-6)
    scatters = raman is not None and bool(raman.activities.max(initial=0.0) > 0)
    panels = ["infrared", "dielectric"] * absorbs + ["raman"] * scatters or ["infrared"]
    with styled():
        figure, axes = new_figure(len(panels), 1, width=PAGE_WIDTH, height=1.0 + 1.7 * len(panels), sharex=True)
        for axis, panel in zip(axes[:, 0], panels, strict=True):
            if panel == "infrared":
                axis.plot(grid, infrared.spectrum(grid, width), color=COLOURS[0])
                axis.set_ylabel("absorption\n(km/mol per 1/cm)")
            elif panel == "dielectric":
                _draw_dielectric(axis, infrared, grid, width)
            elif raman is not None:
                axis.plot(grid, raman.spectrum(grid, width), color=COLOURS[1])
                axis.set_ylabel("Raman intensity\n(arbitrary)")
            for place in published.get(panel, ()):
                axis.plot([place], [0], marker=6, color=REFERENCE_COLOUR, clip_on=False, zorder=5)
            if panel != "dielectric":
                axis.set_ylim(bottom=0)
        axes[-1, 0].set_xlim(0, highest)
        axes[-1, 0].set_xlabel("wave number (1/cm)")
        if title:
            axes[0, 0].set_title(title, loc="left")
        return saved(figure, path)


def _draw_dielectric(axis: Axes, infrared: Infrared, grid: np.ndarray, width: float) -> None:
    epsilon = np.einsum("kii->ki", infrared.dielectric_function(grid, width))
    mean, along = epsilon[:, :2].mean(axis=1), epsilon[:, 2]
    uniaxial = np.abs(mean - along).max() > 1e-3 * np.abs(mean).max()
    axis.plot(grid, mean.real, color=COLOURS[0], label="real, x y" if uniaxial else "real")
    axis.plot(grid, mean.imag, color=COLOURS[0], linestyle=":", label="imaginary, x y" if uniaxial else "imaginary")
    if uniaxial:
        axis.plot(grid, along.real, color=COLOURS[1], label="real, z")
        axis.plot(grid, along.imag, color=COLOURS[1], linestyle=":", label="imaginary, z")
    scale = 3 * float(np.abs(infrared.dielectric_tensor).max()) + 10
    axis.set_ylim(-scale, 2.8 * scale)
    axis.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    axis.set_ylabel("permittivity")
    axis.legend(loc="upper left", ncols=2)
