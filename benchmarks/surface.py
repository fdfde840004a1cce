"""Holds what the benchmarks of the energy surface share: options, crystals, relaxation, verdicts."""

import argparse
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE
from rich.console import Console

OPTIMISERS = {"BFGS": BFGS, "FIRE": FIRE}
T = TypeVar("T")


def parser(description: str | None, crystals: int | None = None, dtype: str = "float32") -> argparse.ArgumentParser:
    """Options ``--model``, ``--dtype`` and, with a default number of crystals, ``--crystals``, ``--split``, ``--data``.

    0 crystals means all.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", default="default", help="name or path of a model with energy, forces and stress")
    made.add_argument("--dtype", default=dtype, choices=("float32", "float64"))
    if crystals is not None:
        made.add_argument("--crystals", type=int, default=crystals, help="spread over the file; 0: all")
        made.add_argument("--split", default="test", choices=("test", "val"))
        made.add_argument("--data", type=Path, help="folder of the data package (default: ASE_COMFORMER_DATA)")
    return made


def spread(items: Sequence[T], count: int) -> list[T]:
    """``count`` items at even distances (files are sorted, neighbours in them alike); all if 0 or too few."""
    if count <= 0 or count >= len(items):
        return list(items)
    return [items[k * len(items) // count] for k in range(count)]


@dataclass(frozen=True)
class Relaxation:
    """Says how a relaxation ended: whether below ``fmax``, after how many steps, and by which error, if any."""

    converged: bool
    steps: int
    error: str = ""


def relax(
    atoms: Atoms,
    *,
    fmax: float,
    steps: int,
    optimiser: str = "BFGS",
    cell: bool = False,
    symprec: float | None = None,
) -> Relaxation:
    """Relax in place, keeping the space group found at ``symprec`` where one is given. Errors are reported, not raised.

    A structure that leaves the domain of the potential (overlapping atoms, a cell without volume) ends with an error.
    """
    run = None
    try:
        if symprec is not None:
            atoms.set_constraint(FixSymmetry(atoms, symprec=symprec, adjust_cell=cell))
        run = OPTIMISERS[optimiser](FrechetCellFilter(atoms) if cell else atoms, logfile=None)
        converged = bool(run.run(fmax=fmax, steps=steps))
        return Relaxation(converged, run.nsteps)
    except Exception as error:  # whatever a bad structure causes counts as a failure of the potential
        return Relaxation(False, run.nsteps if run else 0, f"{type(error).__name__}: {str(error).splitlines()[0]}")
    finally:
        atoms.set_constraint()


def verdict(what: str, value: float, limit: float, unit: str = "", at_least: bool = False) -> str:
    """A line that sets a figure beside its floor of issue 4."""
    reached = np.isfinite(value) and (value >= limit if at_least else value <= limit)
    bound = "at least" if at_least else "at most"
    shown = f"{value:.3g}{unit and ' ' + unit}"
    colour = "green" if reached else "red"
    return f"{what}: {shown}; {bound} {limit:g}: [{colour}]{'reached' if reached else 'MISSED'}[/]"


class Clock:
    """Wall and CPU seconds since it was made, finished worker processes included."""

    def __init__(self) -> None:
        self.wall, self.cpu, self.load = time.perf_counter(), sum(os.times()[:4]), os.getloadavg()[0]

    def __str__(self) -> str:
        cpu, wall = sum(os.times()[:4]) - self.cpu, time.perf_counter() - self.wall
        busy = f" (load {self.load:.1f} at the start)" if self.load > 0.5 else ""
        return f"{cpu:.0f} s of CPU, {wall:.0f} s of wall time{busy}"


def prepare_console(width: int = 120) -> Console:
    """A console, with warnings of single structures silenced: the tables count what went wrong."""
    warnings.filterwarnings("ignore", category=UserWarning)
    return Console(width=width, highlight=False)


def one_thread() -> None:
    """Small crystals gain nothing from more threads."""
    import torch

    torch.set_num_threads(1)


def mean(values: Sequence[float] | np.ndarray) -> float:
    """NaN of nothing, without a warning."""
    return float(np.mean(values)) if len(values) else float("nan")


def cell_of(value: float, form: str = ".3g") -> str:
    """A number of a table; empty if NaN."""
    return "" if np.isnan(value) else format(value, form)
