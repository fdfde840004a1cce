"""Errors of potentials against the number of crystals: ``python -m benchmarks.potential_learning_curve RUN...``.

Each RUN is the folder of a finished training run (``runs/NAME``) of ``potential-curve-*.toml``: the same few frame
visits with more and more crystals. Its last averaged weights are evaluated on the validation split, with the
``initial_share`` of its configuration or with each of ``--initial-shares``, by which that number is chosen.
"""

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.frame_sources import load_frames
from ase_comformer.training.evaluation.frame_predictions import predict_frames
from ase_comformer.training.evaluation.potential_metrics import potential_errors, response_errors
from ase_comformer.training.export import trained_network
from ase_comformer.training.tasks.frame_task import FrameTask


def row(run: Path, initial_share: float | None) -> list[str]:
    """Name, crystals, frames, initial share, and errors on gentle labelled frames and on responses of the val split."""
    config = TrainingConfig.read(run / "config.toml")
    if initial_share is not None:
        config = replace(config, initial_share=initial_share)
    train = FrameTask(config, Potential(**config.arguments), None).train_set
    network, _ = trained_network(run, config, "last")
    assert isinstance(network, Potential)
    network.requires_grad_(False)
    labelled = load_frames("labelled", ["val"])
    labelled = labelled.take(np.flatnonzero(np.isin(labelled.kind, ["rattle_s", "strain"])))
    errors = potential_errors(labelled, predict_frames([network], labelled))
    response = response_errors([network], load_frames("response", ["val"], max_atoms=40))
    counts = [str(len(np.unique(train.group))), str(len(train))]
    shown = [f"{errors.energy:.1f}", f"{errors.between:.1f}", f"{errors.force:.1f}", f"{errors.stress:.2f}"]
    return [config.name, *counts, f"{config.initial_share:.2f}", *shown, f"{response.relative_force:.3f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--initial-shares", nargs="+", type=float, default=[None])
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title="labelled frames, val, rattle_s and strain; response to small displacements, val")
    headings = (
        "run",
        "crystals",
        "frames",
        "initial",
        "E meV/atom",
        "between",
        "F meV/A",
        "stress GPa",
        "response RMSE/RMS",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for run, share in itertools.product(given.runs, given.initial_shares):
        table.add_row(*row(run, share))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
