"""Training for a stated time: labels are learned, the best state is kept, finished runs are not repeated."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.nn.architectures.comformer import EComFormer
from ase_comformer.training.data.store import GraphStore
from benchmarks.accuracy_training import Labelled, Scaled, mean_error, predicted, prepare, train, typical_size
from benchmarks.baselines import ETGNN, MEGNet
from benchmarks.papers_accuracy import ENTRANTS, Entrant, Race, Results, Setting, measured

SETTINGS = GraphSettings(kind="radius", cutoff=4.0)


def scalars(count: int = 12) -> Labelled:
    """Crystals of silicon whose label is their lattice constant."""
    constants = np.linspace(5.2, 5.8, count)
    graphs = [build_graph(bulk("Si", a=a), SETTINGS).to(dtype=torch.float32) for a in constants]
    return Labelled(GraphStore(collate(graphs)), torch.tensor(constants, dtype=torch.float32), ["Si"] * count)


def test_a_network_learns_in_the_time_that_it_is_given():
    data = scalars()
    network = MEGNet("formation_energy", graph_settings=SETTINGS)
    prepare(network, data)
    before = mean_error(predicted(network, data), data.labels)
    trained = train(network, data, data, seconds=1.0, learning_rate=3e-3, seed=0)
    after = mean_error(predicted(network, data), data.labels)
    assert after < 0.5 * before
    assert after == pytest.approx(trained.val)
    assert 1.0 <= trained.seconds < 3.0
    assert trained.epochs > 2


def test_networks_start_at_the_size_of_their_labels():
    labels = torch.randn(30, 3, 3) * 40
    data = Labelled(scalars(30).store, labels, ["Si"] * 30)
    network = ETGNN("dielectric_tensor", graph_settings=SETTINGS)
    prepare(network, data)
    assert float(network.scale) == pytest.approx(typical_size(labels))
    plain = EComFormer(graph_settings=SETTINGS)
    prepare(plain, scalars())
    # one element: the reference is the mean of the labels, up to the ridge
    assert float(plain.element_reference[14]) == pytest.approx(5.5, rel=1e-2)


def test_a_scaled_network_gives_a_multiple_of_what_is_inside():
    data = scalars()
    inner = MEGNet("dielectric_tensor", graph_settings=SETTINGS).eval()
    outer = Scaled(inner)
    outer.set_statistics(torch.ones(4, 3, 3) * 10)
    assert torch.allclose(predicted(outer, data), 30 * predicted(inner, data))


def test_settings_are_tried_first_then_the_best_is_repeated(tmp_path: Path):
    settings = (Setting(1e-3), Setting(3e-3, (("width", 64),)))
    entrant = Entrant("any", MEGNet, ("elastic_tensor",), settings)
    results = Results(tmp_path / "runs.json")
    race = Race(entrant, "elastic_tensor", results, 90.0, tmp_path)
    done = []
    while (following := race.next_run()) is not None:
        setting, seed, seconds = following
        done.append((setting.learning_rate, seed, seconds))
        result = {"val": 5.0 if setting is settings[0] else 4.0, "seconds": seconds, "error": float(seed)}
        results.keep(race.name(setting, seed, seconds), result)
        race.results = Results(tmp_path / "runs.json")  # as after an interruption
        results = race.results
    assert done == [(1e-3, 0, 30.0), (3e-3, 0, 30.0), *[(3e-3, seed, 90.0) for seed in (1, 2, 3)]]
    assert [run["error"] for run in race.finished()] == [1.0, 2.0, 3.0]
    assert race.cpu_hours() == pytest.approx((2 * 30 + 3 * 90) / 3600)


def test_gmtnet_is_tuned_among_five_settings():
    (entrant,) = (entrant for entrant in ENTRANTS if entrant.name == "GMTNet")
    assert len(entrant.settings) == 5
    for setting in entrant.settings:
        entrant.make("elastic_tensor", **dict(setting.arguments))


def test_measures_are_those_of_the_papers():
    labels = np.stack([np.eye(3) * 2, np.eye(3) * 4])
    found = measured(labels + np.eye(3) * [[[0.1]], [[0.8]]], labels)
    assert found["error"] == pytest.approx(np.sqrt(3) * 0.45)
    assert found["within"] == [1.0, 0.5, 0.0]
    assert measured(np.array([1.0, 3.0]), np.array([0.0, 1.0]))["error"] == pytest.approx(1.5)
