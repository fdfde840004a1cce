"""Frames of the three sources, the task that learns from them, and the errors on them."""

import gzip
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.units import GPa
from safetensors.torch import save_file

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.potential import FIDELITIES, Potential, derivatives
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.frame_pack import unpack
from ase_comformer.training.data.frame_sources import TRAINING_DATA, load_frames
from ase_comformer.training.data.frames import Frames, join
from ase_comformer.training.data.records import split_of
from ase_comformer.training.engines.captured import CapturedTrainer
from ase_comformer.training.engines.trainer import Trainer
from ase_comformer.training.evaluation.frame_predictions import Predicted, predict_frames
from ase_comformer.training.evaluation.potential_metrics import potential_errors
from ase_comformer.training.export import trained_network
from ase_comformer.training.pack import write_pack
from ase_comformer.training.runs import trainer

SPLITS = ("train", "train", "train", "val", "test")


def crystal(seed: int) -> Atoms:
    """A rattled argon-like crystal with Lennard-Jones labels."""
    atoms = bulk("Ar" if seed % 2 else "Ne", a=4.6 + 0.05 * (seed % 5), cubic=seed % 3 == 0)
    atoms.rattle(0.08, seed=seed)
    atoms.calc = LennardJones(sigma=3.0, epsilon=0.05, rc=6.0)
    return atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data package of Lennard-Jones frames."""
    path = tmp_path_factory.mktemp("frames")
    frames = [crystal(seed) for seed in range(40)]
    count = [len(atoms) for atoms in frames]
    common = {
        "ptr": np.concatenate([[0], np.cumsum(count)]),
        "numbers": np.concatenate([a.numbers for a in frames]).astype(np.uint8),
        "cell": np.array([a.cell.array for a in frames]),
        "forces": np.concatenate([a.get_forces() for a in frames]).astype(np.float32),
        "energy": np.array([a.get_potential_energy() for a in frames]),
    }
    names = np.array([f"crystal-{k // 4}" for k in range(40)])
    splits = np.array([SPLITS[(k // 4) % 5] for k in range(40)])
    np.savez(
        path / "labelled_frames.npz",
        **common,
        positions=np.concatenate([a.positions for a in frames]).astype(np.float32),
        stress=np.array([a.get_stress() for a in frames], dtype=np.float32),
        variant=np.array(["rattle_s", "strain"] * 20),
        split=splits,
        base_id=names,
    )
    displacement = np.concatenate([0.01 * np.arange(1, n + 1) for n in count]).astype(np.float32)[:, None].repeat(3, 1)
    # displaced copies of one crystal share its cell
    first = [next(m for m in range(k - k % 4, k + 1) if count[m] == count[k]) for k in range(40)]
    np.savez(
        path / "harmonic_frames.npz",
        **common | {"cell": common["cell"][first]},
        material=np.arange(40) // 4,
        ids=names[::4],
        split=splits[::4],
        flags=np.array(["residual_forces" if k == 0 else "" for k in range(10)]),
        frac=np.concatenate([a.get_scaled_positions() for a in frames]).astype(np.float32),
        disp=displacement,
    )
    for k, atoms in enumerate(frames):
        flags = "force_large,short_distance" if k == 1 else "none"
        atoms.info = {"id": names[k], "split": splits[k], "flags": flags, "source_file": "tiny"}
    ase.io.write(path / "energy_frames.extxyz", frames, format="extxyz")
    with gzip.open(path / "energy_frames.extxyz.gz", "wb") as handle:
        handle.write((path / "energy_frames.extxyz").read_bytes())
    return path


def test_labels_stay_with_their_frames(folder: Path) -> None:
    frames = load_frames("labelled", ("train",), folder)
    assert len(frames) == 24
    k = 7
    chosen = frames.take(np.array([k]))
    expected = crystal(k)
    np.testing.assert_allclose(chosen.positions, expected.positions, atol=1e-5)
    np.testing.assert_allclose(chosen.forces, expected.get_forces(), atol=1e-5)
    np.testing.assert_allclose(chosen.stress[0], expected.get_stress(voigt=False), atol=1e-6)
    assert chosen.energy[0] == expected.get_potential_energy()


def test_flagged_frames_are_left_out(folder: Path) -> None:
    assert len(load_frames("dft", ("train",), folder)) == 23
    assert len(load_frames("harmonic", ("train",), folder)) == 20


def test_dft_frames_keep_the_sign_of_the_stress(folder: Path) -> None:
    frames = load_frames("dft", ("val",), folder)
    first = next(k for k in range(40) if SPLITS[(k // 4) % 5] == "val")
    np.testing.assert_allclose(frames.stress[0], crystal(first).get_stress(voigt=False), atol=1e-6)
    assert set(frames.fidelity) == {FIDELITIES.index("PBE")}


def test_harmonic_frames_have_forces_only_and_can_be_put_at_rest(folder: Path) -> None:
    frames = load_frames("harmonic", ("val", "test"), folder)
    assert np.isnan(frames.energy).all()
    assert np.isnan(frames.stress).all()
    np.testing.assert_allclose(frames.at_rest().positions + frames.displacement, frames.positions)
    opposite = frames.opposite()
    np.testing.assert_allclose(opposite.positions + frames.positions, 2 * frames.at_rest().positions)
    np.testing.assert_array_equal(opposite.forces, -frames.forces)
    np.testing.assert_allclose(opposite.at_rest().positions, frames.at_rest().positions)


def test_responses_are_small_opposite_displacements_two_by_two(folder: Path) -> None:
    harmonic, response = (load_frames(source, ("train",), folder) for source in ("harmonic", "response"))
    assert len(response) == 2 * len(harmonic)
    for k, (plus, minus) in enumerate(response.pairs()):
        one, other, given = response.take(plus[None]), response.take(minus[None]), harmonic.take(np.array([k]))
        np.testing.assert_array_equal(one.displacement, -other.displacement)
        np.testing.assert_array_equal(one.forces, -other.forces)
        np.testing.assert_allclose(one.at_rest().positions, given.at_rest().positions, atol=1e-6)
        assert np.square(one.displacement).mean() ** 0.5 == pytest.approx(0.02, rel=1e-3)
        # harmonic: force per displacement stays
        scale = np.linalg.norm(one.displacement) / np.linalg.norm(given.displacement)
        np.testing.assert_allclose(one.forces, scale * given.forces, atol=1e-5)


def test_crystals_at_rest_have_no_forces(folder: Path) -> None:
    """One per crystal of the harmonic frames, its smallest cell, undisplaced."""
    harmonic, rest = (load_frames(source, ("train",), folder) for source in ("harmonic", "rest"))
    assert sorted(rest.group) == sorted(set(harmonic.group))
    assert not rest.forces.any()
    for k in range(len(rest)):
        same = np.flatnonzero(harmonic.group == rest.group[k])
        assert rest.count[k] == harmonic.count[same].min()
        first = harmonic.take(same[harmonic.count[same] == rest.count[k]][:1]).at_rest()
        np.testing.assert_allclose(rest.take(np.array([k])).positions, first.positions)


def test_parts_for_learning_curves_are_nested_and_keep_crystals_whole(folder: Path) -> None:
    frames = load_frames("labelled", ("train", "val", "test"), folder)
    small, large = frames.part(0.3), frames.part(0.8)
    assert set(small.group) <= set(large.group) < set(frames.group)
    for part in (small, large):
        assert len(part) == np.isin(frames.group, np.unique(part.group)).sum()


def test_size_limit(folder: Path) -> None:
    frames = load_frames("labelled", ("train",), folder, max_atoms=1)
    assert set(frames.count) == {1}


def test_unknown_source_lists_the_choices(folder: Path) -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"nonsense.*labelled, substituted, strained, varied, weak, dimers, apart, polymorphs, elastic, dft",
    ):
        load_frames("nonsense", ("train",), folder)


def test_batched_graph_is_that_of_the_structures(folder: Path) -> None:
    frames = join([load_frames("labelled", ("val",), folder), load_frames("dft", ("test",), folder)])
    graph = frames.graph(GraphSettings(cutoff=5.0), torch.float64)
    structures = [
        Atoms(frames.numbers[r], positions=frames.positions[r], cell=frames.cell[k], pbc=True)
        for k in range(len(frames))
        for r in [frames.atom_rows(np.array([k]))]
    ]
    expected = collate([build_graph(atoms, GraphSettings(cutoff=5.0)) for atoms in structures])
    network = Potential(scalars=8, vectors=4, layers=2, hidden=8).double()
    for name in ("energy", "forces", "stress"):
        found, wanted = (getattr(derivatives(network, g), name) for g in (graph, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def config(folder: Path, epochs: int, optimiser: str = "adamw") -> TrainingConfig:
    return TrainingConfig(
        name="tiny",
        optimiser=optimiser,
        architecture="Potential",
        arguments={"scalars": 8, "vectors": 4, "layers": 2, "hidden": 8, "graph_settings": {"cutoff": 5.0}},
        datasets=["labelled", "dft", "harmonic"],
        properties=["energy", "forces", "stress"],
        share={"labelled": 0.5, "dft": 0.25, "harmonic": 0.25},
        loss_weights={"energy": 2.0, "stress": 0.05},
        samples_per_epoch=64,
        batch_size=8,
        epochs=epochs,
        learning_rate=1e-2,
        ema=0.9,
        decay=0.5,
        output=str(folder / "runs"),
    )


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_learning_lowers_the_errors_and_resumes_exactly(folder: Path, tmp_path: Path, optimiser: str) -> None:
    whole = Trainer(config(tmp_path / "whole", 6, optimiser), folder)
    before = whole.validate()
    whole.fit()
    after = whole.validate()
    assert after["labelled_forces"] < 0.9 * before["labelled_forces"]
    assert after["labelled_energy"] < before["labelled_energy"]
    assert set(after) == {
        "labelled_forces", "labelled_energy", "labelled_stress", "labelled_strain", "dft_forces", "dft_energy",
        "dft_stress", "harmonic_forces",
    }  # fmt: skip
    first = Trainer(config(tmp_path / "parts", 6, optimiser), folder)
    original, first._checkpoint = first._checkpoint, lambda: (original(), _stop(first))  # type: ignore[method-assign]
    with pytest.raises(StopIteration):
        first.fit()
    second = Trainer(config(tmp_path / "parts", 6, optimiser), folder)
    second.fit()
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(second.network.state_dict()[name], value)


def test_isolated_atoms_have_cohesive_energies_of_dft_below_crystals(folder: Path, tmp_path: Path) -> None:
    wanted = config(tmp_path, 1)
    wanted.arguments["isolated"] = True
    with pytest.raises(FileNotFoundError, match=r"add isolated_atoms\.json"):
        Trainer(wanted, folder)
    package = shutil.copytree(folder, tmp_path / "package")
    facts = {
        "Ne": {"split": "train", "matpes_PBE_atom": -0.5, "matpes_PBE_crystal_per_atom": -0.75,
               "mp_pbe_lowest_crystal_per_atom": -1.0},
        "Ar": {"split": "val", "matpes_PBE_atom": -0.6},
        "O": {"split": "test", "matpes_PBE_atom": -1.5},
    }  # fmt: skip
    (package / "isolated_atoms.json").write_text(json.dumps(facts))
    started = Trainer(wanted, package)
    network = started.network
    assert network.isolated_energies[0, [10, 18, 8]].tolist() == pytest.approx([-0.75, -0.6, -1.75])
    crystals = Trainer(config(tmp_path, 1), folder).network.element_reference
    torch.testing.assert_close(network.element_reference, crystals)
    # whatever weights a run starts from
    given = {**network.state_dict(), "isolated_reference": torch.zeros_like(network.isolated_reference)}
    save_file(given, tmp_path / "given.safetensors")
    wanted.initial, wanted.name = str(tmp_path / "given.safetensors"), "from another"
    again = Trainer(wanted, package)
    torch.testing.assert_close(again.network.isolated_reference, network.isolated_reference)
    torch.testing.assert_close(again.average.values["isolated_reference"], network.isolated_reference)


def test_a_run_from_a_pack_is_that_from_the_data(folder: Path, tmp_path: Path) -> None:
    wanted = config(tmp_path / "data", 2)
    size = write_pack(wanted, tmp_path / "frames.zip", folder)
    assert size == (tmp_path / "frames.zip").stat().st_size
    whole = Trainer(wanted, folder)
    unpacked = unpack(tmp_path / "frames.zip", tmp_path / "unpacked")
    elsewhere = Trainer(config(tmp_path / "elsewhere", 2), unpacked)
    for given, found in ((whole.task.train_set, elsewhere.task.train_set), *zip(
        (frames for frames, _ in whole.task.val_sets.values()),
        (frames for frames, _ in elsewhere.task.val_sets.values()), strict=True,
    )):  # fmt: skip
        np.testing.assert_array_equal(found.numbers, given.numbers)
        np.testing.assert_array_equal(found.kind, given.kind)
        np.testing.assert_array_equal(found.energy, given.energy)
        np.testing.assert_allclose(found.positions, given.positions, atol=2e-6)
        np.testing.assert_allclose(found.forces, given.forces, rtol=4e-5)
    before = elsewhere.validate()
    whole.fit()
    elsewhere.fit()
    for name, value in whole.validate().items():
        assert elsewhere.validate()[name] == pytest.approx(value, rel=1e-2)
    assert elsewhere.validate()["labelled_forces"] < before["labelled_forces"]


def test_packs_that_cannot_be_are_refused(folder: Path, tmp_path: Path) -> None:
    wanted = config(tmp_path, 1)
    with pytest.raises(ValueError, match=r"MiB, more than 0\.001: lower fraction"):
        write_pack(wanted, tmp_path / "frames.zip", folder, limit=0.001)
    assert not (tmp_path / "frames.zip").exists()
    (tmp_path / "frames.zip").write_text("no archive")
    with pytest.raises(ValueError, match="no pack of frames"):
        unpack(tmp_path / "frames.zip", tmp_path / "unpacked")
    write_pack(wanted, tmp_path / "frames.zip", folder)
    unpacked = unpack(tmp_path / "frames.zip", tmp_path / "unpacked")
    with pytest.raises(FileNotFoundError, match="has no 'response' of train: pack this run"):
        load_frames("response", ("train",), unpacked)
    wanted.architecture = "TensorNetwork"
    with pytest.raises(ValueError, match="learns from records"):
        write_pack(wanted, tmp_path / "frames.zip", folder)


def test_no_epoch_begins_that_would_end_too_late(folder: Path, tmp_path: Path) -> None:
    run = Trainer(config(tmp_path, 50), folder)
    run.fit(until=0.0)
    assert run.epoch == 0
    run.fit(until=time.perf_counter() + 1.5)
    assert 0 < run.epoch < 50
    again = Trainer(config(tmp_path, run.epoch + 1), folder)
    again.fit()
    assert again.epoch == run.epoch + 1


def _stop(trainer: Trainer) -> None:
    if trainer.epoch == 3:
        raise StopIteration


def test_the_epoch_holds_the_shares(folder: Path, tmp_path: Path) -> None:
    task = Trainer(config(tmp_path, 1), folder).task
    order = task.order(torch.Generator().manual_seed(0))
    counts = torch.bincount(task.owner[order], minlength=3)
    assert counts.tolist() == [16, 16, 16]  # labelled frames come in pairs


def test_constant_learning_rate_until_the_decay(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(tmp_path, 10), folder)
    rates = [trainer._learning_rate(progress) for progress in np.linspace(0, 1, 101)]
    assert 0 < rates[0] < 1e-2
    assert rates[25] == rates[49] == 1e-2
    assert rates[-1] < 2e-3


def test_pairs_of_displacements_are_drawn_and_compared(folder: Path, tmp_path: Path) -> None:
    """Batches of constant size hold every unit once, pairs whole; the loss of pairs is reported."""
    paired = config(tmp_path, 1)
    paired.datasets, paired.share = ["labelled", "response"], {"labelled": 0.5, "response": 0.5}
    paired.capacity = {"frames": 8, "atoms": 30, "edges": 2000, "pairs": 300}
    trainer = Trainer(paired, folder)
    task = trainer.task
    task.compiled.compile = False
    batches = list(task.batches(torch.Generator().manual_seed(0)))
    order = task.order(torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat(batches), order)
    assert torch.bincount(task.owner[order]).tolist() == [16, 16]
    assert all(task.size(batch) < 8 for batch in batches)
    assert len(batches) < 20
    trainer.fit()
    assert set(trainer.validate()) == {
        "labelled_forces", "labelled_energy", "labelled_stress", "labelled_strain", "response_forces", "response_rest",
    }  # fmt: skip


def test_a_network_grown_in_its_hidden_layers_computes_the_same(folder: Path, tmp_path: Path) -> None:
    small = Trainer(config(tmp_path / "small", 1), folder)
    small.fit()
    wide = config(tmp_path / "wide", 1)
    wide.arguments |= {"hidden": 24, "update": 40}
    wide.initial = str(small.directory / "best.safetensors")
    frames = load_frames("labelled", ("val",), folder)
    small.network.load_state_dict(small.average.values)
    found, expected = (predict_frames([t.network.eval()], frames) for t in (Trainer(wide, folder), small))
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-5)
    np.testing.assert_allclose(found.energy, expected.energy, rtol=1e-5)


def test_grown_parameters_keep_their_blocks(folder: Path, tmp_path: Path) -> None:
    """More scalars and vectors: every map among those of one parameter has its place, what is new feeds nothing."""
    small = Trainer(config(tmp_path / "small", 1), folder)
    small.fit()
    wide = config(tmp_path / "wide", 1)
    wide.arguments |= {"scalars": small.network.trunk.scalars + 4, "vectors": small.network.trunk.vectors + 3}
    wide.initial = str(small.directory / "best.safetensors")
    given, layer = small.average.values, Trainer(wide, folder).network.trunk.layers[1]
    n, m = small.network.trunk.scalars, small.network.trunk.vectors
    edge, update = given["trunk.layers.1.edge.weight"], given["trunk.layers.1.update.0.weight"]
    for part, (own, before) in enumerate(
        zip(layer.edge.weight.split(layer.parts), edge.split([n] + [m] * 4), strict=True)
    ):
        assert torch.equal(own[: len(before)], before), part
    sizes = [n + 4, n + 4] + [m + 3] * 4
    for part, (own, before) in enumerate(
        zip(layer.update[0].weight.split(sizes, dim=1), update.split([n, n] + [m] * 4, dim=1), strict=True)
    ):
        kept = own[: before.shape[0]]
        assert torch.equal(kept[:, : before.shape[1]], before), part
        assert not kept[:, before.shape[1] :].any(), part


def test_exported_parameters_hold_the_share_of_the_initial_ones(folder: Path, tmp_path: Path) -> None:
    small = Trainer(config(tmp_path / "small", 1), folder)
    small.fit()
    wide = config(tmp_path / "wide", 1)
    wide.arguments |= {"hidden": 24}
    wide.initial = str(small.directory / "best.safetensors")
    trainer = Trainer(wide, folder)
    initial = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.fit()
    trained, mixed, start = (
        trained_network(trainer.directory, replace(wide, initial_share=share), "best")[0] for share in (0.0, 0.25, 1.0)
    )
    for name, value in mixed.state_dict().items():
        torch.testing.assert_close(start.state_dict()[name], initial[name])
        torch.testing.assert_close(value, 0.75 * trained.state_dict()[name] + 0.25 * initial[name])
    assert not torch.equal(trained.trunk.embedding.weight, start.trunk.embedding.weight)


def test_errors_are_those_of_known_offsets(folder: Path) -> None:
    frames: Frames = load_frames("labelled", ("train",), folder)
    group = np.unique(frames.group, return_inverse=True)[1]
    shift = 0.01 * group  # the same for all frames of a crystal: no error between variants
    found = Predicted(
        energy=frames.energy + shift * frames.count,
        forces=frames.forces + 0.1,
        stress=frames.stress + 2.0 * GPa,
        features=np.zeros((len(frames.numbers), 1)),
    )
    errors = potential_errors(frames, found)
    assert errors.energy == pytest.approx(1e3 * shift.mean())
    assert errors.between == pytest.approx(0.0, abs=1e-9)
    assert errors.force == pytest.approx(100.0, rel=1e-5)
    assert errors.stress == pytest.approx(2.0, rel=1e-4)
    assert errors.relative_force == pytest.approx(0.1 / np.sqrt(np.square(frames.forces).mean()), rel=1e-4)


def test_prediction_in_batches_keeps_the_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = load_frames("labelled", ("train",), folder)
    networks = [Potential(scalars=8, vectors=4, layers=2, hidden=8).double().requires_grad_(False) for _ in range(2)]
    whole = predict_frames(networks, frames)
    monkeypatch.setattr("ase_comformer.training.evaluation.frame_predictions._ATOMS_PER_BATCH", 10)
    parts = predict_frames(networks, frames)
    for name in ("energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-10)
    single = [predict_frames([network], frames) for network in networks]
    np.testing.assert_allclose(whole.energy, np.mean([s.energy for s in single], axis=0))


@pytest.mark.parametrize("name", ["substituted", "strained", "elastic", "varied"])
def test_frames_made_here_keep_to_the_split(name: str) -> None:
    data = np.load(TRAINING_DATA / f"{name}_frames.npz")
    found = set(zip(data["formula"].tolist(), data["split"].tolist(), strict=True))
    assert {split for _, split in found} <= {"train", "val", *(["test"] if name == "varied" else [])}
    assert all(split_of(formula) == split for formula, split in found)


@pytest.mark.parametrize("name", ["strained", "elastic"])
def test_pairs_made_here_have_opposite_strains_and_stresses_that_resist(name: str) -> None:
    data = dict(np.load(TRAINING_DATA / f"{name}_frames.npz"))
    assert (data["base_id"][::2] == data["base_id"][1::2]).all()
    first, second = data["cell"][::2].astype(float), data["cell"][1::2].astype(float)
    ratio = np.linalg.inv(first) @ second  # (1 + e)^-1 (1 - e)
    np.testing.assert_allclose(ratio, ratio.swapaxes(1, 2), atol=2e-5)
    strain = (np.eye(3) - ratio) @ np.linalg.inv(np.eye(3) + ratio)
    assert 1e-3 < np.abs(strain).max() < 0.06
    weight = np.array([1, 1, 1, 2, 2, 2])  # yz and zy
    change = data["stress"][::2] - data["stress"][1::2]
    work = (change * strain.reshape(-1, 9)[:, [0, 4, 8, 5, 2, 1]] * weight).sum(1)
    assert (work > 0).mean() > 0.97  # some metals give way in structures they do not have


def captured_config(folder: Path, epochs: int) -> TrainingConfig:
    """Pairs in batches of constant shape, traced but not compiled."""
    paired = config(folder, epochs, "muon")
    paired.datasets, paired.share = ["labelled", "response"], {"labelled": 0.5, "response": 0.5}
    paired.arguments["graph_settings"]["reciprocal_cutoff"] = 1.6
    paired.capacity, paired.compile = (
        {"frames": 8, "atoms": 30, "edges": 2000, "pairs": 300, "reciprocal_vectors": 20},
        False,
    )
    return paired


@pytest.mark.slow
def test_a_captured_run_is_that_of_single_steps_and_resumes(folder: Path, tmp_path: Path) -> None:
    """What a GPU replays, called step by step on a CPU: the same weights, averages and losses."""
    single = Trainer(captured_config(tmp_path / "single", 4), folder)
    single.fit()
    first = CapturedTrainer(captured_config(tmp_path / "captured", 4), folder)
    original, first._checkpoint = first._checkpoint, lambda: (original(), _stop(first))  # type: ignore[method-assign]
    with pytest.raises(StopIteration):
        first.fit()
    captured = CapturedTrainer(captured_config(tmp_path / "captured", 4), folder)
    captured.fit()
    for name, value in single.network.state_dict().items():
        torch.testing.assert_close(captured.network.state_dict()[name], value, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(captured.average.values[name], single.average.values[name], rtol=1e-3, atol=1e-4)
    losses, expected = captured.validate(), single.validate()
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert losses[name] == pytest.approx(value, rel=1e-2)


def test_a_gpu_trains_potentials_in_one_process_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = captured_config(tmp_path, 1)
    wanted.device = "cuda"
    wanted.architecture = "GMTNet"
    with pytest.raises(UnknownNameError, match="device = 'cpu'"):
        trainer(wanted)
    wanted.architecture = "Potential"
    monkeypatch.setattr("ase_comformer.training.runs.Processes", lambda: SimpleNamespace(count=2, rank=0))
    with pytest.raises(ValueError, match="without torchrun"):
        trainer(wanted)


@pytest.mark.parametrize("made", [Trainer, CapturedTrainer])
def test_batches_without_room_for_waves_are_refused(folder: Path, tmp_path: Path, made: type[Trainer]) -> None:
    small = captured_config(tmp_path, 1)
    small.capacity["reciprocal_vectors"] = 0
    with pytest.raises(ValueError, match="reciprocal_vectors = 72"):
        made(small, folder)


def test_frames_that_no_batch_holds_are_refused_on_a_gpu(folder: Path, tmp_path: Path) -> None:
    small = captured_config(tmp_path, 1)
    small.capacity["edges"] = 100
    with pytest.raises(ValueError, match="max_atoms"):
        CapturedTrainer(small, folder)
