"""How cost grows with atoms n and with neighbours k: O(nk) of the papers' networks against O(nk^2) of line graphs.

    python -m benchmarks.cost_exponents          # about four minutes of CPU on one core, resumable

The crystal is rocksalt (MgO) with its atoms displaced at random, in cells of 2 to 1,000 atoms, so that nothing but n
changes; for k, the cell of 32 atoms with 8 to 64 neighbours. Time is that of one evaluation of one crystal, its graph
built before; CPU seconds of one thread, medians. Exponents are slopes of log time against log n (``--from-atoms``
atoms on) and against log of the measured number of edges per atom, and their 95 % intervals those of least squares
(Student's t). What an evaluation costs whatever its size lowers them, most in k and for small networks; therefore the
part of the time at the largest k that grows as k^2 stands beside them, of a fit of a + b k + c k^2 (it takes up what
caches that are too small cost, too), and the exponent of what is counted, pairs of edges. Writes the figure to
``--figure``; answers are kept in ``--results``.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from rich.console import Console
from rich.table import Table
from scipy import optimize, stats

from ase_comformer.plotting.style import COLOURS, GUIDE_COLOUR, PAGE_WIDTH, new_figure, saved, styled
from benchmarks.cost.runs import Answers, as_json, interpreter, machine

#: Repeats of the primitive cell of rocksalt, 2 atoms.
CELLS = ((1, 1, 1), (2, 2, 1), (4, 2, 2), (4, 4, 4), (5, 5, 5), (6, 6, 6), (10, 10, 5))
NEIGHBOURS = (8, 16, 24, 32, 48, 64)
CELL_FOR_NEIGHBOURS = (4, 2, 2)


@dataclass(frozen=True)
class Subject:
    """A network, what its papers say of its cost, and ``per_atom``: the neighbours, or A for matgl, as n grows."""

    network: str
    claim: str
    per_atom: float


SUBJECTS = (
    Subject("iComFormer (4 layers)", "O(nk)", 25),
    Subject("eComFormer-half", "O(nk)", 25),
    Subject("GMTNet", "O(nk)", 16),
    Subject("Matformer", "O(nk)", 12),
    Subject("ETGNN", "O(nk)", 16),
    Subject("MEGNet", "O(nk)", 16),
    Subject("tensor network", "O(nk)", 16),
    Subject("ALIGNN", "O(nk^2)", 12),
    Subject("M3GNet", "O(nk^2)", 4.0),
)


@dataclass(frozen=True)
class Exponent:
    """A slope in a double logarithmic plot and the half width of its 95 % interval."""

    slope: float
    half_width: float

    def __str__(self) -> str:
        """Slope and interval."""
        return f"{self.slope:.2f} ± {self.half_width:.2f}"


def fitted(x: np.ndarray, y: np.ndarray) -> Exponent:
    """Exponent of y ~ x^p by least squares on logarithms; at least three points.

    Example:
        >>> x = np.array([1.0, 2.0, 4.0, 8.0])
        >>> str(fitted(x, 3 * x**2))
        '2.00 ± 0.00'
    """
    fit = stats.linregress(np.log(x), np.log(y))
    return Exponent(float(fit.slope), float(stats.t.ppf(0.975, len(x) - 2) * fit.stderr))


def quadratic_part(k: np.ndarray, seconds: np.ndarray) -> float:
    """Share of c in a + b k + c k^2 at the largest k, all not negative, fitted to least relative errors.

    Example:
        >>> k = np.array([8.0, 16.0, 32.0, 64.0])
        >>> round(quadratic_part(k, 5 + 2 * k), 6), round(quadratic_part(k, 3 * k**2), 6)
        (0.0, 1.0)
    """
    terms = np.stack([np.ones_like(k), k, k**2], axis=1)
    weights, _ = optimize.nnls(terms / seconds[:, None], np.ones_like(k))
    parts = terms[-1] * weights
    return float(parts[2] / parts.sum())


def crystal(repeats: tuple[int, int, int]) -> Atoms:
    """Rocksalt without symmetry: strained, so that no lattice vectors tie, and atoms displaced by some 0.05 A."""
    atoms = make_supercell(bulk("MgO", "rocksalt", a=4.21), np.diag(repeats))
    strain = np.array([[0.01, 0.02, -0.01], [0.0, -0.02, 0.03], [0.0, 0.0, 0.015]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.positions += np.random.default_rng(len(atoms)).normal(scale=0.05, size=(len(atoms), 3))
    return atoms


def cutoff(atoms: Atoms, neighbours: int) -> float:
    """Radius in A within which an atom of rocksalt has that many neighbours at the mean density."""
    density = len(atoms) / atoms.get_volume()
    return float((0.75 / np.pi * (neighbours + 1) / density) ** (1 / 3))


@dataclass
class Measured:
    """What was measured of one network: (points, 3) of size (atoms or edges per atom), time (s) and pairs per atom."""

    atoms: np.ndarray
    neighbours: np.ndarray

    def exponents(self, from_atoms: int) -> tuple[Exponent, Exponent, Exponent | None]:
        """Of time in atoms, of time in edges per atom, and of pairs in edges per atom where there are pairs."""
        large = self.atoms[self.atoms[:, 0] >= from_atoms]
        pairs = self.neighbours[:, 2]
        counted = fitted(self.neighbours[:, 0], pairs) if pairs.all() else None
        return fitted(large[:, 0], large[:, 1]), fitted(self.neighbours[:, 0], self.neighbours[:, 1]), counted


def requests(subject: Subject) -> list[dict[str, Any]]:
    """What is asked for a network: the series in atoms and the series in neighbours."""
    small = crystal(CELL_FOR_NEIGHBOURS)
    by_radius = [cutoff(small, k) if subject.network == "M3GNet" else k for k in NEIGHBOURS]
    series = (
        ([crystal(repeats) for repeats in CELLS], [subject.per_atom] * len(CELLS)),
        ([small] * len(NEIGHBOURS), by_radius),
    )
    return [
        {"network": subject.network, "task": "points", "neighbours": neighbours, "structures": as_json(structures)}
        for structures, neighbours in series
    ]


def measure(answers: Answers) -> dict[str, Measured]:
    """Measure the networks that are installed, or take what is kept."""
    asked = [request for subject in SUBJECTS for request in requests(subject)]
    found = iter(answers.ask(asked))
    measured = {}
    for subject in SUBJECTS:
        points = [
            np.array([[row[axis], row["network"], row["pairs"]] for row in answer])
            for axis, answer in zip(("atoms", "edges"), (next(found), next(found)), strict=True)
            if answer is not None
        ]
        if points:
            measured[subject.network] = Measured(*points)
    return measured


def verdict(found: Measured, from_atoms: int) -> str:
    """Say whether what was measured agrees with what is claimed: linear in n, and in k unless pairs are counted."""
    in_atoms, in_edges, in_pairs = found.exponents(from_atoms)
    linear = in_atoms.slope - in_atoms.half_width <= 1.0 <= in_atoms.slope + in_atoms.half_width
    first = "linear in n" if linear else f"not linear in n ({in_atoms})"
    if in_pairs is None:
        slower = in_edges.slope - in_edges.half_width <= 1.0
        return f"{first}; {'not faster than k' if slower else f'faster than k ({in_edges})'}"
    faster = in_edges.slope - in_edges.half_width > 1.0
    return f"{first}; {'faster than k, as pairs are' if faster else 'pairs grow as k^2, time does not yet'}"


def draw(measured: dict[str, Measured], path: Path) -> None:
    """Time against atoms, and against edges per atom, with lines of exponents 1 and 2; line graphs are dashed."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    panels = (
        ("atoms n", (2, 10, 100, 1000), (60.0, 1000.0), (1,)),
        ("edges per atom k", (8, 16, 32, 64), (12.0, 40.0), (1, 2)),
    )
    with styled():
        figure, axes = new_figure(1, 2, width=PAGE_WIDTH, height=3.6)
        for column, (label, ticks, span, slopes) in enumerate(panels):
            axis = axes[0, column]
            axis.set_xscale("log")
            axis.set_yscale("log")
            lowest = min(1e3 * (found.atoms, found.neighbours)[column][:, 1].min() for found in measured.values())
            for number, (name, found) in enumerate(measured.items()):
                values = (found.atoms, found.neighbours)[column]
                style = "s--" if found.neighbours[:, 2].all() else "o-"
                axis.plot(values[:, 0], 1e3 * values[:, 1], style, color=COLOURS[number % len(COLOURS)], label=name)
            ends = np.array(span)
            for slope in slopes:
                line = 0.3 * lowest * (ends / ends[0]) ** slope
                axis.plot(ends, line, color=GUIDE_COLOUR, linewidth=0.9, zorder=0)
                axis.annotate(f"slope {slope}", (ends[1], line[1]), fontsize=7, ha="left", va="center")
            axis.set_xticks(ticks)
            axis.xaxis.set_major_formatter(ScalarFormatter())
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_xlim(right=4 * span[1])
            axis.set_xlabel(label)
        axes[0, 0].set_ylabel("CPU time of an evaluation (ms)")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=7)
        saved(figure, path)


