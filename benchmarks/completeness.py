"""Shows what networks with random weights see of crystals that are hard to tell apart.

    python -m benchmarks.completeness                     # under two minutes on one core

For every pair of ``degenerate_crystals`` and every network: |difference of the outputs|, divided by what displacing the
atoms of the first crystal by 0.05 A does, so that one means "as different as after a visible distortion" and 1e-12
means the same. "= 0" marks what theory says to be zero: by colour refinement of the graph for networks that see
distances, sums over angles, or edges with angles; for a complete network, where the crystals are congruent; for
networks of vectors and l = 2 tensors, where the parts into which the graph falls are congruent, or where no
neighbourhood has a moment of l = 1 or 2 and the distances are the same (the tensor network has l = 3, 4 in its heads).
An entry that disagrees with theory is marked "!" and makes the command fail; for networks of tensors and for frames
averaged slot by slot theory names no pair that they must tell apart.
AMD and PDD are invariants of the whole crystal that are no networks (average-minimum-distance, Widdowson and Kurlin);
they vanish for mirror images, and for Pauling's crystals too.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.comformer import EComFormer, IComFormer, crystal_mean
from ase_comformer.nn.architectures.gmtnet import GMTNet
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.nn.architectures.tensor_network import TensorNetwork
from ase_comformer.nn.layers.attention import SmoothAttention, edge_candidate_pairs, scatter_sum
from ase_comformer.nn.layers.radial import BesselBasis, LegendreBasis
from benchmarks.colour_refinement import look_the_same, without_low_moments
from benchmarks.degenerate_crystals import Pair, pairs

#: Relative differences below count as zero, above as a difference.
ZERO, DIFFERENT = 1e-9, 1e-7
#: Weights are larger than at the start of a training, so that products of several messages count.
GAIN = 3.0
_FRAMES = {"lattice_frame": True}


class DistanceNetwork(nn.Module):
    """Attention on distances only."""

    def __init__(self, graph_settings: GraphSettings, width: int = 32) -> None:
        super().__init__()
        self.graph_settings = graph_settings
        self.embedding, self.basis = nn.Embedding(119, width), BesselBasis(graph_settings.cutoff, 16)
        self.layers = nn.ModuleList(SmoothAttention(width, 16, message_scale=1.0) for _ in range(4))
        self.readout = nn.Linear(width, 4)

    def nodes(self, graph: CrystalGraph) -> Tensor:
        """Features of the atoms (n, C)."""
        radial, envelope = self.basis(torch.linalg.vector_norm(graph.edge_vector, dim=-1))
        h = self.start(graph, radial, envelope)
        for layer in self.layers:
            h = layer(h, radial, graph.edge_receiver, graph.edge_sender, envelope)
        return h

    def start(self, graph: CrystalGraph, radial: Tensor, envelope: Tensor) -> Tensor:
        """Describe atoms before messages (n, C): by their element."""
        return self.embedding(graph.numbers)

    def forward(self, graph: CrystalGraph) -> Tensor:
        """Four numbers per crystal."""
        return self.readout(crystal_mean(torch.tanh(self.nodes(graph)), graph))


class AngleSums(DistanceNetwork):
    """Attention on distances between atoms that know a sum over the pairs of their neighbours."""

    def __init__(self, graph_settings: GraphSettings, width: int = 32) -> None:
        super().__init__(graph_settings, width)
        self.edge_embedding, self.angles = nn.Linear(16 + width, width), LegendreBasis(8)
        self.pair = nn.Linear(width + 8, width)

    def start(self, graph: CrystalGraph, radial: Tensor, envelope: Tensor) -> Tensor:
        """Elements and three-body sums (n, C)."""
        edge, other, angles = _angles(graph, self.angles)
        h = self.embedding(graph.numbers)
        e = torch.tanh(self.edge_embedding(torch.cat([radial, h[graph.edge_sender]], dim=1)))
        terms = torch.tanh(self.pair(torch.cat([e[edge] * e[other], angles], dim=1)))
        weight = envelope[edge] * envelope[other]
        return h + scatter_sum(terms * weight, graph.edge_receiver[edge], len(h))


class ThreeBodyNetwork(DistanceNetwork):
    """Attention on edges whose features take up the angles with the other edges of the receiver, layer by layer.

    What M3GNet and ALIGNN see.
    """

    def __init__(self, graph_settings: GraphSettings, width: int = 32) -> None:
        super().__init__(graph_settings, width)
        self.layers = nn.ModuleList(SmoothAttention(width, width, message_scale=1.0) for _ in range(3))
        self.edge_embedding, self.angles = nn.Linear(16 + 2 * width, width), LegendreBasis(8)
        self.bond = nn.ModuleList(nn.Linear(2 * width + 8, width) for _ in range(3))
        self.update = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(3))

    def nodes(self, graph: CrystalGraph) -> Tensor:
        """Features of the atoms (n, C)."""
        receiver, sender = graph.edge_receiver, graph.edge_sender
        radial, envelope = self.basis(torch.linalg.vector_norm(graph.edge_vector, dim=-1))
        edge, other, angles = _angles(graph, self.angles)
        h = self.embedding(graph.numbers)
        e = self.edge_embedding(torch.cat([radial, h[receiver], h[sender]], dim=1))
        for layer, bond, update in zip(self.layers, self.bond, self.update, strict=True):
            message = torch.tanh(bond(torch.cat([e[edge], e[other], angles], dim=1))) * envelope[other]
            summed = scatter_sum(message, edge, len(e))
            e = torch.tanh(update(torch.cat([e, summed, h[sender]], dim=1)))
            h = layer(h, e, receiver, sender, envelope)
        return h


def _angles(graph: CrystalGraph, basis: LegendreBasis) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of edges of one receiver, (P,) and (P,), and polynomials of the cosine between them."""
    unit = nn.functional.normalize(graph.edge_vector, dim=-1)
    edge, other = edge_candidate_pairs(graph.edge_receiver, graph.edge_receiver, len(graph.numbers))
    return edge, other, basis((unit[edge] * unit[other]).sum(-1))


