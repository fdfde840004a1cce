"""Reads training configurations: one TOML file per run, the committed ones are in ``configs/``."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from ase_comformer.errors import check_choice
from ase_comformer.properties.plugins import load_plugins

OPTIMISERS = ("adamw", "muon")
#: Fields -> what their values must be, in words and as a test; NaN passes none.
_RANGES: dict[tuple[str, ...], tuple[str, Callable[[Any], bool]]] = {
    ("epochs", "batch_size", "samples_per_epoch", "val_samples", "threads"): ("at least 1", lambda value: value >= 1),
    ("learning_rate", "fraction", "decay", "clip"): ("positive", lambda value: value > 0),
    ("final_learning_rate", "weight_decay", "seed"): ("zero or more", lambda value: value >= 0),
    ("fraction", "decay", "warmup", "initial_share", "ema"): ("from 0 to 1", lambda value: 0 <= value <= 1),
    ("datasets", "properties", "splits", "name"): ("given", bool),
}


@dataclass
class TrainingConfig:
    """Holds all that a TOML file may say; see ``configs/`` for examples.

    Attributes:
        name: of the run and of the weights.
        plugins: files (beside the TOML file) and modules that register further properties, see ``properties.plugins``.
        architecture: key of ``nn.ARCHITECTURES``; ``arguments`` are its constructor's.
        datasets: names of ``data.DATASETS``; ``repeat`` draws a data set several times per epoch,
            or a part of it, each time another.
        properties: labels to fit, ``moduli`` (bulk and shear modulus) included.
        loss_weights: per property, 1 where missing.
        criterion: property -> weight in the validation figure that picks the best epoch.
        reduced: train on symmetry-reduced graphs.
        max_atoms: data set -> size in atoms above which its cells are left out, 200 where missing.
        fraction: of the training formulas (of frames: crystals) that is used, for learning curves.
        share: data set -> share of the samples of an epoch (frames only; equal shares where empty).
        samples_per_epoch: how many are drawn (frames only).
        val_samples: how many frames of each data set validate.
        decay: last part of the schedule in which the learning rate falls, the rest is constant: with 1 a cosine from
            the start; with less, a run can be prolonged by raising ``epochs`` before the fall has begun.
        capacity: of batches of constant shape (``frame_batch.Capacity``), with which a step is compiled and
            ``batch_size`` is not read (frames only); empty: not compiled.
        compile: whether a step of constant shape is compiled (else it is traced only, for tests and short runs).
        fused: whether a run on a GPU sums over edges with kernels of its own (``nn.operations.fused``).
        tensor_float: whether its optimisers multiply matrices in TF32, which Muon's iteration bears; networks do not,
            as 11 bits of mantissa are as coarse as the small displacements of ``response`` frames.
        device: "cpu", or "cuda" for potentials with a ``capacity`` (``training.captured``).
        loader: "store" cuts batches out of one flat graph, "pyg" takes torch-geometric's ``DataLoader``: the same
            batches, slower (``benchmarks/pyg.py``); tensors and scalars only.
        optimiser: "adamw" or "muon", see ``training.optimisers``.
        initial: weights to start from (safetensors; parameters that fit by name are taken, and where they are smaller
            the rest has no influence on what they compute as long as only hidden layers have become wider; a wider
            trunk starts near what they compute).
        initial_share: share of the initial parameters in the exported ones (``export.trained_network``).
        keep_references: energies of elements and isolated atoms stay those of ``initial`` (potentials): for runs on
            calculations of one's own, without the data package.
        notes: what the other fields do not say about how the weights came about, for the model card.
    """

    name: str
    architecture: str
    arguments: dict[str, Any]
    datasets: list[str]
    properties: list[str]
    loss_weights: dict[str, float] = field(default_factory=dict)
    criterion: dict[str, float] = field(default_factory=dict)
    repeat: dict[str, float] = field(default_factory=dict)
    reduced: bool = True
    max_atoms: dict[str, int] = field(default_factory=dict)
    splits: list[str] = field(default_factory=lambda: ["train"])
    initial: str = ""
    initial_share: float = 0.0
    keep_references: bool = False
    notes: str = ""
    plugins: list[str] = field(default_factory=list)
    fraction: float = 1.0
    share: dict[str, float] = field(default_factory=dict)
    samples_per_epoch: int = 16384
    val_samples: int = 500
    decay: float = 1.0
    capacity: dict[str, int] = field(default_factory=dict)
    compile: bool = True
    fused: bool = False
    tensor_float: bool = False
    device: str = "cpu"
    optimiser: str = "adamw"
    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-5
    warmup: float = 0.03
    weight_decay: float = 1e-3
    ema: float = 0.998
    clip: float = 1.0
    loader: str = "store"
    seed: int = 0
    threads: int = 1
    output: str = "runs"

    @classmethod
    def read(cls, path: Path) -> "TrainingConfig":
        """Parse a TOML file and load its plugins.

        ``base`` names a file beside it whose keys it overrides.

        Raises:
            ValueError: unknown keys; the message lists the valid ones.
        """
        content: dict[str, Any] = {}
        for part in _with_bases(path):
            content |= tomllib.loads(part.read_text(encoding="utf-8"))
        content.pop("base", None)
        unknown = sorted(set(content) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"{path}: unknown keys {unknown}; valid ones: {', '.join(cls.__dataclass_fields__)}")
        load_plugins(content.get("plugins", ()), path.parent)
        return cls(**content)

    def __post_init__(self) -> None:
        """Check types and ranges before a run starts, not hours into it.

        Raises:
            ValueError: a value of another type, out of range, or not among the choices; the message names the field.
        """
        for name, hint in get_type_hints(type(self)).items():
            value, kind = getattr(self, name), get_origin(hint) or hint
            if kind is float and type(value) is int:
                setattr(self, name, float(value))
            elif type(value) is not kind:
                raise ValueError(f"{name} = {value!r} must be of type {kind.__name__}, not {type(value).__name__}")
        for names, (text, is_right) in _RANGES.items():
            for name in names:
                if not is_right(getattr(self, name)):
                    raise ValueError(f"{name} = {getattr(self, name)!r} must be {text}")
        check_choice(self.optimiser, OPTIMISERS, "optimiser")


def copy_config(path: Path, target: Path) -> None:
    """Copy a TOML file to ``target``, and beside it the files that it builds on and its plugins."""
    target.write_bytes(path.read_bytes())
    for base in _with_bases(path)[:-1]:
        (target.parent / base.name).write_bytes(base.read_bytes())
    for plugin in tomllib.loads(path.read_text(encoding="utf-8")).get("plugins", ()):
        if plugin.endswith(".py") and not Path(plugin).is_absolute():
            copy = target.parent / plugin
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((path.parent / plugin).read_bytes())


def _with_bases(path: Path) -> list[Path]:
    """The file and what it builds on, most basic first."""
    base = tomllib.loads(path.read_text(encoding="utf-8")).get("base")
    return [*(_with_bases(path.parent / base) if base else []), path]
