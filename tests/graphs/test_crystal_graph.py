"""Graphs: neighbours against matscipy, whole shells, batching, gradients, symmetry reduction."""

import json
from dataclasses import asdict, fields

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st
from matscipy.neighbours import neighbour_list

from ase_comformer import GMTNetCalculator
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.graphs.lattice_frame import lattice_frame, primitive_lattice
from ase_comformer.graphs.neighbours import GraphSettings, neighbours
from ase_comformer.graphs.schema import COUNTED, declarations
from ase_comformer.nn.layers.radial import polynomial_envelope
from ase_comformer.testing import (
    cells,
    niggli_cell,
    permute_atoms,
    random_rotation,
    rotate_atoms,
    shift_origin,
    supercell,
)
from moved_graph import moved_graph
from seven_systems import ALL_CRYSTALS

FEW = ("MgO m-3m", "quartz 32", "ZnO 6mm", "CuO 2/m", "model -1 acute", "Cu m-3m")
SHELL = GraphSettings(kind="shell", neighbours=16)


def molecule() -> Atoms:
    return Atoms("OH2", [(0, 0, 0), (0.76, 0.59, 0), (-0.76, 0.59, 0)], cell=[9, 10, 11])


def slab() -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    atoms.center(vacuum=6.0, axis=2)
    atoms.pbc = [True, True, False]
    return atoms


def chain() -> Atoms:
    return Atoms("NaCl", [(0, 1, 1), (2.6, 1.1, 0.9)], cell=[5.1, 6, 6], pbc=[True, False, False])


def skew() -> Atoms:
    return make_supercell(ALL_CRYSTALS["quartz 32"], np.array([[1, 3, 0], [0, 1, 0], [2, -1, 1]]))


def outside() -> Atoms:
    atoms = ALL_CRYSTALS["quartz 32"].copy()
    atoms.positions += np.random.default_rng(0).integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    return atoms


STRUCTURES = {
    "molecule": molecule(),
    "slab": slab(),
    "chain": chain(),
    "skew": skew(),
    "atoms outside the cell": outside(),
    "one atom": bulk("Cu", a=3.61),
    "tiny cell": Atoms("H", cell=[[1.1, 0, 0], [0.3, 1.0, 0], [0.1, 0.2, 1.3]], pbc=True),
    "needle": Atoms("H2", scaled_positions=[(0, 0, 0), (0.4, 0.3, 0.5)], cell=[1.2, 1.4, 25], pbc=True),
    "isolated atom": Atoms("He", cell=[30, 30, 30], pbc=True),
    "left-handed": Atoms("GaAs", [(0, 0, 0), (1.4, 1.4, 1.4)], cell=[[0, 2.8, 2.8], [2.8, 0, 2.8], [-2.8, -2.8, 0]],
                         pbc=True),
}  # fmt: skip


def rows(receiver: np.ndarray, sender: np.ndarray, image: np.ndarray) -> np.ndarray:
    table = np.column_stack([receiver, sender, image])
    return table[np.lexsort(table.T[::-1])]


def edge_table(found: tuple) -> np.ndarray:
    return rows(*found[:3])


def geometry(graph: CrystalGraph) -> np.ndarray:
    """Distances of all edges with the species at both ends, sorted: what an invariant network can see of them."""
    numbers = graph.numbers.numpy()
    table = np.column_stack(
        [
            numbers[graph.edge_receiver],
            numbers[graph.edge_sender],
            np.round(graph.edge_vector.norm(dim=1).numpy(), 7),
        ]
    )
    return table[np.lexsort(table.T[::-1])]


# --- radius graph


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("cutoff", [2.5, 5.5])
def test_radius_graph_agrees_with_matscipy(name: str, cutoff: float):
    atoms = STRUCTURES[name]
    found = neighbours(atoms, GraphSettings(cutoff=cutoff))
    # matscipy wants a right-handed cell: exchange two vectors there and back
    swapped = np.linalg.det(atoms.cell.array) < 0
    order = [1, 0, 2] if swapped else [0, 1, 2]
    oracle = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell.array[order], pbc=atoms.pbc[order])
    first, second, shift = neighbour_list("ijS", oracle, cutoff)
    expected = rows(first, second, shift[:, order])
    np.testing.assert_array_equal(edge_table(found), expected)