@dataclass(frozen=True)
class Subject:
    """A network: how it is made, what of its output is compared, and what theory says that it sees."""

    name: str
    sees: str
    make: Callable[[float], nn.Module]
    output: Callable[[nn.Module, CrystalGraph], Tensor]


def _scalar(network: nn.Module, graph: CrystalGraph) -> Tensor:
    return network.stages(graph)["output"].reshape(-1)


def _eigenvalues(network: nn.Module, graph: CrystalGraph) -> Tensor:
    return torch.linalg.eigvalsh(network(graph, ("dielectric_tensor",))["dielectric_tensor"][0])


def _frames(cutoff: float, **further: Any) -> IComFormer:
    return IComFormer(graph_settings=GraphSettings(cutoff=cutoff, **_FRAMES, **further), message_scale=1.0)


SUBJECTS = (
    Subject("distances", "distances", lambda c: DistanceNetwork(GraphSettings(cutoff=c)), lambda n, g: n(g)[0]),
    Subject("angle sums", "sums", lambda c: AngleSums(GraphSettings(cutoff=c)), lambda n, g: n(g)[0]),
    Subject("three-body", "edges", lambda c: ThreeBodyNetwork(GraphSettings(cutoff=c)), lambda n, g: n(g)[0]),
    Subject("iComFormer, slots", "cosines per slot", _frames, _scalar),
    Subject("iComFormer", "crystal", lambda c: _frames(c, joint_frames=True), _scalar),
    Subject("iComFormer, right-handed", "hand", lambda c: _frames(c, joint_frames=True, frame_hands="right"), _scalar),
    Subject(
        "eComFormer",
        "moments",
        lambda c: EComFormer(graph_settings=GraphSettings(cutoff=c), message_scale=1.0),
        _scalar,
    ),
    Subject("GMTNet", "moments", lambda c: _gmtnet(c), _eigenvalues),
    Subject(
        "tensor network",
        "parts",
        lambda c: TensorNetwork(properties=("dielectric_tensor",), graph_settings=GraphSettings(cutoff=c)),
        _eigenvalues,
    ),
    Subject(
        "potential",
        "moments",
        lambda c: Potential(graph_settings=GraphSettings(cutoff=c)),
        lambda n, g: n(g).energy.mean().reshape(1),
    ),
)


