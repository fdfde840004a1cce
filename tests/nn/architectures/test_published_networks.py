"""The paper presets compute the published functions: every recorded stage, in float64 and float32.

The reference folder is found through the environment variable ASE_COMFORMER_REFERENCE; without it the tests are
skipped.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.models.conversion import convert_state_dict, network_from_state_dict
from ase_comformer.nn.architectures.gmtnet import GMTNet
from ase_comformer.nn.layers.elements import element_descriptors

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCES, ids=("float64", "float32"))


@pytest.fixture(scope="module")
def folder() -> Path:
    value = os.environ.get("ASE_COMFORMER_REFERENCE")
    if not value:
        pytest.skip("ASE_COMFORMER_REFERENCE is not set")
    return Path(value)


def reference_graph(case: dict[str, Tensor], dtype: torch.dtype, *, receiver_row: int) -> CrystalGraph:
    """The recorded edges as a CrystalGraph; the recorded vector points from row 0 to row 1."""
    index, vector = case["edge_index"], case["edge_vector"].to(dtype)
    nodes = len(case["node_features"])
    frame = case.get("lattice_vectors")
    return CrystalGraph(
        numbers=torch.ones(nodes, dtype=torch.int64),
        node_crystal=torch.zeros(nodes, dtype=torch.int64),
        node_weight=torch.full((nodes,), 1.0 / nodes, dtype=dtype),
        edge_receiver=index[receiver_row],
        edge_atom=index[1 - receiver_row],
        edge_vector=vector if receiver_row == 0 else -vector,
        edge_weight=torch.ones(index.shape[1], dtype=dtype),
        atom_node=torch.arange(nodes),
        atom_crystal=torch.zeros(nodes, dtype=torch.int64),
        cell=torch.eye(3, dtype=dtype)[None],
        volume=torch.ones(1, dtype=dtype),
        atom_count=torch.tensor([nodes]),
        frame_vector=None if frame is None else frame.to(dtype),
        frame_slot=None if frame is None else torch.arange(3),
        frame_weight=None if frame is None else torch.ones(3, dtype=dtype),
        frame_crystal=None if frame is None else torch.zeros(3, dtype=torch.int64),
    )


def split_cases(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Tensors named ``NN.key`` -> one dictionary per case."""
    names = sorted({key.split(".")[0] for key in tensors if key[:2].isdigit()})
    return [{key.split(".", 1)[1]: value for key, value in tensors.items() if key.startswith(n + ".")} for n in names]


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Largest deviation over the largest expected magnitude of the stage."""
    return float((value.double() - expected.double()).abs().max() / expected.abs().max().clamp(min=1e-30))


@DTYPES
@pytest.mark.parametrize(("name", "receiver_row"), [("icomformer", 1), ("ecomformer", 0)])
@torch.no_grad()
def test_comformer_matches_every_recorded_stage(folder: Path, name: str, receiver_row: int, dtype: torch.dtype) -> None:
    tensors = load_file(folder / f"{name}_cases.safetensors")
    published = {key.removeprefix("param."): value for key, value in tensors.items() if key.startswith("param.")}
    network = network_from_state_dict(published).to(dtype).eval()
    cases = split_cases(tensors)
    assert cases
    for case in cases:
        graph = reference_graph(case, dtype, receiver_row=receiver_row)
        stages = network.stages(graph, case["node_features"].to(dtype))
        expected = {key.removeprefix("stage."): value for key, value in case.items() if key.startswith("stage.")}
        expected["output"] = case["output"][:, None]
        errors = {key: relative_error(stages[key], value) for key, value in expected.items()}
        assert max(errors.values()) < TOLERANCES[dtype], errors


@DTYPES
@torch.no_grad()
def test_gmtnet_with_the_published_checkpoint_matches(folder: Path, dtype: torch.dtype) -> None:
    published = torch.load(folder / "gmtnet_dielectric_official.pt", map_location="cpu", weights_only=True)
    network = network_from_state_dict(published).to(dtype).eval()
    assert isinstance(network, GMTNet)
    cases = split_cases(load_file(folder / "gmtnet_dielectric_cases.safetensors"))
    assert len(cases) == 16
    for case in cases:
        graph = reference_graph(case, dtype, receiver_row=0)
        stages = network.stages(graph, case["node_features"].to(dtype))
        assert relative_error(stages["crystal_feature"][0], case["crystal_feature"]) < TOLERANCES[dtype]
        assert relative_error(stages["raw"][0], case["dielectric_raw"]) < TOLERANCES[dtype]


def test_element_descriptors_are_the_recorded_node_features(folder: Path) -> None:
    cases = split_cases(load_file(folder / "gmtnet_dielectric_cases.safetensors"))
    crystals = json.loads((folder / "gmtnet_dielectric_cases.json").read_text())
    for case, crystal in zip(cases, crystals, strict=True):
        expected = case["node_features"].double()
        assert torch.equal(element_descriptors(torch.tensor(crystal["numbers"])), expected)


def test_conversion_keeps_only_and_all_parameters_of_the_network(folder: Path) -> None:
    published = torch.load(folder / "gmtnet_dielectric_official.pt", map_location="cpu", weights_only=True)
    converted, unused = convert_state_dict(published)
    assert set(converted) | set(unused) == set(published)
    assert set(GMTNet().state_dict()) == set(converted)
