"""Whole shells keep the symmetry of a crystal, cut ones do not, and components predicted one by one never do."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.tensors.forms import rotate
from ase_comformer.testing import random_rotation
from benchmarks import nye, symmetry_subjects
from benchmarks.baselines import ETGNN, MEGNet
from benchmarks.symmetry_subjects import NEAREST, evaluated, nearest_graph
from benchmarks.symmetry_success import Tally, table_of, turned_back

ROCKSALT = bulk("MgO", "rocksalt", a=4.21, cubic=True)
SHELLS = GraphSettings(kind="shell", neighbours=NEAREST)


@pytest.fixture(autouse=True)
def scale_of_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    class Labelled:
        flags = ()

        def __init__(self, value: float) -> None:
            self.labels = {"dielectric_tensor": np.diag([value, value + 0.5, value + 1])}

    monkeypatch.setattr(symmetry_subjects, "load_records", lambda *_, **__: [Labelled(v) for v in (2.0, 3.0, 5.0)])


def tally_of(tensor: np.ndarray) -> Tally:
    tally = Tally()
    tally.add("dielectric_tensor", "m-3m", tensor, 1e-5)
    return tally


def test_a_graph_of_the_nearest_has_as_many_edges_as_asked_for_and_no_longer_ones():
    graph = nearest_graph(ROCKSALT, SHELLS)
    assert torch.bincount(graph.edge_receiver).tolist() == [NEAREST] * len(ROCKSALT)
    lengths = graph.edge_vector.norm(dim=1)
    # six at half the lattice constant, then six of the twelve on the face diagonals
    assert (lengths < 2.2).sum() == 6 * len(ROCKSALT)
    assert lengths.max() == pytest.approx(4.21 / 2**0.5)


def test_success_is_decided_by_the_graph_and_by_what_the_network_predicts():
    cut = evaluated(ETGNN, nearest_graph)
    whole = evaluated(lambda name: ETGNN(name, graph_settings=SHELLS))
    for run, enforce, succeeds in (
        (evaluated(MEGNet), False, False),
        (evaluated(MEGNet), True, True),
        (cut, False, False),
        (cut, True, True),
        (whole, False, True),
    ):
        (tensor,) = run([ROCKSALT], "dielectric_tensor", [analyse_space_group(ROCKSALT)] if enforce else None)
        assert np.abs(tensor).max() > 1e-3
        tally = tally_of(tensor)
        assert (tally.cell("cubic") == "100 / 100") is succeeds, (run, enforce, tensor)


def test_a_tensor_of_a_turned_crystal_comes_back_to_its_frame():
    turn = random_rotation(np.random.default_rng(4))
    seen = rotate(np.diag([1.0, 2.0, 3.0]), turn, "dielectric_tensor")
    back, missing = turned_back([seen, None], [turn, turn], "dielectric_tensor")
    np.testing.assert_allclose(back, np.diag([1.0, 2.0, 3.0]), atol=1e-12)
    assert missing is None


def test_the_table_has_a_column_for_every_system_that_was_judged():
    tally = tally_of(np.diag([2.0, 2.0, 2.5]))
    assert tally.cell("cubic") == "100 / 0"
    assert tally.largest == pytest.approx(0.5 / np.linalg.norm([2.0, 2.0, 2.5]))
    table = table_of("dielectric_tensor", [(("net", "random", "raw", "0 %*"), tally)])
    assert [column.header for column in table.columns] == [
        "network", "weights", "answer", "cubic (1)", "worst", "published",
    ]  # fmt: skip
    assert set(nye.CRYSTAL_SYSTEMS) > {"cubic"}
