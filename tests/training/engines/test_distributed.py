"""Two processes that train together: the mean of their gradients and losses, and the same weights afterwards."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed
from torch import nn

from ase_comformer.training.engines.distributed import Processes


def step(rank: int, folder: str) -> None:
    """One step on a gradient that depends on the process; runs in a process of its own."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    network = nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.fill_(1.0)
    network.weight.grad = torch.full_like(network.weight, 1.0 + 2 * rank)  # the bias has no gradient
    loss = Processes().average(10.0 * rank, network.parameters())
    torch.save((loss, network.weight.grad, network.bias.grad), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_average_losses_and_gradients(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(step, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        loss, weight, bias = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert loss == pytest.approx(5.0)
        assert weight.tolist() == [[2.0, 2.0]]
        assert bias.tolist() == [0.0]


def test_one_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    network = nn.Linear(2, 1)
    alone = Processes()
    assert (alone.rank, alone.count) == (0, 1)
    assert alone.average(3.0, network.parameters()) == 3.0
    assert network.weight.grad is None
