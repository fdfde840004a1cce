"""The training loop behind ``ase-comformer train CONFIG``: resumable, logged, exponential moving average of weights.

A TOML file names the architecture, the data and the schedule; one file per shipped model is committed under
``ase_comformer/training/configs``. Model choice reads the validation split only.
"""

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ase_comformer.devices import resolve_device
from ase_comformer.nn import ARCHITECTURES
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.engines.distributed import Processes
from ase_comformer.training.engines.optimisers import make_optimisers
from ase_comformer.training.tasks.frame_task import FrameTask
from ase_comformer.training.tasks.reading_task import ReadingTask
from ase_comformer.training.tasks.task import Task
from ase_comformer.training.tasks.tensor_task import TensorTask

logger = logging.getLogger(__name__)


class MovingAverage:
    """Exponential moving average of the parameters, with a short memory at the start."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def next_share(self, later: int = 0) -> float:
        """Share of the parameters in the average after one more update, or after ``later`` others."""
        updates = self.updates + later + 1
        return 1 - min(self.decay, (1 + updates) / (10 + updates))

    def update(self, network: nn.Module) -> None:
        """Take in the current parameters."""
        self.move(network, self.next_share())
        self.updates += 1

    @torch.no_grad()
    def move(self, network: nn.Module, share: float | Tensor) -> None:
        """Bring the average closer to the parameters by a share of the difference; buffers stay as they are."""
        current = dict(network.named_parameters())
        values = [self.values[name] for name in current]
        moves = torch._foreach_mul(torch._foreach_sub(list(current.values()), values), share)
        torch._foreach_add_(values, moves)


Blocks = tuple[list[int], ...]
"""Sizes of the parts that each axis of a parameter consists of."""


def blocks_of(network: nn.Module, parameters: dict[str, Tensor]) -> dict[str, Blocks]:
    """Return the blocks of all parameters by name; an axis is one part where the network does not say otherwise."""
    found = {name: tuple([n] for n in value.shape) for name, value in parameters.items()}
    if isinstance(network, Potential):
        found |= network.parameter_blocks(parameters)
    return found


def grown(given: Tensor, own: Tensor, given_blocks: Blocks, own_blocks: Blocks) -> Tensor:
    """``given`` in the shape of ``own``: added rows are those of ``own``, added columns of given rows are zero.

    So a hidden layer that has become wider computes what it did before; dimensions that shrank are cut. Where a
    parameter consists of blocks, each becomes wider at its end.
    """
    if own.dim() == 0:
        return given.to(own)
    result = own.clone()
    places = [_places(*sizes) for sizes in zip(given_blocks, own_blocks, strict=True)]
    sources, targets = [place[0] for place in places], [place[1] for place in places]
    result[targets[0]] = 0.0
    result[torch.meshgrid(*targets, indexing="ij")] = given[torch.meshgrid(*sources, indexing="ij")].to(own)
    return result


def _places(given: list[int], own: list[int]) -> tuple[Tensor, Tensor]:
    """Locate, in each of two lists of blocks, the entries that both have."""
    common = [min(sizes) for sizes in zip(given, own, strict=True)]
    found = []
    for sizes in (given, own):
        starts = [sum(sizes[:k]) for k in range(len(sizes))]
        found.append(torch.cat([torch.arange(start, start + n) for start, n in zip(starts, common, strict=True)]))
    return found[0], found[1]


def start_from(network: nn.Module, path: Path) -> None:
    """Give ``network`` the parameters of a file, ``grown`` to its shapes; what the file lacks stays as it is.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"the run starts from {str(path)!r}, which is not there: paths are relative to the folder the command runs "
            f"in, and weights that are shipped no more are in the history of the repository (`git log -- {path}`, then "
            f'`git show COMMIT:{path} > {path}`); `initial = ""` starts from random parameters'
        )
    own = network.state_dict()
    given = load_file(path)
    given_blocks, own_blocks = blocks_of(network, given), blocks_of(network, own)
    fitting = {
        name: grown(value, own[name], given_blocks[name], own_blocks[name])
        for name, value in given.items()
        if name in own and own[name].dim() == value.dim()
    }
    network.load_state_dict(fitting, strict=False)
    logger.info("%d of %d parameters from %s", len(fitting), len(own), path)


def initial_network(config: TrainingConfig) -> nn.Module:
    """The network that a run starts from, before the training data set scales and references."""
    torch.manual_seed(config.seed)
    network: nn.Module = ARCHITECTURES[config.architecture](**config.arguments)
    if config.initial:
        start_from(network, Path(config.initial))
    return network


#: Architectures that do not learn from graphs of labelled crystals -> what they learn from.
TASKS: dict[str, type[Task]] = {"Potential": FrameTask, "ReferredEnergy": ReadingTask}


