"""What the baselines share: how a network is called, and readouts that give a tensor component by component."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pyg import CrystalData, from_pyg
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import tensor_property


def edge_index(graph: CrystalGraph) -> Tensor:
    """Senders above receivers, (2, E), torch-geometric's order."""
    return torch.stack([graph.edge_sender, graph.edge_receiver])


def component_index(entry: TensorProperty) -> Tensor:
    """Where the independent components of the documented form stand in it, (k,) of the flattened array.

    ``(3, 3)`` with ``ij=ji`` has 6, ``(3, 6)`` 18, ``(6, 6)`` 21; a scalar has one.
    """
    shape = entry.shape
    if not shape:
        return torch.zeros(1, dtype=torch.int64)
    index = torch.arange(int(torch.tensor(shape).prod())).reshape(shape)
    return index[tuple(torch.triu_indices(*shape))] if _is_symmetric(entry) else index.flatten()


def _is_symmetric(entry: TensorProperty) -> bool:
    return entry.shape == (6, 6) or (entry.shape == (3, 3) and entry.formula == "ij=ji")


class Baseline(nn.Module):
    """A network for one property of whole crystals, called as those of ``ase_comformer.nn``.

    Attributes:
        graph_settings: the graphs that it is evaluated on.
        properties: the name of its property, in a tuple.
        location: (k,) mean and ``scale`` (k,) deviation of what the network gives before they are applied.
    """

    location: Tensor
    scale: Tensor
    supports_reduced_graphs = False

    def __init__(self, property_name: str, graph_settings: GraphSettings, outputs: int) -> None:
        super().__init__()
        self.entry = tensor_property(property_name)
        if self.entry.per_atom:
            raise UnknownNameError(f"{property_name!r} is a property of atoms; the baselines predict those of crystals")
        self.properties, self.graph_settings = (property_name,), graph_settings
        self.register_buffer("location", torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(outputs))

    def set_statistics(self, labels: Tensor) -> None:
        """Take mean and deviation from labels (N, *shape) of training."""
        raise NotImplementedError

    def tensor(self, graph: CrystalGraph) -> Tensor:
        """Evaluate the property in its documented form and unit, (B, *shape)."""
        raise NotImplementedError

    def forward(self, graph: CrystalGraph | CrystalData, properties: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Evaluate: {property: (B, *shape)}."""
        given = graph if isinstance(graph, CrystalGraph) else from_pyg(graph)
        for name in properties or ():
            if name not in self.properties:
                raise UnknownNameError(f"{name!r} is not what this network predicts: {self.properties[0]}")
        return {self.properties[0]: self.tensor(given)}


class ComponentBaseline(Baseline):
    """Predicts the independent components of the documented form as unrelated numbers."""

    index: Tensor

    def __init__(self, property_name: str, graph_settings: GraphSettings) -> None:
        index = component_index(tensor_property(property_name))
        super().__init__(property_name, graph_settings, len(index))
        self.register_buffer("index", index, persistent=False)

    def components(self, graph: CrystalGraph) -> Tensor:
        """Standardised components, (B, k)."""
        raise NotImplementedError

    def set_statistics(self, labels: Tensor) -> None:
        """Take mean and deviation of every component; those that never vary stay at their mean."""
        components = labels.reshape(len(labels), -1)[:, self.index].to(self.location)
        self.location.copy_(components.mean(0))
        self.scale.copy_(components.std(0))

    def tensor(self, graph: CrystalGraph) -> Tensor:
        """See ``Baseline``."""
        values = self.components(graph) * self.scale + self.location
        shape = self.entry.shape
        if not shape:
            return values[:, 0]
        flat = values.new_zeros(len(values), int(torch.tensor(shape).prod())).index_copy(1, self.index, values)
        whole = flat.reshape(-1, *shape)
        if not _is_symmetric(self.entry):
            return whole
        return whole + whole.transpose(1, 2) - torch.diag_embed(torch.diagonal(whole, dim1=1, dim2=2))
