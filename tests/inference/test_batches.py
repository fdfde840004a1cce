"""Many crystals at once: order, batches, failures, symmetry, and structures that are unusual but valid."""

import logging

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell

import ase_comformer.inference.tensor_evaluator
from ase_comformer import predict
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import InvalidStructureError, UnknownElementError, UnknownNameError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import METADATA
from ase_comformer.models.registry import save_bundle, save_weights
from ase_comformer.tensors.forms import PROPERTIES, rotate
from ase_comformer.tensors.symmetry_report import project
from tiny import tiny_card, tiny_network

ALL = (
    "dielectric_tensor",
    "static_dielectric_tensor",
    "born_effective_charges",
    "elastic_tensor",
    "piezoelectric_tensor",
    "clamped_piezoelectric_tensor",
    "formation_energy",
    "band_gap",
)
EXACT = {"rtol": 0, "atol": 1e-9}


@pytest.fixture
def crystals(rocksalt, wurtzite, quartz):
    return [quartz, rocksalt, bulk("Cu"), wurtzite, bulk("Si"), bulk("GaAs", "zincblende", a=5.65)]


@pytest.fixture
def predictor(tiny_model):
    return Predictor(model=tiny_model, device="cpu", dtype="float64")


@pytest.fixture
def raw_predictor(tiny_model):
    return Predictor(model=tiny_model, device="cpu", dtype="float64", enforce_symmetry=False)


def properties_of(result):
    return {name: value for name, value in result.items() if name not in METADATA}


def assert_same(first, second, **tolerance):
    first, second = properties_of(first), properties_of(second)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], **(tolerance or EXACT), err_msg=name)


def test_shapes_and_types_are_the_documented_ones(tiny_model, quartz):
    (result,) = predict([quartz], ALL, model=tiny_model)
    assert set(properties_of(result)) == set(ALL)
    assert result["status"] == "ok"
    assert result["symmetry"]["number"] == 154
    assert result["symmetry"]["idealisation_displacement"] < 1e-3
    for name in ALL[:-2]:
        entry = PROPERTIES[name]
        assert result[name].shape == ((len(quartz),) if entry.per_atom else ()) + entry.shape
        assert result[name].dtype == np.float64
    assert type(result["formation_energy"]) is float


@pytest.mark.parametrize("batch_size", [1, 2, 4, 64])
def test_batches_do_not_change_results_or_order(predictor, crystals, batch_size):
    batched = predictor.predict(crystals, ALL, batch_size=batch_size)
    for atoms, result in zip(crystals, batched, strict=True):
        assert_same(result, predictor.predict([atoms], ALL)[0])


def test_batch_is_split_by_number_of_edges(predictor, crystals, monkeypatch):
    expected = predictor.predict(crystals, ALL)
    monkeypatch.setattr("ase_comformer.inference.streams.MAXIMUM_EDGES", 1)
    for first, second in zip(expected, predictor.predict(crystals, ALL), strict=True):
        assert_same(first, second)


def test_failed_crystals_are_recorded_and_the_others_go_on(tiny_model, rocksalt):
    uranium = bulk("U", "fcc", a=5)
    molecule = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]])
    results = predict([uranium, rocksalt, molecule, rocksalt, "MgO"], ["dielectric_tensor"], model=tiny_model)
    assert results[0].keys() == results[2].keys() == results[4].keys() == {"error", "errors"}
    assert results[0]["errors"] == {"dielectric_tensor": results[0]["error"]}
    assert "UnknownElementError: U in U is outside the training set" in results[0]["error"]
    assert "periodic" in results[2]["error"]
    assert "str" in results[4]["error"]
    assert_same(results[1], results[3])
    assert results[1]["dielectric_tensor"].shape == (3, 3)


