"""Tensors of VASP: ``vasprun.xml`` and ``OUTCAR``.

Components with six places come as XX YY ZZ XY YZ ZX, elastic moduli in kBar. Born charges have the field in rows and
the displacement in columns, as phonopy takes them. The piezoelectric tensor is split into the part of fixed ions and
that of their relaxation, and the elastic moduli printed as TOTAL are those of relaxed ions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from ase import Atoms

from ase_comformer.crystals.structures import bare
from ase_comformer.errors import UnreadableFileError
from ase_comformer.first_principles.parsed import (
    FirstPrinciplesTensors,
    FloatArray,
    last_line_with,
    numbers_of,
    rows_after,
)
from ase_comformer.tensors.forms import reorder_voigt

_KILOBAR = 0.1  # GPa
_DIELECTRIC = "MACROSCOPIC STATIC DIELECTRIC TENSOR (including local field effects"
_IONIC_DIELECTRIC = "MACROSCOPIC STATIC DIELECTRIC TENSOR IONIC CONTRIBUTION"
_IONIC_PIEZO = "PIEZOELECTRIC TENSOR IONIC CONTR"


def read_vasprun(path: Path) -> FirstPrinciplesTensors:
    """Read the last dielectric tensors and Born charges of a ``vasprun.xml``; it has no elastic or piezoelectric ones.

    Raises:
        UnreadableFileError: the file is no complete XML.
    """
    dielectric: dict[str, FloatArray] = {}
    charges: list[FloatArray] = []
    mode = -1
    try:
        for _, element in ElementTree.iterparse(path):
            name = element.get("name", "")
            if element.tag == "varray" and name in ("epsilon", "epsilon_scf", "epsilon_ion"):
                dielectric[name] = _matrix(element)
            elif element.tag == "array" and name == "born_charges":
                charges = [_matrix(atom) for atom in element.findall("set")]
            elif element.tag == "i" and name == "IBRION":
                mode = int(element.text or -1)
    except ElementTree.ParseError as error:
        raise UnreadableFileError(f"{path} is no complete vasprun.xml ({error}); did the calculation end?") from error
    electronic = dielectric.get("epsilon_scf", dielectric.get("epsilon"))
    tensors: dict[str, FloatArray] = {}
    if electronic is not None:
        tensors["dielectric_tensor"] = electronic
        if "epsilon_ion" in dielectric:
            tensors["static_dielectric_tensor"] = electronic + dielectric["epsilon_ion"]
    if charges:
        tensors["born_effective_charges"] = np.array(charges)
    return FirstPrinciplesTensors("VASP", _structure(path, "vasp-xml", mode), tensors)


def read_outcar(path: Path) -> FirstPrinciplesTensors:
    """Read the tensors of an ``OUTCAR``: LEPSILON, LCALCEPS (dielectric, Born, piezo) and IBRION 5 to 8 (elastic).

    Raises:
        UnreadableFileError: a block is cut off.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    tensors: dict[str, FloatArray] = {}
    electronic, ionic = (_block(lines, text, 3, 3) for text in (_DIELECTRIC, _IONIC_DIELECTRIC))
    if electronic is not None:
        tensors["dielectric_tensor"] = electronic
        if ionic is not None:
            tensors["static_dielectric_tensor"] = electronic + ionic
    charges = _born_charges(lines)
    if charges is not None:
        tensors["born_effective_charges"] = charges
    clamped, relaxed = _piezoelectric(lines)
    if clamped is not None:
        tensors["clamped_piezoelectric_tensor"] = clamped
    if relaxed is not None:
        tensors["piezoelectric_tensor"] = relaxed
    elastic = _block(lines, "TOTAL ELASTIC MODULI (kBar)", 6, 6)
    if elastic is not None:
        tensors["elastic_tensor"] = _standard(elastic * _KILOBAR, "elastic_tensor")
    modes = [line for line in lines if line.strip().startswith("IBRION =")]
    mode = int(numbers_of(modes[0])[0]) if modes else -1
    return FirstPrinciplesTensors("VASP", _structure(path, "vasp-out", mode) if tensors else None, tensors)


def _structure(path: Path, form: str, mode: int) -> Atoms:
    """The structure that tensors belong to: with IBRION 5 to 8 the first, which later ones displace, else the last."""
    from ase.io import read

    try:
        atoms = read(path, format=form, index=0 if mode in (5, 6, 7, 8) else -1)
    except Exception as error:  # readers fail in as many ways as files can be wrong
        raise UnreadableFileError(
            f"ASE finds no structure in {path} ({type(error).__name__}: {error}); did the calculation end?"
        ) from error
    assert isinstance(atoms, Atoms)
    return bare(atoms)


def _matrix(element: ElementTree.Element) -> FloatArray:
    return np.array([[float(text) for text in (row.text or "").split()] for row in element.findall("v")])


def _standard(tensor: FloatArray, name: str) -> FloatArray:
    """Bring XX YY ZZ XY YZ ZX into the order of this package."""
    return np.asarray(reorder_voigt(tensor, name, source="vasp", target="standard"))


def _block(lines: Sequence[str], title: str, count: int, width: int) -> FloatArray | None:
    start = last_line_with(lines, title)
    return None if start is None else rows_after(lines, start, count, width, title)


def _piezoelectric(lines: Sequence[str]) -> tuple[FloatArray | None, FloatArray | None]:
    """Clamped-ion and, where the ionic part was found too, relaxed-ion tensor (3, 6) C/m^2."""
    titles = [line for line in lines if "PIEZOELECTRIC TENSOR" in line and "(C/m^2)" in line and "IONIC" not in line]
    electronic = _block(lines, titles[-1], 3, 6) if titles else None
    ionic = _block(lines, _IONIC_PIEZO, 3, 6)
    if electronic is None:
        return None, None
    clamped = _standard(electronic, "piezoelectric_tensor")
    return clamped, None if ionic is None else clamped + _standard(ionic, "piezoelectric_tensor")


def _born_charges(lines: Sequence[str]) -> FloatArray | None:
    """(n, 3, 3) e, [atom, field, displacement]."""
    start = last_line_with(lines, "BORN EFFECTIVE CHARGES (")
    if start is None:
        return None
    charges: list[FloatArray] = []
    for number in range(start + 1, len(lines)):
        words = lines[number].split()
        if len(words) == 2 and words[0] == "ion":
            charges.append(rows_after(lines, number, 3, 3, f"Born charges of ion {words[1]}"))
        elif charges and words and not words[0].isdigit():
            break
    return np.array(charges)