class Trainer:
    """One run: data, network, optimiser, and their checkpoint.

    Args:
        config: the run.
        folder: of the data package; the environment variable where None.
    """

    def __init__(self, config: TrainingConfig, folder: Path | None = None) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self.config = config
        self.directory = Path(config.output) / config.name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.network: Any = ARCHITECTURES[config.architecture](**config.arguments).to(resolve_device(config.device))
        self.task = self._make_task(folder)
        if config.initial:
            start_from(self.network, Path(config.initial))
            self.task.started()
        self.average = MovingAverage(self.network, config.ema)
        self.optimisers = make_optimisers(self.network, config)
        self.processes = Processes()
        self.epoch, self.best = 0, math.inf

    def _make_task(self, folder: Path | None) -> Task:
        return TASKS.get(self.config.architecture, TensorTask)(self.config, self.network, folder)

    def _learning_rate(self, progress: float) -> float:
        """Compute the learning rate at a part of the run between 0 and 1."""
        config = self.config
        if progress < config.warmup:
            # never zero, even in the first step
            return config.learning_rate * max(progress / config.warmup, 1e-2)
        fall = max(config.warmup, 1 - config.decay)
        phase = math.cos(math.pi * min(1.0, max(0.0, progress - fall) / max(1e-9, 1 - fall)))
        low = config.final_learning_rate
        return low + (config.learning_rate - low) * (1 + phase) / 2

    def _set_learning_rate(self, progress: float) -> None:
        rate = self._learning_rate(progress)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate

    def fit(self, until: float = math.inf) -> None:
        """Train to the last epoch, from the checkpoint if there is one.

        Args:
            until: of ``time.perf_counter``; no epoch begins that would end later if it took as long as the longest.
        """
        if (self.directory / "checkpoint.json").exists():
            self._resume()
        parameters = sum(value.numel() for value in self.network.parameters())
        samples = self.task.samples_per_epoch
        logger.info("%s: %d parameters, %d samples per epoch", self.config.name, parameters, samples)
        longest = 0.0
        while self.epoch < self.config.epochs:
            start = time.perf_counter()
            if start + longest > until:
                logger.info("%s: out of time after epoch %d; a second call goes on", self.config.name, self.epoch)
                return
            training = self._one_epoch()
            if self.processes.rank > 0:
                self.epoch += 1
                continue
            validation = self.validate()
            criterion = self.config.criterion or dict.fromkeys(validation, 1.0)
            score = sum(weight * validation[name] for name, weight in criterion.items())
            self.epoch += 1
            if score < self.best:
                self.best = score
                self.save_best(validation)
            self._checkpoint()
            longest = max(longest, time.perf_counter() - start)
            logger.info(
                "epoch %d %.0f s lr %.1e | train %s | val %s | score %.4f best %.4f",
                self.epoch,
                time.perf_counter() - start,
                self.optimisers[0].param_groups[0]["lr"],
                _short(training),
                _short(validation),
                score,
                self.best,
            )

    def _one_epoch(self) -> dict[str, float]:
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 100_003 + self.epoch)
        self.network.train()
        sums: dict[str, tuple[float, float]] = {}
        batches = list(self.task.batches(generator))
        # the same number for every process: the few batches that are left over wait for another epoch
        own = batches[self.processes.rank :: self.processes.count][: len(batches) // self.processes.count]
        for number, samples in enumerate(self.task.load(own)):
            self._set_learning_rate((self.epoch + number / len(own)) / config.epochs)
            loss, totals = self.task.backward(samples)
            loss = self.processes.average(loss, self.network.parameters())
            for name, (total, count) in totals.items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + total, before[1] + count)
            if not math.isfinite(loss):
                logger.warning("loss is %s in epoch %d, batch skipped", loss, self.epoch)
                continue
            nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
            for optimiser in self.optimisers:
                optimiser.step()
            self.average.update(self.network)
        return {name: total / max(count, 1.0) for name, (total, count) in sums.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss per property of the averaged weights on the validation split."""
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.values)
        self.network.eval()
        terms: dict[str, list[Tensor]] = {}
        for batch in self.task.validation():
            for name, values in batch.items():
                terms.setdefault(name, []).append(values.detach())
        self.network.load_state_dict(kept)
        return {name: float(torch.cat(values).mean()) for name, values in terms.items()}

    def save_best(self, validation: dict[str, float]) -> None:
        """Averaged weights and what they were chosen by."""
        save_file({k: v.contiguous() for k, v in self.average.values.items()}, self.directory / "best.safetensors")
        facts = {
            "epoch": self.epoch,
            "score": self.best,
            "validation_loss": validation,
            "architecture": self.config.architecture,
            "arguments": self.network.arguments,
        }
        (self.directory / "best.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def _checkpoint(self) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.values.items()}
        for number, optimiser in enumerate(self.optimisers):
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser{number}.{index}.{k}": v for k, v in state.items()}
        temporary = self.directory / "checkpoint.partial"
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, temporary)
        temporary.replace(self.directory / "checkpoint.safetensors")
        facts = {"epoch": self.epoch, "best": self.best, "updates": self.average.updates}
        (self.directory / "checkpoint.json").write_text(json.dumps(facts), encoding="utf-8")

    def _resume(self) -> None:
        facts = json.loads((self.directory / "checkpoint.json").read_text(encoding="utf-8"))
        tensors = load_file(self.directory / "checkpoint.safetensors")
        self.epoch, self.best, self.average.updates = facts["epoch"], facts["best"], facts["updates"]
        groups: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            group, name = key.split(".", 1)
            groups.setdefault(group, {})[name] = value
        self.network.load_state_dict(groups["network"])
        for name, value in groups["average"].items():
            self.average.values[name].copy_(value)
        for number, optimiser in enumerate(self.optimisers):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in groups.get(f"optimiser{number}", {}).items():
                index, name = key.split(".", 1)
                state.setdefault(int(index), {})[name] = value
            optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
        logger.info("resumed %s after epoch %d", self.config.name, self.epoch)


def _short(values: dict[str, float]) -> str:
    return " ".join(f"{name.split('_tensor')[0]} {value:.4f}" for name, value in values.items())