def _gmtnet(cutoff: float) -> GMTNet:
    return GMTNet("paper", properties=("dielectric_tensor",), graph_settings=GraphSettings(cutoff=cutoff), width=32)


class Expected:
    """Tells what theory says about a pair; each answer is whether the two look the same to who sees that much."""

    def __init__(self, pair: Pair) -> None:
        graphs = [build_graph(atoms, GraphSettings(cutoff=pair.cutoff)) for atoms in (pair.first, pair.second)]
        parts = pair.mirror_images or pair.same_parts
        distances = look_the_same(*graphs)
        blind = distances and all(without_low_moments(graph) for graph in graphs)
        self.same: dict[str, bool | None] = {
            "distances": distances,
            "sums": look_the_same(*graphs, angles="sums"),
            "edges": look_the_same(*graphs, angles="edges"),
            "crystal": pair.mirror_images,
            "hand": False,
            "cosines per slot": None,
            "moments": True if parts or blind else None,
            "parts": True if parts else None,
        }

    def __getitem__(self, sees: str) -> bool | None:
        return self.same[sees]


def relative_difference(subject: Subject, pair: Pair) -> float:
    """|difference of the outputs| over that of the first crystal and a distortion of it."""
    torch.manual_seed(3)
    network = subject.make(pair.cutoff).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(GAIN if parameter.dim() == 2 else 1.0)
        distorted = pair.first.copy()
        distorted.rattle(0.05, seed=1)
        graphs = [build_graph(atoms, network.graph_settings) for atoms in (pair.first, pair.second, distorted)]
        first, second, third = (subject.output(network, graph) for graph in graphs)
    return float((first - second).abs().max() / (first - third).abs().max())


def invariants(first: Atoms, second: Atoms) -> tuple[float, float]:
    """Distances (A) between the two by AMD and PDD with 100 neighbours."""
    import amd

    sets = [amd.PeriodicSet(atoms.positions, atoms.cell.array) for atoms in (first, second)]
    average = float(np.abs(amd.AMD(sets[0], 100) - amd.AMD(sets[1], 100)).max())
    return average, float(amd.EMD(amd.PDD(sets[0], 100), amd.PDD(sets[1], 100)))


def main() -> None:
    """Print the table; fail where a network disagrees with theory."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    table = Table(title="Relative difference of the outputs; '= 0' is what theory says", show_lines=True)
    table.add_column("pair")
    for subject in SUBJECTS:
        table.add_column(subject.name, justify="right")
    table.add_column("AMD; PDD (A)", justify="right")
    wrong = 0
    for pair in pairs():
        expected, cells = Expected(pair), []
        for subject in SUBJECTS:
            value, same = relative_difference(subject, pair), expected[subject.sees]
            agrees = same is None or (value < ZERO if same else value > DIFFERENT)
            wrong += not agrees
            cells.append(f"{value:.0e}{' = 0' if same else ''}{'' if agrees else ' !'}")
        average, pointwise = invariants(pair.first, pair.second)
        table.add_row(pair.name, *cells, f"{average:.3f}; {pointwise:.3f}")
    Console(width=200).print(table)
    if wrong:
        raise SystemExit(f"{wrong} entries disagree with theory")


if __name__ == "__main__":
    main()