@pytest.mark.parametrize("name", STRUCTURES)
def test_edge_vectors_point_from_receiver_to_the_sending_image(name: str):
    atoms = STRUCTURES[name]
    receiver, sender, image, vector = neighbours(atoms, GraphSettings())
    expected = atoms.positions[sender] - atoms.positions[receiver] + image @ atoms.cell.array
    np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-11)


@given(cell=cells(1.5, 7.0), count=st.integers(1, 4), seed=st.integers(0, 1000), mask=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_radius_graph_agrees_with_matscipy_in_random_cells(cell: np.ndarray, count: int, seed: int, mask: int):
    scaled = np.random.default_rng(seed).random((count, 3))
    pbc = [bool(mask & 1), bool(mask & 2), bool(mask & 4)]
    atoms = Atoms("H" * count, scaled_positions=scaled, cell=cell, pbc=pbc)
    first, second, shift = neighbour_list("ijS", atoms, 4.0)
    np.testing.assert_array_equal(edge_table(neighbours(atoms, GraphSettings(cutoff=4.0))), rows(first, second, shift))


def slab_or_wire(seed: int) -> tuple[Atoms, Atoms]:
    """A random slab or wire with its cell along the axes of space, and the same turned."""
    rng = np.random.default_rng(seed)
    pbc, lengths = rng.permutation([True, seed % 2 == 0, False]), rng.uniform(2.3, 9.0, 3)
    sites = np.stack(np.meshgrid(*(np.arange(length // 2.3) for length in lengths)), axis=-1).reshape(-1, 3)
    sites = rng.permutation(sites)[: rng.integers(1, 9)] * lengths / (lengths // 2.3)
    sites += rng.integers(-1, 2, sites.shape) * lengths  # atoms need not lie within the cell
    atoms = Atoms("Cu" * len(sites), sites, cell=lengths, pbc=pbc)
    turned = atoms.copy()
    rotation = random_rotation(rng)
    turned.set_cell(atoms.cell.array @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    return atoms, turned


@pytest.mark.parametrize("seed", range(40))
def test_turned_slabs_and_wires_keep_their_neighbours(seed: int):
    """Versions 0.5.4 to 0.5.7 of vesin lose neighbours where a turned slab or wire reaches out of its cell."""
    _, turned = slab_or_wire(seed)
    first, second, shift = neighbour_list("ijS", turned, 5.0)
    np.testing.assert_array_equal(edge_table(neighbours(turned, GraphSettings(cutoff=5.0))), rows(first, second, shift))


@pytest.mark.filterwarnings("ignore:.*far outside the training domain")
def test_turned_slabs_and_wires_keep_their_energies():
    calculator = GMTNetCalculator(dtype="float64")
    for seed in range(20):
        energies = [calculator.get_potential_energy(atoms) for atoms in slab_or_wire(seed)]
        assert energies[1] == pytest.approx(energies[0], abs=1e-7), seed


@pytest.mark.parametrize("kind", ["radius", "shell"])
@pytest.mark.parametrize("name", FEW)
def test_each_directed_edge_is_there_exactly_once_and_so_is_its_reverse(name: str, kind: str):
    table = edge_table(neighbours(ALL_CRYSTALS[name], GraphSettings(kind=kind, cutoff=5.0)))
    assert len(np.unique(table, axis=0)) == len(table)
    reverse = rows(table[:, 1], table[:, 0], -table[:, 2:])
    np.testing.assert_array_equal(reverse, table)


def test_isolated_atom_and_empty_cell_have_no_edges():
    for atoms in (STRUCTURES["isolated atom"], Atoms(cell=[5, 5, 5], pbc=True)):
        graph = build_graph(atoms, GraphSettings())
        assert graph.edge_vector.shape == (0, 3)
        assert len(graph.numbers) == len(atoms)


def test_envelope_ends_at_the_cutoff_with_two_zero_derivatives():
    cutoff = 5.5
    distance = torch.tensor(cutoff, dtype=torch.float64, requires_grad=True)
    inside = (distance - 1e-5).detach().requires_grad_()
    value = polynomial_envelope(inside, cutoff)
    (first,) = torch.autograd.grad(value, inside, create_graph=True)
    (second,) = torch.autograd.grad(first, inside)
    assert abs(value) < 1e-12
    assert abs(first) < 1e-8
    assert abs(second) < 1e-3
    assert polynomial_envelope(distance, cutoff) == 0
    assert polynomial_envelope(torch.zeros((), dtype=torch.float64), cutoff) == 1


def test_envelope_sum_is_smooth_where_edges_enter_the_graph():
    """Lattice parameter through the point where 12 neighbours cross the cut-off: sum and slope stay continuous."""
    contact = 5.5 * 2**0.5
    steps = contact * (1 + np.array([-2e-4, -1e-4, 0, 1e-4, 2e-4]))
    sums = []
    for a in steps:
        graph = build_graph(bulk("Cu", a=a), GraphSettings(cutoff=5.5))
        sums.append(polynomial_envelope(graph.edge_vector.norm(dim=1), 5.5).sum().item())
    slopes = np.diff(sums) / np.diff(steps)
    assert np.abs(np.diff(sums)).max() < 1e-6
    assert np.abs(slopes).max() < 1e-4


# --- shell graph


def coordination_shells(atoms: Atoms, count: int, gap: float) -> list[int]:
    """Size of the smallest set of whole shells that holds ``count`` neighbours, per atom, from a large sphere."""
    first, distance = neighbour_list("id", atoms, 9.0)
    sizes = []
    for atom in range(len(atoms)):
        ordered = np.sort(distance[first == atom])
        end = count
        while ordered[end] - ordered[end - 1] <= gap:
            end += 1
        sizes.append(end)
    return sizes


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("count", [12, 16, 25])
def test_shells_are_whole_and_the_graph_is_their_union(name: str, count: int):
    atoms = ALL_CRYSTALS[name]
    receiver, _, _, vector = neighbours(atoms, GraphSettings(kind="shell", neighbours=count))
    sizes = coordination_shells(atoms, count, 1e-3)
    first, second, distance, shift = neighbour_list("ijdS", atoms, 9.0)
    radius = np.array([np.sort(distance[first == k])[size - 1] for k, size in enumerate(sizes)])
    kept = (distance <= radius[first] + 1e-6) | (distance <= radius[second] + 1e-6)
    assert len(receiver) == kept.sum()
    expected = rows(first[kept], second[kept], shift[kept])
    np.testing.assert_array_equal(
        edge_table(neighbours(atoms, GraphSettings(kind="shell", neighbours=count))), expected
    )
    assert (np.bincount(receiver, minlength=len(atoms)) >= count).all()
    assert np.linalg.norm(vector, axis=1).min() > 0


def test_shells_of_simple_lattices_have_the_known_sizes():
    sizes = {"fcc": (3.6, 18), "bcc": (2.9, 26), "sc": (3.0, 18)}  # 12+6, 8+6+12, 6+12 hold 16 neighbours
    for structure, (a, size) in sizes.items():
        graph = build_graph(bulk("Cu", structure, a=a), SHELL)
        assert len(graph.edge_vector) == size


@pytest.mark.parametrize("name", FEW)
def test_shell_graph_does_not_depend_on_the_description_of_the_crystal(name: str):
    atoms = ALL_CRYSTALS[name]
    generator = np.random.default_rng(1)
    reference = geometry(build_graph(atoms, SHELL))
    same = [
        rotate_atoms(atoms, random_rotation(generator)),
        rotate_atoms(atoms, random_rotation(generator, improper=True)),
        shift_origin(atoms, generator.normal(size=3)),
        permute_atoms(atoms, generator.permutation(len(atoms))),
        niggli_cell(atoms)[0],
    ]
    for other in same:
        np.testing.assert_allclose(geometry(build_graph(other, SHELL)), reference, rtol=0, atol=2e-7)
    for repeats in ((2, 1, 1), (2, 2, 2)):
        larger = geometry(build_graph(supercell(atoms, repeats)[0], SHELL))
        np.testing.assert_allclose(larger, np.repeat(reference, np.prod(repeats), axis=0), rtol=0, atol=2e-7)


@pytest.mark.parametrize("split", [1e-12, 1e-9, 1e-6, 1e-4, 9e-4])
def test_shells_that_nearly_tie_stay_together_in_every_description(split: float):
    """Tetragonal strain splits the 12 neighbours of fcc by less than the tolerance: all or none are in."""
    atoms = bulk("Cu", a=3.61, cubic=True)
    atoms.set_cell(atoms.cell.array * [1, 1, 1 + split / 2.55 * 2], scale_atoms=True)
    generator = np.random.default_rng(2)
    for count in (6, 10, 12):
        sizes = set()
        for _ in range(8):
            turned = rotate_atoms(atoms, random_rotation(generator))
            turned = shift_origin(turned, generator.normal(size=3))
            larger = supercell(turned, (2, 1, 1))[0]
            for other in (turned, larger):
                graph = build_graph(other, GraphSettings(kind="shell", neighbours=count))
                sizes.update(torch.bincount(graph.edge_receiver).tolist())
        assert sizes == {12}


def test_shells_further_apart_than_the_tolerance_are_separated():
    atoms = bulk("Cu", a=3.61, cubic=True)
    atoms.set_cell(atoms.cell.array * [1, 1, 1.01], scale_atoms=True)
    graph = build_graph(atoms, GraphSettings(kind="shell", neighbours=4))
    assert torch.bincount(graph.edge_receiver).tolist() == [4] * 4


def test_shell_graph_in_a_very_flat_and_a_very_long_cell():
    for cell in ([1.2, 1.4, 25], [2.0, 14, 15], [1.1, 1.1, 1.1]):
        atoms = Atoms("H", cell=cell, pbc=True)
        graph = build_graph(atoms, SHELL)
        assert len(graph.edge_vector) >= 16
        reach = graph.edge_vector.norm(dim=1).max().item()
        inside = len(neighbour_list("i", atoms, reach - 1e-2))
        assert inside < len(graph.edge_vector)
        assert len(neighbour_list("i", atoms, reach + 1e-6)) == len(graph.edge_vector)


def test_shell_graph_without_three_periodic_directions_is_an_error():
    with pytest.raises(ValueError, match=r"three periodic directions.*radius"):
        build_graph(slab(), SHELL)


# --- settings


def test_unknown_graph_kind_is_an_error_that_lists_the_choices():
    with pytest.raises(UnknownNameError, match=r"'knn'.*radius, shell"):
        GraphSettings(kind="knn")


def test_settings_survive_json():
    chosen = GraphSettings(kind="shell", cutoff=4.5, neighbours=25, tolerance=2e-3, lattice_frame=True)
    assert GraphSettings(**json.loads(json.dumps(asdict(chosen)))) == chosen
    assert hash(chosen) == hash(GraphSettings(**asdict(chosen)))


# --- gradients


def some_energy(graph: CrystalGraph) -> torch.Tensor:
    """Any smooth function of edge vectors, with directions, and of the volume."""
    distance = graph.edge_vector.norm(dim=1)
    direction = (graph.edge_vector[:, 0] * graph.edge_vector[:, 1]) / distance**2
    envelope = polynomial_envelope(distance, 4.5)
    return (torch.exp(-distance) * envelope * (1 + direction)).sum() + 0.01 * graph.volume.sum()


@pytest.mark.parametrize("name", ["quartz 32", "Cu m-3m", "model -1 acute"])
def test_gradients_agree_with_finite_differences(name: str):
    atoms = ALL_CRYSTALS[name].copy()
    atoms.positions += np.random.default_rng(0).normal(scale=0.03, size=atoms.positions.shape)
    chosen = GraphSettings(cutoff=4.5)
    graph = build_graph(atoms, chosen)
    positions = torch.tensor(atoms.positions, requires_grad=True)
    cell = torch.tensor(atoms.cell.array)[None].requires_grad_()
    by_atoms, by_cell = torch.autograd.grad(
        some_energy(moved_graph(graph, positions.detach(), positions, cell)), (positions, cell)
    )

    def energy(moved: Atoms) -> float:
        return some_energy(build_graph(moved, chosen)).item()  # a fresh neighbour list, not the same edges

    step = 1e-5
    for atom, axis in ((0, 0), (len(atoms) - 1, 2)):
        sides = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            sides.append(energy(moved))
        assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(by_atoms[atom, axis].item(), abs=1e-7)
    for row, axis in ((0, 0), (1, 2), (2, 1)):
        sides = []
        for sign in (1, -1):
            moved = atoms.copy()
            lattice = atoms.cell.array.copy()
            lattice[row, axis] += sign * step
            moved.set_cell(lattice, scale_atoms=False)
            sides.append(energy(moved))
        assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(by_cell[0, row, axis].item(), abs=1e-7)


# --- symmetry-reduced graphs


@pytest.mark.parametrize("kind", ["radius", "shell"])
@pytest.mark.parametrize("name", FEW)
def test_reduced_graph_counts_every_edge_and_atom_of_the_primitive_cell(name: str, kind: str):
    chosen = GraphSettings(kind=kind, cutoff=5.0)
    group = analyse_space_group(ALL_CRYSTALS[name])
    reduced, plain = build_reduced_graph(group, chosen), build_graph(group.primitive, chosen)
    assert reduced.is_reduced
    assert not plain.is_reduced
    assert reduced.node_weight.sum().item() == pytest.approx(1)
    multiplicity = reduced.node_weight * len(group.primitive)
    edges = (reduced.edge_weight * multiplicity[reduced.edge_receiver]).sum().item()
    assert round(edges) == len(plain.edge_vector)
    assert len(reduced.edge_weight) <= len(plain.edge_vector)
    torch.testing.assert_close(reduced.volume, plain.volume)
    np.testing.assert_array_equal(reduced.numbers[reduced.atom_node], group.primitive.numbers)


@pytest.mark.parametrize("name", [*FEW, "beta-quartz 622", "TeO2 422"])
def test_site_projectors_are_projectors_and_keep_invariant_sums(name: str):
    """Sum over edges of the harmonics = projected weighted sum over orbits, for vectors and type-2e tensors."""
    chosen = GraphSettings(cutoff=5.0)
    group = analyse_space_group(ALL_CRYSTALS[name])
    reduced, plain = build_reduced_graph(group, chosen), build_graph(group.primitive, chosen)
    for projector in (reduced.site_vector_projector, reduced.site_tensor_projector):
        torch.testing.assert_close(projector @ projector, projector, rtol=0, atol=1e-12)
        torch.testing.assert_close(projector.transpose(1, 2), projector, rtol=0, atol=1e-12)

    def vector_sum(graph: CrystalGraph) -> torch.Tensor:
        decay = torch.exp(-graph.edge_vector.norm(dim=1)) * graph.edge_weight
        terms = graph.edge_vector * (decay * graph.numbers[graph.edge_sender])[:, None]
        return torch.zeros(len(graph.numbers), 3, dtype=torch.float64).index_add(0, graph.edge_receiver, terms)

    expected = vector_sum(plain)
    found = torch.einsum("nxy,ny->nx", reduced.site_vector_projector, vector_sum(reduced))
    everywhere = torch.einsum("axy,ay->ax", reduced.atom_rotation, found[reduced.atom_node])
    torch.testing.assert_close(everywhere, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", FEW)
def test_atom_rotation_carries_neighbourhoods(name: str):
    """The environment of the node, turned, is that of the atom, species included."""
    group = analyse_space_group(ALL_CRYSTALS[name])
    reduced = build_reduced_graph(group, GraphSettings(cutoff=4.0))
    receiver, sender, _, vector = neighbours(group.primitive, GraphSettings(cutoff=4.0))
    representative = group.representatives[reduced.atom_node.numpy()]
    for atom, origin in enumerate(representative):
        turned = vector[receiver == origin] @ reduced.atom_rotation[atom].numpy().T
        species = group.primitive.numbers[sender[receiver == origin]]
        own, own_species = vector[receiver == atom], group.primitive.numbers[sender[receiver == atom]]
        match = np.linalg.norm(turned[:, None] - own[None], axis=2) + (species[:, None] != own_species[None])
        assert match.shape[0] == match.shape[1]
        assert match.size == 0 or match.min(axis=1).max() < 1e-9


# --- batching


def parts(graph: CrystalGraph) -> dict[str, torch.Tensor]:
    values = {part.name: getattr(graph, part.name) for part in fields(graph)}
    return {name: value for name, value in values.items() if value is not None}


def test_collate_offsets_every_index():
    graphs = [build_graph(ALL_CRYSTALS[name], GraphSettings(lattice_frame=True)) for name in FEW]
    batch = collate(graphs)
    assert batch.crystal_count == len(FEW)
    for crystal, (name, single) in enumerate(zip(FEW, graphs, strict=True)):
        nodes = batch.node_crystal == crystal
        np.testing.assert_array_equal(batch.numbers[nodes], ALL_CRYSTALS[name].numbers)
        edges = batch.node_crystal[batch.edge_receiver] == crystal
        torch.testing.assert_close(batch.edge_vector[edges], single.edge_vector)
        assert (batch.atom_crystal[batch.edge_atom[edges]] == crystal).all()
        assert (batch.node_crystal[batch.edge_sender[edges]] == crystal).all()
        torch.testing.assert_close(batch.frame_vector[batch.frame_crystal == crystal], single.frame_vector)
    assert batch.atom_count.tolist() == [len(ALL_CRYSTALS[name]) for name in FEW]


def test_collate_of_batches_is_collate_of_their_crystals():
    graphs = [build_reduced_graph(analyse_space_group(ALL_CRYSTALS[name]), GraphSettings()) for name in FEW]
    once = parts(collate(graphs))
    twice = parts(collate([collate(graphs[:2]), collate(graphs[2:5]), graphs[5]]))
    assert once.keys() == twice.keys()
    for name, value in once.items():
        torch.testing.assert_close(twice[name], value, rtol=0, atol=0)


def test_collate_mixes_plain_and_reduced_graphs():
    plain = build_graph(ALL_CRYSTALS["model 1"], GraphSettings())
    group = analyse_space_group(ALL_CRYSTALS["MgO m-3m"])
    reduced = build_reduced_graph(group, GraphSettings())
    batch = collate([plain, reduced, plain])
    assert batch.is_reduced
    count = len(plain.numbers)
    identity = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(batch.atom_rotation[:count], identity.expand(count, 3, 3))
    torch.testing.assert_close(batch.site_vector_projector[:count], identity.expand(count, 3, 3))
    assert torch.bincount(batch.operation_crystal).tolist() == [1, group.order, 1]
    assert (batch.operation_rotation[0] == identity).all()
    assert len(batch.atom_crystal) == 2 * count + len(group.primitive)
    assert not plain.is_reduced  # the inputs are not changed


def test_collate_of_nothing_or_of_different_settings_is_an_error():
    with pytest.raises(ValueError, match="no graphs"):
        collate([])
    atoms = ALL_CRYSTALS["Si m-3m"]
    graphs = [build_graph(atoms, GraphSettings(lattice_frame=frame)) for frame in (True, False)]
    with pytest.raises(ValueError, match="frame_vector"):
        collate(graphs)


def test_to_changes_floating_point_parts_only():
    graph = build_reduced_graph(analyse_space_group(ALL_CRYSTALS["quartz 32"]), GraphSettings())
    single = graph.to(dtype=torch.float32)
    for name, value in parts(graph).items():
        assert parts(single)[name].dtype == (torch.float32 if value.is_floating_point() else torch.int64)
        assert value.dtype in (torch.float64, torch.int64)


def test_graph_does_not_share_memory_with_the_atoms():
    atoms = ALL_CRYSTALS["quartz 32"].copy()
    graph = build_graph(atoms, GraphSettings())
    before = {name: value.clone() for name, value in parts(graph).items()}
    atoms.set_cell(atoms.cell.array * 1.1, scale_atoms=True)
    atoms.numbers[:] = 1
    for name, value in before.items():
        torch.testing.assert_close(parts(graph)[name], value)


# --- lattice frame


@pytest.mark.parametrize("name", FEW)
def test_lattice_frame_parts_are_those_of_the_primitive_lattice(name: str):
    atoms = supercell(ALL_CRYSTALS[name], (2, 1, 1))[0]
    graph = build_graph(atoms, GraphSettings(lattice_frame=True))
    frame = lattice_frame(primitive_lattice(atoms))
    np.testing.assert_array_equal(graph.frame_vector, frame.vectors)
    np.testing.assert_array_equal(graph.frame_slot, frame.slots)
    torch.testing.assert_close(
        torch.zeros(3, dtype=torch.float64).index_add(0, graph.frame_slot, graph.frame_weight),
        torch.ones(3, dtype=torch.float64),
    )
    assert (graph.frame_crystal == 0).all()


def test_graphs_without_a_lattice_frame_have_no_frame_parts():
    graph = build_graph(ALL_CRYSTALS["Si m-3m"], GraphSettings())
    assert all(getattr(graph, part.name) is None for part in fields(graph) if part.name.startswith("frame_"))


def test_every_part_says_what_its_axis_runs_over():
    declared = declarations(CrystalGraph)
    assert list(declared) == [part.name for part in fields(CrystalGraph)]
    assert {field.over for field in declared.values()} == set(COUNTED)
