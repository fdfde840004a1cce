"""CrystalGraph <-> torch_geometric: the same graph as a ``Data`` object, in both directions without loss.

``CrystalData`` is what loaders, transforms and models of torch-geometric take. Increments and concatenation follow
from the declarations of the fields (``schema.py``), so ``Batch.from_data_list`` of converted graphs is ``collate`` of
the graphs. torch-geometric is imported here and in ``nn.message_passing`` only, neither of which the calculator needs.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch_geometric.data import Data

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.schema import declarations, present

Graph = TypeVar("Graph", bound=CrystalGraph)


class CrystalData(Data):
    """One or more crystals as torch-geometric sees them; made by ``to_pyg``.

    The fields are those of ``CrystalGraph`` under their own names and with their own shapes, except that

    - ``edge_index`` (2, E) holds the sending and the receiving node of every edge, in the order of torch-geometric;
      its second row is ``edge_receiver``;
    - fields with a ragged second axis, the reciprocal vectors, stand row by row without a crystal axis,
      (sum of K, ...), beside ``reciprocal_count`` (B,), the number K of each crystal.

    ``z`` is another name of ``numbers``, and ``node_crystal`` is what pooling layers call ``batch``.

    Attributes:
        graph_type: the class of graphs whose declarations hold; a subclass for graphs with more fields sets its own.
    """

    graph_type: ClassVar[type[CrystalGraph]] = CrystalGraph

    @property
    def z(self) -> Tensor:
        """(n,) atomic numbers of the nodes."""
        numbers: Tensor = self["numbers"]
        return numbers

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Give what is added to the indices of the graph that follows this one in a batch."""
        target = "node" if key == "edge_index" else None
        declared = declarations(self.graph_type)
        if key in declared:
            target = declared[key].refers_to
        if target is None:
            return 0 if key in declared or key.endswith("_count") else super().__inc__(key, value, *args, **kwargs)
        # the first field over what is counted that is no index of another size: all of them have one row each
        return next(len(self[name]) for name, field in declared.items() if field.over == target and name in self)

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Give the axis along which graphs follow each other."""
        return 0 if key in declarations(self.graph_type) else super().__cat_dim__(key, value, *args, **kwargs)


def to_pyg(graph: CrystalGraph, data_type: type[CrystalData] = CrystalData) -> CrystalData:
    """Convert a graph to torch-geometric; no tensor is copied where shapes stay.

    Args:
        graph: plain or reduced, of one or more crystals.
        data_type: ``CrystalData``, or its subclass for a subclass of ``CrystalGraph``.

    Raises:
        TypeError: if ``data_type`` is not made for the class of the graph.

    Example:
        >>> from ase.build import bulk
        >>> from torch_geometric.data import Batch
        >>> from ase_comformer.graphs.building import build_graph
        >>> from ase_comformer.graphs.neighbours import GraphSettings
        >>> graphs = [build_graph(bulk(name), GraphSettings(cutoff=4.0)) for name in ("Si", "Cu")]
        >>> batch = Batch.from_data_list([to_pyg(graph) for graph in graphs])
        >>> batch.batch.tolist(), batch.z.tolist()
        ([0, 0, 1], [14, 14, 29])
    """
    if data_type.graph_type is not type(graph):
        raise TypeError(
            f"{data_type.__name__} holds a {data_type.graph_type.__name__}, not a {type(graph).__name__}: pass a "
            f"subclass of CrystalData whose graph_type is {type(graph).__name__}"
        )
    values: dict[str, Tensor] = {}
    for name, declared, value in present(graph):
        if name == "edge_receiver":
            values["edge_index"] = torch.stack([graph.edge_sender, value])
        elif declared.ragged is not None:
            rows, width = value.shape[:2]
            values[name] = value.flatten(0, 1)
            values[f"{declared.ragged}_count"] = torch.full((rows,), width, device=value.device)
        else:
            values[name] = value
    return data_type(num_nodes=len(graph.numbers), **values)


def from_pyg(data: CrystalData) -> CrystalGraph:
    """Convert what ``to_pyg`` made, or a ``Batch`` of such objects, to a graph.

    Raises:
        TypeError: for other objects: a ``CrystalGraph`` has more than positions and edges.
    """
    kind = getattr(type(data), "graph_type", None)
    if kind is None:
        raise TypeError(
            f"from_pyg takes CrystalData, as to_pyg makes it, or a Batch of it, not {type(data).__name__}; build a "
            "graph of a structure with ase_comformer.graphs.building.build_graph"
        )
    values: dict[str, Tensor] = {}
    for name, declared in declarations(kind).items():
        if name == "edge_receiver":
            values[name] = data["edge_index"][1]
        elif name in data and declared.ragged is not None:
            values[name] = _with_ragged_axis(data[name], data[f"{declared.ragged}_count"])
        elif name in data:
            values[name] = data[name]
    return kind(**values)


def _with_ragged_axis(rows: Tensor, counts: Tensor) -> Tensor:
    """(sum of K, ...) with counts (B,) -> (B, largest K, ...), filled up with zeros."""
    width = int(counts.max()) if len(counts) else 0
    if bool((counts == width).all()):
        return rows.unflatten(0, (len(counts), width))
    padded = rows.new_zeros(len(counts), width, *rows.shape[1:])
    padded[torch.arange(width, device=rows.device) < counts[:, None]] = rows
    return padded
