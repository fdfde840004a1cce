"""Features of the shipped networks, and the tensors that they predict, in e3nn's terms.

Whoever builds on e3nn can put a model of their own on top of a trained trunk: ``node_features`` gives what the trunk
knows of every atom as one tensor with ``o3.Irreps``, and ``property_irreps`` the content of a property. Components
are e3nn's already (``tensors.irreps``), so nothing is rotated here; only the order of axes is changed. e3nn is
imported in this module alone, which the calculator does not need.

Example:
    >>> from e3nn import o3
    >>> from ase.build import bulk
    >>> from ase_comformer.graphs.building import build_graph
    >>> from ase_comformer.models.registry import load_model
    >>> (network, *_) = load_model("default").entries("elastic_tensor")
    >>> features, irreps = node_features(network, build_graph(bulk("Cu"), network.graph_settings).to(torch.float32))
    >>> head = o3.Linear(irreps, property_irreps("elastic_tensor"))
    >>> head(features).shape
    torch.Size([1, 21])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.nn.architectures.tensor_network import TensorNetwork
from ase_comformer.properties.registry import tensor_property

if TYPE_CHECKING:
    from e3nn.o3 import Irreps


def property_irreps(name: str) -> Irreps:
    """Content of a property as ``o3.Irreps``, for example 2x0e+2x2e+1x4e of the elastic tensor.

    Raises:
        UnknownNameError: no such property; the message lists the choices.
    """
    found: Irreps = _o3().Irreps(tensor_property(name).irreps)
    return found


def node_features(network: TensorNetwork | Potential, graph: CrystalGraph) -> tuple[Tensor, Irreps]:
    """Features of atoms after the last layer of a trunk, (n, irreps.dim), and their ``o3.Irreps``.

    Args:
        network: trained or not; gradients flow into its trunk unless it is frozen.
        graph: plain, built with ``network.graph_settings``, in the dtype of the network.

    Returns:
        Scalars, vectors and symmetric traceless tensors one after the other, ``C0x0e + C1x1o + C1x2e``, each channel
        with its components together, as e3nn lays out features.

    Raises:
        ValueError: a symmetry-reduced graph, whose nodes stand for orbits of atoms.
    """
    if graph.is_reduced:
        raise ValueError("node_features needs one node per atom: pass a plain graph (building.build_graph)")
    node = network.trunk(graph, network.trunk.edge_geometry(graph))
    vectors, tensors = (values.permute(1, 2, 0).flatten(1) for values in (node.vectors, node.tensors))
    channels = node.vectors.shape[2]
    irreps = _o3().Irreps(f"{node.scalars.shape[1]}x0e + {channels}x1o + {channels}x2e")
    return torch.cat([node.scalars, vectors, tensors], dim=1), irreps


def _o3() -> Any:
    """Import ``e3nn.o3``; before version 0.5.2 it reads a constant with a slice in it, which torch must be told of."""
    with torch.serialization.safe_globals([slice]):
        from e3nn import o3
    return o3
