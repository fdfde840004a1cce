"""Batches of frames: pairs, padding, and the compiled step against plain autograd."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_masses, atomic_numbers
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensor, FakeTensorMode

from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.potential import Potential, derivatives
from ase_comformer.nn.operations.sum_topology import SumTopology
from ase_comformer.training.data.frames import Frames, join
from ase_comformer.training.engines.captured import chosen_frames
from ase_comformer.training.engines.resident import ResidentFrames
from ase_comformer.training.tasks.compiled import CompiledStep, topology_of
from ase_comformer.training.tasks.frame_batch import Capacity, FrameBatch, batch_of, frame_losses, padded, tensors_of

CAPACITY = Capacity(frames=6, atoms=40, edges=900, pairs=150, reciprocal_vectors=12)
SETTINGS = GraphSettings(cutoff=4.5, reciprocal_cutoff=1.6)
WEIGHTS = {"energy": 2.0, "stress": 0.3}


def frames_of(atoms: Atoms, count: int, seed: int, known: bool) -> Frames:
    """Displaced copies of one cell with random labels; energies and stresses only where ``known``."""
    generator = np.random.default_rng(seed)
    n = len(atoms)
    shift = 0.05 * generator.normal(size=(count * n, 3))
    return Frames(
        numbers=np.tile(atoms.numbers, count).astype(np.int64),
        positions=np.tile(atoms.positions, (count, 1)) + shift,
        forces=generator.normal(size=(count * n, 3)).astype(np.float32),
        cell=np.tile(atoms.cell.array, (count, 1, 1)),
        count=np.full(count, n),
        energy=generator.normal(size=count) if known else np.full(count, np.nan),
        stress=(0.01 * generator.normal(size=(count, 3, 3)) if known else np.full((count, 3, 3), np.nan)).astype("f4"),
        fidelity=np.zeros(count, dtype=np.int64),
        kind=np.full(count, "strain" if known else "response"),
        group=np.full(count, atoms.get_chemical_formula()),
        displacement=shift.astype(np.float32),
        polarisation=(np.full((count, 3), np.nan) if known else generator.normal(size=(count, 3))).astype("f4"),
    )


@pytest.fixture
def frames() -> Frames:
    salt, metal = bulk("NaCl", "rocksalt", a=5.6, cubic=True), bulk("Mg")
    return join([frames_of(salt, 2, 0, known=False), frames_of(metal, 2, 1, known=True)])


@pytest.fixture
def batch(frames: Frames) -> FrameBatch:
    """The first two frames are a pair, the others stand alone."""
    return FrameBatch.from_frames(frames, np.array([1, 0, -1, -1]), SETTINGS)


@pytest.fixture
def network() -> Potential:
    torch.manual_seed(0)
    network = Potential(scalars=8, vectors=4, layers=2, hidden=8, graph_settings=SETTINGS)
    assert network.dipole is not None
    torch.nn.init.normal_(network.dipole[2].weight)  # no dipoles before training
    return network


def test_edge_counts_are_those_of_the_graph(frames: Frames) -> None:
    graph = frames.graph(SETTINGS)
    expected = torch.bincount(graph.node_crystal[graph.edge_receiver]).numpy()
    np.testing.assert_array_equal(frames.edge_counts(GraphSettings(cutoff=4.5)), expected)


def test_difference_and_mean_of_the_forces_of_a_pair_count_apart(batch: FrameBatch, network: Potential) -> None:
    found = derivatives(network, batch.graph, batch.fidelity)
    before = frame_losses(found, batch)
    assert before["rest"][1].tolist() == [1, 1, 0, 0]
    found.forces[:16] += torch.tensor([1.0, -2.0, 3.0]).repeat(8, 1).repeat(2, 1)  # on both frames of the pair
    after = frame_losses(found, batch)
    torch.testing.assert_close(after["forces"][0], before["forces"][0])
    assert (after["rest"][0][:2] > before["rest"][0][:2]).all()
    opposite = torch.tensor([1.0, -1.0]).repeat_interleave(8).unsqueeze(1)
    found.forces[:16] += opposite * torch.tensor([1.0, -2.0, 3.0])
    torch.testing.assert_close(frame_losses(found, batch)["rest"][0][:2], after["rest"][0][:2])
    found.forces[16:] += 1.0
    assert (frame_losses(found, batch)["forces"][0] != before["forces"][0]).all()


def test_errors_of_responses_count_by_mass_and_size(batch: FrameBatch, network: Potential) -> None:
    found = derivatives(network, batch.graph, batch.fidelity)

    def loss(moved: str, scale: float = 1.0) -> float:
        """With an error of the forces on one element, opposite in both frames; labels and errors scaled alike."""
        scaled = replace(batch, forces=scale * batch.forces)
        error = torch.zeros_like(batch.forces)
        error[:16] = (batch.graph.numbers[:16] == atomic_numbers[moved]).float().unsqueeze(1)
        error[8:16] *= -1
        return float(frame_losses(replace(found, forces=scaled.forces + scale * error), scaled)["forces"][0][0])

    light, heavy = (atomic_masses[atomic_numbers[symbol]] for symbol in ("Na", "Cl"))
    assert loss("Na") / loss("Cl") == pytest.approx((heavy / light) ** 0.5, rel=1e-2)
    # the error of a frequency grows with the root of the force constant at a constant relative error
    assert loss("Na", 400.0) / loss("Na", 100.0) == pytest.approx(2.0, rel=1e-2)


def test_of_opposite_strains_the_changes_of_forces_and_stresses_count(frames: Frames) -> None:
    strained = replace(frames, kind=np.array(["response"] * 2 + ["strained"] * 2))
    batch = FrameBatch.from_frames(strained, np.array([1, 0, 3, 2]), SETTINGS)
    assert batch.partner[16:].tolist() == [18, 19, 16, 17]
    assert batch.sibling.tolist() == [1, 0, 3, 2]


def test_frames_with_stresses_alone_have_no_loss_of_forces(frames: Frames, network: Potential) -> None:
    unknown = np.full_like(frames.forces, np.nan)
    unknown[:16] = frames.forces[:16]
    batch = FrameBatch.from_frames(replace(frames, forces=unknown), np.array([1, 0, 3, 2]), SETTINGS)
    losses = frame_losses(derivatives(network, batch.graph, batch.fidelity), batch)
    assert losses["forces"][1].tolist() == [1, 1, 0, 0]
    assert losses["strain"][1].tolist() == [0, 0, 1, 1]
    assert all(torch.isfinite(values).all() for values, _ in losses.values())


def test_the_change_of_the_stress_between_siblings_counts(frames: Frames, network: Potential) -> None:
    batch = FrameBatch.from_frames(frames, np.array([1, 0, 3, 2]), SETTINGS)
    assert batch.partner.tolist() == [*range(8, 16), *range(8), *([20] * 4)]  # forces of responses, not of these
    found = derivatives(network, batch.graph, batch.fidelity)
    values, known = frame_losses(found, batch)["strain"]
    assert known.tolist() == [0, 0, 1, 1]
    assert float(values[2]) == pytest.approx(float(values[3]), rel=1e-5)
    found.stress[2:] += 0.1  # an offset that both share
    torch.testing.assert_close(frame_losses(found, batch)["strain"][0], values, rtol=1e-3, atol=1e-4)
    found.stress[3:] += 0.1
    assert (frame_losses(found, batch)["strain"][0][2:] > values[2:]).all()


def test_siblings_are_the_frames_of_one_crystal_in_turn(frames: Frames) -> None:
    mixed = frames.take(np.array([2, 0, 3, 1, 3]))
    assert sorted(map(tuple, mixed.siblings().tolist())) == [(0, 2), (1, 3), (2, 4), (3, 1), (4, 0)]
    assert not len(frames.take(np.array([0, 2])).siblings())


def test_unknown_labels_do_not_count(batch: FrameBatch, network: Potential) -> None:
    losses = frame_losses(derivatives(network, batch.graph, batch.fidelity), batch)
    assert {name: known.tolist() for name, (_, known) in losses.items()} == {
        "forces": [1, 1, 1, 1],
        "rest": [1, 1, 0, 0],
        "energy": [0, 0, 1, 1],
        "stress": [0, 0, 1, 1],
        "strain": [0, 0, 0, 0],
        "polarisation": [1, 1, 0, 0],
    }
    assert all(torch.isfinite(values).all() for values, _ in losses.values())


def test_padding_changes_no_loss(batch: FrameBatch, network: Potential) -> None:
    filled = padded(batch, CAPACITY)
    assert filled is not None
    sizes = {len(filled.graph.atom_count), len(filled.energy), len(filled.has_forces)}
    assert sizes == {CAPACITY.frames}
    assert len(filled.forces) == len(filled.partner) == len(filled.graph.numbers) == CAPACITY.atoms
    assert len(filled.graph.edge_receiver) == CAPACITY.edges
    plain, full = (frame_losses(derivatives(network, b.graph, b.fidelity), b) for b in (batch, filled))
    for name, (values, known) in plain.items():
        torch.testing.assert_close(full[name][0][:4], values, rtol=1e-4, atol=1e-5)
        assert full[name][1].tolist() == [*known.tolist(), 0.0, 0.0]


@pytest.mark.parametrize("name", ["frames", "atoms", "edges", "pairs"])
def test_a_batch_beyond_the_capacity_is_not_padded(batch: FrameBatch, name: str) -> None:
    assert padded(batch, Capacity(**{**vars(CAPACITY), name: 4})) is None


def test_a_batch_survives_being_taken_apart(batch: FrameBatch) -> None:
    again = tensors_of(batch_of(tensors_of(batch)))
    assert all(torch.equal(again[name], value) for name, value in tensors_of(batch).items())


def test_the_traced_step_has_the_gradients_of_autograd(batch: FrameBatch, network: Potential) -> None:
    filled = padded(batch, CAPACITY)
    assert filled is not None
    step = CompiledStep(network, WEIGHTS, CAPACITY, compile=False)
    loss, totals = step(filled)
    traced = {name: value.grad.clone() for name, value in network.named_parameters()}
    network.zero_grad()
    losses = frame_losses(derivatives(network, batch.graph, batch.fidelity, create_graph=True), batch)
    expected = sum(WEIGHTS.get(name, 1.0) * (values * known).sum() / 4 for name, (values, known) in losses.items())
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-4)
    assert totals["stress"][1] == 2
    for name, value in network.named_parameters():
        wanted = torch.zeros_like(value) if value.grad is None else value.grad
        torch.testing.assert_close(traced[name], wanted, rtol=1e-3, atol=1e-4, msg=name)
    # another batch of the same shape, with other neighbours
    batch.graph.edge_vector *= 1.01
    again = padded(batch, CAPACITY)
    assert again is not None
    assert step(again)[0] != loss


@pytest.mark.parametrize("fused", [False, True])
def test_batches_of_resident_frames_ask_a_gpu_for_no_size(frames: Frames, fused: bool) -> None:
    """A captured step may not wait for a value, so tensors without values are enough to make a batch."""
    resident = ResidentFrames.from_frames(frames, SETTINGS)
    chosen, sibling = chosen_frames(np.array([[0, 1], [2, -1], [3, -1]]), CAPACITY, len(frames))
    mode = FakeTensorMode()

    def fake(values: torch.Tensor | dict[str, torch.Tensor]) -> Any:
        if isinstance(values, dict):
            return {name: fake(value) for name, value in values.items()}
        return mode.from_tensor(values)

    tables = ResidentFrames(**{part.name: fake(getattr(resident, part.name)) for part in fields(resident)})
    rows = [fake(torch.from_numpy(row)) for row in (chosen, sibling)]
    with mode:
        filled, indices = tables.batch(*rows, CAPACITY, fused)
        with pytest.raises(DynamicOutputShapeException):  # what would be noticed
            torch.repeat_interleave(rows[0])
    found = [*tensors_of(filled).values(), *(value for values in indices.values() for value in values)]
    assert all(isinstance(value, FakeTensor) for value in found)
    real, real_indices = resident.batch(torch.from_numpy(chosen), torch.from_numpy(sibling), CAPACITY, fused)
    expected = [*tensors_of(real).values(), *(value for values in real_indices.values() for value in values)]
    assert [value.shape for value in found] == [value.shape for value in expected]


def test_batches_of_resident_frames_have_the_losses_and_sums_of_plain_ones(
    frames: Frames, batch: FrameBatch, network: Potential
) -> None:
    """One pair, two single frames; what fills the batch up is spread over atoms and counts nothing."""
    resident = ResidentFrames.from_frames(frames, SETTINGS)
    rows = chosen_frames(np.array([[0, 1], [2, -1], [3, -1]]), CAPACITY, len(frames))
    filled, indices = resident.batch(*(torch.from_numpy(row) for row in rows), CAPACITY)
    assert filled.sibling.tolist() == [1, 0, 6, 6, 6, 6]
    topology = SumTopology.from_tensors(indices, filled.graph)
    plain = frame_losses(derivatives(network, batch.graph, batch.fidelity), batch)
    full = frame_losses(derivatives(network, filled.graph, filled.fidelity, topology=topology), filled)
    for name, (values, known) in plain.items():
        torch.testing.assert_close(full[name][0][:4], values, rtol=1e-4, atol=1e-5)
        assert full[name][1].tolist() == [*known.tolist(), 0.0, 0.0]
    for pattern in ("ends", "moments", "carried", "arriving"):
        columns, offsets, given_rows, back, back_offsets, back_rows, order, inverse = indices[pattern]
        for starts, listed in ((offsets, given_rows), (back_offsets, back_rows)):
            sizes = torch.diff(torch.cat([starts, torch.tensor([len(listed)])]))
            assert torch.equal(torch.repeat_interleave(sizes), listed)
            assert sizes.max() <= 90  # NaCl has 78 edges an atom
        assert torch.equal(back, given_rows[order])
        assert torch.equal(back_rows, columns[order])
        assert torch.equal(order[inverse], torch.arange(len(order)))


def test_fused_sums_have_the_losses_and_gradients_of_sparse_products(frames: Frames, network: Potential) -> None:
    resident = ResidentFrames.from_frames(frames, SETTINGS)
    rows = chosen_frames(np.array([[0, 1], [2, -1], [3, -1]]), CAPACITY, len(frames))
    found = {}
    for fused in (False, True):
        filled, indices = resident.batch(*(torch.from_numpy(row) for row in rows), CAPACITY, fused)
        assert ("ends_columns" in indices) == fused
        step = CompiledStep(network, WEIGHTS, CAPACITY, compile=False)
        parameters = {name: value.detach() for name, value in network.named_parameters()}
        inputs = (parameters, tensors_of(filled), indices)
        loss, _, gradients = step.function(inputs)(*inputs)
        found[fused] = loss, gradients
        topology = topology_of(indices, filled.graph)
        found[fused] += (derivatives(network, filled.graph, filled.fidelity, topology=topology).forces,)
    torch.testing.assert_close(found[True][0], found[False][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[True][2], found[False][2], rtol=1e-4, atol=1e-5)
    for (name, _), gradient, expected in zip(network.named_parameters(), found[True][1], found[False][1], strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5, msg=name)
