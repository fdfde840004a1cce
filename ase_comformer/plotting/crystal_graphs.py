"""The two pictures that explain the papers' graphs: iComFormer's lattice frame, and a graph with its symmetry.

Crystals are drawn in parallel projection, what is near above what is far.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import NDArray

from ase_comformer.crystals.neighbour_search import Pairs, pairs_within
from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.graphs.joint_frames import joint_frames
from ase_comformer.graphs.lattice_frame import primitive_lattice
from ase_comformer.plotting.style import (
    COLOURS,
    GUIDE_COLOUR,
    PAGE_WIDTH,
    REFERENCE_COLOUR,
    new_figure,
    saved,
    styled,
)
from ase_comformer.plotting.tensor_maps import formula_text, space_group_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: An edge and the image of another are the same within this length, A.
_SAME = 1e-3
_CORNERS = np.array(list(product((0, 1), repeat=3)), dtype=np.float64)


def view(points: FloatArray, azimuth: float = 25.0, elevation: float = 18.0) -> FloatArray:
    """Coordinates on the page and depth (towards the reader) of points (..., 3); angles in degrees.

    Examples:
        >>> view(np.eye(3), 0.0, 0.0).round(3).tolist()  # x towards the reader, y to the right, z up
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    a, e = np.deg2rad([azimuth, elevation])
    towards = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    return np.asarray(points) @ np.stack([right, np.cross(towards, right), towards], axis=1)


def edge_orbit_numbers(group: SpaceGroup, pairs: Pairs) -> IntArray:
    """Number the orbits of directed edges under the whole space group: (E,) from 0 on, in the order of first members.

    Args:
        group: the space group.
        pairs: edges of ``group.primitive``.

    Examples:
        >>> from ase.build import bulk
        >>> from ase_comformer.crystals.space_group import analyse_space_group
        >>> group = analyse_space_group(bulk("Cu"))
        >>> edge_orbit_numbers(group, pairs_within(group.primitive, 2.6)).tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    """
    numbers = np.full(len(pairs.receiver), -1)
    for edge in range(len(numbers)):
        if numbers[edge] >= 0:
            continue
        images = group.rotations @ pairs.vector[edge]
        at = group.permutations[:, pairs.receiver[edge]]
        distance = np.linalg.norm(pairs.vector[:, None] - images[None], axis=2)
        numbers[((distance < _SAME) & (pairs.receiver[:, None] == at)).any(axis=1)] = numbers.max() + 1
    return numbers


def crystal_graph_figure(
    group: SpaceGroup, cutoff: float, path: str | Path | None = None, *, azimuth: float = 25.0, elevation: float = 18.0
) -> Figure:
    """Draw the graph of a crystal, edges of one orbit in one colour, beside what symmetry leaves of it.

    Args:
        group: of ``analyse_space_group``.
        cutoff: A, of the edges.
        path: file to write, format by its ending.
        azimuth: degrees, of the eye about z.
        elevation: degrees, of the eye above the xy plane.

    Raises:
        ImportError: matplotlib is missing; the message says how to install it.
    """
    pairs = pairs_within(group.primitive, cutoff)
    orbit = edge_orbit_numbers(group, pairs)
    with styled():
        figure, axes = new_figure(1, 2, width=PAGE_WIDTH, height=3.5, width_ratios=(1.15, 1.0))
        whole, reduced = axes[0]
        _draw_cell(whole, group.primitive, (azimuth, elevation))
        _draw_edges(whole, group.primitive, pairs, orbit, (azimuth, elevation))
        nodes, edges = _draw_reduced(reduced, group, pairs, orbit)
        formula = formula_text(group.primitive.get_chemical_formula(mode="metal", empirical=True))
        whole.set_title(f"{formula}: {len(group.primitive)} nodes, {len(orbit)} directed edges")
        for axis in (whole, reduced):
            axis.set_anchor("N")  # titles at one height
        reduced.set_title(f"under {space_group_text(group.international)}: {nodes} nodes, {edges} edges")
        return saved(figure, path)


def lattice_frame_figure(crystals: Sequence[tuple[str, Atoms]], path: str | Path | None = None) -> Figure:
    """Draw iComFormer's lattice frame at an atom: three vectors, an edge, its angles; frames that tie drawn faintly.

    Args:
        crystals: title and crystal of each panel.
        path: file to write, format by its ending.

    Raises:
        ImportError: matplotlib is missing; the message says how to install it.
        ValueError: no crystals.
    """
    if not crystals:
        raise ValueError("lattice_frame_figure needs at least one crystal.")
    with styled():
        figure, axes = new_figure(1, len(crystals), width=3.3 * len(crystals), height=3.6)
        for axis, (title, atoms) in zip(axes[0], crystals, strict=True):
            _draw_frame(axis, title, atoms)
        return saved(figure, path)


