"""What is read from an output file, and helpers to find blocks of numbers in text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.errors import UnreadableFileError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class FirstPrinciplesTensors:
    """Tensors that a calculation found, named, ordered and in the units of this package's properties.

    Attributes:
        program: "VASP", "Quantum ESPRESSO" or "ABINIT".
        atoms: the crystal, None where the file does not hold it.
        tensors: property name -> documented form, in the Cartesian frame of ``atoms``.
    """

    program: str
    atoms: Atoms | None
    tensors: dict[str, FloatArray]


_NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[EeDd][-+]?\d+)?")


def numbers_of(line: str) -> list[float]:
    """All numbers of a line, Fortran's exponents (1.0D-03) too.

    Example:
        >>> numbers_of(" XX   1.5  -2.0D+01 ( 3 )")
        [1.5, -20.0, 3.0]
    """
    return [float(text.replace("D", "E").replace("d", "e")) for text in _NUMBER.findall(line)]


def rows_after(lines: Sequence[str], start: int, count: int, width: int, what: str) -> FloatArray:
    """The next ``count`` lines after ``start`` that end in at least ``width`` numbers, their last ``width`` ones.

    Raises:
        UnreadableFileError: another kind of line comes between, or the file ends.
    """
    rows: list[list[float]] = []
    for line in lines[start + 1 :]:
        found = numbers_of(line)
        if len(found) >= width:
            rows.append(found[-width:])
            if len(rows) == count:
                return np.array(rows)
        elif rows and line.strip():
            break
    raise UnreadableFileError(
        f"The block {what!r} has {len(rows)} of {count} rows with {width} numbers. The file may be cut off, or of a "
        "version whose format is not known."
    )


def last_line_with(lines: Sequence[str], text: str) -> int | None:
    """Number of the last line that contains a text, None where none does."""
    found = [number for number, line in enumerate(lines) if text in line]
    return found[-1] if found else None
