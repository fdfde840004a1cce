"""Frames per second of training the potential, compiled and not: ``python -m benchmarks.training_step``.

Batches of ``potential-3.toml`` (constant shape), one thread. Both kinds of step see the same batches, in turn, with the
optimiser's part; the figures are frames over the median time of a step. Compiling takes some minutes where torch's
cache does not have the step.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import ase_comformer
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.engines.trainer import Trainer
from ase_comformer.training.tasks.frame_task import FrameTask

CONFIG = Path(ase_comformer.__file__).parent / "training" / "configs" / "potential-3.toml"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--fraction", type=float, default=0.1, help="of the training crystals")
    given = parser.parse_args()
    config = TrainingConfig.read(CONFIG)
    config.fraction, config.initial = given.fraction, ""
    with tempfile.TemporaryDirectory() as folder:
        config.output = folder
        trainer = Trainer(config)
    task = trainer.task
    assert isinstance(task, FrameTask)
    capacity = task.capacity
    batches = list(task.batches(torch.Generator().manual_seed(0)))[: given.batches]
    seconds: dict[str, list[float]] = {"autograd": [], "compiled": []}
    for number, batch in enumerate([batches[0], *batches]):  # the first one warms up
        for kind, taken in seconds.items():
            task.capacity = capacity if kind == "compiled" else None
            start = time.perf_counter()
            task.backward(batch)
            torch.nn.utils.clip_grad_norm_(trainer.network.parameters(), config.clip)
            for optimiser in trainer.optimisers:
                optimiser.step()
            if number:
                taken.append(time.perf_counter() - start)
    frames = statistics.mean(task.size(batch) for batch in batches)
    table = Table(title=f"training step of {config.name}, {frames:.0f} frames a batch, one thread")
    for heading in ("step", "median s", "frames per second"):
        table.add_column(heading, justify="right")
    for kind, taken in seconds.items():
        median = statistics.median(taken)
        table.add_row(kind, f"{median:.3f}", f"{frames / median:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
