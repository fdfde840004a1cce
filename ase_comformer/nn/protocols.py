"""What the rest of the package asks of a network; any class that has it can be trained, saved and evaluated.

``Network`` is the whole obligation. The others are offers: two make ensembles faster (networks that share the geometry
of edges, and networks that can be stacked and evaluated as one), one lets users choose the functional, one reads
another network.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings


@runtime_checkable
class Network(Protocol):
    """A ``torch.nn.Module`` that predicts properties of a batch of crystals.

    Attributes:
        graph_settings: the graph that it reads.
        properties: names of what it predicts.
        supports_reduced_graphs: whether it reads symmetry-reduced graphs (docs/architecture.md section 6) as well as
            plain ones.
        arguments: JSON-able arguments of its constructor.
    """

    graph_settings: GraphSettings
    properties: tuple[str, ...]
    supports_reduced_graphs: bool
    arguments: dict[str, Any]

    def __call__(self, graph: CrystalGraph, properties: Sequence[str]) -> dict[str, Tensor]:
        """Return each property in its documented form, (B, ...) for B crystals or (A, ...) for their A atoms."""
        ...


@runtime_checkable
class SharesGeometry(Protocol):
    """A network that takes what it needs to know of edges as the argument ``edge``.

    Attributes:
        geometry: networks that agree in it have the same ``edge_geometry``.
    """

    @property
    def geometry(self) -> Hashable:
        """Equal for networks that can share ``edge_geometry``."""
        ...

    def edge_geometry(self, graph: CrystalGraph) -> Any:
        """Return what ``forward`` takes as ``edge``; independent of the parameters."""
        ...


@runtime_checkable
class FollowsFunctionals(Protocol):
    """A network whose ``forward`` takes ``functional``, a name among those of its training labels.

    Attributes:
        fidelities: these names.
    """

    fidelities: tuple[str, ...]


@runtime_checkable
class Stackable(Protocol):
    """A network of which several can be evaluated as one.

    Attributes:
        stacking_key: networks that agree in it can be stacked.
    """

    @property
    def stacking_key(self) -> Hashable:
        """Equal for networks that can be stacked."""
        ...

    @staticmethod
    def stacked(networks: Sequence[Any]) -> Any:
        """Return one network for ``nn.layers.stacked.repeated`` graphs; outputs are those of member 0, then 1, ..."""
        ...


@runtime_checkable
class BuiltOn(Protocol):
    """A network that reads the features of another, its foundation, whose parameters are not its own.

    Attributes:
        foundation: name of the weights of the other network.
    """

    foundation: str

    def attach(self, potential: nn.Module) -> None:
        """Read this network from now on."""
        ...
