"""Spectra of oscillators that can be worked out by hand."""

import numpy as np
import pytest

from ase_comformer.physics.spectra import KM_PER_MOL, PER_CM, Infrared, Raman, broadened


def one_mode(frequency: float = 12.0) -> Infrared:
    return Infrared(np.array([frequency]), np.array([np.diag([1.5, 0.0, 0.5])]), 3.0 * np.eye(3), 20.0)


def test_units_are_those_of_the_literature() -> None:
    assert pytest.approx(33.35641, rel=1e-6) == PER_CM
    assert pytest.approx(974.9, rel=1e-3) == KM_PER_MOL  # km/mol per e^2/u


def test_the_dielectric_function_runs_from_static_to_electronic() -> None:
    infrared = one_mode()
    contributions = infrared.dielectric_contributions()[0]
    # e^2 / (eps0 V m w^2), in SI
    expected = 1.5 * 1.602176634e-19**2 / (8.8541878e-12 * 20e-30 * 1.66053907e-27 * (2 * np.pi * 12e12) ** 2)
    assert contributions[0, 0] == pytest.approx(expected, rel=1e-6)
    low, high = infrared.dielectric_function([0.0, 1e6])
    np.testing.assert_allclose(low, infrared.dielectric_tensor + contributions, rtol=1e-9)
    np.testing.assert_allclose(high, infrared.dielectric_tensor, atol=1e-4)


def test_absorption_obeys_the_sum_rule() -> None:
    infrared = one_mode()
    grid = np.linspace(1, 40000, 400000)
    imaginary = infrared.dielectric_function(grid, damping=8.0)[:, 0, 0].imag
    found = 2 / np.pi * np.trapezoid(grid * imaginary, grid)
    expected = infrared.dielectric_contributions()[0, 0, 0] * (12.0 * PER_CM) ** 2
    assert found == pytest.approx(expected, rel=1e-2)


def test_light_is_reflected_between_transverse_and_longitudinal_frequency() -> None:
    infrared = one_mode()
    longitudinal = 12.0 * np.sqrt(1 + infrared.dielectric_contributions()[0, 0, 0] / 3.0)
    between, above = infrared.reflectivity([(6 + longitudinal / 2) * PER_CM, 4 * longitudinal * PER_CM], [1, 0, 0], 0.1)
    assert between > 0.99 > 0.5 > above


def test_powder_and_oriented_intensities_agree_on_average() -> None:
    infrared = one_mode()
    oriented = [infrared.oriented_intensities(axis) for axis in np.eye(3)]
    np.testing.assert_allclose(np.mean(oriented, axis=0), infrared.intensities)
    assert infrared.oriented_intensities([0, 2, 0]) == pytest.approx(0)


def test_raman_activity_of_an_isotropic_and_a_shear_tensor() -> None:
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = 2.0
    raman = Raman(np.array([10.0, 10.0]), np.array([2.0 * np.eye(3), shear]))
    np.testing.assert_allclose(raman.activities, [45 * 4, 7 * 3 * 4])  # g^2 = 3 for each off-diagonal pair squared
    np.testing.assert_allclose(raman.depolarisation_ratios, [0, 0.75], atol=1e-12)
    assert raman.oriented_intensities([1, 0, 0], [0, 1, 0]).tolist() == [0.0, 1.0]


def test_raman_activities_do_not_turn_with_the_crystal() -> None:
    rng = np.random.default_rng(1)
    tensor = rng.normal(size=(4, 3, 3))
    tensor += tensor.swapaxes(1, 2)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    found = Raman(np.ones(4), turn @ tensor @ turn.T).activities
    np.testing.assert_allclose(found, Raman(np.ones(4), tensor).activities)


def test_soft_modes_scatter_more_at_higher_temperature() -> None:
    raman = Raman(np.array([3.0, 30.0]), np.array([np.eye(3), np.eye(3)]))
    cold, hot = raman.intensities(temperature=0.0), raman.intensities(temperature=900.0)
    assert cold[1] < 0.11
    assert hot[1] < 0.3 * cold[1]


@pytest.mark.parametrize("shape", ["lorentzian", "gaussian"])
def test_peaks_have_their_width(shape: str) -> None:
    top, half = broadened([100.0], [1.0], [100.0, 105.0], 10.0, shape)
    assert half == pytest.approx(top / 2)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="lorentzian"):
        broadened([1.0], [1.0], [1.0], 1.0, "square")
    with pytest.raises(ValueError, match="width must be positive"):
        broadened([1.0], [1.0], [1.0], 0.0)
    with pytest.raises(ValueError, match="not all zero"):
        one_mode().oriented_intensities([0, 0, 0])
    with pytest.raises(ValueError, match="laser"):
        Raman(np.ones(1), np.eye(3)[None]).intensities(laser=-1.0)
