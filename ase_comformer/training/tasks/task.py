"""Declares a task as the training loop sees it: an order of samples and the losses of a batch of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ase_comformer.training.config import TrainingConfig

Terms = dict[str, Tensor]
"""Loss name -> one number per sample that carries the label."""
Totals = dict[str, tuple[float, float]]
"""Loss name -> sum over the samples that carry the label, and their number."""


class Task(ABC):
    """Data of a run and the losses of ``network`` on it.

    Args:
        config: the run.
        network: whose references (energies of elements) it may set.
        folder: of the data package; the environment variable where None.

    Attributes:
        samples_per_epoch: length of ``order``.
    """

    samples_per_epoch: int
    config: TrainingConfig
    network: Any

    @abstractmethod
    def __init__(self, config: TrainingConfig, network: Any, folder: Path | None) -> None: ...

    @abstractmethod
    def order(self, generator: torch.Generator) -> Tensor:
        """(samples_per_epoch,) indices of one epoch, shuffled."""

    @abstractmethod
    def terms(self, samples: Any) -> Terms:
        """Losses of these training samples."""

    def started(self) -> None:
        """Called once the network has the weights that a run starts from."""
        return

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Indices of one epoch, batch by batch."""
        yield from self.order(generator).split(self.config.batch_size)

    def load(self, batches: Sequence[Tensor]) -> Iterator[Any]:
        """Give what ``backward`` takes of these batches, one after the other: their indices, or what they load."""
        yield from batches

    def size(self, samples: Any) -> int:
        """Number of structures that the loss of a batch is divided by."""
        return len(samples)

    def backward(self, samples: Any) -> tuple[float, Totals]:
        """Loss of a batch, whose gradients are left in the parameters, and the totals of its terms."""
        terms = self.terms(samples)
        loss = torch.zeros(())
        for name, values in terms.items():
            loss = loss + self.config.loss_weights.get(name, 1.0) * values.sum() / self.size(samples)
        self.network.zero_grad()
        loss.backward()
        totals = {name: (float(values.detach().sum()), float(len(values))) for name, values in terms.items()}
        return float(loss.detach()), totals

    @abstractmethod
    def validation(self) -> Iterator[Terms]:
        """Losses on the validation split, batch by batch."""
