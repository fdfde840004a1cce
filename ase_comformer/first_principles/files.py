"""Which program wrote a file, and how to read it."""

from __future__ import annotations

from pathlib import Path

from ase_comformer.errors import UnreadableFileError
from ase_comformer.first_principles import abinit, quantum_espresso, vasp
from ase_comformer.first_principles.parsed import FirstPrinciplesTensors

#: Characters at the beginning of a file among which its program is looked for.
_HEAD = 20_000
#: Text in that part -> reader, the first that fits.
_READERS = (
    ("<modeling>", vasp.read_vasprun),
    ("Program PHONON", quantum_espresso.read_phonon_output),
    ("ANADDB", abinit.read_anaddb),
    ("of ABINIT", abinit.read_main_output),
    (" vasp.", vasp.read_outcar),
)


#: The same text -> ASE's name of the format, where it reads steps of dynamics and relaxations.
_ASE_FORMATS = {"<modeling>": "vasp-xml", " vasp.": "vasp-out"}


def format_of(path: str | Path) -> str | None:
    """ASE's name of the format of a VASP file, whatever the file is called; None for others.

    Example:
        >>> format_of("/etc/hostname") is None
        True
    """
    head = _head(Path(path))
    return next((name for text, name in _ASE_FORMATS.items() if text in head), None)


def _head(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_HEAD)


def read_tensors(path: str | Path) -> FirstPrinciplesTensors:
    """Read structure and tensors of a first-principles calculation; the content of the file says which program it is.

    Args:
        path: ``vasprun.xml`` or ``OUTCAR`` of VASP, the output of ``ph.x`` of Quantum ESPRESSO, the main output of
            ABINIT or the output of its ``anaddb``.

    Returns:
        Tensors under the names of properties, in their units, Voigt order and index order.

    Raises:
        UnreadableFileError: no program is recognised, the file is incomplete, or it has no tensors.

    Example:
        >>> read_tensors("vasprun.xml").tensors["born_effective_charges"]  # doctest: +SKIP
    """
    path = Path(path)
    head = _head(path)
    for text, reader in _READERS:
        if text in head:
            found = reader(path)
            break
    else:
        raise UnreadableFileError(
            f"{path} is no output that is known: vasprun.xml, OUTCAR, ph.x of Quantum ESPRESSO, ABINIT's main output "
            "or anaddb's. Files of structures go to 'ase-comformer predict'."
        )
    if not found.tensors:
        raise UnreadableFileError(
            f"{path} of {found.program} has neither dielectric, piezoelectric nor elastic tensors nor Born charges. "
            "Ask for them: LEPSILON or IBRION = 6 in VASP, epsil in ph.x, rfelfd in ABINIT, dieflag, piezoflag and "
            "elaflag in anaddb."
        )
    return found
