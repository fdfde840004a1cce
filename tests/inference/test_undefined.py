"""Tensors that metals do not have come with a status and a warning, by elements and by a predicted gap."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer import GMTNetCalculator, predict
from ase_comformer.crystals import metallicity
from ase_comformer.inference.undefined import reasons
from ase_comformer.models.registry import save_weights
from ase_comformer.nn import ARCHITECTURES
from tiny import COVERED, TINY

NAMES = ("dielectric_tensor", "elastic_tensor", "band_gap")
ALLOY = bulk("CuZn", "cesiumchloride", a=2.95)


@pytest.fixture(scope="module")
def model_with_gap(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with random weights that predicts gaps of everything but titanium."""
    network = ARCHITECTURES["TensorNetwork"](**TINY, properties=NAMES)
    known = {name: [s for s in COVERED if name != "band_gap" or s != "Ti"] for name in NAMES}
    facts = {name: {"elements": known[name], "functional": "PBE", "kind": "random"} for name in NAMES}
    card = {"properties": facts, "training": {"data": "none", "licence": "none"}, "metrics": {}, "card": "# gap\n"}
    folder = tmp_path_factory.mktemp("gap")
    save_weights(network, folder, "gap", card)
    return str(folder / "gap.json")


@pytest.mark.parametrize("symbol", ["Cu", "Al", "W", "Na", "Pb"])
def test_metals_have_a_status_and_one_warning_for_what_they_lack(symbol: str) -> None:
    calc = GMTNetCalculator()
    atoms = bulk(symbol)
    names = ["dielectric_tensor", "born_effective_charges"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (result,) = predict([atoms], names)
        for _ in range(2):
            calc.get_property("dielectric_tensor", atoms)
    assert "likely a metal" in result["status"]
    assert all(name in result["status"] for name in names if name in result)
    assert len([each for each in caught if "likely a metal" in str(each.message)]) == 2  # predict, calculator
    assert "likely a metal" in calc.provenance["status"]


def test_what_metals_have_comes_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = predict([bulk("Cu")], "elastic_tensor")
    assert result["status"] == "ok"


@pytest.mark.filterwarnings("ignore:.*the expected error of formation_energy")  # of silicon
def test_insulators_are_not_called_metals() -> None:
    for result in predict([bulk("MgO", "rocksalt", a=4.21), bulk("Si"), bulk("GaAs", "zincblende", a=5.65)]):
        assert result["status"] == "ok"


def test_a_predicted_gap_counts_more_than_elements(
    model_with_gap: str, monkeypatch: pytest.MonkeyPatch, rocksalt: Atoms
) -> None:
    titanium = bulk("TiN", "rocksalt", a=4.24)  # no gap is known of it
    structures = [rocksalt, ALLOY, titanium]
    gaps = [result.get("band_gap") for result in predict(structures, model=model_with_gap)]
    assert gaps[0] > 0
    assert gaps[1] > 0
    assert gaps[2] is None
    monkeypatch.setattr(metallicity, "METALLIC_GAP", max(gaps[:2]) + 1)
    with pytest.warns(UserWarning, match="likely a metal"):
        narrow = predict(structures, "dielectric_tensor", model=model_with_gap)
    for gap, result in zip(gaps[:2], narrow[:2], strict=True):
        assert f"band gap of {gap:.2f} eV" in result["status"]
    assert narrow[2]["status"] == "ok"  # nothing is known
    assert "band_gap" not in narrow[0]
    monkeypatch.setattr(metallicity, "METALLIC_GAP", 0.0)
    wide = predict(structures, "dielectric_tensor", model=model_with_gap)
    assert [result["status"] for result in wide] == ["ok", "ok", "ok"]  # an alloy with a gap is an insulator
    for one, other in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(one["dielectric_tensor"], other["dielectric_tensor"])


def test_reasons_name_the_properties_that_have_no_meaning() -> None:
    why = reasons(ALLOY, ["dielectric_tensor", "elastic_tensor", "born_effective_charges"])["metal"]
    assert "dielectric_tensor, born_effective_charges have no meaning" in why
    assert "elastic_tensor" not in why
    assert reasons(ALLOY, ["elastic_tensor"], bulk_status="a slab") == {"vacuum": "a slab"}
    assert reasons(ALLOY, ["dielectric_tensor"], gap=2.0) == {}
