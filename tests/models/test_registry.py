"""The registry finds, checks, loads and saves weights, and refuses everything that is not intact."""

import json
import shutil

import pytest
import torch

from ase_comformer.devices import resolve_device, resolve_dtype
from ase_comformer.errors import UnknownNameError, WeightsError
from ase_comformer.models.cards import metrics_are_current
from ase_comformer.models.checksums import verify_folder, write_checksums
from ase_comformer.models.registry import (
    available_models,
    find_model,
    load_model,
    model_card,
    save_bundle,
    save_weights,
    weights_folder,
)
from ase_comformer.nn import ARCHITECTURES
from tiny import TINY, tiny_card, tiny_network


@pytest.fixture
def folder(model_directory, tmp_path):
    """A copy that may be damaged."""
    shutil.copytree(model_directory, tmp_path / "weights")
    return tmp_path / "weights"


def test_saved_network_is_loaded_unchanged(model_directory):
    model = load_model(model_directory / "tiny.json", "cpu", "float32")
    (network,) = model.entries("elastic_tensor")
    original = tiny_network(0).state_dict()
    assert type(network) is ARCHITECTURES["TensorNetwork"]
    assert original.keys() == network.state_dict().keys()
    assert all(torch.equal(value, original[key]) for key, value in network.state_dict().items())


def test_loaded_network_is_frozen(model_directory):
    (network,) = load_model(model_directory / "tiny.json").entries("elastic_tensor")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_card_says_what_was_saved(model_directory):
    card = model_card(model_directory / "tiny.json")
    assert card["format"] == 1
    assert card["architecture"] == "TensorNetwork"
    assert card["parameters"] == sum(parameter.numel() for parameter in tiny_network().parameters())
    assert set(card["arguments"]) >= set(TINY)
    assert (model_directory / "tiny.md").read_text() == "# tiny\n"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_of_loaded_parameters_and_constants(model_directory, dtype):
    (network,) = load_model(model_directory / "tiny.json", "cpu", dtype).entries("elastic_tensor")
    floating = [value for value in [*network.parameters(), *network.buffers()] if value.is_floating_point()]
    assert {value.dtype for value in floating} == {resolve_dtype(dtype)}


@pytest.mark.parametrize("path", ["tiny.json", "tiny.safetensors"])
def test_model_given_by_file(model_directory, path):
    assert load_model(model_directory / path).name == "tiny"


def test_model_given_by_folder(folder):
    with pytest.raises(UnknownNameError, match=r"2 models and no default\.json.*tiny\.json, tiny2\.json"):
        load_model(folder)
    (folder / "tiny2.json").unlink()
    assert load_model(folder).name == "tiny"


def test_bundle_averages_over_members(folder):
    save_bundle(folder, "default", {"dielectric_tensor": ["tiny", "tiny2"], "elastic_tensor": ["tiny"]})
    model = load_model(folder)
    assert model.name == "default"
    assert model.properties == ("dielectric_tensor", "elastic_tensor")
    assert len(model.entries("dielectric_tensor")) == 2
    assert model.entries("dielectric_tensor")[0] is model.entries("elastic_tensor")[0]
    assert available_models(folder) == ("default", "tiny", "tiny2")


def test_elements_of_a_bundle_are_covered_by_every_member(folder):
    network = tiny_network(1)
    fields = tiny_card(network)
    fields["properties"]["dielectric_tensor"]["elements"] = ["Mg", "O", "Xe"]
    save_weights(network, folder, "tiny2", fields)
    save_bundle(folder, "default", {"dielectric_tensor": ["tiny", "tiny2"], "elastic_tensor": ["tiny2"]})
    model = load_model(folder)
    assert model.elements("dielectric_tensor") == {"Mg", "O"}
    assert "Ti" in model.elements("elastic_tensor")


def test_unknown_model_name_lists_the_available_ones(folder, monkeypatch):
    monkeypatch.setattr("ase_comformer.models.registry.weights_folder", lambda: folder)
    with pytest.raises(UnknownNameError, match=r"Unknown model 'best'\. Available: tiny, tiny2"):
        load_model("best")
    assert load_model("tiny").name == "tiny"


@pytest.mark.parametrize("name", ["nowhere/model.json", "nowhere.json", "some/where"])
def test_path_that_does_not_exist(name):
    with pytest.raises(UnknownNameError, match="no model file"):
        load_model(name)


def test_unknown_property_lists_the_available_ones(model_directory):
    with pytest.raises(UnknownNameError, match=r"'colour'.*dielectric_tensor"):
        load_model(model_directory / "tiny.json").elements("colour")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_weights_file(folder, kept):
    path = folder / "tiny.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"truncated .* bytes\).*Reinstall"):
        load_model(folder / "tiny.json")