def test_crystal_that_breaks_the_network_does_not_take_its_batch_with_it(predictor, crystals, monkeypatch):
    expected = predictor.predict(crystals, ALL)
    original = ase_comformer.inference.tensor_evaluator.require_plausible

    def refuse(values, atoms):
        if "Ga" in atoms.symbols:
            raise FloatingPointError("gallium")
        original(values, atoms)

    monkeypatch.setattr("ase_comformer.inference.tensor_evaluator.require_plausible", refuse)
    results = predictor.predict(crystals, ALL)
    assert results[-1]["error"] == "FloatingPointError: gallium"
    assert set(results[-1]["errors"]) == set(ALL)
    for first, second in zip(expected[:-1], results[:-1], strict=True):
        assert_same(first, second)


@pytest.mark.parametrize(
    ("atoms", "error"),
    [(bulk("U", "fcc", a=5), UnknownElementError), (Atoms("H"), InvalidStructureError)],
)
def test_errors_are_raised_on_request(tiny_model, atoms, error):
    with pytest.raises(error):
        predict([atoms], model=tiny_model, on_error="raise")


def test_no_crystals(tiny_model):
    assert predict([], model=tiny_model) == []


def test_single_atoms_object_is_refused(tiny_model, rocksalt):
    with pytest.raises(TypeError, match=r"pass \[atoms\]"):
        predict(rocksalt, model=tiny_model)


@pytest.mark.parametrize("names", [["colour"], "colour", ["dielectric_tensor", "colour"]])
def test_unknown_property_lists_the_choices(tiny_model, rocksalt, names):
    with pytest.raises(UnknownNameError, match=r"'colour'.*It predicts: dielectric_tensor"):
        predict([rocksalt], names, model=tiny_model)


def test_one_property_may_be_given_as_a_string(tiny_model, rocksalt):
    (result,) = predict([rocksalt], "elastic_tensor", model=tiny_model)
    assert properties_of(result).keys() == {"elastic_tensor"}


def test_all_properties_of_the_model_are_the_default(tiny_model, rocksalt):
    (result,) = predict([rocksalt], model=tiny_model)
    assert set(properties_of(result)) == set(ALL)
    with pytest.raises(UnknownNameError, match="asked for no property"):
        predict([rocksalt], [], model=tiny_model)


@pytest.mark.parametrize("options", [{"on_error": "ignore"}, {"batch_size": 0}, {"dtype": "float16"}, {"symprec": -1}])
def test_wrong_options(tiny_model, rocksalt, options):
    with pytest.raises(ValueError, match=r"ignore|batch_size|float16|symprec"):
        predict([rocksalt], model=tiny_model, **options)


def test_symmetric_tensors_are_invariant_under_the_space_group(predictor, crystals):
    for atoms in crystals:
        group = analyse_space_group(atoms)
        for name, value in properties_of(predictor.predict([atoms], ALL)[0]).items():
            np.testing.assert_allclose(project(name, value, group), value, rtol=0, atol=1e-11, err_msg=name)


def test_reduced_and_plain_evaluation_agree_on_a_symmetric_structure(predictor, raw_predictor, crystals):
    for atoms in crystals:
        group = analyse_space_group(atoms)
        if len(group.primitive) != len(atoms):
            continue
        enforced, raw = predictor.predict([atoms], ALL)[0], raw_predictor.predict([atoms], ALL)[0]
        assert_same(enforced, raw, rtol=1e-8, atol=1e-8)


def test_distorted_structure_gives_symmetric_tensors_only_when_symmetry_is_enforced(predictor, raw_predictor, quartz):
    quartz.rattle(1e-3, seed=1)
    with pytest.warns(UserWarning, match="idealised to P3_221"):
        enforced = predictor.predict([quartz], ["dielectric_tensor"])[0]["dielectric_tensor"]
    raw = raw_predictor.predict([quartz], ["dielectric_tensor"])[0]["dielectric_tensor"]
    assert enforced[0, 1] == pytest.approx(0, abs=1e-12)
    assert enforced[0, 0] == pytest.approx(enforced[1, 1], abs=1e-12)
    assert abs(raw[0, 0] - raw[1, 1]) > 1e-9


