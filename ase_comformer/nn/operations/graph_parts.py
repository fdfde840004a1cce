"""Large plain graphs in parts: the sums over the edges to some of the nodes, made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import torch

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.operations.sum_topology import SumTopology, sorted_edges


class GraphParts(Sequence[SumTopology]):
    """The topologies of successive nodes of a plain graph, each made when it is asked for and not kept.

    A list of them keeps them; of very many edges that takes more memory than all else.

    Args:
        graph: plain.
        largest: edges of a part, unless one node has more.
    """

    def __init__(self, graph: CrystalGraph, largest: int) -> None:
        self._graph = graph
        self._order = torch.argsort(graph.edge_receiver, stable=True)
        total = torch.cumsum(torch.bincount(graph.edge_receiver, minlength=len(graph.numbers)), 0).tolist()
        self._bounds = [(0, 0)]  # of nodes and of edges
        for node in range(1, len(total)):
            if total[node - 1] > self._bounds[-1][1] and total[node] - self._bounds[-1][1] > largest:
                self._bounds.append((node, total[node - 1]))
        self._bounds.append((len(total), total[-1] if total else 0))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, number: int) -> SumTopology: ...

    @overload
    def __getitem__(self, number: slice) -> list[SumTopology]: ...

    def __getitem__(self, number: int | slice) -> SumTopology | list[SumTopology]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        (first, begin), (stop, end) = self._bounds[number], self._bounds[number + 1]
        edges = self._order[begin:end]
        sender_atom = self._graph.edge_atom[edges]
        # in a plain graph atoms are nodes
        senders, sender = torch.unique(sender_atom, return_inverse=True)
        found = sorted_edges(self._graph.edge_receiver[edges] - first, sender, len(senders), None)
        found.sender_atom, found.pair_atom = sender_atom, senders[found.pair_atom]
        return SumTopology.from_sorted(found, stop - first, rows=slice(first, stop), senders=senders, edges=edges)

    def __iter__(self) -> Iterator[SumTopology]:
        return (self[number] for number in range(len(self)))
