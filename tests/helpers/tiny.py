"""A tiny network with random weights, for tests that need a model but no accuracy."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ase_comformer.models.registry import save_bundle, save_weights
from ase_comformer.nn import ARCHITECTURES

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
            name: {
                "elements": COVERED,
                "functional": "PBEsol",
                "functionals": ["PBEsol", "PBE"],
                "kind": f"kind of {name}",
            }
            for name in network.properties
        },
        "training": {"data": "none, random weights", "licence": "none"},
        "metrics": {},
        "card": "# tiny\n",
    }


def tiny_potential(seed: int = 0) -> torch.nn.Module:
    """A ``Potential`` with random weights, whose atoms have dipoles."""
    names = ("scalars", "vectors", "layers", "radial", "hidden")
    settings = {**TINY["graph_settings"], "reciprocal_cutoff": 1.6}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ARCHITECTURES["Potential"](**{name: TINY[name] for name in names}, graph_settings=settings)
        for parameter in network.dipole[2].parameters():  # zero before training
            torch.nn.init.normal_(parameter, std=0.1)
        return network


def tiny_bundle(folder: Path, tensors: Sequence[str] | None = None) -> Path:
    """Save a bundle of both networks: energies, and the properties ``tensors`` (all of the network where None)."""
    networks = {"tensors": tiny_network(), "potential": tiny_potential()}
    for name, network in networks.items():
        save_weights(network, folder, name, tiny_card(network))
    members = {name: ["tensors"] for name in tensors or networks["tensors"].properties}
    return save_bundle(folder, "default", members | {name: ["potential"] for name in ("energy", "forces", "stress")})
