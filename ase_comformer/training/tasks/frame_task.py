"""Learning the potential energy surface from frames: energies per atom, forces, stresses.

Samples are *units*: single frames, or pairs of frames of one crystal (see ``frame_batch``). Loss names of the
validation carry the data set, so that the log shows each.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pair_cutoffs import pair_cutoffs
from ase_comformer.nn.architectures.potential import derivatives
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data import isolated
from ase_comformer.training.data.frame_sources import load_frames
from ase_comformer.training.data.frames import Frames, join
from ase_comformer.training.data.records import data_folder
from ase_comformer.training.tasks.compiled import CompiledStep
from ase_comformer.training.tasks.frame_batch import Capacity, FrameBatch, frame_losses, padded
from ase_comformer.training.tasks.task import Task, Terms, Totals

#: Data sets of which pairs are drawn.
PAIRED = frozenset({"response", "labelled", "substituted", "strained", "elastic", "varied", "weak"})
#: Data sets that were made of training crystals only.
WITHOUT_VALIDATION = frozenset({"substituted", "strained", "apart"})

#: Data sets that say nothing of average energies of elements in crystals.
_NOT_BULK = frozenset({"varied", "weak", "dimers", "apart"})


class FrameTask(Task):
    """Units are drawn from the data sets by ``share``, without repetition within an epoch where there are enough.

    Attributes:
        units: (U, 2) frames of ``train_set``; the second is -1 where a frame stands alone.
        owner: (U,) index of the data set.
    """

    def __init__(self, config: TrainingConfig, network: Any, folder: Path | None) -> None:
        self.config, self.network = config, network
        limit = [config.max_atoms.get(name) for name in config.datasets]
        sets = [load_frames(n, config.splits, folder, m) for n, m in zip(config.datasets, limit, strict=True)]
        sets = [frames.part(config.fraction) for frames in sets]
        self.train_set = join(sets)
        units = [_units(frames, name in PAIRED) for name, frames in zip(config.datasets, sets, strict=True)]
        starts = np.cumsum([0, *(len(frames) for frames in sets[:-1])])
        self.units = np.concatenate([np.where(u < 0, -1, u + start) for u, start in zip(units, starts, strict=True)])
        self.owner = torch.from_numpy(np.repeat(np.arange(len(sets)), [len(rows) for rows in units]))
        self.samples_per_epoch = config.samples_per_epoch
        self.val_sets = {
            name: _some(load_frames(name, ["val"], folder, m), name in PAIRED, config.val_samples)
            for name, m in zip(config.datasets, limit, strict=True)
            if name not in WITHOUT_VALIDATION
        }
        self.val_sets = {name: pair for name, pair in self.val_sets.items() if len(pair[1])}
        bulk = [frames for name, frames in zip(config.datasets, sets, strict=True) if name not in _NOT_BULK]
        self.isolated: Tensor | None = None
        if not config.keep_references:
            self._set_references(join(bulk))
        if network.arguments["isolated"] and not config.keep_references:
            self.isolated = self._isolated_energies(data_folder(folder), join(bulk))
            self.started()
            self._place_dimers(self.isolated)
        self.capacity = Capacity(**config.capacity) if config.capacity else None
        if (
            self.capacity is not None
            and network.graph_settings.reciprocal_cutoff
            and not self.capacity.reciprocal_vectors
        ):
            raise ValueError(
                f"{config.name}: graphs have reciprocal vectors; add the most of any cell to "
                "capacity, as reciprocal_vectors = 72"
            )
        if self.capacity is not None:
            self.compiled = CompiledStep(network, config.loss_weights, self.capacity, compile=config.compile)

    def _set_references(self, frames: Frames) -> None:
        """Least-squares energy per element and fidelity on these frames."""
        reference = self.network.element_reference
        known = np.isfinite(frames.energy)
        per_atom = _composition(frames, reference.shape[1]) / frames.count[:, None]
        common = _ridge(per_atom[known], (frames.energy / frames.count)[known], 1e-3)
        for fidelity in range(len(reference)):
            chosen = known & (frames.fidelity == fidelity)
            offset = np.zeros_like(common)
            if chosen.any():
                rest = (frames.energy / frames.count)[chosen] - per_atom[chosen] @ common
                offset = _ridge(per_atom[chosen], rest, 1.0)
            reference[fidelity] = torch.from_numpy(common + offset)

    def _isolated_energies(self, folder: Path, bulk: Frames) -> Tensor:
        """(Z,) eV, the references where DFT does not say."""
        reference: Tensor = self.network.element_reference[0]
        known = isolated.isolated_energies(folder, _lowest_of_elements(bulk))[: len(reference)]
        found = torch.from_numpy(known).to(reference)
        return torch.where(found.isfinite(), found, reference)

    def started(self) -> None:
        """See ``Task``: isolated atoms keep the energies of this data, whatever weights a run starts from."""
        if self.isolated is not None:
            self.network.isolated_reference.copy_(self.isolated)

    def _place_dimers(self, energies: Tensor) -> None:
        """Energies of dimers, which are given above those of isolated atoms, on the scale of the labels.

        Dimers beyond the cut-off are two isolated atoms whatever they are labelled with, and are left out.
        """
        settings = self.network.graph_settings
        table = energies.double().cpu().numpy()

        def placed(frames: Frames, units: NDArray[np.int64]) -> NDArray[np.int64]:
            dimers = np.flatnonzero(frames.kind == "dimer_pbe")
            first, second = frames.start[dimers], frames.start[dimers] + 1
            number, other = frames.numbers[first], frames.numbers[second]
            frames.energy[dimers] += table[number] + table[other]
            distance = np.linalg.norm(frames.positions[second] - frames.positions[first], axis=1)
            beyond = dimers[distance >= pair_cutoffs(settings.reach, settings.cutoff, number, other)]
            return np.flatnonzero(~np.isin(units[:, 0], beyond))

        kept = placed(self.train_set, self.units)
        self.units, self.owner = self.units[kept], self.owner[torch.from_numpy(kept)]
        for name, (frames, units) in self.val_sets.items():
            self.val_sets[name] = frames, units[placed(frames, units)]

    def order(self, generator: torch.Generator) -> Tensor:
        """See ``Task``; pairs count as two samples, so there are fewer units than samples."""
        names = self.config.datasets
        share = [self.config.share.get(name, 1.0 / len(names)) for name in names]
        drawn = []
        for index, (name, part) in enumerate(zip(names, share, strict=True)):
            rows = torch.nonzero(self.owner == index).squeeze(1)
            count = round(part * self.samples_per_epoch / (2 if name in PAIRED else 1))
            rounds = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-count // len(rows)))]
            drawn.append(torch.cat([*rounds, rows[:0]])[:count])
        rows = torch.cat(drawn)
        return rows[torch.randperm(len(rows), generator=generator)]

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """See ``Task``; where batches have a constant shape, each takes as many units as fit."""
        if self.capacity is None:
            yield from super().batches(generator)
            return
        order = self.order(generator)
        units = self.units[order.numpy()]
        for first, last in packed(unit_sizes(self.sizes, units), self.capacity):
            yield order[first:last]

    @functools.cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(F, 4) what every training frame needs of each part of a ``Capacity``, pairs at most."""
        count, edges = self.train_set.count, self.train_set.edge_counts(self.network.graph_settings)
        # every pair needs an edge, and no frame has more of them than its atoms squared
        return np.stack([np.ones_like(count), count, edges, np.minimum(edges, count**2)], axis=1)

    def size(self, samples: Tensor) -> int:
        """See ``Task``: frames."""
        return int((self.units[samples.numpy()] >= 0).sum())

    def terms(self, samples: Tensor) -> Terms:
        """See ``Task``."""
        return self._terms(self._batch(samples), create_graph=True)

    def backward(self, samples: Tensor) -> tuple[float, Totals]:
        """See ``Task``; batches that the capacity does not hold are not compiled."""
        if self.capacity is not None:
            batch = padded(self._batch(samples), self.capacity)
            if batch is not None:
                return self.compiled(batch)
        return super().backward(samples)

    def validation(self) -> Iterator[Terms]:
        """See ``Task``; names are prefixed with the data set."""
        for name, (frames, units) in self.val_sets.items():
            for rows in np.array_split(units, -(-len(units) // 48)):
                batch = _batch_of(frames, rows, self.network.graph_settings)
                terms = self._terms(batch, create_graph=False)
                yield {f"{name}_{key}": value for key, value in terms.items()}

    def _batch(self, samples: Tensor) -> FrameBatch:
        return _batch_of(self.train_set, self.units[samples.numpy()], self.network.graph_settings)

    def _terms(self, batch: FrameBatch, *, create_graph: bool) -> Terms:
        found = derivatives(self.network, batch.graph, batch.fidelity, create_graph=create_graph)
        losses = frame_losses(found, batch)
        return {name: values[known > 0] for name, (values, known) in losses.items() if known.any()}


def _batch_of(frames: Frames, units: NDArray[np.int64], settings: GraphSettings) -> FrameBatch:
    """The frames of some units (u, 2); those of a pair next to each other."""
    rows, other = rows_of(units)
    return FrameBatch.from_frames(frames.take(rows), other, settings)


def rows_of(units: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Units (u, 2) -> their frames (k,), and for each the place of the other one of its pair, -1 if it has none."""
    rows = units.flatten()
    kept = rows >= 0
    position = np.cumsum(kept) - 1
    other = np.where(units >= 0, position.reshape(-1, 2), -1)[:, ::-1].flatten()
    return rows[kept], other[kept]


def unit_sizes(sizes: NDArray[np.int64], units: NDArray[np.int64]) -> NDArray[np.int64]:
    """(U, 4) what units (U, 2) need of each part of a ``Capacity``, from what frames (F, 4) need."""
    return sizes[units[:, 0]] + np.where(units[:, 1:] < 0, 0, sizes[units[:, 1]])


def packed(size: NDArray[np.int64], capacity: Capacity) -> Iterator[tuple[int, int]]:
    """First and last of successive units of sizes (U, 4), as many as fit into a batch each, at least one."""
    total = np.concatenate([np.zeros((1, 4), dtype=np.int64), np.cumsum(size, axis=0)])
    first = 0
    while first < len(size):
        limit = total[first] + capacity.room
        last = min(int(np.searchsorted(total[:, k], limit[k], side="right")) - 1 for k in range(4))
        yield first, max(first + 1, last)
        first = max(first + 1, last)


def _units(frames: Frames, paired: bool) -> NDArray[np.int64]:
    """Pairs (u, 2), each once, and the frames that have no other of their crystal, with -1."""
    alone = np.arange(len(frames))
    if paired and len(frames) and frames.kind[0] == "response":
        return frames.pairs()
    pairs = frames.siblings() if paired else np.zeros((0, 2), dtype=np.int64)
    # of two frames of a crystal each follows the other
    pairs = pairs[np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)[1]]
    alone = np.setdiff1d(alone, pairs)
    return np.concatenate([pairs, np.stack([alone, np.full_like(alone, -1)], axis=1)])


def _lowest_of_elements(frames: Frames) -> dict[int, float]:
    """Atomic number -> lowest energy per atom of the frames of one element, eV."""
    found: dict[int, float] = {}
    for start, count, energy in zip(frames.start, frames.count, frames.energy, strict=True):
        number = int(frames.numbers[start])
        if np.isfinite(energy) and (frames.numbers[start : start + count] == number).all():
            found[number] = min(found.get(number, np.inf), float(energy) / int(count))
    return found


def _composition(frames: Frames, elements: int) -> NDArray[np.float64]:
    """(F, Z) atoms of every element."""
    found = np.zeros((len(frames), elements))
    np.add.at(found, (np.repeat(np.arange(len(frames)), frames.count), frames.numbers), 1.0)
    return found


def _ridge(matrix: NDArray[np.float64], values: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    gram = matrix.T @ matrix + strength * np.eye(matrix.shape[1])
    return np.asarray(np.linalg.solve(gram, matrix.T @ values), dtype=np.float64)


def _some(frames: Frames, paired: bool, count: int) -> tuple[Frames, NDArray[np.int64]]:
    """Frames and units with at most ``count`` frames, always the same ones."""
    units = _units(frames, paired)
    order = np.random.default_rng(0).permutation(len(units))
    return frames, units[np.sort(order[: count // 2 if paired else count])]
