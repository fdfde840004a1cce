"""Whole lattice frames: signs, ties, orbits under the crystal's operations, and what they tell apart."""

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.graphs.joint_frames import joint_frames
from ase_comformer.graphs.neighbours import GraphSettings, neighbours
from ase_comformer.nn.architectures.comformer import IComFormer
from ase_comformer.testing import rotations
from symmetric_crystals import crystals, quartz

TRICLINIC = np.array([[3.0, 0.1, 0.2], [0.4, 4.0, 0.3], [0.5, 0.7, 5.0]])
CELLS = {
    "cubic": 4.0 * np.eye(3),
    "fcc": 2.0 * (1 - np.eye(3)),
    "hexagonal": np.array([[3.0, 0, 0], [-1.5, 1.5 * 3**0.5, 0], [0, 0, 5.0]]),
    "orthorhombic": np.diag([3.0, 4.0, 5.0]),
    "monoclinic": np.array([[3.0, 0, 0], [0, 4.0, 0], [1.0, 0, 5.0]]),
    "triclinic": TRICLINIC,
}


@pytest.mark.parametrize(
    ("name", "count"),
    [("cubic", 48), ("fcc", 48), ("hexagonal", 24), ("orthorhombic", 8), ("monoclinic", 4), ("triclinic", 2)],
)
def test_frames_that_tie_are_as_many_as_the_lattice_has_operations(name: str, count: int):
    both, right = (joint_frames(CELLS[name], hands=hands) for hands in ("both", "right"))
    assert (len(both.weights), len(right.weights)) == (count, count // 2)
    assert (np.linalg.det(right.vectors) > 0).all()
    assert both.weights.sum() == pytest.approx(1.0, abs=1e-12)
    metrics = np.einsum("fsi,fti->fst", both.vectors, both.vectors)
    np.testing.assert_allclose(metrics, np.broadcast_to(metrics[0], metrics.shape), atol=1e-9)


@given(rotation=rotations(), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_frames_do_not_depend_on_the_basis_and_turn_with_the_lattice(rotation: np.ndarray, seed: int):
    random = np.random.default_rng(seed)
    basis = np.linalg.multi_dot([_shear(random) for _ in range(3)])
    cell = CELLS[list(CELLS)[seed % len(CELLS)]]
    turned = joint_frames(basis @ cell @ rotation.T).vectors @ rotation
    expected = joint_frames(cell).vectors
    distance = np.abs(turned[:, None] - expected[None]).max(axis=(2, 3))
    assert len(turned) == len(expected)
    assert distance.min(axis=1).max() < 1e-9


def _shear(random: np.random.Generator) -> np.ndarray:
    made = np.eye(3)
    first, second = random.permutation(3)[:2]
    made[first, second] = random.integers(-2, 3)
    return made


@pytest.mark.parametrize("hands", ["both", "right"])
def test_one_frame_of_each_orbit_gives_the_mean_over_all(hands: str):
    group = analyse_space_group(quartz())
    cell = group.primitive.cell.array
    every, few = joint_frames(cell, hands=hands), joint_frames(cell, group.rotations, hands=hands)
    assert len(few.weights) * group.order / 2 <= len(every.weights)
    assert few.weights.sum() == pytest.approx(1.0, abs=1e-12)

    receiver, sender, _, vector = neighbours(group.primitive, GraphSettings(cutoff=4.0))
    species = group.primitive.numbers[receiver] * group.primitive.numbers[sender] ** 2

    def invariant(vectors: np.ndarray) -> np.ndarray:
        """A function of frame and crystal, the same for frames that an operation of the crystal relates."""
        seen = np.einsum("fsi,ei->fes", vectors, vector)
        return np.exp(0.1 * seen @ [0.3, 0.2, -0.1]) @ species

    assert np.ptp(invariant(every.vectors)) > 1.0
    assert invariant(few.vectors) @ few.weights == pytest.approx(invariant(every.vectors) @ every.weights, rel=1e-9)


def network_on(settings: GraphSettings) -> IComFormer:
    """Random weights, large enough for products of several messages to count."""
    torch.manual_seed(1)
    made = IComFormer(graph_settings=settings, message_scale=1.0).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3.0 if parameter.dim() == 2 else 1.0)
    return made


def signed_star(*directions: tuple[int, int, int]) -> Atoms:
    """A carbon atom with nitrogen at (+-1, +-1, +-1) in an orthorhombic box; only C-N pairs are within 1.9 A."""
    positions = [[0.0, 0.0, 0.0], *np.array(directions) * 0.7]
    return Atoms("C" + "N" * len(directions), positions, cell=[9.0, 10.0, 11.0], pbc=True)


@pytest.mark.parametrize(("joint", "expected"), [(True, True), (False, False)])
def test_relative_signs_of_the_cosines_are_kept_by_joint_frames_only(joint: bool, expected: bool):
    settings = GraphSettings(cutoff=1.9, lattice_frame=True, joint_frames=joint)
    network = network_on(settings)
    pair = [signed_star((1, 1, 1), (-1, -1, 1)), signed_star((1, 1, 1), (-1, -1, -1))]
    with torch.no_grad():
        first, second = network.stages(collate([build_graph(atoms, settings) for atoms in pair]))["output"]
    assert (abs(float(first - second)) > 1e-6) is expected


def test_right_handed_frames_tell_mirror_images_apart_and_both_hands_do_not():
    left, right = quartz(), quartz()
    right.set_cell(-left.cell.array, scale_atoms=False)
    right.positions = -left.positions
    for hands, differs in (("right", True), ("both", False)):
        settings = GraphSettings(cutoff=4.0, lattice_frame=True, joint_frames=True, frame_hands=hands)
        network = network_on(settings)
        with torch.no_grad():
            values = network.stages(collate([build_graph(atoms, settings) for atoms in (left, right)]))["output"]
        assert (float((values[0] - values[1]).abs()) > 1e-6) is differs


def test_graphs_of_symmetric_crystals_have_few_frames():
    settings = GraphSettings(cutoff=4.0, lattice_frame=True, joint_frames=True)
    for atoms in crystals():
        group = analyse_space_group(atoms)
        reduced = build_reduced_graph(group, settings)
        assert reduced.frame_slot is not None
        assert len(reduced.frame_slot) // 3 <= max(1, 48 // group.order)


def test_hands_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="both, right"):
        joint_frames(np.eye(3), hands="left")
