"""Training a potential on a GPU: batches, losses, both derivatives and the optimisers' step as one CUDA graph.

A step of a batch of small crystals is some two thousand kernels of microseconds, about as short as it takes to launch
them one by one. Here all of it is captured once, with the choice of frames as input, and replayed for a whole
epoch without a word between CPU and GPU. The rest of a run (data, schedule, checkpoints) is that of ``train.py``.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.nn.architectures.potential import derivatives
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.engines.resident import ResidentFrames
from ase_comformer.training.engines.trainer import Trainer
from ase_comformer.training.tasks.compiled import Outputs, topology_of
from ase_comformer.training.tasks.frame_batch import Capacity, frame_losses, tensors_of
from ase_comformer.training.tasks.frame_task import FrameTask, packed, rows_of, unit_sizes
from ase_comformer.training.tasks.task import Task, Terms

#: Room for the steps of an epoch, in those of the first one: units are drawn at random, so numbers vary. What is beyond
#: waits for another epoch.
_MORE_STEPS = 1.05


class ResidentFrameTask(FrameTask):
    """``FrameTask`` with all frames in the memory of the network's device."""

    def __init__(self, config: TrainingConfig, network: Any, folder: Path | None) -> None:
        super().__init__(config, network, folder)
        if self.capacity is None:
            raise ValueError(f"{config.name}: a run on a GPU needs batches of constant shape; give it a capacity")
        self.device = next(network.parameters()).device
        self.resident = self._resident(self.train_set, self.units)
        self.resident_val = {name: (self._resident(*pair), pair[1]) for name, pair in self.val_sets.items()}

    def _resident(self, frames: Frames, units: NDArray[np.int64]) -> ResidentFrames:
        resident = ResidentFrames.from_frames(frames, self.network.graph_settings).to(self.device)
        assert self.capacity is not None
        largest = unit_sizes(resident.sizes(), units).max(axis=0, initial=0)
        if (largest > self.capacity.room).any():
            raise ValueError(
                f"{self.config.name}: a pair of frames has {largest.tolist()} frames, atoms, edges and pairs of atoms, "
                f"{self.capacity} holds one less of each than it says: raise it or lower max_atoms"
            )
        return resident

    @functools.cached_property
    def sizes(self) -> NDArray[np.int64]:
        """See ``FrameTask``; the number of pairs is known here."""
        return self.resident.sizes()

    def schedule(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(S, B) frames and siblings of the S batches of an epoch, as ``ResidentFrames.batch`` reads them."""
        assert self.capacity is not None
        units = [self.units[samples.numpy()] for samples in self.batches(generator)]
        rows = [chosen_frames(part, self.capacity, len(self.resident)) for part in units]
        chosen, sibling = (torch.from_numpy(np.stack(values)) for values in zip(*rows, strict=True))
        return chosen, sibling

    def validation(self) -> Iterator[Terms]:
        """See ``FrameTask``."""
        assert self.capacity is not None
        for name, (frames, units) in self.resident_val.items():
            for first, last in packed(unit_sizes(frames.sizes(), units), self.capacity):
                rows = chosen_frames(units[first:last], self.capacity, len(frames))
                chosen, sibling = (torch.from_numpy(row).to(self.device) for row in rows)
                batch, indices = frames.batch(chosen, sibling, self.capacity, self.config.fused)
                topology = topology_of(indices, batch.graph)
                found = derivatives(self.network, batch.graph, batch.fidelity, topology=topology)
                for key, (values, known) in frame_losses(found, batch).items():
                    if known.any():
                        yield {f"{name}_{key}": values[known > 0]}


def chosen_frames(
    units: NDArray[np.int64], capacity: Capacity, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Units (u, 2) -> frames (B,), ``count`` where there is none, and siblings (B,), B where a frame stands alone."""
    rows, other = rows_of(units)
    chosen, sibling = np.full(capacity.frames, count), np.full(capacity.frames, capacity.frames)
    chosen[: len(rows)], sibling[: len(rows)] = rows, np.where(other >= 0, other, capacity.frames)
    return chosen, sibling


class CapturedTrainer(Trainer):
    """``Trainer`` whose steps are replayed; on a CPU they are called instead."""

    _step: Callable[[], None] | None = None

    def _make_task(self, folder: Path | None) -> Task:
        return ResidentFrameTask(self.config, self.network, folder)

    def _one_epoch(self) -> dict[str, float]:
        task = self.task
        assert isinstance(task, ResidentFrameTask)
        generator = torch.Generator().manual_seed(self.config.seed * 100_003 + self.epoch)
        self.network.train()
        chosen, sibling = task.schedule(generator)
        step = self._step = self._step or self._prepared(chosen, sibling, task)
        steps = min(len(chosen), len(self._chosen))
        progress = (self.epoch + np.arange(steps) / steps) / self.config.epochs
        rates = [[self._learning_rate(at), self.average.next_share(k)] for k, at in enumerate(progress)]
        self._chosen[:steps].copy_(chosen[:steps])
        self._sibling[:steps].copy_(sibling[:steps])
        self._rates[:steps].copy_(torch.tensor(rates))
        self._position.zero_()
        self._sums.zero_()
        for _ in range(steps):
            step()
        self.average.updates += steps
        return {
            name: total / max(count, 1.0) for name, (total, count) in zip(self._terms, self._sums.tolist(), strict=True)
        }

    def _prepared(self, chosen: Tensor, sibling: Tensor, task: ResidentFrameTask) -> Callable[[], None]:
        """Room for the inputs of an epoch as long as this one, and one step as a function of none."""
        device = task.device
        room = round(_MORE_STEPS * len(chosen)) + 1
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._chosen = torch.zeros(room, chosen.shape[1], dtype=torch.int64, device=device)
        self._sibling = torch.zeros_like(self._chosen)
        self._rates = torch.zeros(room, 2, device=device)
        self._chosen[:1].copy_(chosen[:1])
        self._sibling[:1].copy_(sibling[:1])
        self._rate = torch.zeros((), device=device)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self._rate
        inputs = self._inputs(task)
        function = task.compiled.function(inputs)
        with torch.no_grad():
            _, sums, _ = function(*inputs)
        self._terms = list(sums)
        self._sums = torch.zeros(len(sums), 2, dtype=torch.float64, device=device)

        def step() -> None:
            self._take_step(task, function)

        return recorded(step, self._position.zero_) if device.type == "cuda" else step

    def _inputs(self, task: ResidentFrameTask) -> tuple[Any, ...]:
        assert task.capacity is not None
        chosen, sibling = (table.index_select(0, self._position)[0] for table in (self._chosen, self._sibling))
        batch, topology = task.resident.batch(chosen, sibling, task.capacity, self.config.fused)
        parameters = {name: value.detach() for name, value in self.network.named_parameters()}
        return parameters, tensors_of(batch), topology

    @torch.no_grad()
    def _take_step(self, task: ResidentFrameTask, function: Callable[..., Outputs]) -> None:
        """The step at ``_position``, without anything that a CUDA graph could not hold."""
        rate, share = self._rates.index_select(0, self._position)[0].unbind()
        _, sums, gradients = function(*self._inputs(task))
        self._sums.add_(torch.stack([torch.stack(pair) for pair in sums.values()]))
        parameters = list(self.network.parameters())
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        norm = flat.norm()
        # a batch without a finite loss counts nothing
        scale = torch.where(norm.isfinite(), (self.config.clip / (norm + 1e-6)).clamp(max=1.0), 0.0)
        flat = flat.nan_to_num(0.0, 0.0, 0.0) * scale
        for parameter, gradient in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = gradient.view_as(parameter)
        self._rate.copy_(rate)
        with matrix_precision("high" if self.config.tensor_float else "highest"):
            for optimiser in self.optimisers:
                optimiser.step()
        self.average.move(self.network, share)
        self._position.add_(1)


@contextlib.contextmanager
def matrix_precision(precision: str) -> Iterator[None]:
    """Products of float32 matrices at this precision, see ``torch.set_float32_matmul_precision``."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def recorded(step: Callable[[], None], rewind: Callable[[], object]) -> Callable[[], None]:
    """``step`` as a CUDA graph.

    Before that it runs three times on a side stream, as captures need, after ``rewind`` each time: rates are still
    zero, so weights and their average stay, and the optimisers' averages take in one batch.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            rewind()
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
