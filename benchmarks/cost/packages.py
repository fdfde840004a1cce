"""Networks of other packages behind the interface of ``measuring``; run in their environments, without ours.

ALIGNN (alignn 2026, its networks without DGL) with the published sizes: 4 layers on bonds and angles, 4 on bonds, width
256, the 12 nearest neighbours within 8 A. M3GNet and MEGNet (matgl 4) as their published networks for formation
energies: M3GNet 3 blocks of width 64 on 5 A with angles within 4 A, MEGNet 3 blocks on 4 A.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ase import Atoms
from torch import Tensor

#: ALIGNN's search radius in A, far enough for the neighbours asked for.
ALIGNN_CUTOFF = 8.0


class ALIGNN:
    """alignn's network for scalars."""

    def __init__(self, neighbours: int | None = None) -> None:
        """Nearest neighbours of an atom, 12 as published by default."""
        from alignn.models.alignn_atomwise_pure import ALIGNNAtomWisePure, ALIGNNAtomWisePureConfig

        self.neighbours = neighbours or 12
        config = ALIGNNAtomWisePureConfig(
            name="alignn_atomwise_pure",
            alignn_layers=4,
            gcn_layers=4,
            atom_input_features=92,
            hidden_features=256,
            calculate_gradient=False,
            gradwise_weight=0.0,
            energy_mult_natoms=False,
            use_penalty=False,
            use_zbl=False,
        )
        self.network = ALIGNNAtomWisePure(config)

    def graph(self, atoms: Atoms) -> Any:
        """See ``Measured``."""
        from alignn.torch_graph_builder import build_pure_torch_graph
        from jarvis.core.atoms import ase_to_atoms

        bonds, angles = build_pure_torch_graph(
            ase_to_atoms(atoms), two_body_cutoff=ALIGNN_CUTOFF, max_neighbors=self.neighbours
        )
        lattice = torch.as_tensor(atoms.cell.array, dtype=torch.get_default_dtype())
        return bonds, angles, lattice

    def join(self, graphs: Sequence[Any]) -> Any:
        """See ``Measured``."""
        from alignn.torch_graph_builder import batch_torch_graph_pairs

        bonds, angles = batch_torch_graph_pairs([graph[:2] for graph in graphs])
        return bonds, angles, torch.stack([graph[2] for graph in graphs])

    def output(self, batch: Any) -> Tensor:
        """See ``Measured``."""
        return self.network(batch)["out"]

    def sizes(self, graph: Any) -> tuple[int, int]:
        """See ``Measured``."""
        return graph[0].num_edges, graph[1].num_edges


class Matgl:
    """matgl's M3GNet and MEGNet."""

    def __init__(self, name: str, cutoff: float | None = None) -> None:
        """``"M3GNet"`` or ``"MEGNet"``; A, of neighbours and angles, instead of the published cut-offs."""
        from matgl.ext.ase import Atoms2Graph
        from matgl.models import M3GNet, MEGNet

        self.is_m3gnet = name == "M3GNet"
        if self.is_m3gnet:
            angles = {"threebody_cutoff": cutoff or 4.0}
            self.network = M3GNet(cutoff=cutoff or 5.0, readout_type="set2set", is_intensive=True, **angles)
        else:
            self.network = MEGNet(cutoff=cutoff or 4.0, include_state=True)
        self.converter = Atoms2Graph(self.network.element_types, cutoff=self.network.cutoff)

    def graph(self, atoms: Atoms) -> Any:
        """See ``Measured``."""
        graph, lattice, _ = self.converter.get_graph(atoms)
        graph.pos = graph.frac_coords @ lattice[0]
        graph.pbc_offshift = graph.pbc_offset @ lattice[0]
        return graph

    def join(self, graphs: Sequence[Any]) -> Any:
        """See ``Measured``."""
        from torch_geometric.data import Batch

        return Batch.from_data_list(list(graphs))

    def output(self, batch: Any) -> Tensor:
        """See ``Measured``."""
        state = None if self.is_m3gnet else torch.zeros(batch.num_graphs, 2)
        return self.network(batch, state)

    def sizes(self, graph: Any) -> tuple[int, int]:
        """See ``Measured``."""
        edges = graph.edge_index.shape[1]
        if not self.is_m3gnet:
            return edges, 0
        sender, receiver = graph.edge_index
        vector = graph.pos[receiver] + graph.pbc_offshift - graph.pos[sender]
        near = torch.linalg.vector_norm(vector, dim=1) <= self.network.threebody_cutoff
        counts = torch.bincount(sender[near], minlength=graph.num_nodes)
        return edges, int((counts * (counts - 1)).sum())


#: Name -> environment below ``ASE_COMFORMER_PEERS`` (the first that exists).
ENVIRONMENTS = {"ALIGNN": ("alignn",), "M3GNet": ("matgl", "matgl_papers"), "MEGNet (matgl)": ("matgl", "matgl_papers")}


def made(name: str, neighbours: float | None) -> Any:
    """Make the network of a package; ``neighbours`` is a number (ALIGNN) or a cut-off in A (matgl)."""
    if name == "ALIGNN":
        return ALIGNN(None if neighbours is None else int(neighbours))
    return Matgl(name.split()[0], neighbours)
