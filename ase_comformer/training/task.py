"""What a network learns from, as the training loop sees it: an order of samples and the losses of a batch of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ase_comformer.training.config import TrainingConfig

Terms = dict[str, Tensor]
"""Loss name -> one number per sample that carries the label."""


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

    @abstractmethod
    def __init__(self, config: TrainingConfig, network: Any, folder: Path | None) -> None: ...

    @abstractmethod
    def order(self, generator: torch.Generator) -> Tensor:
        """(samples_per_epoch,) indices of one epoch, shuffled."""

    @abstractmethod
    def terms(self, samples: Tensor) -> Terms:
        """Losses of these training samples."""

    @abstractmethod
    def validation(self) -> Iterator[Terms]:
        """Losses on the validation split, batch by batch."""
