"""Conversion of published checkpoints; the state dicts here are made, in the published layout."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ase_comformer.errors import UnknownNameError, WeightsError
from ase_comformer.models.conversion import convert_checkpoint, convert_state_dict, network_from_state_dict
from ase_comformer.models.registry import load_model
from ase_comformer.nn.architectures.comformer import EComFormer, IComFormer
from ase_comformer.nn.architectures.gmtnet import GMTNet


def published_gmtnet() -> dict[str, Tensor]:
    """A GMTNet state dict with the constants and the unused layer of the published file."""
    torch.manual_seed(0)
    return GMTNet(width=16, centers=32).state_dict() | {
        "equi_update.nlayer_1.tp.weight": torch.zeros(0),
        "equi_update.nlayer_1.tp.output_mask": torch.ones(32),
        "equi_update.nlayer_2.tp._compiled_main_left_right._w3j_1_1_1": torch.zeros(3, 3, 3),
        "output_block.constant_w": torch.ones(3),
        "etgnn_linear.weight": torch.zeros(1, 16),
    }


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_converted_model_loads_with_the_published_parameters(tmp_path: Path, suffix: str):
    published = published_gmtnet()
    path = tmp_path / f"published{suffix}"
    torch.save({"state_dict": published}, path) if suffix == ".pt" else save_file(published, path)
    card = convert_checkpoint(path, tmp_path / "converted", "paper")
    (entry,) = load_model(card, device="cpu").entries("dielectric_tensor")
    assert isinstance(entry, GMTNet)
    for name, value in convert_state_dict(published)[0].items():
        assert torch.equal(entry.state_dict()[name], value)


@pytest.mark.parametrize("cls", [IComFormer, EComFormer])
def test_comformer_state_dicts_are_recognised(cls: type):
    state = cls("paper", width=16).state_dict()
    del state["element_reference"], state["output_scale"]
    if cls is IComFormer:
        state["edge_update_layer.lemb.weight"] = torch.zeros(3, 16)
    assert type(network_from_state_dict(state)) is cls


def test_foreign_and_incomplete_state_dicts_are_refused():
    published = published_gmtnet()
    with pytest.raises(WeightsError, match="ComFormer or GMTNet"):
        network_from_state_dict({"layer.weight": torch.zeros(2, 2)})
    with pytest.raises(WeightsError, match=r"node_linear\.bias"):
        network_from_state_dict({key: v for key, v in published.items() if key != "equi_update.node_linear.bias"})
    with pytest.raises(WeightsError, match=r"extra\.weight"):
        network_from_state_dict(published | {"extra.weight": torch.zeros(1)})
    with pytest.raises(UnknownNameError, match="elastic_tensor"):
        network_from_state_dict(published, "elastic_tensor")


class _Hostile:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Hostile()}, tmp_path / "hostile.pt")
    with pytest.raises(WeightsError, match="without running code"):
        convert_checkpoint(tmp_path / "hostile.pt", tmp_path)
    assert not (tmp_path / "executed").exists()


def test_missing_truncated_or_empty_files_are_named(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"nothing\.pt does not exist"):
        convert_checkpoint(tmp_path / "nothing.pt", tmp_path)
    (tmp_path / "short.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsError, match=r"short\.pt"):
        convert_checkpoint(tmp_path / "short.pt", tmp_path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        convert_checkpoint(tmp_path / "list.pt", tmp_path)
