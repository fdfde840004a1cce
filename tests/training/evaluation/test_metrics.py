"""Metrics against numbers worked out by hand, pymatgen and the Cartesian tensors themselves."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.elasticity import ElasticTensor
from rich.console import Console

from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.tensors.forms import voigt_to_cartesian
from ase_comformer.training.evaluation.metrics import (
    as_dict,
    born_metrics,
    cartesian_norm,
    eigenvalue_range,
    metrics_table,
    relative_errors,
    scalar_metrics,
    tensor_metrics,
)
from ase_comformer.training.evaluation.modulus_metrics import modulus_metrics
from ase_comformer.training.evaluation.piezo_metrics import norm_metrics, piezo_metrics

seeds = st.integers(0, 2**32 - 1)


def random_stiffness(seed, count=1):
    matrix = np.random.default_rng(seed).normal(size=(count, 6, 6))
    return 20.0 * np.eye(6) + 10.0 * matrix @ np.swapaxes(matrix, -1, -2)


@pytest.mark.parametrize(("shape", "kind"), [((3, 6), "piezoelectric_stress"), ((6, 6), "stiffness")])
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_cartesian_norm_is_the_norm_of_the_full_tensor(shape, kind, seed):
    tensor = np.random.default_rng(seed).normal(size=(2, *shape))
    full = voigt_to_cartesian(tensor, kind)
    np.testing.assert_allclose(cartesian_norm(tensor), np.linalg.norm(full.reshape(2, -1), axis=1), rtol=1e-12)


def test_cartesian_norm_refuses_other_shapes():
    with pytest.raises(ValueError, match="Voigt"):
        cartesian_norm(np.zeros((4, 3)))


def test_fnorm_and_shares_by_hand():
    label = np.stack([np.eye(3) * 10.0] * 4)
    factors = np.array([1.0, 1.04, 1.08, 1.3])
    result = tensor_metrics(label * factors[:, None, None], label)
    assert result.count == 4
    assert result.frobenius == pytest.approx(10 * np.sqrt(3) * (0.04 + 0.08 + 0.3) / 4)
    assert result.within == (0.75, 0.75, 0.5)
    assert result.median_relative == pytest.approx(0.06)


def test_shear_errors_count_more_in_the_cartesian_norm():
    label = np.diag([100.0, 100, 100, 50, 50, 50])[None]
    error = np.zeros((1, 6, 6))
    error[0, 3, 3] = 1.0
    result = tensor_metrics(label + error, label)
    assert result.frobenius == pytest.approx(1.0)
    assert result.frobenius_cartesian == pytest.approx(2.0)


def test_zero_labels_count_as_missed_unless_met_exactly():
    np.testing.assert_array_equal(
        relative_errors(np.array([0.0, 1e-9, 1.0]), np.array([0.0, 0.0, 2.0])), [0, np.inf, 0.5]
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_predictions_are_an_error(bad):
    with pytest.raises(ValueError, match="not finite"):
        tensor_metrics(np.full((1, 3, 3), bad), np.ones((1, 3, 3)))


def test_empty_or_unequal_input_is_an_error():
    with pytest.raises(ValueError, match="no crystals"):
        tensor_metrics(np.zeros((0, 3, 3)), np.zeros((0, 3, 3)))
    with pytest.raises(ValueError, match="shape"):
        tensor_metrics(np.zeros((2, 3, 3)), np.zeros((1, 3, 3)))


def test_eigenvalues_outside_the_range_are_forgiven_where_the_label_is_outside():
    label = np.stack([np.eye(3) * value for value in (5.0, 0.5, 5.0)])
    predicted = np.stack([np.diag([0.9, 2.0, 3.0]), np.eye(3) * 0.5, np.diag([1.0, 5.0, 100.0])])
    result = eigenvalue_range(predicted, label)
    assert result.indices == (0,)
    assert (result.smallest, result.largest) == pytest.approx((0.5, 100.0))


def test_born_error_is_a_mean_over_crystals_not_atoms():
    label = [np.zeros((1, 3, 3)), np.zeros((9, 3, 3))]
    result = born_metrics([np.ones((1, 3, 3)), np.zeros((9, 3, 3))], label)
    assert result.mae == pytest.approx(0.5)
    assert result.sum_rule == pytest.approx(1.0)
    assert result.mae_antisymmetric == 0.0
    with pytest.raises(ValueError, match="one per crystal"):
        born_metrics([], [])


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_moduli_agree_with_pymatgen(seed):
    stiffness = random_stiffness(seed)
    moduli, oracle = voigt_reuss_hill(stiffness), ElasticTensor.from_voigt(stiffness[0])
    for ours, theirs in (
        (moduli.bulk_voigt, oracle.k_voigt), (moduli.bulk_reuss, oracle.k_reuss), (moduli.bulk, oracle.k_vrh),
        (moduli.shear_voigt, oracle.g_voigt), (moduli.shear_reuss, oracle.g_reuss), (moduli.shear, oracle.g_vrh),
    ):  # fmt: skip
        assert ours[0] == pytest.approx(theirs, rel=1e-9)


def test_moduli_of_torch_tensors_are_those_of_arrays_and_differentiable():
    stiffness = random_stiffness(0, 3)
    tensor = torch.tensor(stiffness, requires_grad=True)
    ours, expected = voigt_reuss_hill(tensor), voigt_reuss_hill(stiffness)
    for name in ("bulk_voigt", "bulk_reuss", "bulk", "shear_voigt", "shear_reuss", "shear"):
        np.testing.assert_allclose(getattr(ours, name).detach(), getattr(expected, name), rtol=1e-12)
    assert torch.autograd.gradcheck(lambda c: voigt_reuss_hill(c).shear, tensor)
    assert voigt_reuss_hill(tensor.float()).bulk.dtype == torch.float32


def test_modulus_errors_and_unstable_predictions_are_counted():
    label = random_stiffness(0, 3)
    predicted = label.copy()
    predicted[0] *= -1.0
    result = modulus_metrics(predicted, label)
    assert result.not_positive == 1
    assert result.bulk_mae == pytest.approx(2.0 * voigt_reuss_hill(label).bulk[0] / 3.0)


def test_singular_stiffness_counts_with_zero_moduli():
    label = random_stiffness(0, 1)
    result = modulus_metrics(np.zeros_like(label), label)
    assert result.bulk_mae == pytest.approx(voigt_reuss_hill(label).bulk[0])
    assert result.not_positive == 1


def test_ambiguous_piezo_labels_use_their_best_reading():
    label = np.zeros((3, 3, 6))
    label[0, 2, 2], label[1, 2, 2], label[2, 2, 2] = 1.0, 2.0, 0.01
    predicted = -label
    ambiguous = piezo_metrics(predicted, label, [-label[:1], None, None])
    assert ambiguous.count == 2
    assert ambiguous.count_all == 3
    assert ambiguous.error == pytest.approx((0.0 + 4.0) / 2)
    assert ambiguous.zero_error == pytest.approx(1.5)
    assert ambiguous.reduction == pytest.approx(1 - 2.0 / 1.5)
    assert ambiguous.count_unambiguous == 1
    assert ambiguous.error_unambiguous == pytest.approx(4.0)
    assert piezo_metrics(predicted, label).error == pytest.approx(3.0)


def test_predicting_zero_gains_and_ranks_nothing():
    label = np.random.default_rng(0).normal(size=(20, 3, 6))
    result = piezo_metrics(np.zeros_like(label), label)
    assert result.reduction == 0.0
    assert result.spearman == 0.0


def test_piezo_without_any_piezoelectric_crystal_is_an_error():
    with pytest.raises(ValueError, match=r"0\.02"):
        piezo_metrics(np.zeros((2, 3, 6)), np.zeros((2, 3, 6)))


def test_norm_ranking_is_perfect_for_monotone_predictions():
    label = np.random.default_rng(0).normal(size=(20, 3, 6))
    assert norm_metrics(list(cartesian_norm(label) ** 3), label).spearman == pytest.approx(1.0)


def test_scalar_errors():
    result = scalar_metrics([1.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    assert (result.mae, result.rmse, result.median) == pytest.approx((4 / 3, np.sqrt(10 / 3), 1.0))


def test_table_shows_every_predictor_and_refuses_to_mix_kinds():
    label = np.stack([np.eye(3)] * 2)
    good, scalar = tensor_metrics(label, label), scalar_metrics([1.0], [1.0])
    console = Console(record=True, width=200, file=None, quiet=False)
    with console.capture() as capture:
        console.print(metrics_table([("network", good), ("median", good)], "dielectric"))
    text = capture.get()
    assert "network" in text
    assert "100.0/100.0/100.0" in text
    with pytest.raises(ValueError, match="one kind"):
        metrics_table([("a", good), ("b", scalar)])


def test_results_are_json():
    label = np.random.default_rng(1).normal(size=(3, 3, 6))
    for result in (piezo_metrics(label, label), tensor_metrics(label, label), norm_metrics([1.0, 2, 3], label)):
        assert json.loads(json.dumps(as_dict(result)))["kind"] == type(result).__name__
