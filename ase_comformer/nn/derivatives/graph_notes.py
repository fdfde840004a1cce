"""What depends on which atoms are neighbours, and not on where they are: kept beside the sums over edges.

In dynamics and relaxations the sums of the last step serve the next one, and so does this.
"""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.operations.sum_topology import SumTopology

T = TypeVar("T")


def kept_beside(topology: SumTopology, owner: object, graph: CrystalGraph, make: Callable[[], T]) -> T:
    """Return what ``make`` has made for the same atoms before, or let it make that.

    Args:
        topology: of ``graph``; what was made is kept as long as it is.
        owner: whose weights go into what is made.
        graph: whose elements and edge weights go into it, none of its vectors.
        make: makes it.
    """
    key = id(owner), type(owner)
    last = topology.notes.get(key)
    if last is not None and last[0] is owner and _is_same(last[1], graph.numbers, graph.edge_weight):
        kept: T = last[2]
        return kept
    found = make()
    topology.notes[key] = owner, (graph.numbers, graph.edge_weight), found
    return found


def _is_same(last: tuple[Tensor, Tensor], numbers: Tensor, weight: Tensor) -> bool:
    """Whether these are the tensors of last time: those of moving graphs are, while neighbours stay the same."""
    return last[0] is numbers and last[1] is weight
