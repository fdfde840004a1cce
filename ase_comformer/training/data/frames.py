"""Frames with energies, forces and stresses: all sources in one flat form, batched into graphs on the fly.

``labelled`` (a universal potential), ``substituted`` (the same potential, hypothetical crystals of
``training/substitution.py``), ``strained`` (the same potential, crystals strained a little one way and the opposite
way), ``varied`` (the same potential: slabs, defects, clusters, molecules, crystals hot or pulled apart), ``weak`` (the
same potential: elements, surfaces, adsorbates, covalent, layered, pressed, hot crystals and atoms on their way),
``dimers`` (PBE, two atoms of one element), ``apart`` (two large atoms far from each other), ``polymorphs`` (PBE,
energies of elements), ``elastic`` (pairs of strains again, with the stresses of published elastic constants), ``dft``
(MPtrj, Alexandria: PBE), ``harmonic`` (forces of small displacements, PBEsol), ``response`` (those again, scaled to one
small size, each followed by the opposite displacement, on the surface of the labelled frames) and ``rest`` (the
crystals of the latter undisplaced: no forces). Index letters: F frames, A atoms of all frames. Neighbours are found per
batch: at about 0.2 ms a frame that is a few per cent of a training step, and nothing large is kept in memory.
"""

import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import ase
import ase.io
import numpy as np
import torch
from numpy.typing import NDArray
from vesin import NeighborList

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.building import plain_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pair_cutoffs import longest_cutoff, near_pairs
from ase_comformer.graphs.reciprocal_vectors import batched_reciprocal_vectors, reciprocal_tensors
from ase_comformer.nn.architectures.potential import FIDELITIES
from ase_comformer.training.data.isolated import BOX, dimer_rows, distant_pairs, nearest_neighbours
from ase_comformer.training.data.polarisation import with_polarisation
from ase_comformer.training.data.records import data_folder, place_in_curve

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


