"""Shows whether symmetry holds in every layer: ``python -m benchmarks.symmetry_by_layer``, under a minute on one core.

GMTNet's requirements (arXiv:2406.12888, section 3), measured with random weights in float64 on exactly symmetric
crystals of all seven systems. For every operation g of the space group, D the representation of the features:
 - atoms: D(g) f_i = f_g(i); for invariant features, equivalent atoms have equal features;
 - crystal: D(g) F = F for the pooled feature, which then has what the point group allows only;
 - output: Neumann's principle, D(g) T = T; forces are turned and moved to the equivalent atom.
Printed is the largest violation over crystals and operations, divided by the largest feature vector of that layer,
for proper and improper operations apart, and the same for a crystal turned and mirrored as a whole, where nothing is
permuted. 1e-15 is rounding; what exceeds 1e-9 is marked "!".
Published iComFormer takes right-handed lattice frames only: it sees hands, so atoms that only an improper operation
relates do differ in it. A network that predicts components of tensors as scalars keeps every scalar requirement and
fails at its output.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.comformer import EComFormer, IComFormer
from ase_comformer.nn.architectures.gmtnet import GMTNet
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.nn.architectures.tensor_network import TensorNetwork
from ase_comformer.tensors.irreps import representation
from ase_comformer.testing import random_rotation, rotate_atoms
from benchmarks.baselines import ETGNN, Matformer, MEGNet
from benchmarks.layer_features import Stage, stages_of
from benchmarks.seven_systems import seven_systems
from benchmarks.surface import Clock, one_thread, prepare_console

#: Largest violation that passes for rounding.
LIMIT = 1e-9
COLUMNS = ("proper", "improper", "turned", "mirrored")
_TENSORS = ("dielectric_tensor", "piezoelectric_tensor", "elastic_tensor", "born_effective_charges")
_SMALL = GraphSettings(cutoff=4.5)


def _gmtnet(name: str) -> Callable[[], nn.Module]:
    return lambda: GMTNet("paper", properties=(name,), width=64)


def _icomformer(hands: str) -> nn.Module:
    settings = GraphSettings(kind="shell", neighbours=25, lattice_frame=True, joint_frames=True, frame_hands=hands)
    return IComFormer("paper", width=64, graph_settings=settings)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "iComFormer": lambda: _icomformer("both"),
    "iComFormer, right-handed frames as published": lambda: _icomformer("right"),
    "eComFormer": lambda: EComFormer("paper", width=64),
    "GMTNet, dielectric": _gmtnet("dielectric_tensor"),
    "GMTNet, piezoelectric": _gmtnet("piezoelectric_tensor"),
    "GMTNet, elastic": _gmtnet("elastic_tensor"),
    "potential": lambda: Potential(graph_settings=_SMALL),
    "ETGNN, dielectric": lambda: ETGNN("dielectric_tensor"),
    "ETGNN, piezoelectric": lambda: ETGNN("piezoelectric_tensor"),
    "ETGNN, elastic": lambda: ETGNN("elastic_tensor"),
    "Matformer": lambda: Matformer("formation_energy"),
    "MEGNet, components of dielectric": lambda: MEGNet("dielectric_tensor"),
    "MEGNet, components of piezoelectric": lambda: MEGNet("piezoelectric_tensor"),
    "MEGNet, components of elastic": lambda: MEGNet("elastic_tensor"),
    "tensor network": lambda: TensorNetwork(properties=_TENSORS, graph_settings=_SMALL),
}


@dataclass
class Violations:
    """Largest violations of one layer over crystals, by column, and the largest feature vector.

    Examples:
        >>> found = Violations("atoms", size=2.0)
        >>> found.add("proper", 0.5)
        >>> found.relative("proper"), found.relative("improper")
        (0.25, None)
    """

    level: str
    size: float = 0.0
    largest: dict[str, float] = field(default_factory=dict)

    def add(self, column: str, value: float) -> None:
        """Keep the larger."""
        self.largest[column] = max(value, self.largest.get(column, 0.0))

    def relative(self, column: str) -> float | None:
        """Violation over the size of features; None where no crystal has such an operation."""
        return self.largest[column] / max(self.size, 1e-300) if column in self.largest else None


def made(name: str) -> nn.Module:
    """Network with random weights in float64, the same in every run."""
    torch.manual_seed(7)
    network = NETWORKS[name]().double().eval()
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if not parameter.abs().max() > 0:  # what starts from nothing would hide a violation
                torch.nn.init.normal_(parameter, std=0.3)
            elif parameter_name.startswith("element_reference"):
                parameter.normal_()
    return network


def deviations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Length (...,) of the difference of feature vectors (..., d)."""
    return np.linalg.norm(first - second, axis=-1)


