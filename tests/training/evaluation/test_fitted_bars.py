"""Error bars of synthetic errors: they find what goes with large errors and cover what they promise."""

import numpy as np
import pytest

from ase_comformer.inference.error_bars import bar_of
from ase_comformer.training.evaluation.fitted_bars import Coverage, Sample, fit_bar, folds_of, weighted_quantile


def sample(count: int, seed: int, shape: float = 1.0) -> Sample:
    """Errors whose size is 10 ** (score / 2), times a random number."""
    random = np.random.default_rng(seed)
    telling, idle = random.normal(size=(2, count))
    errors = 10 ** (telling / 2) * np.abs(random.normal(size=count)) ** shape
    return Sample(
        errors, {"telling": telling, "idle": idle}, [f"H{k}O" for k in range(count)], np.ones(count), np.ones(count),
        ["synthetic"] * count,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [1.0, 2.0], ids=["normal", "heavy tails"])
def test_bars_cover_what_they_promise_of_errors_not_seen(shape: float) -> None:
    fitted, fresh = fit_bar(sample(400, 0, shape)), sample(4000, 1, shape)
    bars = bar_of(fitted.bar, fresh.scores)
    found = Coverage.of(fresh.errors, bars, fitted.bar.factor_90, fresh.sizes)
    assert found.at_68 == pytest.approx(0.68, abs=0.05)
    assert found.at_90 == pytest.approx(0.90, abs=0.03)
    assert found.surest < 0.5


def test_what_says_nothing_gets_no_weight() -> None:
    weights = dict(zip(fit_bar(sample(400, 0)).bar.scores, fit_bar(sample(400, 0)).bar.coefficients[1:], strict=True))
    assert weights["telling"] == pytest.approx(np.log(10) / 2, abs=0.15)
    assert abs(weights["idle"]) < 0.1


def test_constant_scores_are_left_out() -> None:
    given = sample(60, 0)
    constant = Sample(
        given.errors, {**given.scores, "same": np.ones(60)}, given.formulas, given.sizes, given.weights, given.datasets
    )
    assert fit_bar(constant).bar.scores == ("telling", "idle")


def test_errors_of_a_formula_share_a_fold() -> None:
    folds = folds_of(["A", "B", "A", "C", "B", "D", "E"], 3)
    assert folds[0] == folds[2]
    assert folds[1] == folds[4]
    assert set(folds) == {0, 1, 2}


def test_too_few_formulas_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_bar(sample(5, 0))


def test_quantiles_are_conformal() -> None:
    values = np.arange(1.0, 100.0)
    assert weighted_quantile(values, np.ones(99), 0.9) == 90.0
    assert weighted_quantile(values, np.ones(99), 0.999) == 99.0


def test_crystals_of_small_gap_get_larger_bars_where_their_errors_are_larger() -> None:
    random = np.random.default_rng(2)
    gap = np.abs(random.normal(scale=3.0, size=2000))
    errors = np.abs(random.normal(size=2000)) * np.where(gap < 1.0, 6.0, 1.0) ** (random.random(2000) < 0.5)
    given = Sample(
        errors,
        {"gap": np.log10(gap + 0.1)},
        [f"H{k}O" for k in range(2000)],
        np.ones(2000),
        np.ones(2000),
        ["x"] * 2000,
    )
    bar = fit_bar(given).bar
    covered = errors <= bar.factor_90 * bar_of(bar, given.scores)
    assert covered[gap < 0.7].mean() > 0.84
    assert covered.mean() == pytest.approx(0.9, abs=0.02)
