"""A finished run -> ``weights/NAME``: parameters, JSON and model card, with what the licence of the data asks for.

A run may be exported several times with fewer properties each, because heads overfit at different epochs: the
best averaged weights by the run's criterion (``best``) or the averaged weights of the last epoch (``last``).
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from safetensors.torch import load_file
from torch import Tensor, nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.models.registry import save_weights
from ase_comformer.nn import ARCHITECTURES
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.properties.registry import tensor_property
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.frame_sources import load_frames
from ase_comformer.training.data.frames import join
from ase_comformer.training.data.samples import is_labelled, select_records
from ase_comformer.training.engines.trainer import initial_network
from ase_comformer.training.evaluation.calibration import fit_uncertainty
from ase_comformer.training.provenance import provenance_of

logger = logging.getLogger(__name__)

CHECKPOINTS = ("best", "last")
#: What a card says of rounded parameters.
HALF_PRECISION = "parameters rounded to float16"


def run(
    run_directory: Path,
    weights: Path,
    name: str | None = None,
    *,
    checkpoint: str = "best",
    properties: Sequence[str] | None = None,
    data: Path | None = None,
    half: bool = False,
) -> Path:
    """Export a run.

    Args:
        run_directory: ``OUTPUT/NAME`` of the training run, with ``config.toml`` inside.
        weights: folder to write to.
        name: of the weights; that of the run where None.
        checkpoint: ``"best"`` or ``"last"``.
        properties: heads to keep; all where None.
        data: folder of the data package, for the elements covered.
        half: keep parameters in half precision.

    Returns:
        Path of ``NAME.json``, whose ``metrics`` are empty: ``ase-comformer evaluate NAME --record`` fills them.

    Raises:
        UnknownNameError: unknown checkpoint or property.
    """
    if checkpoint not in CHECKPOINTS:
        raise UnknownNameError(f"checkpoint {checkpoint!r} is unknown; choose one of {', '.join(CHECKPOINTS)}")
    config = TrainingConfig.read(run_directory / "config.toml")
    network, facts = trained_network(run_directory, config, checkpoint, properties)
    kept: tuple[str, ...] = network.properties  # type: ignore[assignment]
    if isinstance(network, Potential) and not config.keep_references:  # else trained without the data package
        training, validation = (load_frames("labelled", [split], data) for split in ("train", "val"))
        other = [load_frames(s, ["train"], data) for s in ("varied", "weak") if s in config.datasets]
        varied = join(other) if other else None
        fit_uncertainty(network, training, validation, varied)
    name = name or config.name
    taught = _taught(config, kept, data)
    fields: dict[str, Any] = {
        "properties": {
            prop: {
                **taught[prop],
                "functional": tensor_property(prop).functional,
                "kind": tensor_property(prop).description,
            }
            for prop in kept
        },
        "training": {
            "config": config.name,
            "datasets": config.datasets,
            "splits": config.splits,
            "epoch": facts["epoch"],
            "checkpoint": checkpoint,
            "initial": config.initial,
            "initial_share": config.initial_share,
            "notes": config.notes,
            "validation_loss": facts.get("validation_loss", {}),
            "provenance": {dataset: provenance_of(dataset) for dataset in config.datasets},
        },
        "metrics": {},
    }
    fields["card"] = _card(name, config, fields, sum(value.numel() for value in network.parameters()), half=half)
    return save_weights(network, weights, name, fields, half=half)


def trained_network(
    run_directory: Path, config: TrainingConfig, checkpoint: str, properties: Sequence[str] | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged weights of a run and what was written beside them; arguments as in ``run``.

    ``config.initial_share`` of the parameters the run started from is mixed in: between the two the network keeps most
    of what each is better at (M. Wortsman et al., Robust fine-tuning, CVPR 2022, eq. 1).
    """
    if checkpoint == "best":
        facts = json.loads((run_directory / "best.json").read_text(encoding="utf-8"))
        state = load_file(run_directory / "best.safetensors")
    else:
        facts = json.loads((run_directory / "checkpoint.json").read_text(encoding="utf-8"))
        prefix = "average."
        stored = load_file(run_directory / "checkpoint.safetensors")
        state = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
    arguments = dict(config.arguments)
    if properties is not None:
        arguments["properties"] = list(properties)
    network = ARCHITECTURES[config.architecture](**arguments)
    own = network.state_dict()
    if config.initial_share:
        initial = dict(initial_network(config).named_parameters())  # what training sets stays as the run set it
        state |= {key: _between(state[key], value, config.initial_share) for key, value in initial.items()}
    network.load_state_dict({key: value for key, value in state.items() if key in own})
    return network.eval(), facts


def _between(trained: Tensor, initial: Tensor, share: float) -> Tensor:
    return torch.lerp(trained.double(), initial.double(), share).to(trained.dtype)


def _taught(config: TrainingConfig, properties: Sequence[str], data: Path | None) -> dict[str, dict[str, list[str]]]:
    """Collect per property the symbols of the training crystals that teach it and, with a choice, the functionals."""
    if config.architecture == "Potential":  # the surface that users get follows the labelled frames
        taught = config.datasets if config.keep_references else ["labelled"]
        frames = join([load_frames(name, config.splits, data) for name in taught])
        symbols = [chemical_symbols[number] for number in np.unique(frames.numbers)]
        return {name: {"elements": symbols} for name in properties}
    records, _ = select_records(
        config.datasets, config.splits, config.properties, folder=data, max_atoms=config.max_atoms
    )
    found: dict[str, dict[str, list[str]]] = {}
    for name in properties:
        numbers: set[int] = set()
        for record in records:
            if is_labelled(record, name, config.properties):
                numbers.update(record.atoms.numbers.tolist())
        found[name] = {"elements": [chemical_symbols[number] for number in sorted(numbers)]}
        choices = tensor_property(name).functionals
        if choices:
            known = {record.extras["functional"] for record in records if name in record.labels}
            found[name]["functionals"] = [each for each in choices if each in known]
    return found


def _card(name: str, config: TrainingConfig, fields: Mapping[str, Any], parameters: int, *, half: bool) -> str:
    rows = "\n".join(
        f"| {prop} | {tensor_property(prop).unit or '-'} | {entry['functional']} | {len(entry['elements'])} "
        f"| {entry['kind']} |"
        for prop, entry in fields["properties"].items()
    )
    sources = "\n".join(
        f"- `{dataset}`: {source['source']}. Licence: {source['licence']}. Cite: {source['citation']}."
        for dataset, source in fields["training"]["provenance"].items()
    )
    origin = fields["training"]
    history = f"{config.notes.strip()}\n\n" if config.notes else ""
    stored = f"; {HALF_PRECISION}" if half else ""
    mixed = f"; {config.initial_share:.0%} of each parameter from `{config.initial}`" if config.initial_share else ""
    return f"""# {name}

{config.architecture}, {parameters:,} parameters, trained on the {"+".join(config.splits)} split with
`ase-comformer train ase_comformer/training/configs/{config.name}.toml`
(averaged weights, {origin["checkpoint"]} checkpoint, epoch {origin["epoch"]}{mixed}{stored}).

{history}| property | unit | functional | elements | what it is |
|---|---|---|---|---|
{rows}

## Data

{sources}

Formulas of the val, test and withheld parts of the split (SHA-256, `training/data/records.py`) were not trained on;
choices were made on val. Not covered: magnetic order, spin-orbit coupling, Hubbard U (dielectric and Born
charges), elements that are not listed in `{name}.json`.
"""
