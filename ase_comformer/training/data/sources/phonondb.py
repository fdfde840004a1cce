"""Kyoto phonon database: electronic dielectric tensors, Born charges and the ionic part from force constants.

A. Togo, I. Tanaka, Scr. Mater. 108, 1 (2015); PBEsol, CC BY 4.0.  An entry is a folder or a tarball (.tar.lzma,
.tar.xz, .tar.gz) with BORN, FORCE_SETS and phonon.yaml, phonopy.yaml or POSCAR-unitcell with phonopy.conf.  Files
and tensors are phonopy's: Z[atom, i, j] with i the direction of the field and j that of the displacement, which
is the convention of this package (see the README of the data package for the evidence).
"""

import logging
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from ase_comformer.physics.dielectric import ionic_dielectric, without_translations
from ase_comformer.physics.vibrations import vibrations
from ase_comformer.training.data.sources.common import (
    Row,
    collect,
    raised_flags,
    space_group_fields,
    structure_fields,
    symmetry_residual,
)

if TYPE_CHECKING:
    from phonopy import Phonopy

logger = logging.getLogger(__name__)

_FILES = ("BORN", "FORCE_SETS", "POSCAR-unitcell", "POSCAR", "phonopy.conf", "phonon.yaml", "phonopy.yaml",
          "phonopy_params.yaml", "phonopy_disp.yaml")  # fmt: skip
_YAML = ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml", "phonon.yaml")
# Below this frequency (THz) an optical zone-centre mode is soft and its ionic polarisability meaningless.
_SOFT = 0.2
# Lanthanides and actinides: a non-spin-polarised calculation with frozen or problematic f electrons.
_F_ELEMENTS = frozenset(range(57, 72)) | frozenset(range(89, 104))


@contextmanager
def _entry_folder(path: Path) -> Iterator[Path]:
    """Folder that holds the files of an entry; a tarball is unpacked into a temporary one, known files only."""
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise FileNotFoundError(f"phonon database entry {str(path)!r} does not exist: check the path")
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(path) as archive:
                for member in archive.getmembers():
                    name = Path(member.name).name
                    content = archive.extractfile(member) if member.isfile() and name in _FILES else None
                    if content is not None:
                        (Path(folder) / name).write_bytes(content.read())
        except tarfile.TarError as error:
            raise ValueError(f"{path.name} is no readable tar archive ({error}): download it again") from error
        yield Path(folder)


