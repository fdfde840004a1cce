"""The training loop behind ``ase-comformer train CONFIG``: resumable, logged, exponential moving average of weights.

A TOML file names the architecture, the data and the schedule; one file per shipped model is committed under
``ase_comformer/training/configs``. Model choice reads the validation split only.
"""

import json
import logging
import math
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.logging import RichHandler
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ase_comformer.nn import ARCHITECTURES
from ase_comformer.training.losses import loss_terms
from ase_comformer.training.samples import SampleSet, load_samples

logger = logging.getLogger(__name__)


@dataclass
class TrainingConfig:
    """What a TOML file may say; see ``configs/`` for examples.

    Attributes:
        name: of the run and of the weights.
        architecture: key of ``nn.ARCHITECTURES``; ``arguments`` are its constructor's.
        datasets: names of ``data.DATASETS``; ``repeat`` draws a data set several times per epoch.
        properties: labels to fit, ``moduli`` (bulk and shear modulus) included.
        loss_weights: per property, 1 where missing.
        criterion: property -> weight in the validation figure that picks the best epoch.
        reduced: train on symmetry-reduced graphs.
        max_atoms: data set -> size in atoms above which its cells are left out, 200 where missing.
        initial: weights to start from (safetensors; parameters that fit by name and shape are taken).
    """

    name: str
    architecture: str
    arguments: dict[str, Any]
    datasets: list[str]
    properties: list[str]
    loss_weights: dict[str, float] = field(default_factory=dict)
    criterion: dict[str, float] = field(default_factory=dict)
    repeat: dict[str, int] = field(default_factory=dict)
    reduced: bool = True
    max_atoms: dict[str, int] = field(default_factory=dict)
    splits: list[str] = field(default_factory=lambda: ["train"])
    initial: str | None = None
    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-5
    warmup: float = 0.03
    weight_decay: float = 1e-3
    ema: float = 0.998
    clip: float = 1.0
    seed: int = 0
    threads: int = 1
    output: str = "runs"

    @classmethod
    def read(cls, path: Path) -> "TrainingConfig":
        """Parse a TOML file; unknown keys are an error that names them."""
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(content) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"{path}: unknown keys {unknown}; valid ones: {', '.join(cls.__dataclass_fields__)}")
        return cls(**content)


