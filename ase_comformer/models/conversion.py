"""Published checkpoints -> our networks: ``ase-comformer convert``.

The paper presets keep the published parameter names, so conversion drops what is constant or unused (Clebsch-Gordan
buffers of e3nn, output masks, layers that the published forward pass never calls), recognises the architecture and
reads its sizes from the shapes. Checkpoints are read with ``weights_only=True``: no code in them is run.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from ase.data import chemical_symbols
from safetensors.torch import load_file
from torch import Tensor

from ase_comformer.errors import UnknownNameError, WeightsError
from ase_comformer.models.checksums import sha256
from ase_comformer.models.registry import save_weights
from ase_comformer.nn.architectures.comformer import EComFormer, IComFormer
from ase_comformer.nn.architectures.gmtnet import GMTNet
from ase_comformer.nn.layers.elements import element_count

#: Entries of published state dicts that carry no information for the forward pass.
_UNUSED = re.compile(
    r"\.tp\.(weight|output_mask|_compiled_main_left_right\..*)$"  # e3nn's constants
    r"|^output_block\.constant_w$"  # ones
    r"|^etgnn_linear\."  # never called
    r"|^edge_update_layer\.(lemb|lin_edge_len)\."  # never called
)
_CONTAINERS = ("state_dict", "model_state_dict", "model")
#: Buffers of ours that published checkpoints do not have.
_OWN = ("element_reference", "output_scale")
_DIELECTRIC = ("dielectric_tensor", "static_dielectric_tensor")


def convert_checkpoint(
    path: str | Path,
    directory: str | Path,
    name: str | None = None,
    *,
    property_name: str | None = None,
    training: Mapping[str, str] | None = None,
) -> Path:
    """Convert a published checkpoint file into ``NAME.json``, ``NAME.safetensors`` and ``NAME.md`` in ``directory``.

    Args:
        path: ``.pt``, ``.pth`` or ``.safetensors`` file with a state dict, alone or under "state_dict" or "model".
        directory: created if missing; the model loads from there as ``model=DIRECTORY/NAME.json``.
        name: file name without extension; default the stem of ``path``.
        property_name: what the checkpoint predicts; default dielectric_tensor (GMTNet), formation_energy (ComFormer).
        training: data, licence and citation for the card; the authors' licence applies to the converted file too.

    Returns:
        Path of ``NAME.json``.

    Raises:
        WeightsError: the file is missing, unreadable, not a plain state dict, or of another network.
        UnknownNameError: the network cannot predict ``property_name``.
    """
    path = Path(path)
    network = network_from_state_dict(read_state_dict(path), property_name)
    elements = chemical_symbols[1 : element_count() + 1]
    properties = {
        key: {"elements": elements, "functional": "unknown", "kind": "converted"} for key in network.properties
    }
    name = name or path.stem
    source = {"converted_from": path.name, "source_sha256": sha256(path.read_bytes()), **(training or {})}
    card = (
        f"# {name}\n\n{type(network).__name__}, paper preset, converted from `{path.name}` "
        f"(SHA-256 {source['source_sha256']}). The licence of the published checkpoint applies.\n"
        "The elements are those with a CGCNN descriptor; the checkpoint does not say which of them were trained on.\n"
    )
    return save_weights(
        network, Path(directory), name, {"properties": properties, "training": source, "metrics": {}, "card": card}
    )


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint file by name; raises ``WeightsError`` unless it is a state dict of tensors."""
    if not path.is_file():
        raise WeightsError(f"the checkpoint {path} does not exist; give the path of the published file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise WeightsError(
            f"the checkpoint {path} cannot be read without running code from it ({error}); save its state dict alone"
        ) from error
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"the checkpoint {path} holds no state dict (a mapping of names to tensors)")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def convert_state_dict(published: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Split a published state dict into parameters of our paper preset and the names that are not needed."""
    unused = [name for name in published if _UNUSED.search(name)]
    dropped = set(unused)
    return {name: value for name, value in published.items() if name not in dropped}, unused


def network_from_state_dict(
    published: Mapping[str, Tensor], property_name: str | None = None
) -> IComFormer | EComFormer | GMTNet:
    """The paper preset that a published state dict belongs to, with its parameters, in their dtype.

    ``property_name`` defaults to formation_energy (ComFormer) or dielectric_tensor (GMTNet).

    Raises:
        WeightsError: if the parameters belong to none of the three networks.
    """
    parameters, _ = convert_state_dict(published)
    network = _empty_network(parameters, property_name)
    dtype = parameters["atom_embedding.weight"].dtype
    network.to(dtype)
    expected = {key: value for key, value in network.state_dict().items() if key not in _OWN}
    wrong = [key for key, value in expected.items() if key not in parameters or parameters[key].shape != value.shape]
    wrong += [key for key in parameters if key not in expected]
    if wrong:
        raise WeightsError(
            f"the checkpoint does not fit {type(network).__name__}: {len(wrong)} entries are missing, unknown or of "
            f"another shape, such as {', '.join(wrong[:4])}; only unmodified published networks can be converted"
        )
    network.load_state_dict(parameters, strict=False)
    return network


def _empty_network(parameters: Mapping[str, Tensor], property_name: str | None) -> IComFormer | EComFormer | GMTNet:
    try:
        width = parameters["atom_embedding.weight"].shape[0]
        centers = parameters["rbf.0.centers"].shape[0]
    except KeyError as error:
        raise WeightsError(f"the checkpoint has no {error}; expected a state dict of ComFormer or GMTNet") from None
    layers = len({name.split(".")[1] for name in parameters if name.startswith("att_layers.")})
    scalar = (property_name or "formation_energy",)
    if "edge_update_layer.lin_key.weight" in parameters:
        return IComFormer("paper", properties=scalar, width=width, layers=layers)
    if "equi_update.nlayer_3.fc.0.weight" in parameters:
        tensor = property_name or "dielectric_tensor"
        if tensor not in _DIELECTRIC:
            raise UnknownNameError(
                f"cannot convert a GMTNet for {tensor!r}: only the dielectric checkpoint is published; "
                f"choose from {', '.join(_DIELECTRIC)}"
            )
        return GMTNet(properties=(tensor,), width=width, layers=layers, centers=centers, rounded_couplings=True)
    if "equi_update.nlayer_2.fc.0.weight" in parameters:
        return EComFormer("paper", properties=scalar, width=width, layers=layers)
    raise WeightsError("the checkpoint is none of iComFormer, eComFormer, GMTNet: no edge or equivariant update in it")