def _draw_frame(axis: Axes, title: str, atoms: Atoms) -> None:
    cell = primitive_lattice(atoms)
    frames = joint_frames(cell).vectors
    # the frame that is spread most widely on the page, so that its vectors can be told apart
    areas = [abs(np.linalg.det((flat - flat.mean(axis=0))[:2])) for flat in (view(f)[:, :2] for f in frames)]
    chosen = frames[int(np.argmax(areas))]
    edge = _edge_between(atoms, chosen)
    size = np.linalg.norm(frames, axis=2).max()
    steps = np.array(list(product(range(-2, 3), repeat=3))) @ cell
    near = view(steps[np.linalg.norm(steps, axis=1) < 1.05 * size])
    axis.scatter(near[:, 0], near[:, 1], s=14 + 10 * near[:, 2] / size, color=GUIDE_COLOUR, linewidths=0)
    for vector in np.unique(frames.reshape(-1, 3).round(6), axis=0):
        _arrow(axis, vector, GUIDE_COLOUR, width=0.8, alpha=0.5)
    for slot, (vector, colour) in enumerate(zip(chosen, COLOURS, strict=False)):
        _arrow(axis, vector, colour, width=1.8)
        _label(axis, vector, rf"$\mathbf{{e}}_{slot + 1}$, {np.linalg.norm(vector):.2f} Å", colour)
        cosine = vector @ edge / np.linalg.norm(vector) / np.linalg.norm(edge)
        arc = view(_arc(edge, vector) * (0.22 + 0.08 * slot) * size)
        axis.plot(arc[:, 0], arc[:, 1], color=colour, linewidth=1.0, zorder=2)
        angle = rf"$\theta_{slot + 1}$ = {np.rad2deg(np.arccos(np.clip(cosine, -1, 1))):.0f}°"
        axis.text(0.02, 0.13 - 0.055 * slot, angle, transform=axis.transAxes, color=colour, fontsize=8)
    _arrow(axis, edge, REFERENCE_COLOUR, width=1.8)
    _label(axis, edge, rf"$\mathbf{{r}}_{{ij}}$, {np.linalg.norm(edge):.2f} Å", REFERENCE_COLOUR)
    axis.scatter([0], [0], s=45, color=REFERENCE_COLOUR, zorder=5)
    count = len(frames)
    axis.set_title(f"{title}: {count} frames tie" if count > 2 else f"{title}: one frame and its inverse")
    span = 1.22 * size
    axis.set(xlim=(-span, span), ylim=(-span, span), aspect="equal")
    axis.axis("off")


def _edge_between(atoms: Atoms, frame: FloatArray) -> FloatArray:
    """A short edge whose arrow on the page keeps clear of those of a frame; (3,) A."""
    pairs = pairs_within(atoms, 1.3 * float(np.linalg.norm(frame, axis=1).max()))
    shown, arrows = view(pairs.vector)[:, :2], view(frame)[:, :2]
    length = np.linalg.norm(shown, axis=1)
    cosines = (shown / (length[:, None] + 1e-9)) @ (arrows / np.linalg.norm(arrows, axis=1, keepdims=True)).T
    # few lengths decide before angles do, so that neighbours are preferred
    score = np.round(pairs.distance, 1) + 2.0 * cosines.max(axis=1) - length / pairs.distance
    return pairs.vector[int(np.argmin(score))]


def _arc(first: FloatArray, second: FloatArray) -> FloatArray:
    """Unit vectors (30, 3) from the direction of one vector to that of another."""
    a, b = first / np.linalg.norm(first), second / np.linalg.norm(second)
    angle = np.arccos(np.clip(a @ b, -1.0, 1.0))
    if np.sin(angle) < 1e-6:
        return np.repeat(a[None], 30, axis=0)
    steps = np.linspace(0, 1, 30)[:, None]
    return (np.sin((1 - steps) * angle) * a + np.sin(steps * angle) * b) / np.sin(angle)


def _arrow(axis: Axes, vector: FloatArray, colour: str, *, width: float, alpha: float = 1.0) -> None:
    x, y, depth = view(vector)
    axis.annotate(
        "",
        (x, y),
        (0, 0),
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": width, "alpha": alpha, "shrinkA": 0},
        zorder=3 + depth / 100,
    )


def _label(axis: Axes, vector: FloatArray, text: str, colour: str) -> None:
    x, y, _ = view(vector)
    side = "left" if x >= 0 else "right"
    axis.annotate(
        text, (x, y), (4 if x >= 0 else -4, 4 if y >= 0 else -4), textcoords="offset points",
        ha=side, va="bottom" if y >= 0 else "top", color=colour, fontsize=8,
    )  # fmt: skip


def _draw_cell(axis: Axes, atoms: Atoms, angles: tuple[float, float]) -> None:
    """Outline of the cell and its atoms."""
    corners = view(_CORNERS @ atoms.cell.array, *angles)
    for start, end in product(range(8), repeat=2):
        if start < end and np.abs(_CORNERS[start] - _CORNERS[end]).sum() == 1:
            axis.plot(corners[[start, end], 0], corners[[start, end], 1], color=GUIDE_COLOUR, linewidth=0.7, zorder=1)
    _draw_atoms(axis, atoms.positions, atoms.numbers, angles)
    axis.set_aspect("equal")
    axis.margins(0.12)
    axis.axis("off")


