"""Loads frames: one loader for each source.

``labelled`` (a universal potential), ``substituted`` (the same potential, hypothetical crystals of
``training/substitution.py``), ``strained`` (the same potential, crystals strained a little one way and the opposite
way), ``varied`` (the same potential: slabs, defects, clusters, molecules, crystals hot or pulled apart), ``weak`` (the
same potential: elements, surfaces, adsorbates, covalent, layered, pressed, hot crystals and atoms on their way),
``dimers`` (PBE, two atoms of one element), ``apart`` (two large atoms far from each other), ``polymorphs`` (PBE,
energies of elements), ``elastic`` (pairs of strains again, with the stresses of published elastic constants), ``dft``
(MPtrj, Alexandria: PBE), ``harmonic`` (forces of small displacements, PBEsol), ``response`` (those again, scaled to one
small size, each followed by the opposite displacement, on the surface of the labelled frames) and ``rest`` (the
crystals of the latter undisplaced: no forces). Index letters: F frames, A atoms of all frames.
"""

import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import ase
import ase.io
import numpy as np
from numpy.typing import NDArray

from ase_comformer.errors import UnknownNameError
from ase_comformer.nn.architectures.potential import FIDELITIES
from ase_comformer.training.data.frame_pack import packed_frames
from ase_comformer.training.data.frames import Frames, join
from ase_comformer.training.data.isolated import BOX, dimer_rows, distant_pairs, nearest_neighbours
from ase_comformer.training.data.polarisation import with_polarisation
from ase_comformer.training.data.records import data_folder

#: Flags of DFT frames that make them unfit (data/README.md).
UNFIT_FRAMES = frozenset({"force_large", "stress_large", "energy_outlier", "short_distance", "low_density"})


#: Variant of ``varied`` frames of atoms out of each other's reach.
ISOLATED = "isolated"
_NOBLE_GASES = (2, 10, 18, 36, 54, 86)
#: Variants of ``varied`` frames whose atoms may be far from all others.
_APART = frozenset({"dimer", "cluster", "expanded", "gas"})

#: A, root mean square component of the displacements of ``response`` frames.
_RESPONSE_SIZE = 0.02

#: Frames that were made for this project, in the repository (not in wheels).
TRAINING_DATA = Path(__file__).parents[3] / "training_data"


def load_frames(
    source: str, splits: Sequence[str], folder: str | Path | None = None, max_atoms: int | None = None
) -> Frames:
    """Frames of one source.

    Args:
        source: key of ``SOURCES``, or NAME of a file NAME_frames.npz of one's own in the folder.
        splits: of "train", "val", "test".
        folder: of the data package, or of an unpacked pack (``frame_pack``); the environment variable where None.
        max_atoms: larger frames are left out.
    """
    place, chosen = data_folder(folder), tuple(splits)
    own = place / f"{source}_frames.npz"
    if source not in SOURCES and not own.is_file():
        choices = ", ".join(SOURCES)
        raise UnknownNameError(
            f"unknown source of frames {source!r}: choose from {choices}, or put {own.name} into {place}"
        )
    frames = packed_frames(place, source, chosen)
    if frames is None:
        frames = SOURCES.get(source, _made_here(source))(place, chosen)
    return frames if max_atoms is None else frames.take(np.flatnonzero(frames.count <= max_atoms))


def _labelled(folder: Path, splits: tuple[str, ...]) -> Frames:
    return _of_layout(folder / "labelled_frames.npz", splits)


def _unknown(frames: int) -> NDArray[np.float32]:
    return np.full((frames, 3), np.nan, dtype=np.float32)


def _made_here(name: str) -> Callable[[Path, tuple[str, ...]], Frames]:
    """Loader of ``NAME_frames.npz``, from the data package or else from the repository."""
    return lambda folder, splits: _of_layout(file_of(name, folder), splits)


def _varied(folder: Path, splits: tuple[str, ...]) -> Frames:
    """Without dimers of one element, which ``dimers`` has from DFT, and atoms almost on their own.

    The universal potential was not made for isolated atoms: its own ones are wrong by up to 1 eV, and it goes over to
    them where neighbours are further than about 1.6 times a bond (noble gases: 2 times the covalent radii).
    """
    frames = _made_here("varied")(folder, splits)
    kept = np.zeros(len(frames), dtype=bool)
    for index, (start, count, cell) in enumerate(zip(frames.start, frames.count, frames.cell, strict=True)):
        numbers = frames.numbers[start : start + count]
        if frames.kind[index] == ISOLATED or (frames.kind[index] == "dimer" and numbers[0] == numbers[1]):
            continue
        if frames.kind[index] not in _APART:
            kept[index] = True
            continue
        near = nearest_neighbours(numbers, frames.positions[start : start + count], cell)
        kept[index] = (near < np.where(np.isin(numbers, _NOBLE_GASES), 2.0, 1.6)).all()
    return frames.take(np.flatnonzero(kept))


