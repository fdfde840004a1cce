"""Head, response and the mixture of both: what each route returns, and when the mixture leans on the head."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer import GMTNetCalculator, UnknownNameError, predict
from ase_comformer.inference import crystal_response
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.routes import aligned, weight_of
from ase_comformer.models.calibration import RouteWeight
from ase_comformer.physics.softness import ModeCouplings
from ase_comformer.tensors.forms import rotate
from ase_comformer.testing import rotate_atoms

RELAXED_ION = ("static_dielectric_tensor", "elastic_tensor", "piezoelectric_tensor")


@pytest.fixture(scope="module")
def nitride() -> Atoms:
    return bulk("AlN", "wurtzite", a=3.13, c=5.02)


@pytest.fixture(scope="module")
def combined() -> Predictor:
    return Predictor(route="combined", dtype="float64")


def test_a_calculator_combines_and_a_batch_asks_the_heads(nitride: Atoms) -> None:
    calc = GMTNetCalculator()
    calc.get_property("elastic_tensor", nitride)
    assert calc.provenance["routes"]["elastic_tensor"]["route"] == "combined"
    (result,) = predict([nitride], "elastic_tensor")
    assert "routes" not in result
    head = GMTNetCalculator(route="head").get_property("elastic_tensor", nitride)
    np.testing.assert_array_equal(result["elastic_tensor"], head)


@pytest.mark.parametrize("name", RELAXED_ION)
def test_the_combined_tensor_is_the_mixture_that_it_says(name: str, nitride: Atoms, combined: Predictor) -> None:
    head, response = (predict([nitride], name, route=route, dtype="float64")[0][name] for route in ("head", "response"))
    result, errors = combined.evaluate_each(nitride, (name,))
    assert not errors
    weight = result["routes"][name]["response_weight"]
    expected = (1 - weight) * aligned(name, head, response) + weight * response
    np.testing.assert_allclose(result[name], expected, atol=1e-3 * np.abs(expected).max())


def test_tensors_by_response_obey_their_identity(nitride: Atoms) -> None:
    """e = d C with d from the response of the same crystal."""
    predictor = Predictor(route="response", dtype="float64")
    found = predictor.evaluate(nitride, RELAXED_ION)
    d = predictor.routes.response(predictor._prepared(nitride)).tensors.piezoelectric_strain_tensor
    np.testing.assert_allclose(d @ found["elastic_tensor"] * 1e-3, found["piezoelectric_tensor"], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("route", ["head", "response", "combined"])
def test_tensors_of_every_route_turn_with_the_crystal(route: str, nitride: Atoms) -> None:
    predictor = Predictor(route=route, dtype="float64")
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    first = predictor.evaluate(nitride, RELAXED_ION)
    second = predictor.evaluate(rotate_atoms(nitride, rotation), RELAXED_ION)
    for name in RELAXED_ION:
        expected = rotate(first[name], rotation, name)
        np.testing.assert_allclose(second[name], expected, atol=1e-9 * np.abs(expected).max())


def test_one_response_serves_all_tensors_of_a_crystal(nitride: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = crystal_response.crystal_response
    monkeypatch.setattr(crystal_response, "crystal_response", lambda *a, **k: calls.append(1) or original(*a, **k))
    calc = GMTNetCalculator()
    for name in RELAXED_ION:
        calc.get_property(name, nitride)
    assert len(calls) == 1


def test_large_cells_and_structures_as_they_are_get_the_head(nitride: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crystal_response, "crystal_response", lambda *a, **k: pytest.fail("no response is needed"))
    large = bulk("NaCl", "rocksalt", a=5.64).repeat((2, 2, 3))
    large.positions += np.random.default_rng(0).normal(scale=0.05, size=large.positions.shape)
    calc = GMTNetCalculator()
    np.testing.assert_array_equal(
        calc.get_property("elastic_tensor", large), GMTNetCalculator(route="head").get_property("elastic_tensor", large)
    )
    assert "24 atoms" in calc.provenance["routes"]["elastic_tensor"]["note"]
    raw = GMTNetCalculator(enforce_symmetry=False)
    raw.get_property("elastic_tensor", nitride)
    assert "enforce_symmetry" in raw.provenance["routes"]["elastic_tensor"]["note"]


def test_what_the_potential_does_not_know_is_the_head_or_an_error() -> None:
    """No response without a potential: the mixture says so, the response route refuses."""
    atoms = bulk("MgO", "rocksalt", a=4.25)
    predictor = Predictor(model="tensors-6-best", route="combined")
    result, _ = predictor.evaluate_each(atoms, ("elastic_tensor",))
    assert result["routes"]["elastic_tensor"]["route"] == "head"
    alone = Predictor(model="tensors-6-best", route="response")
    _, errors = alone.evaluate_each(atoms, ("elastic_tensor",))
    assert isinstance(errors["elastic_tensor"], UnknownNameError)


def test_unknown_routes_are_refused_with_the_choices() -> None:
    with pytest.raises(UnknownNameError, match="head, response, combined"):
        predict([], route="both")


def test_the_weight_is_continuous_and_falls_as_a_mode_that_matters_gets_soft() -> None:
    weight = RouteWeight("field", 0.8, 0.3)

    def at(stiffness: float, charge: float = 2.0, atoms: int = 4, distance: float = 0.0) -> float:
        modes = ModeCouplings(np.array([stiffness, 5.0]), np.array([charge, 2.0]), np.zeros(2))
        return weight_of(weight, modes, atoms, distance)

    stiffnesses = np.linspace(-1.0, 5.0, 601)
    values = np.array([at(stiffness) for stiffness in stiffnesses])
    assert (np.diff(values) >= 0).all()
    assert np.abs(np.diff(values)).max() < 0.05
    assert at(-1.0) < 0.05 < 0.75 < at(5.0)
    # a soft mode that no field acts on does not matter, and comes to matter gradually
    charges = np.array([at(-1.0, charge) for charge in np.linspace(0.0, 2.0, 401)])
    assert charges[0] == pytest.approx(at(5.0), abs=0.01)
    assert np.abs(np.diff(charges)).max() < 0.02
    assert at(5.0, distance=0.3) == pytest.approx(at(5.0) / 2)
    assert at(5.0, atoms=21) == 0.0


def test_open_signs_are_turned_to_the_side_of_the_response() -> None:
    head, guide = np.zeros((3, 6)), np.zeros((3, 6))
    head[2, 2], guide[2, 2] = -1.0, 0.5
    np.testing.assert_array_equal(aligned("piezoelectric_tensor", head, guide), -head)
    np.testing.assert_array_equal(aligned("elastic_tensor", -np.eye(6), np.eye(6)), -np.eye(6))
