"""Learning the potential energy surface from frames: energies per atom, forces, stresses.

Forces and stresses of a frame weigh less the larger they are, so that strong rattles, of which the labels are least
certain, do not drown the gentle ones, on which volumes and elastic constants rest. Loss names carry the data set, so
that the log shows each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.units import GPa
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.nn.potential import derivatives
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.frames import Frames, join, labels_of, load_frames
from ase_comformer.training.losses import smooth
from ase_comformer.training.task import Task, Terms

#: GPa, root mean square component at which a stress counts half.
_LARGE_STRESS = 2.0


class FrameTask(Task):
    """Frames are drawn from the data sets by ``share``, without repetition within an epoch where there are enough."""

    def __init__(self, config: TrainingConfig, network: Any, folder: Path | None) -> None:
        self.config, self.network = config, network
        limit = [config.max_atoms.get(name) for name in config.datasets]
        sets = [load_frames(n, config.splits, folder, m) for n, m in zip(config.datasets, limit, strict=True)]
        sets = [frames.part(config.fraction) for frames in sets]
        self.train_set = join(sets)
        self.owner = torch.from_numpy(np.repeat(np.arange(len(sets)), [len(frames) for frames in sets]))
        self.samples_per_epoch = config.samples_per_epoch
        self.val_sets = {
            name: _some(load_frames(name, ["val"], folder, m), config.val_samples)
            for name, m in zip(config.datasets, limit, strict=True)
        }
        self._set_references()

    def _set_references(self) -> None:
        """Least-squares energy per element and fidelity on the training frames; the scale of what is left."""
        frames, reference = self.train_set, self.network.element_reference
        known = np.isfinite(frames.energy)
        composition = np.zeros((len(frames), reference.shape[1]))
        np.add.at(composition, (np.repeat(np.arange(len(frames)), frames.count), frames.numbers), 1.0)
        per_atom = composition / frames.count[:, None]
        common = _ridge(per_atom[known], (frames.energy / frames.count)[known], 1e-3)
        for fidelity in range(len(reference)):
            chosen = known & (frames.fidelity == fidelity)
            offset = np.zeros_like(common)
            if chosen.any():
                rest = (frames.energy / frames.count)[chosen] - per_atom[chosen] @ common
                offset = _ridge(per_atom[chosen], rest, 1.0)
            reference[fidelity] = torch.from_numpy(common + offset)

    def order(self, generator: torch.Generator) -> Tensor:
        """See ``Task``."""
        names = self.config.datasets
        share = [self.config.share.get(name, 1.0 / len(names)) for name in names]
        drawn = []
        for index, part in enumerate(share):
            rows = torch.nonzero(self.owner == index).squeeze(1)
            count = round(part * self.samples_per_epoch)
            rounds = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-count // len(rows)))]
            drawn.append(torch.cat(rounds)[:count])
        rows = torch.cat(drawn)
        return rows[torch.randperm(len(rows), generator=generator)]

    def terms(self, samples: Tensor) -> Terms:
        """See ``Task``."""
        return self._terms(self.train_set.take(samples.numpy()), create_graph=True)

    def validation(self) -> Iterator[Terms]:
        """See ``Task``; names are prefixed with the data set."""
        for name, frames in self.val_sets.items():
            for rows in torch.arange(len(frames)).split(64):
                terms = self._terms(frames.take(rows.numpy()), create_graph=False)
                yield {f"{name}_{key}": value for key, value in terms.items()}

    def _terms(self, frames: Frames, *, create_graph: bool) -> Terms:
        labels = labels_of(frames)
        graph = frames.graph(self.network.graph_settings.cutoff)
        found = derivatives(self.network, graph, labels.fidelity, create_graph=create_graph)
        count, owner = graph.atom_count, graph.atom_crystal

        def mean(values: Tensor) -> Tensor:
            return values.new_zeros(len(frames)).index_add(0, owner, values) / count

        error = (found.forces - labels.forces).square().sum(1)
        size = mean(labels.forces.square().sum(1)).sqrt()
        terms = {"forces": mean((error + 1e-4).sqrt() - 1e-2) / (1 + size)}
        known = torch.isfinite(labels.energy)
        if known.any():
            terms["energy"] = smooth((found.energy - labels.energy)[known] / count[known], 0.01).to(error.dtype)
        known = torch.isfinite(labels.stress[:, 0, 0])
        if known.any():
            actual = labels.stress[known] / GPa
            size = actual.square().mean(dim=(1, 2)).sqrt() / _LARGE_STRESS
            terms["stress"] = smooth(found.stress[known] / GPa - actual, 0.05).mean(dim=(1, 2)) / (1 + size)
        return terms


def _ridge(matrix: NDArray[np.float64], values: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    gram = matrix.T @ matrix + strength * np.eye(matrix.shape[1])
    return np.asarray(np.linalg.solve(gram, matrix.T @ values), dtype=np.float64)


def _some(frames: Frames, count: int) -> Frames:
    """At most ``count`` frames, always the same ones."""
    order = np.random.default_rng(0).permutation(len(frames))
    return frames.take(np.sort(order[:count]))
