"""The mixture of routes: found where crystals tell, the usual one where they do not."""

import numpy as np
import pytest

from ase_comformer.training.evaluation import route_errors
from ase_comformer.training.evaluation.route_errors import _least

WEIGHTS, STIFFNESSES = (np.array(values) for values in (route_errors._LARGEST, route_errors._STIFFNESSES))


def losses(best: float, apart: float, count: int = 50) -> np.ndarray:
    """Of crystals whose own best weights are ``apart`` around ``best``."""
    own = best + apart * np.random.default_rng(0).normal(size=count)
    return np.repeat(((WEIGHTS - own[:, None]) ** 2)[:, :, None], len(STIFFNESSES), axis=2)


@pytest.mark.parametrize("best", [0.0, 0.2, 1.0])
def test_a_clear_minimum_is_found(best: float) -> None:
    assert _least(losses(best, 1e-3), "both").largest == pytest.approx(best)


def test_where_crystals_do_not_tell_the_usual_mixture_is_taken() -> None:
    found = _least(losses(0.8, 5.0), "strain")
    assert 0.25 < found.largest < 0.75
    assert found.stiffness == pytest.approx(0.3)
    assert found.acting == "strain"
