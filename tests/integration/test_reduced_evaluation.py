"""Symmetry-reduced evaluation is exact: 300 crystals of the data package, every property, float64, random weights.

Energies, forces and stress included. Results are compared crystal by crystal, so that batches are tested too.
Reduced and plain graphs are of the same idealised structure (docs/architecture.md section 6). The crystals are in
``tests/helpers/data_crystals.npz``, so that this runs without the data package.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import nn

import data_crystals
from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.inference.prepared import PreparedCrystal
from ase_comformer.nn import ARCHITECTURES
from ase_comformer.nn.architectures.potential import Potential, derivatives
from ase_comformer.properties.registry import SHIPPED_HEADS
from ase_comformer.testing import REDUCED_EVALUATION, change_cell, permute_atoms, shift_origin, supercell

CRYSTALS = 300
RADIUS = {"kind": "radius", "cutoff": 4.5}
FRAMED = {**RADIUS, "lattice_frame": True}
SHELL = {"kind": "shell", "neighbours": 12}
WIDTHS = {"scalars": 16, "vectors": 8, "layers": 3, "radial": 6, "hidden": 16}
#: name -> architecture and arguments; every network that takes reduced graphs
NETWORKS: dict[str, tuple[str, dict]] = {
    "TensorNetwork": (
        "TensorNetwork",
        {**WIDTHS, "crystal": 16, "high": 4, "properties": SHIPPED_HEADS, "graph_settings": RADIUS},
    ),
    "Potential": ("Potential", {**WIDTHS, "graph_settings": {**RADIUS, "reciprocal_cutoff": 1.6}}),
    "eComFormer": ("EComFormer", {"width": 16, "channels": 4, "graph_settings": RADIUS}),
    "iComFormer": ("IComFormer", {"width": 16, "graph_settings": FRAMED}),
    "eComFormer of the paper": ("EComFormer", {"preset": "paper", "width": 16, "graph_settings": SHELL}),
    "iComFormer of the paper": (
        "IComFormer",
        {"preset": "paper", "width": 16, "graph_settings": {**SHELL, "lattice_frame": True}},
    ),
}
CLASSES: dict[str, type[nn.Module]] = {**ARCHITECTURES, "Potential": Potential}
#: networks with tensors and atomic outputs, which another description of the crystal could spoil
EQUIVARIANT = ("TensorNetwork", "Potential")
PER_ATOM = ("born_effective_charges", "energies", "forces", "features", "dipoles")
GMTNET_PROPERTIES = ("dielectric_tensor", "piezoelectric_tensor", "elastic_tensor")


@cache
def groups() -> tuple[SpaceGroup, ...]:
    """The crystals, idealised."""
    return tuple(analyse_space_group(atoms) for atoms in data_crystals.read())


@cache
def network(name: str) -> nn.Module:
    """Random weights; parameters and buffers that start at zero are filled, statistics are those of no batch."""
    architecture, arguments = NETWORKS[name]
    return randomised(CLASSES[architecture](**arguments))


def randomised(built: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in built.parameters():
            spread = 0.3 if not parameter.any() else float(parameter.std()) if parameter.numel() > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * max(spread, 0.1))
        if hasattr(built, "element_reference"):
            built.element_reference.copy_(torch.randn(built.element_reference.shape, generator=generator))
    return built.double().eval()


def batches(graphs: Sequence[CrystalGraph], size: int = 25) -> Iterator[CrystalGraph]:
    for start in range(0, len(graphs), size):
        yield collate(graphs[start : start + size])


def outputs(net: nn.Module, batch: CrystalGraph) -> dict[str, torch.Tensor]:
    return vars(derivatives(net, batch)) if isinstance(net, Potential) else net(batch, net.properties)


@torch.no_grad()
def evaluate(net: nn.Module, graphs: Sequence[CrystalGraph]) -> list[dict[str, np.ndarray]]:
    """Every property of every crystal; Born charges and forces of the atoms of its graph."""
    results: list[dict[str, np.ndarray]] = []
    for batch in batches(graphs):
        output = {name: value.detach().numpy() for name, value in outputs(net, batch).items()}
        for crystal in range(batch.crystal_count):
            rows = (batch.atom_crystal == crystal).numpy()
            results.append(
                {name: value[rows] if name in PER_ATOM else value[crystal] for name, value in output.items()}
            )
    return results


@dataclass
class Disagreement:
    """Worst error of a property: relative to max(norm, 1), and to max(norm, 1 % of the usual norm)."""

    relative: float = 0.0
    strict: float = 0.0
    where: int = -1


def disagreements(
    first: Sequence[dict[str, np.ndarray]], second: Sequence[dict[str, np.ndarray]]
) -> dict[str, Disagreement]:
    """The second must be small too: outputs of random weights may be small beside one."""
    worst = {name: Disagreement() for name in second[0]}
    for name, entry in worst.items():
        norms = np.array([np.linalg.norm(values[name]) for values in second])
        assert np.isfinite(norms).all(), name
        usual = float(np.sqrt(np.mean(norms**2)))
        assert usual > 1e-4, f"{name} is too small to show anything"
        for crystal, (actual, expected) in enumerate(zip(first, second, strict=True)):
            assert actual[name].shape == expected[name].shape
            error = float(np.linalg.norm(actual[name] - expected[name]))
            assert np.isfinite(error), name
            entry.relative = max(entry.relative, error / max(norms[crystal], 1.0))
            strict = error / max(norms[crystal], 0.01 * usual)
            if strict > entry.strict:
                entry.strict, entry.where = strict, crystal
    return worst


def assert_agree(
    first: Sequence[dict[str, np.ndarray]], second: Sequence[dict[str, np.ndarray]], what: str = ""
) -> None:
    for name, worst in disagreements(first, second).items():
        assert max(worst.relative, worst.strict) < REDUCED_EVALUATION, f"{what} {name}: {worst}"


def plain_graphs(settings: GraphSettings) -> list[CrystalGraph]:
    return [build_graph(group.primitive, settings) for group in groups()]


@cache
def plain_results(name: str) -> list[dict[str, np.ndarray]]:
    net = network(name)
    return evaluate(net, plain_graphs(net.graph_settings))


@cache
def reduced_graphs(settings: GraphSettings) -> list[CrystalGraph]:
    return [build_reduced_graph(group, settings) for group in groups()]


# --- the crystals


def test_the_crystals_cover_the_systems_and_the_space_groups():
    assert len(groups()) == CRYSTALS
    assert len({group.crystal_system for group in groups()}) == 7
    assert len({group.number for group in groups()}) >= 60
    assert len({group.point_group for group in groups()}) >= 25
    # P1 has nothing to reduce; the others do
    assert sum(group.order == 1 for group in groups()) <= CRYSTALS / 20
    plain = sum(len(graph.edge_weight) for graph in plain_graphs(GraphSettings(**RADIUS)))
    orbits = sum(len(graph.edge_weight) for graph in reduced_graphs(GraphSettings(**RADIUS)))
    assert plain > 4 * orbits


# --- reduced against plain


@pytest.mark.parametrize("name", NETWORKS)
def test_reduced_evaluation_equals_the_plain_one(name: str):
    net = network(name)
    assert getattr(net, "supports_reduced_graphs", True)
    assert_agree(evaluate(net, reduced_graphs(net.graph_settings)), plain_results(name))


@pytest.mark.parametrize("name", ["TensorNetwork", "Potential"])
def test_no_property_is_left_out(name: str):
    of_potential = ("energy", "energies", "forces", "stress", "features", "dipoles")
    given = SHIPPED_HEADS if name == "TensorNetwork" else of_potential
    assert set(plain_results(name)[0]) == set(given) >= set(network(name).properties)


def test_reduced_forces_of_compressed_crystals_equal_the_plain_ones():
    """Closer than the covalent radii, where the repulsion acts; the space group stays that of the crystal."""
    net, squeezed = network("Potential"), []
    for group in groups():
        atoms = group.primitive.copy()
        atoms.set_cell(0.7 * atoms.cell.array, scale_atoms=True)
        squeezed.append(replace(group, primitive=atoms))
    plain = evaluate(net, [build_graph(group.primitive, net.graph_settings) for group in squeezed])
    reduced = evaluate(net, [build_reduced_graph(group, net.graph_settings) for group in squeezed])
    energies = [values["energies"].max() for values in plain]
    assert np.median(energies) > 2 * max(values["energies"].max() for values in plain_results("Potential"))
    assert_agree(reduced, plain)


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_batches_may_mix_reduced_and_plain_graphs(name: str):
    net = network(name)
    pairs = zip(plain_graphs(net.graph_settings), reduced_graphs(net.graph_settings), strict=True)
    mixed = [pair[crystal % 2] for crystal, pair in enumerate(pairs)]
    assert {graph.is_reduced for graph in mixed[:2]} == {True, False}
    assert_agree(evaluate(net, mixed), plain_results(name))


@pytest.mark.parametrize("name", GMTNET_PROPERTIES)
def test_gmtnet_refuses_reduced_graphs_and_gets_plain_ones(name: str, quartz: Atoms):
    net = ARCHITECTURES["GMTNet"](properties=(name,), width=8, centers=8, layers=1, scalars=4).double().eval()
    assert not net.supports_reduced_graphs
    group = analyse_space_group(quartz)
    with pytest.raises(ValueError, match="plain graph"):
        net(build_reduced_graph(group, net.graph_settings))
    assert not PreparedCrystal(quartz, group).graph(net).is_reduced


# --- order-of-operations independence


def shuffled(group: SpaceGroup, generator: np.random.Generator) -> SpaceGroup:
    """The same group with its operations in another order (the identity stays first), hence other carriers."""
    order = np.array([0, *generator.permutation(np.arange(1, group.order))])
    return group.with_operations(order)


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_results_do_not_depend_on_the_order_of_the_operations(name: str):
    net, generator = network(name), np.random.default_rng(1)
    others = [shuffled(group, generator) for group in groups()]
    pairs = list(zip(others, groups(), strict=True))
    assert sum(not np.array_equal(a.rotations, b.rotations) for a, b in pairs) > CRYSTALS / 2
    carried = [(a.rotations[a.carrier], b.rotations[b.carrier]) for a, b in pairs]
    assert sum(not np.array_equal(a, b) for a, b in carried) > CRYSTALS / 2
    graphs = [build_reduced_graph(group, net.graph_settings) for group in others]
    assert_agree(evaluate(net, graphs), plain_results(name))


def renumbered(atoms: Atoms, generator: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    """Atoms in another order, the origin elsewhere: other representatives of atoms and of edges."""
    order = generator.permutation(len(atoms))
    return permute_atoms(shift_origin(atoms, generator.normal(size=3)), order), order


def skewed(atoms: Atoms, generator: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    """Another primitive cell of the same lattice, long and oblique."""
    first, second = generator.choice([-1, 1], size=2)
    return change_cell(atoms, np.array([[1, first, 0], [0, 1, 0], [second, 1, 1]]) @ atoms.cell.array)


def doubled(atoms: Atoms, generator: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    """A supercell of two primitive cells along a random axis."""
    return supercell(atoms, tuple(np.where(np.arange(3) == generator.integers(3), 2, 1)))


def all_at_once(atoms: Atoms, generator: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    larger, index = supercell(atoms, np.array([[1, 1, 0], [0, 2, 0], [-1, 0, 1]]))
    changed, order = renumbered(larger, generator)
    return changed, index[order]


@pytest.mark.parametrize("change", [renumbered, skewed, doubled, all_at_once])
def test_results_do_not_depend_on_representatives_and_cell(change: Callable):
    generator = np.random.default_rng(2)
    others, sources = [], []
    for group in groups():
        atoms, index = change(group.primitive, generator)
        other = shuffled(analyse_space_group(atoms), generator)
        assert other.number == group.number
        others.append(other)
        # atom of the original behind each atom of the other primitive cell
        sources.append(index[np.unique(other.atom_to_primitive, return_index=True)[1]])
    for name in EQUIVARIANT:
        net = network(name)
        expected = [
            {key: value[source] if key in PER_ATOM else value for key, value in original.items()}
            for original, source in zip(plain_results(name), sources, strict=True)
        ]
        graphs = [build_reduced_graph(other, net.graph_settings) for other in others]
        assert_agree(evaluate(net, graphs), expected, change.__name__)
