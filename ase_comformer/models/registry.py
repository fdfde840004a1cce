"""Registry of trained weights: find, check, load and save them.

A network is three files, ``NAME.safetensors`` (parameters), ``NAME.json`` (architecture, arguments, covered
elements, training data and licence, metrics, SHA-256) and ``NAME.md`` (model card). A *bundle* is a
``NAME.json`` that lists, for each property, the networks whose mean is the prediction. ``SHA256SUMS`` covers
the folder. Nothing is ever unpickled.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ase_comformer.devices import resolve_device, resolve_dtype
from ase_comformer.errors import UnknownNameError, WeightsError
from ase_comformer.models.checksums import is_truncated, replace_file, sha256, write_checksums
from ase_comformer.models.foundations import foundation_of, foundation_path, require_foundation

FORMAT = 1
"""Version of the JSON layout that this code reads and writes."""

_CARD_KEYS = ("architecture", "arguments", "properties", "sha256")
_REINSTALL = "Reinstall it (pip install --force-reinstall ase-comformer) or restore the file from its source."


@dataclass(frozen=True)
class Entry:
    """One trained network.

    Attributes:
        name: its name in the registry.
        network: frozen module (evaluation mode, no gradients for parameters); shared, never to be changed.
        card: content of ``NAME.json``.
    """

    name: str
    network: nn.Module
    card: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Model:
    """What a calculator evaluates: for each property one or more networks, whose outputs are averaged.

    Attributes:
        name: name of the bundle or of the single network.
        members: property name -> networks.
        path: the JSON file that it was loaded from.
    """

    name: str
    members: Mapping[str, tuple[Entry, ...]]
    path: Path

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties that this model predicts."""
        return tuple(self.members)

    def entries(self, property_name: str) -> list[nn.Module]:
        """Networks whose mean output is the prediction of ``property_name``."""
        return [entry.network for entry in self._entries(property_name)]

    def cards(self, property_name: str) -> list[Mapping[str, Any]]:
        """Cards of the networks behind ``property_name``."""
        return [entry.card for entry in self._entries(property_name)]

    def elements(self, property_name: str) -> frozenset[str]:
        """Chemical symbols that every network behind ``property_name`` was trained on."""
        covered = [set(card["properties"][property_name]["elements"]) for card in self.cards(property_name)]
        return frozenset(set.intersection(*covered))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and checksums of all members: two models agree when this agrees."""
        parts = [
            f"{property_name} {entry.name} {entry.card['sha256']}"
            for property_name, entries in self.members.items()
            for entry in entries
        ]
        return sha256("\n".join(parts).encode())

    def _entries(self, property_name: str) -> tuple[Entry, ...]:
        try:
            return self.members[property_name]
        except KeyError:
            raise UnknownNameError(
                f"Model {self.name!r} has no property {property_name!r}. It predicts: {', '.join(self.properties)}."
            ) from None


def weights_folder() -> Path:
    """Folder of the shipped weights: ``ase_comformer/_weights`` if installed, ``weights/`` in a checkout."""
    installed = Path(__file__).parents[1] / "_weights"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "weights"


def available_models(folder: Path | None = None) -> tuple[str, ...]:
    """Names that ``model=`` accepts, bundles first (``folder``: default :func:`weights_folder`)."""
    folder = weights_folder() if folder is None else folder
    bundles: list[str] = []
    networks: list[str] = []
    for path in sorted(folder.glob("*.json")):
        card = _read_card(path)
        (bundles if "members" in card else networks).append(path.stem)
    return tuple(bundles + networks)


def model_card(name: str | Path) -> dict[str, Any]:
    """Content of the JSON file of a model, without loading its parameters; errors as :func:`load_model`."""
    return _read_card(find_model(name))


def load_model(name: str | Path = "default", device: str = "auto", dtype: str = "float32") -> Model:
    """Load a model by name or path, checking the SHA-256 of every file of parameters.

    Loaded networks are frozen and shared between callers, so a second call costs nothing.

    Args:
        name: name in :func:`available_models`, or path of a ``.json``, ``.safetensors`` or folder.
        device: ``"auto"`` (CUDA if there is one, else CPU) or a torch device such as ``"cpu"``, ``"cuda:1"``.
        dtype: ``"float32"`` or ``"float64"``, the precision of the evaluation.

    Raises:
        UnknownNameError: no such model, device or dtype; the message lists the valid choices.
        WeightsError: a file is missing, truncated, not valid or does not match its SHA-256.
    """
    path = find_model(name)
    files = sorted(file for file in path.parent.iterdir() if file.suffix in (".json", ".safetensors"))
    stamps = tuple(_stamp(file) for file in files)
    return _load(path, str(resolve_device(device)), resolve_dtype(dtype), stamps)


def find_model(name: str | Path, folder: Path | None = None) -> Path:
    """Path of the JSON file of a model given by name or path; errors as :func:`load_model`."""
    folder = weights_folder() if folder is None else folder
    text = str(name)
    shipped = folder / f"{text}.json"
    if isinstance(name, str) and Path(text).name == text and shipped.is_file():
        return shipped.resolve()
    path = Path(name).expanduser()
    if path.is_dir():
        return _only_model(path)
    if path.suffix == ".safetensors":
        path = path.with_suffix(".json")
    if path.suffix == ".json" and path.is_file():
        return path.resolve()
    if path.suffix == ".json" or len(path.parts) > 1:
        raise UnknownNameError(
            f"There is no model file {str(path)!r}. Give the path of a NAME.json, of a NAME.safetensors "
            "beside its NAME.json, "
            "of a folder with one model, or one of the shipped names: " + _names(folder)
        )
    raise UnknownNameError(f"Unknown model {text!r}. Available: {_names(folder)} (or a path to NAME.json).")


def save_weights(
    network: nn.Module, directory: Path, name: str, card_fields: Mapping[str, Any], *, half: bool = False
) -> Path:
    """Write ``NAME.safetensors``, ``NAME.json`` and perhaps ``NAME.md``, and update ``SHA256SUMS``.

    Args:
        network: an instance of one of ``nn.ARCHITECTURES``, with ``arguments`` that rebuild it.
        directory: created if missing.
        name: file name without extension.
        card_fields: JSON-able; ``properties`` ({property: {"elements": [...], "functional", "kind"}}) is
            required, ``training`` and ``metrics`` are expected; ``card`` is the text of ``NAME.md``.
        half: round parameters to float16, which halves the file: what is measured afterwards is of rounded ones.

    Returns:
        Path of ``NAME.json``.

    Raises:
        UnknownNameError: the class of ``network`` is not a registered architecture.
        WeightsError: ``card_fields`` lacks the covered elements of a property of the network.
    """
    from safetensors.torch import save

    from ase_comformer.nn import ARCHITECTURES

    architecture = next((key for key, cls in ARCHITECTURES.items() if cls is type(network)), None)
    if architecture is None:
        raise UnknownNameError(
            f"{type(network).__name__} is not a registered architecture. Registered: {', '.join(ARCHITECTURES)}."
        )
    fields = dict(card_fields)
    text = fields.pop("card", None)
    for property_name in network.properties:  # type: ignore[union-attr]
        if not fields.get("properties", {}).get(property_name, {}).get("elements"):
            raise WeightsError(f"card_fields['properties'][{property_name!r}] lacks 'elements': list the symbols.")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    foundation = foundation_of(network, (directory, weights_folder()))
    stored = {}
    for key, value in network.state_dict().items():
        rounded = half and value.is_floating_point()
        # A clone each: safetensors refuses tensors that share memory.
        stored[key] = value.detach().cpu().to(torch.float16 if rounded else value.dtype, copy=True).contiguous()
    data = save(stored, foundation or None)
    card = {
        "format": FORMAT,
        "name": name,
        "architecture": architecture,
        "arguments": network.arguments,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "sha256": sha256(data),
        **({"foundation": foundation} if foundation else {}),
        **fields,
    }
    replace_file(directory / f"{name}.safetensors", data)
    replace_file(directory / f"{name}.json", (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    if text is not None:
        replace_file(directory / f"{name}.md", str(text).encode())
    write_checksums(directory)
    return directory / f"{name}.json"


def save_bundle(directory: Path, name: str, members: Mapping[str, list[str]]) -> Path:
    """Write the bundle ``NAME.json`` ({property: [networks in the same folder]}); update ``SHA256SUMS``."""
    card = {"format": FORMAT, "name": name, "members": {key: list(value) for key, value in members.items()}}
    path = Path(directory) / f"{name}.json"
    replace_file(path, (json.dumps(card, indent=1) + "\n").encode())
    write_checksums(Path(directory))
    return path


def _names(folder: Path) -> str:
    return ", ".join(available_models(folder)) or f"none, the weights folder {folder} is empty"


def _only_model(directory: Path) -> Path:
    if (directory / "default.json").is_file():
        return (directory / "default.json").resolve()
    candidates = sorted(path for path in directory.glob("*.json"))
    if len(candidates) == 1:
        return candidates[0].resolve()
    raise UnknownNameError(
        f"Folder {str(directory)!r} has {len(candidates)} models and no default.json. "
        f"Give the path of one of them: {', '.join(path.name for path in candidates) or 'there is none'}."
    )


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return path.name, status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)  # networks outlive the call and may be trained further
def _load(path: Path, device: str, dtype: torch.dtype, stamps: tuple[tuple[str, int, int], ...]) -> Model:
    """Cached on the time stamps of the folder's files, so a replaced file is read again."""
    card = _read_card(path)
    loaded: dict[Path, Entry] = {}
    if "members" not in card:
        entry = _load_entry(path, device, dtype, loaded)
        return Model(card["name"], {key: (entry,) for key in card["properties"]}, path)
    members: dict[str, tuple[Entry, ...]] = {}
    for property_name, names in card["members"].items():
        if not names:
            raise WeightsError(f"{path} lists no networks for {property_name!r}. {_REINSTALL}")
        entries = [_load_entry(path.parent / f"{name}.json", device, dtype, loaded) for name in names]
        for entry in entries:
            if property_name not in entry.card["properties"]:
                raise WeightsError(f"{path}: network {entry.name!r} has no output {property_name!r}. {_REINSTALL}")
        members[property_name] = tuple(entries)
    return Model(card["name"], members, path)


