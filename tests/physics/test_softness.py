"""Soft modes: what they hide is bounded, and stiff crystals hide nothing."""

from dataclasses import replace

import numpy as np
import pytest

from ase_comformer.physics.response import EPSILON_0, ResponseBlocks, combine
from ase_comformer.physics.softness import UNSURE, ModeCouplings, unresolved


def chain(stiffness: float) -> ResponseBlocks:
    """Two atoms of charge +-2 on springs, one of them soft along x, strained along it."""
    springs = np.diag([stiffness, 10.0, 10.0])
    constants = np.kron(np.array([[1.0, -1.0], [-1.0, 1.0]]), springs).reshape(2, 3, 2, 3)
    strain = np.zeros((2, 3, 6))
    strain[0, 0, 0], strain[1, 0, 0] = 3.0, -3.0
    return ResponseBlocks(
        volume=50.0,
        force_constants=constants,
        internal_strain=strain,
        clamped_elastic_tensor=np.eye(6) * 200.0,
        born_effective_charges=np.array([2 * np.eye(3), -2 * np.eye(3)]),
        dielectric_tensor=3 * np.eye(3),
        clamped_piezoelectric_tensor=np.zeros((3, 6)),
    )


@pytest.mark.parametrize(("acting", "name"), [
    ("field", "static_dielectric_tensor"), ("strain", "elastic_tensor"), ("both", "piezoelectric_tensor"),
])  # fmt: skip
def test_what_damping_leaves_out_is_the_difference_to_the_bare_response(acting: str, name: str) -> None:
    blocks = chain(0.1)
    bare, damped = (getattr(combine(blocks, softness=s), name) for s in (0.0, 0.05))
    expected = (damped - bare) if acting == "strain" else bare - damped
    np.testing.assert_allclose(unresolved(blocks, acting), expected, atol=1e-9)


def test_unstable_modes_hide_as_much_as_soft_ones_and_stiff_ones_nothing() -> None:
    soft, unstable, stiff = (unresolved(chain(w), "field")[0, 0] for w in (1e-4, -1e-4, 10.0))
    charge = 2 * np.sqrt(2)
    largest = charge**2 / (2 * EPSILON_0 * 50.0) / UNSURE  # the mode has twice the stiffness of the spring
    assert unstable == pytest.approx(2 * largest, rel=1e-6)
    assert soft == pytest.approx(unstable, rel=0.01)
    assert stiff < 1e-3


def test_a_silent_soft_mode_hides_nothing_and_is_trusted() -> None:
    blocks = replace(chain(-1.0), born_effective_charges=np.zeros((2, 3, 3)), internal_strain=np.zeros((2, 3, 6)))
    for acting in ("field", "strain", "both"):
        assert not unresolved(blocks, acting).any()
        assert ModeCouplings.of(blocks).trust(acting, 0.3) == 1.0
    assert ModeCouplings.of(chain(-1.0)).trust("field", 0.3) < 0.1
    assert ModeCouplings.of(chain(-1.0)).softest("field") == pytest.approx(-2.0)
