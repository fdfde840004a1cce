"""Networks and evaluators on another device: no operator sees tensors of both, and the numbers are the CPU's.

A machine without a GPU runs this; ``benchmarks.on_a_gpu`` is the same on a real one.
"""

import copy
import sys

import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111, molecule

from ase_comformer.graphs.building import build_graph
from ase_comformer.inference.predictor import Predictor
from ase_comformer.models.registry import available_models, load_model
from ase_comformer.nn.protocols import BuiltOn
from pretended_gpu import DEVICE, MixedDevicesError, OnGpu, on_gpu, pretended_gpu

pytestmark = pytest.mark.filterwarnings("ignore:.*outside the training domain", "ignore:.*no bulk crystal")


def networks() -> dict[str, torch.nn.Module]:
    """One network of every architecture and preset that is shipped."""
    found = {}
    for name in available_models():
        model = load_model(name)
        for value in model.properties:
            for network in model.entries(value):
                key = f"{type(network).__name__} {getattr(network, 'preset', '')} {value}"
                found.setdefault(key.strip(), (network, value))
    return found


NETWORKS = networks()


def test_pretended_device_notices_mixing():
    with pretended_gpu():
        moved = torch.ones(3).to(DEVICE)
        assert isinstance(moved, OnGpu)
        assert (moved + 1.0).cpu().tolist() == [2.0] * 3
        assert torch.arange(2, device=DEVICE).device == DEVICE
        with pytest.raises(MixedDevicesError):
            moved + torch.ones(3)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_keeps_to_its_device(name: str):
    network, value = NETWORKS[name]
    graph = build_graph(bulk("MgO", "rocksalt", a=4.21), network.graph_settings)
    graph = graph.to(dtype=torch.float32, device=torch.device("cpu"))
    asked = (value,) if type(network).__name__ != "Potential" else ()
    expected = network(graph, *([asked] if asked else []))
    with pretended_gpu(), torch.no_grad():
        moved = on_gpu(copy.deepcopy(network))
        if isinstance(network, BuiltOn):  # its foundation is loaded on the device, not moved with it
            moved.attach(on_gpu(copy.deepcopy(network.potential)))
        found = moved(graph.to(dtype=torch.float32, device=DEVICE), *([asked] if asked else []))
    for key, number in (found if isinstance(found, dict) else vars(found)).items():
        reference = expected[key] if isinstance(expected, dict) else getattr(expected, key)
        if isinstance(number, torch.Tensor):
            assert isinstance(number, OnGpu), key
            torch.testing.assert_close(number.numbers, reference)


STRUCTURES = {
    "crystal": bulk("MgO", "rocksalt", a=4.21),
    "symmetric supercell": bulk("MgO", "rocksalt", a=4.21, cubic=True).repeat(2),
    "slab": fcc111("Al", (1, 1, 3), vacuum=6.0),
    "molecule": molecule("H2O", vacuum=5.0),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_evaluators_keep_to_their_device(name: str, monkeypatch: pytest.MonkeyPatch):
    atoms = STRUCTURES[name]
    expected = Predictor(device="cpu", dtype="float64")
    # everybody who asks is told that the device can be used
    for module in [each for key, each in sys.modules.items() if key.startswith("ase_comformer")]:
        if hasattr(module, "resolve_device"):
            monkeypatch.setattr(module, "resolve_device", lambda _: DEVICE)
    asked = expected.properties if name == "crystal" else ("energy", "forces")
    with pretended_gpu():
        moved = Predictor(device="meta", dtype="float64")
        found = moved.evaluate(atoms, asked)
    assert moved.device == DEVICE
    for key, value in expected.evaluate(atoms, asked).items():
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-9, err_msg=key)