def _load_entry(path: Path, device: str, dtype: torch.dtype, loaded: dict[Path, Entry]) -> Entry:
    """Load a network, unless it is among ``loaded``, and before it the one it is built on."""
    if path not in loaded:
        loaded[path] = _read_entry(path, device, dtype, loaded)
    return loaded[path]


def _read_entry(path: Path, device: str, dtype: torch.dtype, loaded: dict[Path, Entry]) -> Entry:
    from safetensors import SafetensorError
    from safetensors.torch import load

    from ase_comformer.nn import ARCHITECTURES
    from ase_comformer.nn.protocols import BuiltOn

    if not path.is_file():
        raise WeightsError(f"The model file {path} is missing. {_REINSTALL}")
    card = _read_card(path)
    data = _read_parameters(path.with_suffix(".safetensors"), card)
    architecture = card["architecture"]
    if architecture not in ARCHITECTURES:
        raise UnknownNameError(
            f"{path} wants architecture {architecture!r}; this version knows {', '.join(ARCHITECTURES)}. "
            "Upgrade ase-comformer."
        )
    # Construction draws random numbers and follows the default device; neither may leak in or out.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = ARCHITECTURES[architecture](**card["arguments"])
        try:
            network.load_state_dict(load(data), strict=True, assign=True)
        except (RuntimeError, SafetensorError) as error:
            message = f"{path.stem}: parameters do not fit architecture {architecture!r}: {error}"
            raise WeightsError(message) from error
    network.to(device=device, dtype=dtype).eval().requires_grad_(False)
    if isinstance(network, BuiltOn):
        below = foundation_path(network.foundation, (path.parent, weights_folder()))
        foundation = _load_entry(below, device, dtype, loaded)
        require_foundation(card, foundation.card)
        network.attach(foundation.network)
    return Entry(card["name"], network, card)


def _read_parameters(path: Path, card: Mapping[str, Any]) -> bytes:
    if not path.is_file():
        raise WeightsError(f"The weights file {path} is missing. {_REINSTALL}")
    data = path.read_bytes()
    if is_truncated(data):
        raise WeightsError(f"The weights file {path} is truncated ({len(data)} bytes). {_REINSTALL}")
    digest = sha256(data)
    if digest != card["sha256"]:
        raise WeightsError(
            f"The weights file {path} does not match its checksum: SHA-256 {digest}, expected "
            f"{card['sha256']}. "
            f"It was changed or damaged. {_REINSTALL}"
        )
    return data


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"The model file {path} cannot be read as JSON ({error}). {_REINSTALL}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise WeightsError(f"{path} has format {found!r}, expected {FORMAT}. Upgrade ase-comformer.")
    missing = [key for key in ("name", *(() if "members" in card else _CARD_KEYS)) if key not in card]
    if missing:
        raise WeightsError(f"The model file {path} lacks {', '.join(missing)}. {_REINSTALL}")
    return card
