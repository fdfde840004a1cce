"""Several processes that train one network: ``torchrun --nproc-per-node N --no-python ase-comformer train CONFIG``.

Every process takes every N-th batch and all take the same step, so a step sees N batches. Process 0 validates, logs and
writes. Without torchrun there is one process and nothing here communicates.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed
from torch import nn


class Processes:
    """This process among those of the run.

    Attributes:
        rank: number of this process.
        count: how many there are.
    """

    def __init__(self) -> None:
        self.rank, self.count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if self.count > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("gloo" if not torch.cuda.is_available() else "nccl")

    def average(self, loss: float, parameters: Iterable[nn.Parameter]) -> float:
        """Mean loss; gradients become their means."""
        if self.count == 1:
            return loss
        own = list(parameters)
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in own]
        flat = torch.cat([gradient.flatten() for gradient in gradients] + [gradients[0].new_tensor([loss])])
        torch.distributed.all_reduce(flat)
        *means, mean_loss = (flat / self.count).split([value.numel() for value in own] + [1])
        for value, mean in zip(own, means, strict=True):
            value.grad = mean.view_as(value)
        return float(mean_loss)