def test_weights_file_with_wrong_hash(folder):
    path = folder / "tiny.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match=r"does not match its checksum.*Reinstall"):
        load_model(folder / "tiny.json")


def test_card_with_wrong_hash(folder):
    path = folder / "tiny.json"
    path.write_text(path.read_text().replace(json.loads(path.read_text())["sha256"], "0" * 64))
    with pytest.raises(WeightsError, match="expected 0000"):
        load_model(path)


def test_replaced_file_is_not_served_from_the_cache(folder):
    load_model(folder / "tiny.json")
    test_weights_file_with_wrong_hash(folder)


def test_missing_weights_file(folder):
    (folder / "tiny.safetensors").unlink()
    with pytest.raises(WeightsError, match="missing"):
        load_model(folder / "tiny.json")


def test_missing_member_of_a_bundle(folder):
    save_bundle(folder, "default", {"elastic_tensor": ["gone"]})
    with pytest.raises(WeightsError, match=r"gone\.json is missing"):
        load_model(folder)


def test_member_without_the_property_of_the_bundle(folder):
    save_bundle(folder, "default", {"colour": ["tiny"]})
    with pytest.raises(WeightsError, match="no output 'colour'"):
        load_model(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "format 'list'"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1}', "lacks name"),
    ],
)
def test_card_that_is_no_card(folder, text, message):
    (folder / "tiny.json").write_text(text)
    with pytest.raises(WeightsError, match=message):
        load_model(folder / "tiny.json")


def test_unknown_architecture(folder):
    path = folder / "tiny.json"
    path.write_text(path.read_text().replace('"TensorNetwork"', '"Oracle"'))
    with pytest.raises(UnknownNameError, match=r"'Oracle'.*TensorNetwork"):
        load_model(path)


def test_parameters_that_do_not_fit_the_arguments(folder):
    path = folder / "tiny.json"
    card = json.loads(path.read_text())
    card["arguments"]["scalars"] += 1
    path.write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="do not fit"):
        load_model(path)


def test_saving_needs_the_elements_of_every_property(tmp_path):
    network = tiny_network()
    fields = tiny_card(network)
    del fields["properties"]["elastic_tensor"]
    with pytest.raises(WeightsError, match="elastic_tensor"):
        save_weights(network, tmp_path, "tiny", fields)


def test_saving_an_unregistered_network(tmp_path):
    with pytest.raises(UnknownNameError, match=r"Linear is not a registered.*TensorNetwork"):
        save_weights(torch.nn.Linear(1, 1), tmp_path, "line", {})


def test_manifest_covers_the_folder_and_finds_damage(folder):
    assert verify_folder(folder) == []
    (folder / "tiny.md").write_text("changed")
    (folder / "tiny2.json").unlink()
    assert verify_folder(folder) == ["tiny.md", "tiny2.json"]
    write_checksums(folder)
    assert verify_folder(folder) == []


def test_shipped_folder_matches_its_manifest():
    folder = weights_folder()
    if not (folder / "SHA256SUMS").is_file():
        pytest.skip("no weights are shipped yet")
    assert verify_folder(folder) == []
    listed = {line.split(maxsplit=1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert {path.name for path in folder.glob("*.safetensors")} <= listed


@pytest.mark.parametrize("name", available_models())
def test_shipped_models_load(name):
    model = load_model(name, "cpu")
    for property_name in model.properties:
        assert model.entries(property_name)
        assert model.elements(property_name)
        for card in model.cards(property_name):
            assert card["training"]
            assert card["properties"][property_name]["functional"]


@pytest.mark.parametrize("name", available_models())
def test_shipped_metrics_belong_to_the_shipped_weights(name):
    assert metrics_are_current(name), f"run: ase-comformer evaluate {name} --record"


def test_loading_leaves_the_random_state_alone(folder):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_model(folder / "tiny.json", "cpu")
    assert torch.equal(torch.rand(2), expected)


def test_shipped_name_wins_over_a_folder_of_that_name(folder, tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("tiny", folder) == (folder / "tiny.json").resolve()


@pytest.mark.parametrize("device", ["cuda:77", "abacus", "meta"])
def test_unusable_device(device):
    with pytest.raises(UnknownNameError, match=device):
        resolve_device(device)


@pytest.mark.parametrize("dtype", ["float16", "double", torch.float64, None])
def test_unknown_dtype(dtype):
    with pytest.raises(UnknownNameError, match="float32, float64"):
        resolve_dtype(dtype)