def symmetry_violations(stage: Stage, group: SpaceGroup) -> Iterator[tuple[str, float]]:
    """Column and violation, one for each operation of the space group but the identity."""
    values = stage.values.numpy()
    for rotation, permutation in zip(group.rotations[1:], group.permutations[1:], strict=True):
        turned = values @ representation(stage.irreps, rotation).T
        there = values[permutation] if stage.per_atom else values
        column = "proper" if np.linalg.det(rotation) > 0 else "improper"
        yield column, float(deviations(turned, there).max())


def measure(network: nn.Module, groups: dict[str, SpaceGroup]) -> dict[str, Violations]:
    """Layer -> violations over all crystals."""
    found: dict[str, Violations] = {}
    random = np.random.default_rng(11)
    for group in groups.values():
        rotation = random_rotation(random)
        stages = stages_of(network, build_graph(group.primitive, network.graph_settings))
        for stage in stages:
            entry = found.setdefault(stage.name, Violations(stage.level))
            entry.size = max(entry.size, float(stage.values.norm(dim=1).max()))
            for column, value in symmetry_violations(stage, group):
                entry.add(column, value)
        for column, matrix in (("turned", rotation), ("mirrored", -rotation)):
            moved = build_graph(rotate_atoms(group.primitive, matrix), network.graph_settings)
            for stage, other in zip(stages, stages_of(network, moved), strict=True):
                expected = stage.values.numpy() @ representation(stage.irreps, matrix).T
                found[stage.name].add(column, float(deviations(other.values.numpy(), expected).max()))
    return found


def table_of(found: dict[str, dict[str, Violations]]) -> Table:
    """One row per layer of each network."""
    table = Table(title="Largest relative violation by layer, random weights, float64")
    for heading in ("network", "layer", "of", *COLUMNS):
        table.add_column(heading, justify="left" if heading in ("network", "layer", "of") else "right")
    for name, layers in found.items():
        shown = name
        for layer, entry in layers.items():
            values = [entry.relative(column) for column in COLUMNS]
            cells = ["-" if v is None else f"{v:.0e}{' !' if v > LIMIT else ''}" for v in values]
            table.add_row(shown, layer, entry.level, *cells)
            shown = ""
        table.add_section()
    return table


def verdict_of(layers: dict[str, Violations]) -> str:
    """Say how many layers of a network violate symmetry, by which columns, and which is the first."""
    broken = {
        layer: [column for column in COLUMNS if (entry.relative(column) or 0.0) > LIMIT]
        for layer, entry in layers.items()
    }
    violated = [layer for layer, columns in broken.items() if columns]
    if not violated:
        return "holds in every layer"
    columns = [column for column in COLUMNS if any(column in found for found in broken.values())]
    return f"violated in {len(violated)} of {len(layers)} layers ({', '.join(columns)}), first: {violated[0]}"


def main() -> None:
    """Print the table and which networks keep all requirements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), metavar="NAME")
    given = parser.parse_args()
    one_thread()
    warnings.simplefilter("ignore")
    console: Console = prepare_console(130)
    clock, groups = Clock(), seven_systems()
    names = ", ".join(f"{name} ({group.international})" for name, group in groups.items())
    console.print(f"{len(groups)} crystals: {names}", markup=False)
    found = {name: measure(made(name), groups) for name in given.networks}
    console.print(table_of(found))
    for name, layers in found.items():
        console.print(f"{name}: {verdict_of(layers)}", markup=False)
    console.print(str(clock))


if __name__ == "__main__":
    main()
