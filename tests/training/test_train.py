"""Training: batches carry the right labels, losses are what the metrics are, runs resume exactly, runs export."""

import gzip
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from ase_comformer import predict
from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.training.config import TrainingConfig, copy_config
from ase_comformer.training.data.records import place_in_curve, split_of
from ase_comformer.training.data.samples import load_samples
from ase_comformer.training.engines.trainer import Trainer, start_from
from ase_comformer.training.export import run as export
from ase_comformer.training.runs import run
from ase_comformer.training.tasks.losses import loss_terms, piezoelectric_loss, piezoelectric_norm_loss

SETTINGS = GraphSettings(cutoff=4.0)
CUBIC = [("CaO", 4.81), ("SrO", 5.16), ("BaO", 5.54), ("CaS", 5.69), ("SrS", 6.02), ("LiF", 4.03), ("KF", 5.35),
         ("NaF", 4.63), ("KCl", 6.29), ("LiCl", 5.13), ("RbF", 5.65), ("CsF", 6.01), ("MnO", 4.44), ("NiO", 4.18),
         ("TiC", 4.33), ("TiN", 4.24), ("ZrC", 4.70), ("VN", 4.14), ("LaN", 5.3), ("ScN", 4.5), ("FeO", 4.33),
         ("CoC", 4.2), ("KC", 5.3)]  # fmt: skip


def stiffness(scale: float) -> np.ndarray:
    tensor = np.zeros((6, 6))
    tensor[:3, :3] = 0.4 * scale
    tensor[range(3), range(3)] = scale
    tensor[range(3, 6), range(3, 6)] = 0.35 * scale
    return tensor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    elastic, dielectric = [], []
    for number, (formula, a) in enumerate(CUBIC):
        if split_of(formula) not in ("train", "val"):
            continue
        # an even number of the records is a doubled cell, whose labels must find their way into the primitive one
        atoms = bulk(formula, "rocksalt", a=a).repeat((1 + number % 2, 1, 1))
        common = {
            "id": f"x-{number}", "formula": formula, "split": split_of(formula), "spg": 225, "flags": [],
            "lattice": atoms.cell.tolist(), "frac": atoms.get_scaled_positions().tolist(),
            "numbers": atoms.numbers.tolist(),
        }  # fmt: skip
        elastic.append({**common, "C": stiffness(1000 / a).tolist(), "K_vrh": 900 / a, "G_vrh": 200 / a})
        signs = np.where(np.isin(atoms.numbers, (6, 7, 8, 9, 16, 17)), -1.0, 1.0)
        dielectric.append(
            {
                **common, "pointgroup": "m-3m", "eps_inf": (3 * np.eye(3)).tolist(), "eps_ion": None, "gap": None,
                "born": (signs[:, None, None] * 2 * np.eye(3)).tolist(), "K_vrh": None, "G_vrh": None,
                "e_form": None, "gamma_freq_thz": [0.0] * 3 * len(atoms),
            }
        )  # fmt: skip
    for name, rows in (("elastic_mp", elastic), ("dielectric_born", dielectric)):
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


CONFIG = """
name = "tiny"
architecture = "TensorNetwork"
datasets = ["elastic_mp", "dielectric_born"]
properties = ["elastic_tensor", "moduli", "dielectric_tensor", "born_effective_charges"]
epochs = {epochs}
batch_size = 4
output = "{output}"

[arguments]
properties = ["dielectric_tensor", "born_effective_charges", "elastic_tensor"]
graph_settings = {{kind = "radius", cutoff = 4.0}}
scalars = 8
vectors = 4
hidden = 8
crystal = 8
high = 2
layers = 1
"""


