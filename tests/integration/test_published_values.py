"""Published numbers that the benchmarks compare with: marks, and strengths that follow from frequencies."""

import numpy as np
import pytest

from benchmarks.longitudinal import MEASURED
from benchmarks.published import Unconfirmed
from benchmarks.spectra import INFRARED, QUARTZ_X, QUARTZ_Z, RAMAN, implied_strengths


def test_unconfirmed_numbers_are_marked_where_they_are_printed_and_plain_where_they_are_used():
    value = Unconfirmed(6.6)
    assert f"{value:.1f}" == "6.6*"
    assert f"{value:g}" == "6.6*"
    assert f"{2 * value:.1f}" == "13.2"
    assert np.array([value]).dtype == np.float64


@pytest.mark.parametrize(("permittivity", "modes"), [(2.296, QUARTZ_X), (2.334, QUARTZ_Z)])
def test_strengths_sum_to_the_permittivity_of_lyddane_sachs_and_teller(permittivity, modes):
    ratios = [longitudinal / transverse for transverse, longitudinal in modes]
    static = permittivity + sum(implied_strengths(permittivity, modes))
    assert static == pytest.approx(permittivity * np.prod(np.square(ratios)), rel=1e-12)
    assert min(implied_strengths(permittivity, modes)) > 0


def test_static_permittivity_of_quartz_is_near_the_measured_one():
    # Fontanella et al., J. Appl. Phys. 45, 2852 (1974); the modes are of 1.5 K and lack the two lowest across z
    for permittivity, modes, measured in ((2.296, QUARTZ_X, 4.521), (2.334, QUARTZ_Z, 4.637)):
        assert permittivity + sum(implied_strengths(permittivity, modes)) == pytest.approx(measured, rel=0.07)


def test_modes_are_in_ascending_order_as_the_comparison_needs_them():
    for rows in [rows for directions in INFRARED.values() for rows in directions.values()] + list(RAMAN.values()):
        places = [row[0] for row in rows]
        assert places == sorted(places)
    assert all(longitudinal > transverse for _, _, transverse, longitudinal in MEASURED.values())
