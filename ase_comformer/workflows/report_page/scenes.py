"""What turns on the page: surfaces and the crystal, as JSON-able dictionaries that ``page.js`` draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import NDArray

from ase_comformer.physics.directional import sphere

FloatArray = NDArray[np.float64]


def surface_scene(function: Callable[[FloatArray], FloatArray]) -> dict[str, Any]:
    """A surface whose distance from the origin is the size of a function of the direction, coloured by its value.

    Args:
        function: directions (..., 3) -> values (...).
    """
    directions = sphere(37, 73)
    values = function(directions)
    points = directions * np.abs(values)[..., None]
    signed = bool(values.min() < 0)
    largest = float(np.abs(values).max()) or 1.0
    low, high = (-largest, largest) if signed else (float(values.min()), float(values.max()))
    if high - low < 1e-6 * largest:  # the same along every direction
        low, high = low - 0.5 * largest, high + 0.5 * largest
    return {
        "kind": "surface",
        "points": _rounded(points, largest),
        "values": _rounded(values, largest),
        "low": low,
        "high": high,
        "signed": signed,
        "extent": largest,
    }


def crystal_scene(atoms: Atoms) -> dict[str, Any]:
    """A cell with its edges, and with the images of atoms that lie on them."""
    cell = atoms.cell.array
    centre = cell.sum(axis=0) / 2
    spots = []
    scaled = atoms.get_scaled_positions() % 1.0
    for symbol, number, fraction in zip(atoms.symbols, atoms.numbers, scaled, strict=True):
        fraction = np.where(fraction > 1 - 1e-3, 0.0, fraction)
        choices = [(0, 1) if value < 1e-3 else (0,) for value in fraction]
        for shift in np.array(np.meshgrid(*choices)).T.reshape(-1, 3):
            at = (fraction + shift) @ cell - centre
            spots.append({
                "symbol": symbol,
                "at": [round(float(value), 3) for value in at],
                "radius": round(0.45 * float(covalent_radii[number]), 3),
                "colour": _hex(jmol_colors[number]),
                "dark": _hex(0.55 * jmol_colors[number]),
            })  # fmt: skip
    corners = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    edges = [
        [(np.array(one) @ cell - centre).round(3).tolist(), (np.array(other) @ cell - centre).round(3).tolist()]
        for one in corners
        for other in corners
        if sum(other) - sum(one) == 1 and sum(abs(a - b) for a, b in zip(one, other, strict=True)) == 1
    ]
    extent = max(float(np.linalg.norm(np.array(corner) @ cell - centre)) for corner in corners)
    return {"kind": "crystal", "atoms": spots, "edges": edges, "extent": extent}


def _rounded(array: FloatArray, largest: float) -> Any:
    """Nested lists with four digits of the largest value: small, and smooth enough to look at."""
    digits = 4 - int(np.floor(np.log10(largest)))
    return np.round(array, digits).tolist()


def _hex(colour: Any) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour)
