"""``respond`` with the shipped model: against strained crystals, in any frame, and honest about what limits it."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from ase_comformer.calculator import GMTNetCalculator
from ase_comformer.errors import InvalidStructureError, UnknownNameError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.elasticity import elastic_tensor_from_stress
from ase_comformer.tensors.forms import rotate
from ase_comformer.workflows.response import respond


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(dtype="float64")


@pytest.fixture
def aluminium_nitride() -> Atoms:
    return bulk("AlN", "wurtzite", a=3.13, c=5.02)


@pytest.mark.filterwarnings("ignore:.*GPa at rest")
def test_relaxed_ions_follow_strain_as_relaxations_say(aluminium_nitride: Atoms, predictor: Predictor) -> None:
    found = respond(aluminium_nitride, predictor=predictor, relax="cell", softness=0.0)
    at_rest = found.primitive.copy()
    at_rest.calc = GMTNetCalculator(dtype="float64")
    expected = elastic_tensor_from_stress(at_rest, strains=(0.002,), fmax=1e-5).tensor
    np.testing.assert_allclose(found.elastic_tensor, expected, atol=3e-3 * expected.max())
    assert np.abs(found.clamped_elastic_tensor - expected).max() > 10


@pytest.mark.filterwarnings("ignore:.*GPa at rest")
def test_tensors_turn_with_the_crystal_and_ignore_supercells(aluminium_nitride: Atoms, predictor: Predictor) -> None:
    turned = aluminium_nitride.repeat((2, 1, 1))
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    rotation = np.linalg.solve(aluminium_nitride.repeat((2, 1, 1)).cell.array, turned.cell.array).T
    one, other = (respond(atoms, predictor=predictor) for atoms in (aluminium_nitride, turned))
    for name in ("elastic_tensor", "static_dielectric_tensor"):
        expected = rotate(getattr(one, name), rotation, name)
        np.testing.assert_allclose(getattr(other, name), expected, atol=5e-4 * np.abs(expected).max())
    np.testing.assert_allclose(other.frequencies, one.frequencies, atol=2e-3)


def test_stress_at_rest_is_a_warning_until_the_cell_is_relaxed(predictor: Predictor) -> None:
    stretched = bulk("MgO", "rocksalt", a=4.35)
    with pytest.warns(UserWarning, match="GPa at rest: relax the cell"):
        assert respond(stretched, predictor=predictor).status != ("ok",)
    relaxed = respond(stretched, predictor=predictor, relax="cell")
    assert relaxed.status == ("ok",)
    assert np.abs(relaxed.stress).max() < 0.1
    assert np.abs(respond(stretched, predictor=predictor, relax="cell").primitive.cell.volume - 19.0) < 1.0


@pytest.mark.filterwarnings("ignore:.*GPa at rest")
def test_a_polar_soft_mode_is_named_and_its_response_bounded(predictor: Predictor) -> None:
    cubic = crystal(
        ["Ba", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221, cellpar=[4.0] * 3 + [90] * 3
    )
    with pytest.warns(UserWarning, match="soft modes"):
        found = respond(cubic, predictor=predictor)
    assert found.soft_modes
    assert found.frequencies[0] < -1.0
    assert np.isfinite(found.static_dielectric_tensor).all()


def test_unknown_relaxations_are_refused_with_the_choices(predictor: Predictor) -> None:
    with pytest.raises(UnknownNameError, match="atoms, cell, none"):
        respond(bulk("MgO", "rocksalt", a=4.2), relax="everything", predictor=predictor)


@pytest.mark.filterwarnings("ignore:.*GPa at rest")
def test_coupling_factors_do_not_depend_on_the_orientation(aluminium_nitride: Atoms, predictor: Predictor) -> None:
    turned = aluminium_nitride.copy()
    turned.rotate(70, (1, 1, 3), rotate_cell=True)
    one, other = (respond(atoms, predictor=predictor).coupling_factors for atoms in (aluminium_nitride, turned))
    assert 0.1 < one["k33"] < 0.5
    assert other == pytest.approx(one, abs=1e-3)


@pytest.mark.filterwarnings("ignore:.*GPa at rest")
def test_coming_to_rest_says_how_far_atoms_moved(predictor: Predictor) -> None:
    atoms = bulk("ZnO", "wurtzite", a=3.25, c=5.21, u=0.36)
    found = respond(atoms, predictor=predictor)
    assert 0.05 < found.distance < 0.2
    assert respond(atoms, predictor=predictor, relax=None).distance == 0.0


def test_metals_answer_a_strain_and_no_field() -> None:
    with pytest.warns(UserWarning, match="mechanics only: the crystal .* likely a metal"):
        found = respond(bulk("Al", a=4.04))
    assert found.elastic_tensor[0, 0] > found.elastic_tensor[0, 1] > 0
    assert found.static_dielectric_tensor is None
    assert found.born_effective_charges is None


def test_a_crystal_far_from_rest_has_no_response_and_its_head_answers(aluminium_nitride: Atoms) -> None:
    aluminium_nitride.positions[3, 2] += 1.1
    outside = "far outside the training domain"
    with pytest.raises(InvalidStructureError, match="too far from rest"), pytest.warns(UserWarning, match=outside):
        respond(aluminium_nitride)
    calculator = GMTNetCalculator()
    with pytest.warns(UserWarning, match=outside):
        calculator.get_property("elastic_tensor", aluminium_nitride)
    assert "too far from rest" in calculator.provenance["routes"]["elastic_tensor"]["note"]