def test_symprec_decides_what_counts_as_symmetric(tiny_model, quartz):
    quartz.rattle(1e-3, seed=1)
    options = {"model": tiny_model, "dtype": "float64"}
    with pytest.warns(UserWarning, match="idealised to P3_221"):
        (loose,) = predict([quartz], symprec=1e-2, **options)
    (tight,) = predict([quartz], symprec=1e-5, **options)
    assert loose["dielectric_tensor"][0, 0] == pytest.approx(loose["dielectric_tensor"][1, 1], abs=1e-12)
    assert tight["dielectric_tensor"][0, 0] != pytest.approx(tight["dielectric_tensor"][1, 1], abs=1e-12)


@pytest.mark.parametrize("enforce_symmetry", [True, False])
def test_left_handed_cell_gives_the_same_tensors(tiny_model, quartz, enforce_symmetry):
    predictor = Predictor(model=tiny_model, dtype="float64", enforce_symmetry=enforce_symmetry)
    mirrored = quartz.copy()
    mirrored.set_cell(quartz.cell.array[[1, 0, 2]])
    assert np.linalg.det(mirrored.cell.array) < 0
    first, second = predictor.predict([quartz, mirrored], ALL, on_error="raise")
    assert_same(first, second)


@pytest.mark.parametrize("enforce_symmetry", [True, False])
def test_one_atom_cell(tiny_model, enforce_symmetry):
    predictor = Predictor(model=tiny_model, dtype="float64", enforce_symmetry=enforce_symmetry)
    one, conventional = predictor.predict([bulk("Cu"), bulk("Cu", cubic=True)], ALL, on_error="raise")
    np.testing.assert_allclose(one["born_effective_charges"], 0, atol=1e-12)
    np.testing.assert_allclose(one["piezoelectric_tensor"], 0, atol=1e-12)
    for name in ("dielectric_tensor", "elastic_tensor", "formation_energy"):
        np.testing.assert_allclose(one[name], conventional[name], **EXACT)


@pytest.mark.parametrize("enforce_symmetry", [True, False])
def test_400_atom_supercell_gives_the_tensors_of_the_primitive_cell(tiny_model, wurtzite, enforce_symmetry):
    predictor = Predictor(model=tiny_model, dtype="float64", enforce_symmetry=enforce_symmetry)
    large = make_supercell(wurtzite, np.diag([5, 5, 4]))
    order = np.random.default_rng(0).permutation(len(large))
    large = large[order]
    assert len(large) == 400
    small, big = predictor.predict([wurtzite, large], ALL, on_error="raise")
    for name in ALL:
        expected = small[name]
        if name == "born_effective_charges":
            tiled = make_supercell_values(expected, wurtzite, large)
            np.testing.assert_allclose(big[name], tiled, **EXACT)
        else:
            np.testing.assert_allclose(big[name], expected, **EXACT)


def make_supercell_values(values, primitive, supercell):
    """Per-atom values of ``primitive`` on the atoms of ``supercell``, matched by position modulo the lattice."""
    inverse = np.linalg.inv(primitive.cell.array)
    difference = (supercell.positions[:, None] - primitive.positions[None]) @ inverse
    distance = np.linalg.norm(difference - np.round(difference), axis=2)
    assert distance.min(axis=1).max() < 1e-6
    return values[distance.argmin(axis=1)]


