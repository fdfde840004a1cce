"""Bootstrap intervals of accuracy figures, and errors of numbers computed from tensors."""

import numpy as np
import pytest
from scipy.stats import norm

from ase_comformer.training.data.records import Record
from ase_comformer.training.evaluation.intervals import interval
from ase_comformer.training.evaluation.metrics import scalar_metrics
from ase_comformer.training.evaluation.scalar_of_tensor import (
    hill_moduli,
    largest_singular_value,
    mean_over_directions,
    number_metrics,
)


def measure(records, predictions):
    return scalar_metrics(predictions, [record.labels["x"] for record in records])


def test_interval_of_a_mean_is_that_of_the_central_limit_theorem():
    random = np.random.default_rng(1)
    records = [Record(str(k), "X", "test", None, {"x": 0.0}) for k in range(400)]
    values = np.abs(random.normal(size=400)).tolist()
    low, high = interval(measure, records, values, draws=1000)
    half = norm.ppf(0.975) * np.std(values) / 20
    assert low.mae == pytest.approx(np.mean(values) - half, abs=0.01)
    assert high.mae == pytest.approx(np.mean(values) + half, abs=0.01)
    assert (low.count, low.unit) == (400, "eV/atom")


def test_few_crystals_have_no_interval():
    records = [Record(str(k), "X", "test", None, {"x": 0.0}) for k in range(4)]
    assert interval(measure, records, [0.0] * 4) is None


def test_numbers_are_compared_one_by_one():
    label = np.array([[100.0, 50.0], [200.0, 80.0], [50.0, 20.0]])
    found = number_metrics(("K", "G"), "GPa", label * [1.0, 1.2], label)
    assert found.mae == pytest.approx((0.0, 10.0))
    assert found.mae_log10 == pytest.approx((0.0, np.log10(1.2)))
    assert found.within == ((1.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    assert found.rank == pytest.approx((1.0, 1.0))
    assert "G within 25/10/5 %" in found.cells()
    with pytest.raises(ValueError, match="as many"):
        number_metrics(("K",), "GPa", label, label[:2])


def test_numbers_of_tensors_are_those_of_numpy_and_isotropic_solids():
    stiffness = np.diag([20.0] * 3 + [10.0] * 3)[None] / 1.0
    stiffness[0, :3, :3] += 30.0
    np.testing.assert_allclose(hill_moduli(stiffness), [[30.0 + 20.0 / 3, 10.0]])
    np.testing.assert_allclose(mean_over_directions(np.diag([1.0, 2.0, 6.0])[None]), [[3.0]])
    tensor = np.random.default_rng(0).normal(size=(4, 3, 6))
    np.testing.assert_allclose(largest_singular_value(tensor)[:, 0], [np.linalg.svd(t)[1][0] for t in tensor])