def _settings(path: Path) -> dict[str, str]:
    """Tags of a phonopy.conf, upper case."""
    lines = (line.split("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name.strip().upper(): value.strip() for name, value in pairs}


def _matrix(text: str) -> np.ndarray:
    """3x3 matrix of a phonopy.conf tag: 3 or 9 numbers, fractions such as 1/2 allowed."""
    numbers = [float(a) / float(b or 1) for a, _, b in (word.partition("/") for word in text.split())]
    if len(numbers) not in (3, 9):
        raise ValueError(f"phonopy.conf: expected 3 or 9 numbers, got {text!r}")
    return np.diag(numbers) if len(numbers) == 3 else np.reshape(numbers, (3, 3))


def _load(folder: Path) -> "Phonopy":
    try:
        import phonopy
    except ImportError as error:
        raise ImportError("phonon database entries are read with phonopy: pip install phonopy") from error

    common: dict[str, Any] = {"is_nac": False, "produce_fc": False, "log_level": 0}
    forces = folder / "FORCE_SETS"
    if forces.is_file():
        common["force_sets_filename"] = forces
    for name in _YAML:
        if (folder / name).is_file():
            return phonopy.load(folder / name, **common)
    structure = next((folder / name for name in ("POSCAR-unitcell", "POSCAR") if (folder / name).is_file()), None)
    settings_file = folder / "phonopy.conf"
    if structure is None or not settings_file.is_file():
        raise ValueError(
            f"{folder.name} has neither one of {', '.join(_YAML)} nor POSCAR-unitcell with phonopy.conf: found "
            f"{sorted(item.name for item in folder.iterdir())}"
        )
    settings = _settings(settings_file)
    if "DIM" not in settings:
        raise ValueError(f"{settings_file} has no DIM tag: the supercell of the forces is unknown")
    axes = settings.get("PRIMITIVE_AXES", settings.get("PRIMITIVE_AXIS", "1 1 1"))
    primitive: Any = "auto" if axes.upper() == "AUTO" else _matrix(axes)
    return phonopy.load(
        unitcell_filename=structure,
        supercell_matrix=np.rint(_matrix(settings["DIM"])).astype(int),
        primitive_matrix=primitive,
        **common,
    )


def _zone_centre(phonon: "Phonopy") -> np.ndarray:
    """Force constants (n, 3, n, 3), eV/A^2, between the sublattices of the primitive cell."""
    phonon.produce_force_constants(calculate_full_force_constants=True, show_drift=False)
    phonon.symmetrize_force_constants(show_drift=False)
    primitive, constants = phonon.primitive, np.asarray(phonon.force_constants)
    count = len(primitive)
    index = {int(atom): position for position, atom in enumerate(primitive.p2s_map)}
    columns = np.array([index[int(atom)] for atom in primitive.s2p_map])
    folded = np.zeros((count, count, 3, 3))
    for column in range(count):
        folded[:, column] = constants[primitive.p2s_map][:, columns == column].sum(axis=1)
    return folded.transpose(0, 2, 1, 3)


def phonondb_row(path: str | Path, *, symprec: float = 1e-3) -> Row:
    """Row of the data set 'dielectric_born' from one entry of the phonon database.

    Labels, in the frame of ``lattice`` (phonopy's primitive cell): ``eps_inf`` (3x3), ``born`` (n,3,3; e, expanded
    from the symmetry-independent atoms of BORN), ``eps_ion`` (3x3, or None without FORCE_SETS or with a zone centre
    that is soft, below 0.2 THz), ``gamma_freq_thz`` (3n, no LO-TO splitting, or None), ``born_asr`` (e).
    Flags: 'eps_inf_suspect' (trace/3 > 20 or an eigenvalue < 1), 'eps_inf_symmetry' (residual > 1e-3),
    'gamma_soft_or_unstable', 'eps_ion_large' (> 200), 'f_element'.

    Args:
        path: folder or tarball of one entry, named after its id ('mp-1000-20180417' or 'materials-id-1000-...').
        symprec: A, tolerance of the space group.

    Raises:
        FileNotFoundError: if the entry does not exist.
        ValueError: if a file is missing or unreadable.
        ImportError: without phonopy.
    """
    path = Path(path)
    with _entry_folder(path) as folder:
        phonon = _load(folder)
        if not (folder / "BORN").is_file():
            raise ValueError(f"{path.name} has no BORN file: the database has none for metals; leave it out")
        from phonopy.file_IO import parse_BORN

        try:
            charges = parse_BORN(phonon.primitive, filename=folder / "BORN")
        except Exception as error:  # phonopy's own exception class moved between versions
            raise ValueError(f"{path.name}: BORN cannot be read: {error}") from error
    primitive = phonon.primitive
    atoms = Atoms(primitive.symbols, cell=primitive.cell, scaled_positions=primitive.scaled_positions, pbc=True)
    electronic = np.asarray(charges["dielectric"], dtype=np.float64)
    electronic = (electronic + electronic.T) / 2
    born = np.asarray(charges["born"], dtype=np.float64)
    eigenvalues = np.linalg.eigvalsh(electronic)
    group, fields = space_group_fields(atoms, symprec)
    flags = {
        "eps_inf_suspect": eigenvalues.mean() > 20 or eigenvalues[0] < 1,
        "eps_inf_symmetry": symmetry_residual(electronic, group.rotations, "dielectric_tensor") > 1e-3,
        "f_element": bool(_F_ELEMENTS & set(atoms.numbers.tolist())),
    }
    ionic = frequencies = None
    if phonon.dataset is not None and "first_atoms" in phonon.dataset:
        volume = float(atoms.get_volume())
        constants = _zone_centre(phonon)
        ionic = ionic_dielectric(born, constants, volume)
        frequencies = vibrations(without_translations(constants), np.asarray(primitive.masses)).frequencies
        # Three modes are translations, at zero up to round-off; the next lowest decides.
        optical = np.delete(frequencies, np.argsort(np.abs(frequencies))[:3])
        if optical.size and optical.min() < _SOFT:
            flags["gamma_soft_or_unstable"], ionic = True, None
        else:
            flags["eps_ion_large"] = np.linalg.eigvalsh(ionic)[-1] > 200
    return {
        "dataset": "dielectric_born",
        "id": _identifier(path),
        **structure_fields(atoms),
        **fields,
        "eps_inf": np.round(electronic, 6).tolist(),
        "eps_ion": None if ionic is None else np.round(ionic, 6).tolist(),
        "born": np.round(born, 6).tolist(),
        "born_asr": round(float(np.abs(born.sum(axis=0)).max()), 8),
        "gamma_freq_thz": None if frequencies is None else np.round(frequencies, 4).tolist(),
        **dict.fromkeys(("e_form", "gap", "K_vrh", "G_vrh", "n_mp", "phdos_peak_cm1")),
        "flags": raised_flags(flags),
    }


def _identifier(path: Path) -> str:
    """Materials Project id in the name of a folder or tarball of the database, else the name itself."""
    words = path.name.split("-")
    for prefix in (("materials", "id"), ("mp",)):
        number = words[len(prefix)] if len(words) > len(prefix) else ""
        if tuple(words[: len(prefix)]) == prefix and number.split(".")[0].isdigit():
            return f"mp-{number.split('.')[0]}"
    return path.name.split(".")[0]


def phonondb_rows(paths: Iterable[str | Path], *, symprec: float = 1e-3, keep_withheld: bool = False) -> list[Row]:
    """Rows of many entries of the phonon database (see ``phonondb_row``); unreadable entries are logged and skipped.

    Args:
        paths: folders or tarballs, for example ``Path("phonon_db_tarred").glob("*.lzma")``.
        symprec: A, tolerance of the space group.
        keep_withheld: also return the formulas that the split rule withholds.
    """
    return collect(
        paths, lambda path: phonondb_row(path, symprec=symprec), "phonon database", keep_withheld=keep_withheld
    )