def _draw_atoms(
    axis: Axes, positions: FloatArray, numbers: IntArray, angles: tuple[float, float], alpha: float = 1.0
) -> None:
    shown = view(positions, *angles)
    for (x, y, depth), number in zip(shown, numbers, strict=True):
        size = 130 * covalent_radii[number]
        axis.scatter(
            [x], [y], s=size, color=[jmol_colors[number]], edgecolors=REFERENCE_COLOUR, linewidths=0.8, alpha=alpha,
            zorder=4 + depth / 100,
        )  # fmt: skip


def _draw_edges(axis: Axes, atoms: Atoms, pairs: Pairs, orbit: IntArray, angles: tuple[float, float]) -> None:
    """Each directed edge from its receiver half the way; atoms of other cells are drawn faintly."""
    for edge in range(len(orbit)):
        start = atoms.positions[pairs.receiver[edge]]
        ends = np.stack([start, start + pairs.vector[edge] / 2])
        shown = view(ends, *angles)
        colour = COLOURS[orbit[edge] % len(COLOURS)]
        axis.plot(shown[:, 0], shown[:, 1], color=colour, linewidth=1.8, zorder=2 + shown[:, 2].mean() / 100)
        if pairs.image[edge].any():
            # the other direction of the edge starts at an image, which no loop reaches
            back = np.stack([ends[1], start + pairs.vector[edge]])
            _draw_atoms(axis, back[1:], atoms.numbers[pairs.sender[edge : edge + 1]], angles, alpha=0.25)
            shown = view(back, *angles)
            reverse = _reverse_of(edge, pairs)
            axis.plot(shown[:, 0], shown[:, 1], color=COLOURS[orbit[reverse] % len(COLOURS)], linewidth=1.8, zorder=2)


def _reverse_of(edge: int, pairs: Pairs) -> int:
    """The same edge in the other direction."""
    ends = (pairs.receiver == pairs.sender[edge]) & (pairs.sender == pairs.receiver[edge])
    return int(np.flatnonzero(ends & (pairs.image == -pairs.image[edge]).all(axis=1))[0])


def _draw_reduced(axis: Axes, group: SpaceGroup, pairs: Pairs, orbit: IntArray) -> tuple[int, int]:
    """Nodes of the reduced graph on a circle, one arrow from sender to receiver per orbit; how many of both."""
    from matplotlib.patches import Circle, FancyArrowPatch

    representative = group.permutations.min(axis=0)
    nodes = group.representatives
    turn = np.pi + 2 * np.pi * np.arange(len(nodes)) / max(len(nodes), 2)
    place = {int(node): np.array([np.cos(t), np.sin(t)]) for node, t in zip(nodes, turn, strict=True)}
    rank: dict[tuple[int, int], int] = {}
    count = 0
    for number in range(orbit.max(initial=-1) + 1):
        (members,) = np.nonzero((orbit == number) & np.isin(pairs.receiver, nodes))
        edge = members[0]
        receiver, sender = int(pairs.receiver[edge]), int(representative[pairs.sender[edge]])
        size = int((pairs.receiver[members] == receiver).sum())
        colour = COLOURS[number % len(COLOURS)]
        parallel = rank[receiver, sender] = rank.get((receiver, sender), -1) + 1
        count += 1
        start, end = place[sender], place[receiver]
        if receiver == sender:
            away = end / np.linalg.norm(end)
            radius = 0.22 + 0.12 * parallel
            axis.add_patch(Circle(end + away * radius, radius, fill=False, edgecolor=colour, linewidth=1.6, zorder=1))
            at = end + away * 2 * radius
        else:
            bend = 0.25 + 0.4 * parallel
            axis.add_patch(
                FancyArrowPatch(
                    (start[0], start[1]), (end[0], end[1]), connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>",
                    mutation_scale=14,
                    color=colour, linewidth=1.8, shrinkA=15, shrinkB=17, zorder=1,
                )
            )  # fmt: skip
            across = np.array([(end - start)[1], -(end - start)[0]])
            at = (start + end) / 2 + across * bend / 2
        axis.text(
            at[0], at[1], f"×{size}, {pairs.distance[edge]:.2f} Å", ha="center", va="center", fontsize=8, color=colour,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}, zorder=6,
        )  # fmt: skip
    for node in nodes:
        x, y = place[int(node)]
        number = group.primitive.numbers[node]
        axis.scatter([x], [y], s=620, color=[jmol_colors[number]], edgecolors=REFERENCE_COLOUR, linewidths=0.8)
        multiplicity = int((representative == node).sum())
        axis.text(x, y, f"{group.primitive.symbols[node]}\n×{multiplicity}", ha="center", va="center", fontsize=8)
    axis.set(xlim=(-1.6, 1.6), ylim=(-1.3, 1.3), aspect="equal")
    axis.axis("off")
    return len(nodes), count
