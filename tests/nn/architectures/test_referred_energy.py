"""Networks that correct the energies of a potential: what they compute, how they are kept, and how they learn."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from safetensors import safe_open

from ase_comformer import in_training, predict
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import UnknownNameError, WeightsError
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.models.registry import load_model, model_card, save_bundle, save_weights, weights_folder
from ase_comformer.models.training_index import FILE
from ase_comformer.nn.architectures.referred_energy import Readings, ReferredEnergy
from ase_comformer.testing import REDUCED_EVALUATION, relative_error
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.records import split_of
from ase_comformer.training.engines.trainer import Trainer
from tiny import TINY, tiny_card, tiny_network, tiny_potential

SMALL = {"foundation": "potential", "features": TINY["scalars"], "width": 8, "elements": 4}


def head(seed: int = 0) -> ReferredEnergy:
    """A head that does change energies: its last layers are not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ReferredEnergy(**SMALL).eval()
        for layer in (network.of_atom, network.of_element, network.of_crystal[-1]):
            torch.nn.init.normal_(layer.weight, std=0.3)
    return network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights of a potential and of two heads on it, and a bundle."""
    potential = tiny_potential()
    save_weights(potential, tmp_path, "potential", tiny_card(potential))
    for seed in (1, 2):
        save_weights(head(seed), tmp_path, f"head-{seed}", tiny_card(head(seed)))
    members = {name: ["potential"] for name in ("energy", "forces", "stress")}
    save_bundle(tmp_path, "default", {"formation_energy": ["head-1", "head-2"], **members})
    return tmp_path


def test_before_training_it_is_the_energy_per_atom_referred_to_the_elements(folder, quartz):
    network = ReferredEnergy(**SMALL).double().eval()
    potential = load_model(folder / "potential.json", "cpu", "float64").entries("energy")[0]
    network.attach(potential)
    network.element_reference[8] = 5.0
    energy = predict([quartz], ["energy"], model=folder / "potential.json", dtype="float64")[0]["energy"]
    bias = float((network.of_atom.bias + network.of_crystal[-1].bias).detach())
    graph = build_graph(quartz, potential.graph_settings).to(torch.float64)
    found = float(network(graph)["formation_energy"].detach())
    assert found == pytest.approx(energy / 9 + 5.0 * 2 / 3 + bias, rel=1e-9)


@pytest.mark.parametrize("cells", [(1, 1, 1), (2, 1, 1)])
def test_reduced_graphs_and_repeated_cells_give_the_same(folder, quartz, cells):
    network = head().double()
    network.attach(load_model(folder / "potential.json", "cpu", "float64").entries("energy")[0])
    plain = network(build_graph(quartz.repeat(cells), network.graph_settings).to(torch.float64))["formation_energy"]
    group = analyse_space_group(quartz)
    reduced = network(build_reduced_graph(group, network.graph_settings).to(torch.float64))["formation_energy"]
    assert relative_error(reduced, plain) < max(REDUCED_EVALUATION, 1e-7)  # quartz is idealised within 1e-8 A


def test_networks_on_one_foundation_evaluate_it_once(folder, rocksalt, monkeypatch):
    calls = []
    original = ReferredEnergy.edge_geometry
    monkeypatch.setattr(ReferredEnergy, "edge_geometry", lambda self, graph: calls.append(1) or original(self, graph))
    result = predict([rocksalt], ["formation_energy"], model=folder)[0]
    assert len(calls) == 1
    alone = [predict([rocksalt], ["formation_energy"], model=folder / f"head-{k}.json")[0] for k in (1, 2)]
    values = [each["formation_energy"] for each in alone]
    assert values[0] != pytest.approx(values[1], rel=1e-3)
    assert result["formation_energy"] == pytest.approx(np.mean(values), rel=1e-5)


def test_file_names_its_foundation_and_keeps_none_of_its_parameters(folder):
    foundation = {"foundation": "potential", "sha256": model_card(folder / "potential.json")["sha256"]}
    assert model_card(folder / "head-1.json")["foundation"] == foundation
    with safe_open(folder / "head-1.safetensors", "pt") as file:
        assert file.metadata() == foundation
        assert set(file.keys()) == set(head().state_dict())


def test_another_foundation_is_refused(folder):
    other = tiny_potential(seed=7)
    save_weights(other, folder, "potential", tiny_card(other))
    with pytest.raises(WeightsError, match=r"'head-1' was trained on 'potential' with SHA-256 .* beside it"):
        load_model(folder / "head-1.json")


def test_missing_foundation_is_named(folder):
    (folder / "potential.json").unlink()
    with pytest.raises(WeightsError, match=r"reads 'potential', and there is no potential\.json in"):
        load_model(folder / "head-1.json")


def test_foundation_must_be_a_potential_of_the_right_width():
    with pytest.raises(UnknownNameError, match="is a TensorNetwork with 8 scalars"):
        head().attach(tiny_network())
    with pytest.raises(UnknownNameError, match="features = 5"):
        ReferredEnergy(**{**SMALL, "features": 5}).attach(tiny_potential())
    with pytest.raises(RuntimeError, match="attach the potential 'potential' first"):
        _ = head().potential


def test_what_the_foundation_was_trained_on_counts_as_trained_on(folder):
    for name, dataset in (("potential", "labelled"), ("head-1", "formation_energy"), ("head-2", "formation_energy")):
        card = json.loads((folder / f"{name}.json").read_text())
        card["training"]["datasets"] = [dataset]
        (folder / f"{name}.json").write_text(json.dumps(card))
    (folder / FILE).write_bytes((weights_folder() / FILE).read_bytes())
    known = in_training(bulk("SrO", "rocksalt", a=5.16), folder).formula_datasets
    assert set(known["energy"]) == {"labelled"}
    assert set(known["formation_energy"]) >= {"labelled", "formation_energy"}


def test_half_precision_halves_the_file_and_is_what_is_loaded(tmp_path):
    network = tiny_network()
    for name, half in (("full", False), ("half", True)):
        save_weights(network, tmp_path, name, tiny_card(network), half=half)
    sizes = [sum(value.nbytes for value in _stored(tmp_path / f"{name}.safetensors")) for name in ("full", "half")]
    assert sizes[0] == 2 * sizes[1]
    (loaded,) = load_model(tmp_path / "half.json", "cpu", "float64").entries("elastic_tensor")
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value.half().double()), key


def _stored(path: Path) -> list[torch.Tensor]:
    with safe_open(path, "pt") as file:
        return [file.get_tensor(key) for key in file.keys()]  # noqa: SIM118, the file is no mapping


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Formation energies that are the potential's energies and a number for each element."""
    rows = []
    metals, others = ("Mg", "Al", "Ti", "Zn", "Ga", "Ba", "K", "Ca"), ("C", "N", "O", "S", "P", "Cl")
    for number, formula in enumerate(metal + other for metal in metals for other in others):
        if split_of(formula) not in ("train", "val"):
            continue
        for a in (4.2, 4.4, 4.6):
            atoms = bulk(formula, "rocksalt", a=a)
            rows.append(
                {
                    "id": f"x-{number}-{a}", "source": "test", "structure_functional": "PBE", "formula": formula,
                    "split": split_of(formula), "lattice": atoms.cell.tolist(), "numbers": atoms.numbers.tolist(),
                    "frac": atoms.get_scaled_positions().tolist(), "e_form": -1.0 - 0.02 * number, "flags": [],
                    "gap": 1.0, "e_above_hull": None,
                }
            )  # fmt: skip
    (tmp_path / "data").mkdir()
    with gzip.open(tmp_path / "data" / "formation_energy.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path / "data"


def test_training_reads_the_foundation_once_and_learns(folder, data, monkeypatch):
    calls = []
    original = ReferredEnergy.edge_geometry
    monkeypatch.setattr(ReferredEnergy, "edge_geometry", lambda self, graph: calls.append(1) or original(self, graph))
    config = TrainingConfig(
        name="run", architecture="ReferredEnergy", arguments={**SMALL, "foundation": str(folder / "potential.json")},
        datasets=["formation_energy"], properties=["formation_energy"], epochs=20, batch_size=4, learning_rate=1e-2,
        output=str(folder / "runs"),
    )  # fmt: skip
    trainer = Trainer(config, data)
    assert isinstance(trainer.task.readings[id(trainer.task.train_set)], Readings)
    kept = {name: value.clone() for name, value in trainer.network.potential.state_dict().items()}
    before = trainer._one_epoch()["formation_energy"]
    reads = len(calls)
    trainer.fit()
    after = trainer._one_epoch()["formation_energy"]
    assert len(calls) == reads  # before the first epoch
    assert after < 0.7 * before
    assert all(torch.equal(value, kept[name]) for name, value in trainer.network.potential.state_dict().items())


@pytest.mark.parametrize(
    "cell", [("NaCl", "rocksalt", 5.64), ("GaAs", "zincblende", 5.65), ("SiMg2", "fluorite", 6.35)]
)
def test_formation_energy_and_energy_differ_by_nearly_the_same_in_structures_of_one_crystal(cell):
    atoms = bulk(*cell)
    stretched, displaced = atoms.copy(), atoms.copy()
    stretched.set_cell(atoms.cell * 1.01, scale_atoms=True)
    displaced.rattle(0.02, seed=0)
    results = predict([atoms, stretched, displaced], ["formation_energy", "energy"], enforce_symmetry=False)
    shifts = [result["formation_energy"] - result["energy"] / len(atoms) for result in results]
    assert abs(shifts[1] - shifts[0]) < 8e-3
    assert abs(shifts[2] - shifts[0]) < 2e-3