def config(path: Path, epochs: int) -> Path:
    file = path / "config.toml"
    path.mkdir(exist_ok=True)
    file.write_text(CONFIG.format(epochs=epochs, output=path / "runs"), encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def quiet_package_logger():
    package = logging.getLogger("ase_comformer")
    handlers, level = list(package.handlers), package.level
    yield
    for handler in set(package.handlers) - set(handlers):
        package.removeHandler(handler)
        handler.close()
    package.setLevel(level)


@pytest.mark.parametrize("reduced", [True, False])
def test_labels_follow_their_crystals_into_batches(folder: Path, reduced: bool) -> None:
    names = ["elastic_tensor", "born_effective_charges"]
    datasets = ["elastic_mp", "dielectric_born"]
    samples = load_samples(datasets, ["train"], names, SETTINGS, reduced=reduced, folder=folder)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    graph, targets, fidelity = samples.batch(order, names)
    lattice_constant = (graph.volume / graph.atom_count * 8) ** (1 / 3)
    rows = targets.rows["elastic_tensor"]
    expected = torch.stack([torch.as_tensor(stiffness(float(1000 / a))) for a in lattice_constant[rows]])
    assert torch.allclose(targets.values["elastic_tensor"].double(), expected, rtol=1e-4)
    rows = targets.rows["born_effective_charges"]
    anions = torch.isin(graph.numbers[graph.atom_node[rows]], torch.tensor([6, 7, 8, 9, 16, 17]))
    assert torch.equal(targets.values["born_effective_charges"][:, 0, 0] < 0, anions)
    assert set(fidelity.tolist()) == {0, 1}


def test_perfect_predictions_cost_nothing(folder: Path) -> None:
    names = ["elastic_tensor", "moduli", "born_effective_charges", "dielectric_tensor"]
    samples = load_samples(["elastic_mp", "dielectric_born"], ["train"], names, SETTINGS, reduced=True, folder=folder)
    graph, targets, _ = samples.batch(torch.arange(len(samples)), names)
    predictions = {name: torch.zeros(len(samples), 6, 6) + torch.eye(6) for name in ("elastic_tensor",)}
    predictions["dielectric_tensor"] = torch.zeros(len(samples), 3, 3)
    predictions["born_effective_charges"] = torch.zeros(len(graph.atom_node), 3, 3)
    for name in predictions:
        predictions[name][targets.rows[name]] = targets.values[name]
    terms = loss_terms(predictions, targets)
    assert all(float(terms[name].max()) < 1e-4 for name in predictions)
    # the moduli of the fixture are not those of its tensors
    assert float(terms["moduli"].max()) > 1e-3


def test_piezoelectric_loss_takes_the_nearest_reading() -> None:
    readings = torch.randn(2, 3, 3, 6, generator=torch.Generator().manual_seed(1))
    assert float(piezoelectric_loss(readings[:, 2], readings).max()) < 1e-6
    assert float(piezoelectric_loss(readings[:, 2] + 1, readings).min()) > 1


def test_training_lowers_the_loss_and_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    whole = Trainer(TrainingConfig.read(config(tmp_path / "whole", 4)), folder)
    before = whole.validate()
    whole.fit()
    assert sum(whole.validate().values()) < sum(before.values())
    first = Trainer(TrainingConfig.read(config(tmp_path / "parts", 4)), folder)
    _stop_after(first, 2)
    second = Trainer(TrainingConfig.read(tmp_path / "parts" / "config.toml"), folder)
    second.fit()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_batches_of_the_loader_of_torch_geometric_train_the_same_network(folder: Path, tmp_path: Path) -> None:
    curves, networks = {}, {}
    for loader in ("store", "pyg"):
        chosen = TrainingConfig.read(config(tmp_path / loader, 3))
        chosen.loader = loader
        trainer = Trainer(chosen, folder)
        curves[loader] = []
        for trainer.epoch in range(3):
            curves[loader].append(trainer._one_epoch() | {f"val {k}": v for k, v in trainer.validate().items()})
        networks[loader] = trainer.network.state_dict()
    assert len(curves["store"][0]) == 8
    assert curves["store"][0] != curves["store"][1]
    assert curves["pyg"] == [pytest.approx(epoch, rel=1e-6) for epoch in curves["store"]]
    for name, value in networks["store"].items():
        torch.testing.assert_close(networks["pyg"][name], value, rtol=1e-6, atol=1e-7)


def test_unknown_loaders_are_named(folder: Path, tmp_path: Path) -> None:
    chosen = TrainingConfig.read(config(tmp_path, 1))
    chosen.loader = "lightning"
    with pytest.raises(UnknownNameError, match="'lightning' is unknown: choose from store, pyg"):
        Trainer(chosen, folder)


def _stop_after(trainer: Trainer, epochs: int) -> None:
    """Interrupt a run after the checkpoint of an epoch, as a killed process would be."""
    checkpoint = trainer._checkpoint

    def interrupt() -> None:
        checkpoint()
        if trainer.epoch == epochs:
            raise KeyboardInterrupt

    trainer._checkpoint = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()


def test_run_exports_weights_that_predict(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASE_COMFORMER_DATA", str(folder))
    run(config(tmp_path / "run", 1))
    directory = tmp_path / "run" / "runs" / "tiny"
    assert "epoch 1" in (directory / "train.log").read_text(encoding="utf-8")
    written = export(directory, tmp_path / "weights", checkpoint="last", properties=["elastic_tensor"])
    card = json.loads(written.read_text(encoding="utf-8"))
    assert card["properties"]["elastic_tensor"]["functional"] == "PBE"
    assert "CC BY 4.0" in written.with_suffix(".md").read_text(encoding="utf-8")
    element = card["properties"]["elastic_tensor"]["elements"]
    formula, a = next((f, a) for f, a in CUBIC if split_of(f) == "train")
    assert set(bulk(formula, "rocksalt", a=a).symbols) <= set(element)
    (result,) = predict([bulk(formula, "rocksalt", a=a)], ["elastic_tensor"], model=written)
    assert (np.linalg.eigvalsh(result["elastic_tensor"]) > 0).all()


def test_missing_initial_weights_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"former\.safetensors.*git show COMMIT:.*random parameters"):
        start_from(torch.nn.Linear(2, 2), tmp_path / "former.safetensors")


def test_unknown_keys_of_a_configuration_are_named(tmp_path: Path) -> None:
    file = config(tmp_path, 1)
    file.write_text("learning_rat = 1e-3\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ValueError, match="learning_rat"):
        TrainingConfig.read(file)


def test_configurations_build_on_others(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'name = "a"\narchitecture = "GMTNet"\narguments = {}\ndatasets = ["d"]\nproperties = ["p"]\nseed = 1\n'
        "epochs = 7\n"
    )
    (tmp_path / "b.toml").write_text('base = "a.toml"\nname = "b"\nseed = 2\n')
    (tmp_path / "c.toml").write_text('base = "b.toml"\nseed = 3\n')
    found = TrainingConfig.read(tmp_path / "c.toml")
    assert (found.name, found.seed, found.epochs) == ("b", 3, 7)
    (tmp_path / "run").mkdir()
    copy_config(tmp_path / "c.toml", tmp_path / "run" / "config.toml")
    assert TrainingConfig.read(tmp_path / "run" / "config.toml") == found


def test_fractions_of_the_formulas_are_even_and_nested() -> None:
    shares = np.array([place_in_curve(f"A{k}B") for k in range(1000)])
    assert place_in_curve("NaCl") == place_in_curve("NaCl")
    for fraction in (0.25, 0.5, 1.0):
        assert abs((shares < fraction).mean() - fraction) < 0.05


def test_norm_of_the_piezoelectric_tensor_does_not_depend_on_the_reading() -> None:
    label = torch.zeros(1, 2, 3, 6)
    label[0, 0, 0, 3] = label[0, 1, 1, 4] = 1.0
    prediction = torch.zeros(1, 3, 6, requires_grad=True)
    losses = [piezoelectric_norm_loss(prediction + size * label[:, k], label) for size in (0.5, 1.0) for k in (0, 1)]
    assert losses[0] == losses[1] > 0.1
    assert torch.allclose(torch.stack(losses[2:]), torch.zeros(2), atol=1e-6)
    piezoelectric_norm_loss(prediction, label).sum().backward()
    assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("epochs", "50", "epochs = '50' must be of type int"),
        ("epochs", 0, "epochs = 0 must be at least 1"),
        ("learning_rate", -1e-3, "learning_rate = -0.001 must be positive"),
        ("learning_rate", float("nan"), "must be positive"),
        ("weight_decay", -1.0, "zero or more"),
        ("fraction", 1.5, "from 0 to 1"),
        ("reduced", 1, "reduced = 1 must be of type bool"),
        ("datasets", [], "given"),
        ("optimiser", "sgd", "adamw"),
    ],
)
def test_configurations_refuse_values_that_cannot_be_meant(field: str, value: object, words: str) -> None:
    given = {"name": "x", "architecture": "TensorNetwork", "arguments": {}, "datasets": ["d"], "properties": ["p"]}
    assert TrainingConfig(**given, learning_rate=1).learning_rate == 1.0
    with pytest.raises((ValueError, UnknownNameError), match=words):
        TrainingConfig(**{**given, field: value})