@dataclass
class Frames:
    """Frames of one or several sources.

    Attributes:
        numbers (A,), positions (A, 3) A, forces (A, 3) eV/A, NaN where unknown.
        cell: (F, 3, 3) A, rows are vectors.
        count: (F,) atoms.
        energy: (F,) eV total, NaN where unknown.
        stress: (F, 3, 3) eV/A^3 in ASE's sign, NaN where unknown.
        fidelity: (F,) index into ``potential.FIDELITIES``.
        kind: (F,) variant or source tag, for reporting.
        group: (F,) frames of one crystal share it.
        displacement: (A, 3) A, of harmonic frames from the crystal at rest, else zero.
        polarisation: (F, 3) e A, what ``training.polarisation`` makes of it, NaN where unknown.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    forces: NDArray[np.float32]
    cell: NDArray[np.float64]
    count: NDArray[np.int64]
    energy: NDArray[np.float64]
    stress: NDArray[np.float32]
    fidelity: NDArray[np.int64]
    kind: NDArray[np.str_]
    group: NDArray[np.str_]
    displacement: NDArray[np.float32]
    polarisation: NDArray[np.float32]

    def __post_init__(self) -> None:
        self.start = np.cumsum(self.count) - self.count

    def __len__(self) -> int:
        return len(self.count)

    def take(self, chosen: NDArray[np.int64]) -> "Frames":
        """These frames (k,), in this order."""
        rows = self.atom_rows(chosen)
        return Frames(
            **{part.name: getattr(self, part.name)[rows if part.name in _PER_ATOM else chosen] for part in fields(self)}
        )

    def atom_rows(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the per-atom arrays that belong to these frames."""
        count = self.count[chosen]
        before = np.cumsum(count) - count
        return np.arange(count.sum()) + np.repeat(self.start[chosen] - before, count)

    def part(self, fraction: float) -> "Frames":
        """The frames of a fraction of the crystals, always the same ones, smaller parts within larger ones."""
        groups, group = np.unique(self.group, return_inverse=True)
        kept = np.array([place_in_curve(name) < fraction for name in groups], dtype=bool)
        return self.take(np.flatnonzero(kept[group]))

    def at_rest(self) -> "Frames":
        """The same crystals without their displacements."""
        return replace(self, positions=self.positions - self.displacement)

    def opposite(self) -> "Frames":
        """The same crystals with the opposite displacements and forces."""
        positions = self.positions - 2 * self.displacement
        return replace(self, positions=positions, forces=-self.forces, displacement=-self.displacement)

    def pairs(self) -> NDArray[np.int64]:
        """(F / 2, 2) the frames two by two, as opposite displacements follow each other."""
        return np.arange(len(self)).reshape(-1, 2)

    def siblings(self) -> NDArray[np.int64]:
        """(U, 2) every frame with the next one of the same crystal, the first one following the last."""
        order = np.lexsort((np.arange(len(self)), self.count, self.group))
        group, count = self.group[order], self.count[order]
        starts = np.flatnonzero(np.r_[True, (group[1:] != group[:-1]) | (count[1:] != count[:-1])])
        sizes = np.diff(np.r_[starts, len(self)])
        first, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
        following = first + (np.arange(len(self)) - first + 1) % size
        found = np.stack([order, order[following]], axis=1)
        return found[found[:, 0] != found[:, 1]]

    def edge_counts(self, settings: GraphSettings) -> NDArray[np.int64]:
        """(F,) edges of the radius graph of every frame."""
        return np.array([len(receiver) for receiver, _, _ in self._edges(settings)], dtype=np.int64)

    def _edges(
        self, settings: GraphSettings
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
        """Of every frame: receiver (e,), sender (e,), counted within the frame, vector (e, 3) A."""
        finders: dict[float, NeighborList] = {}
        for start, count, cell in zip(self.start, self.count, self.cell, strict=True):
            numbers, points = self.numbers[start : start + count], self.positions[start : start + count]
            longest = longest_cutoff(settings.reach, settings.cutoff, numbers)
            if longest not in finders:
                finders[longest] = NeighborList(cutoff=longest, full_list=True)
            receiver, sender, vector = finders[longest].compute(points, cell, periodic=True, quantities="ijD")
            receiver, sender = receiver.astype(np.int64), sender.astype(np.int64)
            near = near_pairs(settings.reach, settings.cutoff, numbers, receiver, sender, vector)
            # copies, as the finder reuses its memory
            yield (receiver, sender, vector.copy()) if near is None else (receiver[near], sender[near], vector[near])

    def graph(self, settings: GraphSettings, dtype: torch.dtype = torch.float32) -> CrystalGraph:
        """The plain radius graph of all frames as one batch, periodic in three directions."""
        parts = [(r + start, s + start, v) for (r, s, v), start in zip(self._edges(settings), self.start, strict=True)]
        receiver, sender, vector = (np.concatenate(values) for values in zip(*parts, strict=True))
        further = {}
        if settings.reciprocal_cutoff:
            further = reciprocal_tensors(batched_reciprocal_vectors(self.cell, settings.reciprocal_cutoff))
            further["atom_position"] = torch.from_numpy(self.positions)
        return plain_graph(self.numbers, self.count, self.cell, (receiver, sender, vector), **further).to(dtype=dtype)


_PER_ATOM = frozenset({"numbers", "positions", "forces", "displacement"})


def join(parts: Sequence[Frames]) -> Frames:
    """All frames of several sets, one after the other."""
    return Frames(**{part.name: np.concatenate([getattr(p, part.name) for p in parts]) for part in fields(Frames)})


def load_frames(
    source: str, splits: Sequence[str], folder: str | Path | None = None, max_atoms: int | None = None
) -> Frames:
    """Frames of one source.

    Args:
        source: key of ``SOURCES``.
        splits: of "train", "val", "test".
        folder: of the data package; the environment variable where None.
        max_atoms: larger frames are left out.
    """
    if source not in SOURCES:
        raise UnknownNameError(f"unknown source of frames {source!r}: choose from {', '.join(SOURCES)}")
    frames = SOURCES[source](data_folder(folder), tuple(splits))
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
