"""Formation energies of elements: zero in the reference structure, positive in others, said where unknown."""

import warnings

import numpy as np
import pytest
from ase.build import bulk

from ase_comformer import GMTNetCalculator, predict
from ase_comformer.inference.elements import reference_crystal, reference_energy


@pytest.mark.parametrize("symbol", ["Cu", "Al", "W", "Si", "Mg", "K"])
def test_an_element_in_its_reference_structure_has_no_formation_energy(symbol: str) -> None:
    atoms = bulk(symbol)
    assert abs(GMTNetCalculator().get_property("formation_energy", atoms)) < 0.05


def test_a_polymorph_lies_above_the_reference_and_supercells_agree() -> None:
    calc = GMTNetCalculator(dtype="float64")
    stretched = bulk("Al", "bcc", a=3.24)
    high = calc.get_property("formation_energy", stretched)
    assert 0.02 < high < 0.3
    (result,) = predict([stretched.repeat((2, 1, 1))], "formation_energy", dtype="float64")
    assert result["formation_energy"] == pytest.approx(high, abs=1e-8)


def test_an_element_without_a_reference_structure_warns_and_keeps_the_network() -> None:
    gallium = bulk("Ga", "fcc", a=4.2)
    assert reference_crystal(31) is None
    with pytest.warns(UserWarning, match="no reference structure of this element"):
        assert np.isfinite(GMTNetCalculator().get_property("formation_energy", gallium))


def test_an_error_bar_alone_brings_no_formation_energy() -> None:
    (result,) = predict([bulk("Cu")], "formation_energy_uncertainty")
    assert "formation_energy_uncertainty" in result
    assert "formation_energy" not in result


@pytest.mark.parametrize("symbol", ["Cu", "Si"])
def test_the_error_bar_of_an_element_is_that_of_the_energy_that_it_comes_from(symbol: str) -> None:
    atoms = bulk(symbol, cubic=True)
    bar = "formation_energy_uncertainty"
    (result,) = predict([atoms], ("formation_energy", bar, "energy_uncertainty"))
    assert result[bar] == pytest.approx(result["energy_uncertainty"] / len(atoms), rel=1e-5)
    assert abs(result["formation_energy"]) < result[bar]


def test_compounds_are_left_to_the_network() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert GMTNetCalculator().get_property("formation_energy", bulk("MgO", "rocksalt", a=4.21)) < -2


def test_the_reference_is_the_least_energy_over_the_volume() -> None:
    def parabola(structures: list) -> list[float]:
        return [(atoms.cell.volume ** (1 / 3) - 2.30) ** 2 - 3.0 for atoms in structures]

    assert reference_energy(29, parabola) == pytest.approx(-3.0, abs=1e-9)  # between the volumes that are tried