class MovingAverage:
    """Exponential moving average of the parameters, with a short memory at the start."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the current parameters."""
        self.updates += 1
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, share)
            else:
                self.values[name].copy_(value)


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
        self.network: Any = ARCHITECTURES[config.architecture](**config.arguments)
        options: dict[str, Any] = {
            "properties": config.properties,
            "settings": self.network.graph_settings,
            "reduced": config.reduced,
            "max_atoms": config.max_atoms,
            "folder": folder,
            "cache": Path(config.output) / "cache",
        }
        self.train_set = load_samples(config.datasets, config.splits, **options)
        self.val_set = load_samples(config.datasets, ["val"], **options)
        self._set_element_reference()
        if config.initial is not None:
            self._take_initial(Path(config.initial))
        self.average = MovingAverage(self.network, config.ema)
        decayed = [value for value in self.network.parameters() if value.dim() > 1]
        rest = [value for value in self.network.parameters() if value.dim() <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(
            groups,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        repeats = torch.tensor([config.repeat.get(name, 1) for name in config.datasets])
        self.pool = torch.repeat_interleave(torch.arange(len(self.train_set)), repeats[self.train_set.dataset])
        self.steps_per_epoch = math.ceil(len(self.pool) / config.batch_size)
        self.epoch, self.best = 0, math.inf

    def _set_element_reference(self) -> None:
        """Least-squares energy per element, so that the network learns the rest (DESIGN.md section 5)."""
        if "formation_energy" not in self.train_set.labels or not hasattr(self.network, "element_reference"):
            return
        crystals, energies = self.train_set.labels["formation_energy"]
        graph = self.train_set.store.graph
        composition = torch.zeros(graph.crystal_count, len(self.network.element_reference))
        composition.index_put_((graph.node_crystal, graph.numbers), graph.node_weight, accumulate=True)
        matrix = composition[crystals].double()
        ridge = matrix.T @ matrix + 1e-2 * torch.eye(matrix.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(ridge, matrix.T @ energies.double())
        self.network.element_reference.copy_(solution)

    def _take_initial(self, path: Path) -> None:
        own = self.network.state_dict()
        given = load_file(path)
        fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
        self.network.load_state_dict(fitting, strict=False)
        logger.info("%d of %d parameters from %s", len(fitting), len(own), path)

    def _learning_rate(self, step: int) -> float:
        total = self.config.epochs * self.steps_per_epoch
        ramp = max(1, int(self.config.warmup * total))
        if step < ramp:
            return self.config.learning_rate * (step + 1) / ramp
        phase = math.cos(math.pi * min(1.0, (step - ramp) / max(1, total - ramp)))
        low = self.config.final_learning_rate
        return low + (self.config.learning_rate - low) * (1 + phase) / 2

    def fit(self) -> None:
        """Train to the last epoch, from the checkpoint if there is one."""
        if (self.directory / "checkpoint.json").exists():
            self._resume()
        parameters = sum(value.numel() for value in self.network.parameters())
        logger.info("%s: %d parameters, %d samples per epoch", self.config.name, parameters, len(self.pool))
        while self.epoch < self.config.epochs:
            start = time.perf_counter()
            training = self._one_epoch()
            validation = self.validate()
            criterion = self.config.criterion or dict.fromkeys(validation, 1.0)
            score = sum(weight * validation[name] for name, weight in criterion.items())
            self.epoch += 1
            if score < self.best:
                self.best = score
                self.save_best(validation)
            self._checkpoint()
            logger.info(
                "epoch %d %.0f s lr %.1e | train %s | val %s | score %.4f best %.4f",
                self.epoch,
                time.perf_counter() - start,
                self.optimiser.param_groups[0]["lr"],
                _short(training),
                _short(validation),
                score,
                self.best,
            )

    def _one_epoch(self) -> dict[str, float]:
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 100_003 + self.epoch)
        order = self.pool[torch.randperm(len(self.pool), generator=generator)]
        self.network.train()
        sums: dict[str, list[float]] = {}
        for number, crystals in enumerate(order.split(config.batch_size)):
            for group in self.optimiser.param_groups:
                group["lr"] = self._learning_rate(self.epoch * self.steps_per_epoch + number)
            terms = self._terms(self.train_set, crystals)
            loss = torch.zeros(())
            for name, values in terms.items():
                loss = loss + config.loss_weights.get(name, 1.0) * values.sum() / len(crystals)
                total = sums.setdefault(name, [0.0, 0.0])
                total[0] += float(values.detach().sum())
                total[1] += len(values)
            if not torch.isfinite(loss):
                logger.warning("loss is %s in epoch %d, batch skipped", float(loss), self.epoch)
                continue
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
            self.optimiser.step()
            self.average.update(self.network)
        return {name: total / count for name, (total, count) in sums.items()}

    def _terms(self, samples: SampleSet, crystals: Tensor) -> dict[str, Tensor]:
        graph, targets, fidelity = samples.batch(crystals, self.config.properties)
        asked = {"elastic_tensor" if name == "moduli" else name for name in targets.rows}
        if not asked:
            return {}
        ordered = [name for name in self.network.properties if name in asked]
        if len(getattr(self.network, "fidelities", ())) > 1:
            predictions = self.network(graph, ordered, fidelity)
        else:
            predictions = self.network(graph, ordered)
        return loss_terms(predictions, targets)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss per property of the averaged weights on the validation split."""
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.values)
        self.network.eval()
        terms: dict[str, list[Tensor]] = {}
        for crystals in torch.arange(len(self.val_set)).split(128):
            for name, values in self._terms(self.val_set, crystals).items():
                terms.setdefault(name, []).append(values)
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
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": v for k, v in state.items()}
        temporary = self.directory / "checkpoint.partial"
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, temporary)
        temporary.replace(self.directory / "checkpoint.safetensors")
        facts = {"epoch": self.epoch, "best": self.best, "updates": self.average.updates}
        (self.directory / "checkpoint.json").write_text(json.dumps(facts), encoding="utf-8")

    def _resume(self) -> None:
        facts = json.loads((self.directory / "checkpoint.json").read_text(encoding="utf-8"))
        tensors = load_file(self.directory / "checkpoint.safetensors")
        self.epoch, self.best, self.average.updates = facts["epoch"], facts["best"], facts["updates"]
        groups: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
        for key, value in tensors.items():
            group, name = key.split(".", 1)
            groups[group][name] = value
        self.network.load_state_dict(groups["network"])
        self.average.values = groups["average"]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in groups["optimiser"].items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        content = self.optimiser.state_dict()
        content["state"] = state
        self.optimiser.load_state_dict(content)
        logger.info("resumed %s after epoch %d", self.config.name, self.epoch)


def _short(values: dict[str, float]) -> str:
    return " ".join(f"{name.split('_tensor')[0]} {value:.4f}" for name, value in values.items())


def run(config_path: Path) -> None:
    """Train what a TOML file describes, logging to the terminal and to ``OUTPUT/NAME/train.log``.

    Args:
        config_path: TOML file with the fields of ``TrainingConfig``.
    """
    config = TrainingConfig.read(Path(config_path))
    directory = Path(config.output) / config.name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.toml").write_bytes(Path(config_path).read_bytes())
    to_file = logging.FileHandler(directory / "train.log")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    package = logging.getLogger("ase_comformer")
    package.setLevel(logging.INFO)
    for handler in (to_file, RichHandler(show_path=False)):
        package.addHandler(handler)
    Trainer(config).fit()