def _dimers(folder: Path, splits: tuple[str, ...]) -> Frames:
    """Two atoms of one element (PBE, spin-polarised), energies above those of the isolated atoms."""
    rows = dimer_rows(folder, splits)
    number, distance, energy, force = (np.array(values) for values in zip(*rows, strict=True))
    return _two_atoms(np.stack([number, number], axis=1), distance, energy, force)


def _apart(_: Path, splits: tuple[str, ...]) -> Frames:
    """Two large atoms further apart than 6 A: what they gain from each other, at most 0.2 eV, is taken for nothing.

    Isolated atoms are known of every element, of whatever split.
    """
    numbers, distance = distant_pairs()
    kept = slice(None) if "train" in splits else slice(0)
    unknown = np.full(len(distance), np.nan)[kept]
    return _two_atoms(numbers[kept], distance[kept], np.zeros(len(unknown)), unknown)


def _two_atoms(
    number: NDArray[np.int64], distance: NDArray[np.float64], energy: NDArray[np.float64], force: NDArray[np.float64]
) -> Frames:
    """Pairs (F, 2) of elements alone in boxes, at distances (F,) A, with energies (F,) eV and forces (F,) eV/A."""
    along = np.array([[0.0], [1.0]])
    x_axis = np.array([1.0, 0.0, 0.0])
    return Frames(
        numbers=number.flatten().astype(np.int64),
        positions=(distance[:, None, None] * along * x_axis).reshape(-1, 3),
        forces=(force[:, None, None] * (2 * along - 1) * x_axis).reshape(-1, 3).astype(np.float32),
        cell=np.tile(BOX * np.eye(3), (len(number), 1, 1)),
        count=np.full(len(number), 2),
        energy=energy,
        stress=np.full((len(number), 3, 3), np.nan, dtype=np.float32),
        fidelity=np.full(len(number), FIDELITIES.index("PBE labelled")),
        kind=np.full(len(number), "dimer_pbe"),
        group=np.array([f"dimer-{first}-{second}" for first, second in number], dtype=str),
        displacement=np.zeros((2 * len(number), 3), dtype=np.float32),
        polarisation=_unknown(len(number)),
    )


def file_of(name: str, folder: Path) -> Path:
    """``NAME_frames.npz`` of the data package, or else of the repository, where it may be missing."""
    path = folder / f"{name}_frames.npz"
    return path if path.exists() else TRAINING_DATA / path.name


def _of_layout(path: Path, splits: tuple[str, ...]) -> Frames:
    """A file in the layout of ``labelled_frames.npz``, on the surface of its frames."""
    data = dict(np.load(path))
    xx, yy, zz, yz, xz, xy = data["stress"].T
    frames = Frames(
        numbers=data["numbers"].astype(np.int64),
        positions=data["positions"].astype(np.float64),
        forces=data["forces"],
        cell=data["cell"].astype(np.float64),
        count=np.diff(data["ptr"]),
        energy=data["energy"],
        stress=np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1).reshape(-1, 3, 3),
        fidelity=np.full(len(data["energy"]), FIDELITIES.index("PBE labelled")),
        kind=data["variant"],
        group=data["base_id"],
        displacement=np.zeros_like(data["forces"]),
        polarisation=_unknown(len(data["energy"])),
    )
    return frames.take(np.flatnonzero(np.isin(data["split"], splits)))


def _polymorphs(folder: Path, splits: tuple[str, ...]) -> Frames:
    """Elements in several structures, relaxed (Materials Project, PBE): energies alone, on the scale of the labels."""
    everything = _read_extxyz(folder / "element_polymorphs_mp_pbe.extxyz.gz")
    chosen = [atoms for atoms in everything if atoms.info["split"] in splits]
    atoms = sum(len(atoms) for atoms in chosen)
    return Frames(
        numbers=np.concatenate([atoms.numbers for atoms in chosen]).astype(np.int64),
        positions=np.concatenate([atoms.positions for atoms in chosen]),
        forces=np.full((atoms, 3), np.nan, dtype=np.float32),
        cell=np.array([atoms.cell.array for atoms in chosen]),
        count=np.array([len(atoms) for atoms in chosen]),
        energy=np.array([atoms.get_potential_energy() for atoms in chosen]),
        stress=np.full((len(chosen), 3, 3), np.nan, dtype=np.float32),
        fidelity=np.full(len(chosen), FIDELITIES.index("PBE labelled")),
        kind=np.full(len(chosen), "polymorph"),
        group=np.array([atoms.info["material_id"] for atoms in chosen], dtype=str),
        displacement=np.zeros((atoms, 3), dtype=np.float32),
        polarisation=_unknown(len(chosen)),
    )


def _read_extxyz(path: Path) -> list[ase.Atoms]:
    # through memory: ASE seeks back and forth, which makes reading a compressed file quadratic
    return list(ase.io.read(io.StringIO(gzip.decompress(path.read_bytes()).decode()), ":", format="extxyz"))


