"""Error bars: what they are offered for, that they do not depend on how a crystal is written, and what is refused."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer import GMTNetCalculator, UnknownNameError, predict
from ase_comformer.inference import routes
from ase_comformer.inference.error_bars import Evidence, bar_of, scores
from ase_comformer.inference.predictor import Predictor
from ase_comformer.models.calibration import ErrorBar
from ase_comformer.nn.ensemble import Ensemble
from ase_comformer.properties.registry import tensor_property

BAR = ErrorBar(("size", "rarity"), (0.0, 0.0), (1.0, 1.0), (0.0, np.log(10.0), 0.5), 2.0, 0.5, 100)


@pytest.fixture
def nitride() -> Atoms:
    return bulk("AlN", "wurtzite", a=3.13, c=5.02)


def offered() -> list[str]:
    return [name for name in Predictor().properties if tensor_property(name).route == "calibration"]


def test_every_tensor_of_the_default_model_has_an_error_bar() -> None:
    predicted = [name for name in Predictor().model.members if tensor_property(name).route == "head"]
    assert set(offered()) == {f"{name}_uncertainty" for name in predicted}


@pytest.mark.parametrize("route", ["head", "combined"])
def test_bars_are_positive_numbers_in_the_unit_of_the_property(route: str, nitride: Atoms) -> None:
    calc = GMTNetCalculator(route=route)
    for name in offered():
        value, described = calc.get_property(name, nitride), calc.describe(name)
        assert np.all(np.asarray(value) > 0), name
        assert described["unit"] == calc.describe(name.removesuffix("_uncertainty"))["unit"]
        assert 1.0 < described["factor_90"] < 10.0
        assert sum(described["calibrated_on"].values()) >= 20
        assert "DFT labels" in described["errors_against"]
    assert calc.get_property("born_effective_charges_uncertainty", nitride).shape == (4,)


def test_bars_depend_neither_on_the_cell_nor_on_the_orientation(nitride: Atoms) -> None:
    turned = nitride.repeat((2, 1, 1))
    turned.rotate(30, (1, 1, 2), rotate_cell=True)
    one, other = predict([nitride, turned], offered(), dtype="float64")
    for name in offered():
        expected = np.asarray(one[name])
        found = np.asarray(other[name])
        np.testing.assert_allclose(found[: len(expected)] if expected.ndim else found, expected, rtol=1e-6)


def test_a_bar_alone_needs_no_value_and_a_batch_gives_the_same(nitride: Atoms) -> None:
    name = "elastic_tensor_uncertainty"
    batch = predict([nitride, bulk("MgO", "rocksalt", a=4.2)], ("elastic_tensor", name))
    assert predict([nitride], name)[0][name] == pytest.approx(batch[0][name], rel=1e-4)  # of single precision
    assert "elastic_tensor" not in predict([nitride], name)[0]


def test_networks_run_once_for_a_value_and_its_bar(nitride: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    members = Ensemble.members

    def counted(self: Ensemble, networks: dict, *arguments: object) -> dict:
        runs.append(sorted({name for names in networks.values() for name in names}))
        return members(self, networks, *arguments)

    monkeypatch.setattr(Ensemble, "members", counted)
    predict([nitride], ("elastic_tensor", "elastic_tensor_uncertainty"))
    assert runs == [["band_gap", "elastic_tensor"]]


def test_the_permittivity_stands_in_for_a_gap_that_is_not_known(
    nitride: Atoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(dtype="float64")
    crystals = [predictor.preparer.crystal(nitride)]
    names = ("elastic_tensor_uncertainty",)
    (known,) = predictor.tensors.answers(crystals, names)
    assert known.gap == pytest.approx(predictor.evaluate(nitride, "band_gap")["band_gap"], rel=1e-10)
    covered = predictor.loaded.covered
    monkeypatch.setattr(predictor.loaded, "covered", lambda name: covered(name) if name != "band_gap" else frozenset())
    (unknown,) = predictor.tensors.answers(crystals, names)
    assert unknown.gap is None
    tensor = predictor.evaluate(nitride, "dielectric_tensor")["dielectric_tensor"]
    assert unknown.permittivity == pytest.approx(np.trace(tensor) / 3, rel=1e-10)


def test_a_large_bar_of_a_number_is_told_in_its_unit() -> None:
    with pytest.warns(UserWarning, match=r"formation_energy is [\d.]+ eV/atom; few crystals .* than [\d.]+ eV/atom\."):
        predict([bulk("FeO", "rocksalt", a=4.3)], "formation_energy_uncertainty")


def test_large_bars_warn_once_per_structure(nitride: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    calc = GMTNetCalculator(route="head")
    known = calc._predictor.loaded.calibration
    fitted = known["elastic_tensor"]
    strict = replace(fitted, bars={"head": replace(fitted.bars["head"], warning_above=1e-6)})
    monkeypatch.setitem(known, "elastic_tensor", strict)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for atoms in (nitride, nitride, bulk("GaP", "zincblende", a=5.5)):
            calc.get_property("elastic_tensor_uncertainty", atoms)
            calc.reset()
    assert sum("expected error of elastic_tensor" in str(each.message) for each in caught) == 2


def test_models_without_calibration_refuse_with_the_command(nitride: Atoms) -> None:
    with pytest.raises(UnknownNameError, match="ase-comformer calibrate"):
        predict([nitride], "elastic_tensor_uncertainty", model="tensors-6-best")


def test_bars_are_products_of_powers_of_their_scores() -> None:
    entry = tensor_property("elastic_tensor")
    small, large = (
        Evidence(value=scale * np.eye(6), spread=0.1, numbers=np.array([12, 8])) for scale in (100.0, 200.0)
    )
    counts = {"Mg": 9, "O": 99}
    one, other = (bar_of(BAR, scores(entry, each, counts)) for each in (small, large))
    assert other / one == pytest.approx(2.0)
    rare = bar_of(BAR, scores(entry, small, {"O": 99}))
    assert rare / one == pytest.approx(np.exp(0.5))


def test_what_soft_modes_may_hide_widens_the_bar(nitride: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "static_dielectric_tensor_uncertainty"
    usual = GMTNetCalculator().get_property(name, nitride)
    monkeypatch.setattr(routes, "unresolved", lambda blocks, acting: np.full((3, 3), 2.0))
    assert GMTNetCalculator().get_property(name, nitride) == pytest.approx(np.hypot(usual, 6.0), rel=1e-3)


def test_missing_scores_count_as_their_mean() -> None:
    entry = tensor_property("elastic_tensor")
    bar = ErrorBar(("softness",), (0.3,), (1.0,), (2.0, 5.0), 2.0, 0.5, 100)
    evidence = Evidence(value=np.eye(6), spread=0.1, numbers=np.array([12]))
    assert bar_of(bar, scores(entry, evidence, {})) == pytest.approx(np.exp(2.0))
