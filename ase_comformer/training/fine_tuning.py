"""Configurations of training runs that go on from a shipped network with calculations of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase_comformer.errors import UnknownNameError
from ase_comformer.models.registry import find_model, load_model, model_card

#: Settings of ``TrainingConfig`` that differ from its defaults: short, careful runs.
POTENTIAL: dict[str, Any] = {
    "epochs": 20, "samples_per_epoch": 512, "val_samples": 200, "batch_size": 8, "learning_rate": 2e-4,
    "final_learning_rate": 1e-6, "ema": 0.99, "initial_share": 0.3, "keep_references": True,
}  # fmt: skip
TENSORS: dict[str, Any] = {
    "epochs": 30, "batch_size": 8, "learning_rate": 1e-4, "final_learning_rate": 1e-6, "ema": 0.99,
    "initial_share": 0.3,
}  # fmt: skip


def write_fine_tuning_config(
    path: str | Path,
    name: str,
    property_name: str,
    datasets: Sequence[str],
    *,
    model: str | Path = "default",
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write the TOML file of a run that starts from the first network behind a property; ``train`` takes it.

    Args:
        path: of the file.
        name: of the run and of its weights.
        property_name: "energy" for the potential (energy, forces and stress), or a tensor.
        datasets: as ``data.own_calculations.collect`` named them, others to keep what the network knows.
        model: name or path, whose network is taken.
        settings: of ``TrainingConfig``, over ``POTENTIAL`` or ``TENSORS``.

    Returns:
        The path.

    Raises:
        UnknownNameError: the model has no such property.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_fine_tuning_config(f"{folder}/mine.toml", "mine", "energy", ["mine"])
        ...     print(path.read_text().splitlines()[0])
        name = "mine"
    """
    members = load_model(model, "cpu").members
    if property_name not in members:
        raise UnknownNameError(f"model {str(model)!r} has no property {property_name!r}; it has {', '.join(members)}")
    network = members[property_name][0].name
    card_path = find_model(model).parent / f"{network}.json"
    card = model_card(card_path)
    is_potential = card["architecture"] == "Potential"
    arguments = {key: value for key, value in card["arguments"].items() if value is not None}
    properties = ["energy", "forces", "stress"] if is_potential else [property_name]
    if is_potential:
        arguments["uncertainty"] = False  # expected errors were fitted to the weights before
    content = {
        "name": name,
        "architecture": card["architecture"],
        "datasets": list(datasets),
        "properties": properties,
        "initial": str(card_path.with_suffix(".safetensors").resolve()),
        "output": str(Path(path).resolve().parent / "runs"),
        **(POTENTIAL if is_potential else TENSORS),
        "notes": f"Fine-tuned from `{network}`.",
        **(settings or {}),
        "arguments": arguments,
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in content.items()), encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    """A value as TOML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, str) else repr(value)