def test_400_atoms_without_symmetry(tiny_model, wurtzite):
    large = make_supercell(wurtzite, np.diag([5, 5, 4]))
    large.rattle(0.05, seed=0)
    (result,) = predict([large], ALL, model=tiny_model, on_error="raise")
    assert result["born_effective_charges"].shape == (400, 3, 3)
    np.testing.assert_allclose(result["born_effective_charges"].sum(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize("enforce_symmetry", [True, False])
def test_tensors_rotate_with_the_crystal(tiny_model, quartz, enforce_symmetry):
    predictor = Predictor(model=tiny_model, dtype="float64", enforce_symmetry=enforce_symmetry)
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    turned = quartz.copy()
    turned.set_cell(quartz.cell.array @ rotation.T)
    turned.positions = quartz.positions @ rotation.T
    first, second = predictor.predict([quartz, turned], ALL, on_error="raise")
    for name in ALL:
        expected = first[name] if name == "formation_energy" else rotate(first[name], rotation, name)
        np.testing.assert_allclose(second[name], expected, rtol=0, atol=1e-8, err_msg=name)


def test_mean_over_the_members_of_a_bundle(model_directory, tmp_path, quartz):
    for seed, name in enumerate(("tiny", "tiny2")):
        save_weights(tiny_network(seed), tmp_path, name, tiny_card(tiny_network(seed)))
    save_bundle(tmp_path, "default", {name: ["tiny", "tiny2"] for name in ALL[:4]} | {"piezoelectric_tensor": ["tiny"]})
    options = {"dtype": "float64"}
    (first,) = predict([quartz], ALL[:5], model=tmp_path / "tiny.json", **options)
    (second,) = predict([quartz], ALL[:5], model=tmp_path / "tiny2.json", **options)
    (mean,) = predict([quartz], ALL[:5], model=tmp_path, **options)
    for name in ALL[:4]:
        np.testing.assert_allclose(mean[name], (first[name] + second[name]) / 2, **EXACT)
    np.testing.assert_allclose(mean["piezoelectric_tensor"], first["piezoelectric_tensor"], **EXACT)


def test_float32_is_close_to_float64(tiny_model, crystals):
    single = predict(crystals, ALL, model=tiny_model, dtype="float32")
    double = predict(crystals, ALL, model=tiny_model, dtype="float64")
    for first, second in zip(single, double, strict=True):
        assert_same(first, second, rtol=1e-4, atol=1e-4)


def test_large_residual_is_logged_and_the_projected_tensor_returned(predictor, rocksalt, monkeypatch, caplog):
    prepared = predictor.prepare(rocksalt, ["dielectric_tensor"]).crystal
    (network,) = predictor.networks(["dielectric_tensor"])
    tensor = torch.diag(torch.tensor([2.0, 2.0, 3.0]))[None]
    monkeypatch.setattr(network, "forward", lambda graph, names, **_: {"dielectric_tensor": tensor})
    with caplog.at_level(logging.WARNING, logger="ase_comformer"):
        (result,) = predictor.evaluate_batch([prepared], ["dielectric_tensor"])
    assert "violates Fm-3m" in caplog.text
    np.testing.assert_allclose(result["dielectric_tensor"], np.eye(3) * 7 / 3)


def test_network_output_that_is_not_finite_is_an_error(predictor, rocksalt, monkeypatch):
    (network,) = predictor.networks(["dielectric_tensor"])
    monkeypatch.setattr(network, "forward", lambda graph, names, **_: {"dielectric_tensor": graph.cell * float("nan")})
    with pytest.raises(InvalidStructureError, match="NaN or infinity for dielectric_tensor of MgO"):
        predictor.evaluate(rocksalt, ["dielectric_tensor"])


def test_networks_without_support_for_reduced_graphs_get_plain_ones(predictor, quartz, monkeypatch):
    expected = predictor.predict([quartz], ALL)[0]
    (network,) = predictor.networks(ALL)
    monkeypatch.setattr(network, "supports_reduced_graphs", False)
    assert not predictor.prepare(quartz, ALL).crystal.graph(network).is_reduced
    assert_same(predictor.predict([quartz], ALL)[0], expected, rtol=1e-8, atol=1e-8)


def test_input_is_not_changed(tiny_model, quartz):
    quartz.info["note"] = "mine"
    before = quartz.copy()
    predict([quartz], ALL, model=tiny_model)
    assert quartz == before
    assert quartz.calc is None


def test_progress_goes_to_standard_error_only_on_request(tiny_model, rocksalt, capsys):
    predict([rocksalt], model=tiny_model)
    assert capsys.readouterr() == ("", "")
    predict([rocksalt], model=tiny_model, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "predicting" in captured.err