def _dft(folder: Path, splits: tuple[str, ...]) -> Frames:
    chosen = [
        atoms
        for atoms in _read_extxyz(folder / "energy_frames.extxyz.gz")
        if atoms.info["split"] in splits and not UNFIT_FRAMES & set(str(atoms.info["flags"]).split(","))
    ]
    return Frames(
        numbers=np.concatenate([atoms.numbers for atoms in chosen]).astype(np.int64),
        positions=np.concatenate([atoms.positions for atoms in chosen]),
        forces=np.concatenate([atoms.get_forces() for atoms in chosen]).astype(np.float32),
        cell=np.array([atoms.cell.array for atoms in chosen]),
        count=np.array([len(atoms) for atoms in chosen]),
        energy=np.array([atoms.get_potential_energy() for atoms in chosen]),
        stress=np.array([atoms.get_stress(voigt=False) for atoms in chosen], dtype=np.float32),
        fidelity=np.full(len(chosen), FIDELITIES.index("PBE")),
        kind=np.array([atoms.info["source_file"] for atoms in chosen], dtype=str),
        group=np.array([atoms.info["id"] for atoms in chosen], dtype=str),
        displacement=np.zeros((sum(len(atoms) for atoms in chosen), 3), dtype=np.float32),
        polarisation=_unknown(len(chosen)),
    )


def _harmonic(folder: Path, splits: tuple[str, ...]) -> Frames:
    data = dict(np.load(folder / "harmonic_frames.npz"))
    count = np.diff(data["ptr"])
    lattice = np.repeat(data["cell"], count, axis=0)
    frames = Frames(
        numbers=data["numbers"].astype(np.int64),
        positions=np.einsum("ax,axy->ay", data["frac"].astype(np.float64), lattice) + data["disp"],
        forces=data["forces"],
        cell=data["cell"],
        count=count,
        # relative to the undisplaced cell, not on a scale that a potential could fit
        energy=np.full(len(count), np.nan),
        stress=np.full((len(count), 3, 3), np.nan, dtype=np.float32),
        fidelity=np.full(len(count), FIDELITIES.index("PBEsol")),
        kind=np.full(len(count), "harmonic"),
        group=data["ids"][data["material"]],
        displacement=data["disp"],
        polarisation=_unknown(len(count)),
    )
    unstable = np.char.find(data["flags"], "residual_forces") >= 0
    kept = np.isin(data["split"], splits) & ~unstable
    return frames.take(np.flatnonzero(kept[data["material"]]))


def _response(folder: Path, splits: tuple[str, ...]) -> Frames:
    """Opposite displacements of one small size, two by two.

    Harmonic labels hold at any size, a potential is harmonic at small ones; in the difference of opposite ones its even
    orders cancel, and their mean is the force on the crystal at rest.
    """
    frames = _harmonic(folder, splits)
    owner = np.repeat(np.arange(len(frames)), frames.count)
    square = np.square(frames.displacement).mean(axis=1)
    size = np.sqrt(np.bincount(owner, square, len(frames)) / frames.count)
    both = [_displaced(frames, sign * _RESPONSE_SIZE / size[owner]) for sign in (1, -1)]
    order = np.arange(2 * len(frames)).reshape(2, -1).T.flatten()
    found = join(both).take(order)
    with_polarisation(found, folder, splits)
    fidelities = np.full(len(found), FIDELITIES.index("PBE labelled"))
    return replace(found, fidelity=fidelities, kind=np.full(len(found), "response"))


def _displaced(frames: Frames, scale: NDArray[np.float64]) -> Frames:
    """Harmonic frames with their displacements and forces scaled, (A,) per atom."""
    factor = scale[:, None]
    displacement = (factor * frames.displacement).astype(np.float32)
    forces = (factor * frames.forces).astype(np.float32)
    positions = frames.at_rest().positions + displacement
    return replace(frames, positions=positions, forces=forces, displacement=displacement)


def _rest(folder: Path, splits: tuple[str, ...]) -> Frames:
    """The smallest undisplaced cell of every crystal of the harmonic frames, where forces are zero."""
    frames = _harmonic(folder, splits)
    order = np.lexsort((frames.count, frames.group))
    first = np.unique(frames.group[order], return_index=True)[1]
    rest = frames.take(np.sort(order[first])).at_rest()
    zeros = np.zeros_like(rest.forces)
    return replace(rest, forces=zeros, displacement=zeros, kind=np.full(len(rest), "rest"))


SOURCES: dict[str, Callable[[Path, tuple[str, ...]], Frames]] = {
    "labelled": _labelled,
    "substituted": _made_here("substituted"),
    "strained": _made_here("strained"),
    "varied": _varied,
    "weak": _made_here("weak"),
    "dimers": _dimers,
    "apart": _apart,
    "polymorphs": _polymorphs,
    "elastic": _made_here("elastic"),
    "dft": _dft,
    "harmonic": _harmonic,
    "response": _response,
    "rest": _rest,
}
