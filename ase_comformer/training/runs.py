"""A training run from a TOML file: its folder, its log, and the trainer that suits its device."""

import logging
import math
import time
from pathlib import Path

from rich.logging import RichHandler

from ase_comformer.errors import UnknownNameError
from ase_comformer.training.config import TrainingConfig, copy_config
from ase_comformer.training.data.frame_pack import unpack
from ase_comformer.training.engines.captured import CapturedTrainer
from ase_comformer.training.engines.distributed import Processes
from ase_comformer.training.engines.trainer import TASKS, Trainer
from ase_comformer.training.tasks.frame_task import FrameTask

#: Name of the handlers of a run, by which the next one in the same process finds them.
_HANDLER = "ase-comformer run"


def run(config_path: Path, *, from_pack: Path | None = None, time_limit: float = math.inf) -> None:
    """Train what a TOML file describes, logging to the terminal and to ``OUTPUT/NAME/train.log``.

    Args:
        config_path: TOML file with the fields of ``TrainingConfig``.
        from_pack: file with its frames (``data.frame_pack``), instead of the data package.
        time_limit: minutes; no epoch begins that would end later, and a second call goes on from there.
    """
    started = time.perf_counter()
    config = TrainingConfig.read(Path(config_path))
    directory = Path(config.output) / config.name
    directory.mkdir(parents=True, exist_ok=True)
    copy_config(Path(config_path), directory / "config.toml")
    if Processes().rank == 0:
        _log_to(directory / "train.log")
    folder = None if from_pack is None else unpack(from_pack, directory / "data")
    trainer(config, folder).fit(until=started + 60 * time_limit)


def trainer(config: TrainingConfig, folder: Path | None = None) -> Trainer:
    """The trainer of a run: step by step on a CPU, captured on a GPU.

    Raises:
        UnknownNameError: a device that is not here, or one for which an architecture has no training.
        ValueError: several processes on a GPU.
    """
    if config.device == "cpu":
        return Trainer(config, folder)
    if TASKS.get(config.architecture) is not FrameTask:
        on_gpu = ", ".join(name for name, task in TASKS.items() if task is FrameTask)
        raise UnknownNameError(
            f"device {config.device!r} trains {on_gpu} only, not {config.architecture}: use device = 'cpu'"
        )
    if Processes().count > 1:
        raise ValueError(f"a run on {config.device!r} is one process: start it without torchrun")
    return CapturedTrainer(config, folder)


def _log_to(path: Path) -> None:
    """Log to the terminal and to a file."""
    to_file = logging.FileHandler(path)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    package = logging.getLogger("ase_comformer")
    package.setLevel(logging.INFO)
    for handler in [each for each in package.handlers if each.get_name() == _HANDLER]:  # of an earlier run
        package.removeHandler(handler)
        handler.close()
    for handler in (to_file, RichHandler(show_path=False)):
        handler.set_name(_HANDLER)
        package.addHandler(handler)
