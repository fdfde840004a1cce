"""Our networks and baselines behind the interface of ``measuring``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from ase import Atoms
from torch import Tensor, nn

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.comformer import EComFormer, IComFormer
from ase_comformer.nn.architectures.gmtnet import GMTNet
from ase_comformer.nn.architectures.tensor_network import TensorNetwork
from benchmarks.baselines import ETGNN, Matformer, MEGNet

_SHELLS = GraphSettings(kind="shell", neighbours=25)
_FRAMES = replace(_SHELLS, lattice_frame=True, joint_frames=True, frame_hands="right")

#: Name -> how the network is made, on its own graphs. Those of the papers first, by their widths.
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "Matformer": Matformer,
    "eComFormer": lambda: EComFormer("paper", scalars=128),
    "eComFormer-half": lambda: EComFormer("paper"),
    "iComFormer (3 layers)": lambda: IComFormer("paper", layers=3),
    "iComFormer (4 layers)": lambda: IComFormer("paper", layers=4),
    "GMTNet": GMTNet,
    "ETGNN": ETGNN,
    "MEGNet": MEGNet,
    "iComFormer, small": IComFormer,
    "eComFormer, small": EComFormer,
    "tensor network": lambda: TensorNetwork(properties=("dielectric_tensor",)),
}


class OurNetwork:
    """A network on ``CrystalGraph``."""

    def __init__(self, name: str, neighbours: int | None = None, *, is_reduced: bool = False) -> None:
        """Name in ``NETWORKS``; shells of that many neighbours instead of its own graph; use of symmetry."""
        self.network = NETWORKS[name]()
        settings = self.network.graph_settings
        assert isinstance(settings, GraphSettings)
        self.settings = settings
        self.is_reduced = is_reduced
        if neighbours is not None:
            self.settings = replace(self.settings, kind="shell", neighbours=neighbours)

    def graph(self, atoms: Atoms) -> CrystalGraph:
        """See ``Measured``."""
        if self.is_reduced:
            graph = build_reduced_graph(analyse_space_group(atoms), self.settings)
        else:
            graph = build_graph(atoms, self.settings)
        return graph.to(dtype=torch.float32)

    def join(self, graphs: Sequence[CrystalGraph]) -> CrystalGraph:
        """See ``Measured``."""
        return collate(graphs)

    def output(self, batch: CrystalGraph) -> Tensor:
        """See ``Measured``."""
        (value,) = self.network(batch, self.network.properties).values()
        return value

    def sizes(self, graph: CrystalGraph) -> tuple[int, int]:
        """See ``Measured``; none of these networks works on pairs of edges."""
        return len(graph.edge_vector), 0
