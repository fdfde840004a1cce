"""Accuracy in model cards: the ``metrics`` of ``NAME.json`` and the section "Accuracy" of ``NAME.md``.

The figures come from ``ase-comformer evaluate NAME --record`` and carry the fingerprint of the weights they belong
to. Exporting a network or saving a bundle again empties them; ``metrics_are_current`` sees members that changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase_comformer.errors import WeightsError
from ase_comformer.models.checksums import replace_file, write_checksums
from ase_comformer.models.registry import Model, find_model, load_model, model_card
from ase_comformer.properties.registry import tensor_property

_HEADING = "## Accuracy"


def record_metrics(name: str | Path, metrics: Mapping[str, Any], table: str) -> Path:
    """Write test metrics into ``NAME.json`` and ``NAME.md`` of a network or bundle, and update ``SHA256SUMS``.

    Args:
        name: name or path of the model.
        metrics: JSON-able, with ``split`` ('test') and ``fingerprint`` of the evaluated weights
            (``training.report.Evaluation.card_metrics``).
        table: the same as Markdown; replaces the section "Accuracy" of the card.

    Returns:
        Path of ``NAME.json``.

    Raises:
        UnknownNameError: no such model.
        WeightsError: the figures belong to other weights, or to another split.
    """
    path = find_model(name)
    card = model_card(path)
    if metrics.get("split") != "test":
        raise WeightsError(f"{path.name}: a model card holds figures of split 'test', not {metrics.get('split')!r}")
    if metrics.get("fingerprint") != load_model(path, "cpu").fingerprint:
        raise WeightsError(f"{path.name}: the figures belong to other weights; evaluate the model again")
    card["metrics"] = dict(metrics)
    text_path = path.with_suffix(".md")
    is_network = "members" not in card
    text = text_path.read_text(encoding="utf-8") if is_network and text_path.is_file() else _introduction(card)
    settings = ", ".join(f"{key} {value}" for key, value in metrics.get("settings", {}).items())
    command = f"ase-comformer evaluate {card['name']} --record"
    section = f"{_HEADING}\n\nTest split, printed by `{command}` ({settings}).\n\n{table}\n"
    replace_file(path, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    replace_file(text_path, _with_section(text, section).encode())
    write_checksums(path.parent)
    return path


def metrics_are_current(name: str | Path) -> bool:
    """Whether the metrics of a model belong to its present weights, or there are none, in JSON and in Markdown."""
    metrics = model_card(name).get("metrics")
    if metrics:
        return metrics.get("fingerprint") == load_model(name, "cpu").fingerprint
    text_path = find_model(name).with_suffix(".md")
    return not text_path.is_file() or f"{_HEADING}\n" not in text_path.read_text(encoding="utf-8")


def _with_section(text: str, section: str) -> str:
    """``text`` with its section of that heading replaced, or the section put at the end."""
    parts = text.split(f"{_HEADING}\n", 1)
    before = parts[0].rstrip("\n")
    rest = parts[1].partition("\n## ")[2] if len(parts) == 2 else ""
    return f"{before}\n\n{section}" + (f"\n## {rest}" if rest else "")


def _introduction(card: Mapping[str, Any]) -> str:
    """Card of a bundle (rewritten each time, its networks change), or of a network saved without one."""
    if "members" not in card:
        return f"# {card['name']}\n\n{card['architecture']}, {card['parameters']:,} parameters.\n"
    rows = "\n".join(f"| {prop} | {', '.join(names)} |" for prop, names in card["members"].items())
    return (
        f"# {card['name']}\n\nFor each property the mean output of its networks, whose cards say what they are and "
        f"what they were trained on.\n\n| property | networks |\n|---|---|\n{rows}\n"
    )


def describe_prediction(model: Model, name: str, source: str | None = None) -> dict[str, Any]:
    """Which physical quantity a property of ``model`` is and where the prediction comes from; JSON-able.

    Args:
        model: the model.
        name: the property.
        source: entry of the model that gives it, where that has another name (atomic energies come from the energy).

    Returns:
        ``property``, ``description``, ``unit``, ``shape``, ``kind`` (e.g. clamped-ion), ``functional``,
        ``elements``, ``model``, and ``networks`` with their ``training`` data and ``metrics``.
    """
    entry = tensor_property(name)
    source = name if source is None else source
    cards = model.cards(source)
    kind = _agreed(cards, source, "kind", entry.description) if source == name else entry.description
    return {
        "property": name,
        "description": entry.description,
        "unit": entry.unit,
        "shape": [*(["n"] if entry.per_atom else []), *entry.shape],
        "kind": kind,
        "functional": _agreed(cards, source, "functional", "not stated in the model card"),
        "elements": sorted(model.elements(source)),
        "model": model.name,
        "networks": [
            {
                **{key: card[key] for key in ("name", "architecture", "sha256")},
                **{key: card.get(key, {}) for key in ("training", "metrics")},
            }
            for card in cards
        ],
    }


def _agreed(cards: Sequence[Mapping[str, Any]], name: str, key: str, otherwise: str) -> str:
    values = [str(card["properties"][name][key]) for card in cards if card["properties"][name].get(key)]
    return " / ".join(dict.fromkeys(values)) or otherwise
