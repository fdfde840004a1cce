"""A crystal made ready for evaluation: validated, with its space group and the graphs that networks read."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import nn

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.crystals.validation import require_neighbours
from ase_comformer.devices import shielded_device
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.inference.potential_ensemble import PreparedStructure
from ase_comformer.properties.registry import tensor_property


@dataclass(eq=False)
class PreparedCrystal:
    """A structure with everything that does not depend on the property.

    Attributes:
        atoms: the input.
        group: its space group, or None if symmetry is not used.
        graphs: graphs built so far, by settings and by whether they are reduced.
        potential: what energy, forces and stress are evaluated on, where they were asked for.
        status: "ok" for a bulk crystal, else a sentence that says why tensors per volume mean nothing.
    """

    atoms: Atoms
    group: SpaceGroup | None
    graphs: dict[tuple[GraphSettings, bool], CrystalGraph] = field(default_factory=dict)
    potential: PreparedStructure | None = None
    status: str = "ok"

    @property
    def largest_edge_count(self) -> int:
        """Edges of the largest graph built so far."""
        graphs = [*self.graphs.values(), *(self.potential.graphs.values() if self.potential else ())]
        return max((len(graph.edge_weight) for graph in graphs), default=0)

    @property
    def evaluated(self) -> Atoms:
        """The structure that the networks see: the idealised primitive cell where symmetry is used."""
        return self.atoms if self.group is None else self.group.primitive

    def graph(self, network: nn.Module) -> CrystalGraph:
        """The graph that ``network`` evaluates: reduced where there is symmetry and the network supports it.

        Raises:
            InvalidStructureError: an atom has no neighbour within the cut-off of the network.
        """
        settings: GraphSettings = network.graph_settings  # type: ignore[assignment]
        reduced = self.group is not None and self.group.order > 1 and bool(network.supports_reduced_graphs)
        key = (settings, reduced)
        if key not in self.graphs:
            with shielded_device("cpu"):
                if self.group is None:
                    graph = build_graph(self.atoms, settings)
                elif reduced:
                    graph = build_reduced_graph(self.group, settings)
                else:
                    graph = build_graph(self.group.primitive, settings)
                neighbours = torch.bincount(graph.edge_receiver, minlength=len(graph.numbers))
            if settings.kind == "radius" and not neighbours.all():
                require_neighbours(self.evaluated, settings.cutoff)
            self.graphs[key] = graph
        return self.graphs[key]

    def to_input(self, name: str, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Per-atom values of the evaluated cell -> those of the input atoms."""
        if self.group is None or not tensor_property(name).per_atom:
            return value
        return value[self.group.atom_to_primitive]
