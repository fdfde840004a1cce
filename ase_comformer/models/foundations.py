"""Networks that read another one: where the other is found, and which one it has to be.

A network with a foundation (``nn.protocols.BuiltOn``) keeps none of its parameters. Its card and the header of its file
name the foundation and the SHA-256 of the parameters it was trained on, so that the checksum of the file covers both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase_comformer.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn


def foundation_path(name: str, folders: Sequence[Path]) -> Path:
    """Path of the JSON file of a foundation, in the first of the folders that has it.

    Raises:
        WeightsError: none has it.
    """
    for folder in folders:
        if (folder / f"{name}.json").is_file():
            return (folder / f"{name}.json").resolve()
    places = ", ".join(dict.fromkeys(str(folder) for folder in folders))
    raise WeightsError(f"The network reads {name!r}, and there is no {name}.json in {places}: copy it there.")


def foundation_of(network: nn.Module, folders: Sequence[Path]) -> dict[str, str]:
    """Name and SHA-256 of the foundation of a network that is about to be saved; empty without one."""
    name = getattr(network, "foundation", "")
    if not name:
        return {}
    card = json.loads(foundation_path(name, folders).read_text(encoding="utf-8"))
    return {"foundation": name, "sha256": card["sha256"]}


def require_foundation(card: Mapping[str, Any], foundation: Mapping[str, Any]) -> None:
    """Refuse a foundation whose parameters are not those that a network was trained on.

    Args:
        card: of the network.
        foundation: card of what was found under the name of its foundation.

    Raises:
        WeightsError: the parameters differ.
    """
    wanted = card.get("foundation", {}).get("sha256")
    if wanted != foundation["sha256"]:
        raise WeightsError(
            f"{card['name']!r} was trained on {foundation['name']!r} with SHA-256 {wanted}, and the one here has "
            f"{foundation['sha256']}: put the right {foundation['name']}.safetensors and .json beside it."
        )
