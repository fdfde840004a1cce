"""Shared fixtures: a tiny network with random weights, saved and loaded like a shipped one."""

from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from ase_comformer.nn import ARCHITECTURES
from ase_comformer.weights import save_weights

TINY = {
    "scalars": 8,
    "vectors": 6,
    "layers": 2,
    "radial": 4,
    "hidden": 8,
    "crystal": 8,
    "high": 3,
    "graph_settings": {"kind": "radius", "cutoff": 4.5},
}
COVERED = ["H", "C", "N", "O", "Mg", "Na", "Al", "Si", "Cl", "Ti", "Cu", "Zn", "S", "Ga", "As", "Ba", "K", "P", "Ca"]


def tiny_network(seed: int = 0) -> torch.nn.Module:
    """A ``TensorNetwork`` with random weights and every head, whose outputs are not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ARCHITECTURES["TensorNetwork"](**TINY)
        with torch.no_grad():
            for parameter in network.parameters():  # heads may start at zero: make every output visible
                if not parameter.any():
                    parameter.normal_(std=0.3)
    return network


def tiny_card(network: torch.nn.Module) -> dict:
    return {
        "properties": {
            name: {"elements": COVERED, "functional": "PBEsol", "kind": f"kind of {name}"}
            for name in network.properties
        },
        "training": {"data": "none, random weights", "licence": "none"},
        "metrics": {},
        "card": "# tiny\n",
    }


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the networks ``tiny`` and ``tiny2`` (do not write into it)."""
    directory = tmp_path_factory.mktemp("weights")
    for seed, name in enumerate(("tiny", "tiny2")):
        network = tiny_network(seed)
        save_weights(network, directory, name, tiny_card(network))
    return directory


@pytest.fixture(scope="session")
def tiny_model(model_directory: Path) -> str:
    """Path of a model with random weights and all properties."""
    return str(model_directory / "tiny.json")


@pytest.fixture
def quartz() -> Atoms:
    """Alpha quartz, P3_221, 9 atoms, no inversion."""
    return crystal(
        ["Si", "O"],
        [(0.4697, 0.0, 0.0), (0.4135, 0.2669, 0.1191)],
        spacegroup=154,
        cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
    )


@pytest.fixture
def rocksalt() -> Atoms:
    """MgO, 2 atoms."""
    return bulk("MgO", "rocksalt", a=4.21)


@pytest.fixture
def wurtzite() -> Atoms:
    """ZnO, 4 atoms, polar."""
    return bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382)