def main() -> None:
    """Measure, print the exponents, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from-atoms", type=int, default=30)
    parser.add_argument("--results", type=Path, default=Path("runs/cost_exponents.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/cost_exponents.png"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    table = Table(title="CPU time of an evaluation ~ atoms^a at fixed k, ~ k^b at 32 atoms; 95 % intervals")
    for heading in (
        "network",
        "papers",
        f"a, from {given.from_atoms} atoms",
        "b",
        "k^2 part at largest k",
        "pairs ~ k^",
        "k as n grows",
        "n = 1,000, ms",
        "k: 8 -> 64, time x",
    ):
        table.add_column(heading, justify="left" if heading in ("network", "papers") else "right")
    measured = measure(Answers(given.results))
    for subject in SUBJECTS:
        found = measured.get(subject.network)
        if found is None:
            table.add_row(subject.network, f"not installed: {interpreter(subject.network)}")
            continue
        in_atoms, in_edges, in_pairs = found.exponents(given.from_atoms)
        table.add_row(
            subject.network,
            subject.claim,
            str(in_atoms),
            str(in_edges),
            f"{100 * quadratic_part(found.neighbours[:, 0], found.neighbours[:, 1]):.0f} %",
            "" if in_pairs is None else str(in_pairs),
            f"{subject.per_atom:g} {'A' if subject.network == 'M3GNet' else ''}",
            f"{1e3 * found.atoms[-1, 1]:.0f}",
            f"{found.neighbours[-1, 1] / found.neighbours[0, 1]:.1f}",
        )
    console = Console(width=180)
    console.print(table)
    for name, found in measured.items():
        console.print(f"{name}: {verdict(found, given.from_atoms)}")
    console.print(f"one thread of {machine()}")
    draw(measured, given.figure)


if __name__ == "__main__":
    main()
