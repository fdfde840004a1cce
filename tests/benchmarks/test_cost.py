"""Measuring cost: what is counted, and that what was measured is not measured again."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer.nn.architectures.comformer import IComFormer
from benchmarks import cost_exponents, table_four
from benchmarks.cost.measuring import parameters, point, row
from benchmarks.cost.networks import NETWORKS, OurNetwork
from benchmarks.cost.packages import ENVIRONMENTS
from benchmarks.cost.runs import Answers, as_json
from benchmarks.cost.worker import answer

SILICON = bulk("Si")


def test_a_row_counts_parameters_edges_and_time():
    found = row(lambda: OurNetwork("iComFormer, small"), [SILICON, SILICON.repeat((2, 1, 1))], batch_size=2, passes=1)
    network = IComFormer()
    assert found["parameters"] == parameters(network)
    assert found["edges"] == pytest.approx(28.0)  # 4 + 12 + 12 neighbours within 5 A
    assert found["pairs"] == 0
    assert 0 < found["inference"] < found["training"]


def test_neighbours_of_a_point_are_those_asked_for_and_whole_shells():
    crystal = cost_exponents.crystal((2, 2, 2))
    found = [point(OurNetwork("MEGNet", k), crystal)["edges"] for k in (8, 24)]
    assert 8 <= found[0] < 16
    assert 24 <= found[1] < 36


def test_symmetry_is_used_where_it_is_asked_for():
    plain, reduced = (OurNetwork("eComFormer, small", is_reduced=flag) for flag in (False, True))
    assert reduced.sizes(reduced.graph(SILICON))[0] < 0.2 * plain.sizes(plain.graph(SILICON))[0]


def test_answers_are_kept_by_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def measure(self: Answers, python: Path, requests: list) -> None:
        for request in requests:
            asked.append(request["batch"])
            self._keep(request, {"training": request["batch"]})

    monkeypatch.setattr(Answers, "_measure", measure)
    monkeypatch.setenv("ASE_COMFORMER_PEERS", str(tmp_path / "nothing"))
    request = {"network": "MEGNet", "task": "row", "structures": as_json([SILICON]), "passes": 1}
    first = Answers(tmp_path / "kept.json").ask([{**request, "batch": 1}, {**request, "network": "ALIGNN", "batch": 1}])
    again = Answers(tmp_path / "kept.json").ask([{**request, "batch": 1}, {**request, "batch": 2}])
    assert first == [{"training": 1}, None]
    assert again == [{"training": 1}, {"training": 2}]
    assert asked == [1, 2]


def test_a_request_survives_json_and_is_answered():
    request = {"network": "ETGNN", "task": "points", "structures": as_json([SILICON]), "neighbours": [12]}
    (found,) = answer(request)
    assert found["atoms"] == 2
    assert found["edges"] == 16.0  # the shell of the 12th neighbour ends at the 16th


def test_every_row_and_subject_names_a_network():
    known = {*NETWORKS, *ENVIRONMENTS}
    assert {row.network.removesuffix(", reduced") for row in table_four.ROWS} <= known
    assert {subject.network for subject in cost_exponents.SUBJECTS} <= known


def test_exponents_of_powers_are_found_with_their_uncertainty():
    x = np.array([8.0, 16.0, 32.0, 64.0])
    exact = cost_exponents.fitted(x, 3 * x**2)
    assert exact.slope == pytest.approx(2.0)
    assert exact.half_width == pytest.approx(0.0, abs=1e-6)
    noisy = cost_exponents.fitted(x, x * [1.1, 0.9, 1.1, 0.9])
    assert noisy.slope - noisy.half_width < 1.0 < noisy.slope + noisy.half_width


def test_verdicts_tell_line_graphs_from_graphs():
    sizes = np.array([32.0, 128.0, 432.0, 1000.0])
    k = np.array([8.0, 16.0, 32.0, 64.0])
    atoms, none = np.stack([sizes, sizes * [1.0, 1.1, 0.9, 1.0], 0 * sizes], axis=1), 0 * k
    graph = cost_exponents.Measured(atoms, np.stack([k, 5 + 2 * k, none], axis=1))
    line_graph = cost_exponents.Measured(atoms, np.stack([k, 1 + k**2, k**2], axis=1))
    assert cost_exponents.verdict(graph, 30) == "linear in n; not faster than k"
    assert cost_exponents.verdict(line_graph, 30) == "linear in n; faster than k, as pairs are"
    quadratic = cost_exponents.Measured(atoms ** [1, 2, 1], np.stack([k, k**1.5, none], axis=1))
    assert cost_exponents.verdict(quadratic, 30).startswith("not linear in n")
    assert "faster than k" in cost_exponents.verdict(quadratic, 30)
    assert cost_exponents.quadratic_part(k, 5 + 2 * k) == pytest.approx(0.0, abs=1e-9)
    assert cost_exponents.quadratic_part(k, k + k**2) == pytest.approx(64 / 65)


def test_crystals_of_the_series_differ_in_nothing_but_size():
    small, large = (cost_exponents.crystal(repeats) for repeats in ((2, 2, 1), (4, 4, 4)))
    assert small.get_volume() / len(small) == pytest.approx(large.get_volume() / len(large))
    lengths = np.sort(small.cell.lengths())
    assert np.diff(lengths).min() > 1e-2
    assert isinstance(small, Atoms)


def test_baselines_that_cost_less_are_named_first():
    measured = {
        table_four.OURS: {"training": 2.0, "inference": 1.0},
        "ALIGNN": {"training": 3.0, "inference": 0.5},
        "MEGNet": {"training": 0.2, "inference": 2.0},
    }
    training, inference = table_four.compared(measured)
    assert "MEGNet (0.10)" in training
    assert "ALIGNN" not in training
    assert "ALIGNN (0.50)" in inference
