"""How tensors look along directions: surfaces with sections, the ellipsoid of a dielectric tensor.

Figures by matplotlib (extra ``plot``); ``interactive_surface`` by plotly (extra ``plotly``) for notebooks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ase_comformer.physics.directional import along, circle, longitudinal_piezoelectric, sphere, youngs_modulus
from ase_comformer.plotting.style import (
    COLOURS,
    GUIDE_COLOUR,
    MAGNITUDE_MAP,
    NEGATIVE_COLOUR,
    PAGE_WIDTH,
    SIGNED_MAP,
    saved,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]
#: Values (...) along unit vectors (..., 3).
AlongDirections = Callable[[FloatArray], FloatArray]

_MISSING_PLOTLY = "plotly is not installed. Install the extra: pip install 'ase-comformer[plotly]'."


def directional_figure(
    function: AlongDirections, path: str | Path | None = None, *, title: str = "", unit: str = ""
) -> Figure:
    """Draw a function of the direction: a surface at its distance from the origin, and sections across x, y and z.

    Args:
        function: directions (..., 3) -> values (...); negative values are drawn at their size, in the colours of
            ``SIGNED_MAP`` and with broken lines in the sections.
        path: file to write, format by its ending.
        title: of the figure.
        unit: of the values.

    Raises:
        ImportError: matplotlib is missing; the message says how to install it.

    Example:
        >>> import numpy as np
        >>> silicon = np.diag([165.8] * 3 + [79.6] * 3); silicon[:3, :3] += 63.9 * (1 - np.eye(3))
        >>> figure = directional_figure(lambda n: youngs_modulus(silicon, n), title="Young's modulus", unit="GPa")
        >>> len(figure.axes)  # surface, three sections, scale of colours
        5
    """
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(PAGE_WIDTH, 4.6), layout="constrained")
        grid = figure.add_gridspec(3, 2, width_ratios=(2.5, 1))
        surface = figure.add_subplot(grid[:, 0], projection="3d")
        colours = _draw_surface(surface, function)
        figure.colorbar(colours, ax=surface, shrink=0.6, label=unit, pad=0.02, location="left")
        for row, normal in enumerate("zxy"):
            _draw_section(figure.add_subplot(grid[row, 1], projection="polar"), function, normal)
        if title:
            figure.suptitle(title)
        return saved(figure, path)


def youngs_modulus_figure(
    stiffness: ArrayLike, path: str | Path | None = None, *, title: str = "Young's modulus"
) -> Figure:
    """Draw Young's modulus along all directions.

    Args:
        stiffness: (6, 6) GPa, Voigt, positive definite.
        path: file to write.
        title: of the figure.

    Raises:
        ValueError: a crystal that is not stable, of which no modulus can be drawn.
    """
    matrix = np.asarray(stiffness, dtype=np.float64)
    if np.linalg.eigvalsh((matrix + matrix.T) / 2)[0] <= 0:
        raise ValueError("The elastic tensor is not positive definite, so Young's modulus is no surface.")
    return directional_figure(lambda n: youngs_modulus(matrix, n), path, title=title, unit="GPa")


def piezoelectric_figure(
    tensor: ArrayLike,
    path: str | Path | None = None,
    *,
    kind: str = "e",
    title: str = "longitudinal piezoelectric response",
) -> Figure:
    """Draw the longitudinal piezoelectric response along all directions.

    Args:
        tensor: (3, 6) Voigt, e in C/m^2 or d in pC/N.
        path: file to write.
        kind: ``"e"`` or ``"d"``.
        title: of the figure.
    """
    unit = "C/m$^2$" if kind == "e" else "pC/N"
    return directional_figure(lambda n: longitudinal_piezoelectric(tensor, n, kind=kind), path, title=title, unit=unit)


def dielectric_ellipsoid_figure(
    tensor: ArrayLike, path: str | Path | None = None, *, title: str = "dielectric ellipsoid"
) -> Figure:
    """Draw the ellipsoid whose half axes are the principal refractive indices, with its axes (Nye, chapter XIII).

    Args:
        tensor: (3, 3) relative permittivity, positive definite.
        path: file to write.
        title: of the figure.

    Raises:
        ValueError: a tensor that is not positive definite.
    """
    matrix = np.asarray(tensor, dtype=np.float64)
    values, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    if values[0] <= 0:
        raise ValueError(
            f"The dielectric tensor has a principal value of {values[0]:.3g}; an ellipsoid needs positive ones."
        )
    indices = np.sqrt(values)
    inverse = np.linalg.inv(matrix)
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(PAGE_WIDTH / 2, 3.4), layout="constrained")
        axis: Any = figure.subplots(subplot_kw={"projection": "3d"})
        n = sphere(41, 81)
        points = n / np.sqrt(along(inverse, n))[..., None]
        axis.plot_surface(*np.moveaxis(points, -1, 0), color=COLOURS[5], alpha=0.35, linewidth=0, rstride=1, cstride=1)
        for index, direction, colour in zip(indices, axes.T, COLOURS, strict=False):
            end = index * direction * (1.0 if direction[np.argmax(np.abs(direction))] > 0 else -1.0)
            axis.plot(*np.stack([-end, end], axis=1), color=colour, label=f"n = {index:.3f}")
        _cube(axis, 1.05 * float(indices[-1]))
        axis.legend(loc="upper left", frameon=False)
        axis.set_title(title)
        return saved(figure, path)


def interactive_surface(function: AlongDirections, *, title: str = "", unit: str = "") -> Any:
    """A surface that turns, as a plotly figure (``.show()`` in a notebook, ``.write_html(path)``).

    Args:
        function: directions (..., 3) -> values (...).
        title: of the figure.
        unit: of the values.

    Raises:
        ImportError: plotly is missing; the message says how to install it.
    """
    try:
        from plotly.graph_objects import Figure as PlotlyFigure
        from plotly.graph_objects import Surface
    except ImportError as error:
        raise ImportError(_MISSING_PLOTLY) from error
    directions = sphere(61, 121)
    values = function(directions)
    x, y, z = np.moveaxis(directions * np.abs(values)[..., None], -1, 0)
    signed = bool(values.min() < 0)
    largest = float(np.abs(values).max())
    scale = {"colorscale": "RdBu_r", "cmin": -largest, "cmax": largest} if signed else {"colorscale": "Viridis"}
    figure = PlotlyFigure(Surface(x=x, y=y, z=z, surfacecolor=values, colorbar={"title": unit}, **scale))
    figure.update_layout(title=title, scene={"aspectmode": "data"})
    return figure


def _draw_surface(axis: Any, function: AlongDirections) -> Any:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    directions = sphere(61, 121)
    values = function(directions)
    points = directions * np.abs(values)[..., None]
    signed = bool(values.min() < 0)
    largest = float(np.abs(values).max()) or 1.0
    low, high = (-largest, largest) if signed else (float(values.min()), float(values.max()))
    if high - low < 1e-6 * largest:
        low, high = low - 0.05 * largest, high + 0.05 * largest
    mapped = ScalarMappable(Normalize(low, high), colormaps[SIGNED_MAP if signed else MAGNITUDE_MAP])
    centres = (values[:-1, :-1] + values[1:, :-1] + values[:-1, 1:] + values[1:, 1:]) / 4
    axis.plot_surface(
        *np.moveaxis(points, -1, 0), facecolors=mapped.to_rgba(centres), rstride=1, cstride=1, linewidth=0, shade=True
    )
    _cube(axis, largest)
    return mapped


def _cube(axis: Any, half: float) -> None:
    """Equal axes with few ticks."""
    axis.set(xlim=(-half, half), ylim=(-half, half), zlim=(-half, half), xlabel="x", ylabel="y", zlabel="z")
    axis.set_box_aspect((1, 1, 1), zoom=0.85)
    for side in (axis.xaxis, axis.yaxis, axis.zaxis):
        side.set_major_locator(_few_ticks())
        side.set_pane_color((1.0, 1.0, 1.0, 0.0))
    axis.tick_params(labelsize=7, pad=0)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3, symmetric=True)


def _draw_section(axis: Axes, function: AlongDirections, normal: str) -> None:
    values = function(circle(normal))
    angle = np.linspace(0, 2 * np.pi, len(values))
    axis.plot(angle, np.where(values >= 0, values, np.nan), color=COLOURS[0])
    axis.plot(angle, np.where(values < 0, -values, np.nan), color=NEGATIVE_COLOUR, linestyle="--")
    first, second = ("xyz"["xyz".index(normal) - 2], "xyz"["xyz".index(normal) - 1])
    axis.set_xticks([0, np.pi / 2, np.pi, 3 * np.pi / 2], [first, second, f"-{first}", f"-{second}"])
    axis.set_ylim(0, None)
    axis.yaxis.set_major_locator(_few_ticks())
    axis.tick_params(labelsize=7, colors="#555555", pad=0)
    axis.grid(color=GUIDE_COLOUR, linewidth=0.4)
