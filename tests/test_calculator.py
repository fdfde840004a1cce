"""The contract with ASE: caching, writers, copies, dtypes, hostile defaults, errors."""

import copy
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory

from ase_comformer import GMTNetCalculator
from ase_comformer.errors import InvalidStructureError, UnknownElementError, UnknownNameError, WeightsError
from ase_comformer.inference.potential_ensemble import POTENTIAL_PROPERTIES, UNCERTAINTIES
from ase_comformer.models.registry import save_weights
from ase_comformer.tensors.forms import rotate
from tiny import tiny_card, tiny_network

SURFACE = {*POTENTIAL_PROPERTIES, *UNCERTAINTIES}  # tests/test_calculator_potential.py
ALL = [name for name in GMTNetCalculator.implemented_properties if name not in SURFACE]
EXACT = {"rtol": 0, "atol": 1e-9}


@pytest.fixture
def calc(tiny_model):
    return GMTNetCalculator(model=tiny_model, device="cpu", dtype="float64")


@pytest.fixture
def count_evaluations(monkeypatch):
    """List that grows by the asked properties whenever the network runs."""
    calls = []
    from ase_comformer.inference.predictor import Predictor

    original = Predictor.evaluate_each
    monkeypatch.setattr(
        Predictor,
        "evaluate_each",
        lambda self, atoms, names: calls.append(tuple(names)) or original(self, atoms, names),
    )
    return calls


# Properties and caching


@pytest.mark.parametrize("name", ALL)
def test_every_property_is_available(calc, quartz, name):
    value = calc.get_property(name, quartz)
    assert np.isfinite(value).all()
    assert isinstance(value, float) or value.dtype == np.float64


def test_properties_keep_each_other(calc, quartz, count_evaluations):
    values = {name: calc.get_property(name, quartz) for name in ALL}
    for name in ALL:
        np.testing.assert_array_equal(calc.get_property(name, quartz), values[name])
        np.testing.assert_array_equal(calc.get_property(name), values[name])
    assert count_evaluations == [(name,) for name in ALL]


def test_results_are_updated_not_replaced(calc, quartz):
    calc.get_property("dielectric_tensor", quartz)
    results = calc.results
    calc.get_property("elastic_tensor", quartz)
    calc.calculate(quartz, ["static_dielectric_tensor"])
    assert calc.results is results
    assert "dielectric_tensor" in results


def test_results_hold_only_what_every_writer_of_ase_accepts(calc, quartz):
    for name in ALL:
        calc.get_property(name, quartz)
    assert set(calc.results) == {"dielectric_tensor"}
    SinglePointCalculator(quartz, **calc.results)
    calc.export_properties()


def test_only_what_is_asked_is_computed(calc, quartz, count_evaluations):
    calc.calculate(quartz, ["elastic_tensor"])
    assert count_evaluations == [("elastic_tensor",)]
    assert calc.results == {}


def test_get_property_without_permission_to_calculate(calc, quartz, rocksalt, count_evaluations):
    for name in ALL:
        assert calc.get_property(name, quartz, allow_calculation=False) is None
    assert count_evaluations == []
    value = calc.get_property("elastic_tensor", quartz)
    np.testing.assert_array_equal(calc.get_property("elastic_tensor", quartz, allow_calculation=False), value)
    assert calc.get_property("dielectric_tensor", quartz, allow_calculation=False) is None
    assert calc.get_property("elastic_tensor", rocksalt, allow_calculation=False) is None
    np.testing.assert_array_equal(calc.get_property("elastic_tensor", quartz, allow_calculation=False), value)


def test_returned_arrays_are_copies(calc, quartz):
    for name in ("dielectric_tensor", "elastic_tensor"):
        value = calc.get_property(name, quartz)
        value[:] = 0
        assert calc.get_property(name, quartz).any()


@pytest.mark.parametrize("change", ["positions", "cell", "numbers", "atoms"])
def test_changed_structure_gives_new_results(calc, quartz, change):
    before = {name: calc.get_property(name, quartz) for name in ("dielectric_tensor", "elastic_tensor")}
    other = quartz.copy()
    if change == "positions":
        other.positions[0, 2] += 0.3
    elif change == "cell":
        other.set_cell(other.cell * 1.02, scale_atoms=True)
    elif change == "numbers":
        other.numbers[0] = 32 - 1
    else:
        other = other.repeat((2, 1, 1))
        other.positions[0, 2] += 0.3
    for name, value in before.items():
        assert not np.allclose(calc.get_property(name, other), value, rtol=0, atol=1e-12)
        np.testing.assert_allclose(calc.get_property(name, quartz), value, **EXACT)


def test_info_charges_and_tags_do_not_invalidate(calc, quartz, count_evaluations):
    calc.get_property("dielectric_tensor", quartz)
    quartz.info["comment"] = "new"
    quartz.set_tags(3)
    quartz.set_initial_charges([0.1] * len(quartz))
    calc.get_property("dielectric_tensor", quartz)
    assert len(count_evaluations) == 1
    assert not calc.calculation_required(quartz, ["dielectric_tensor"])


def test_calculation_required(calc, quartz):
    assert calc.calculation_required(quartz, ["elastic_tensor"])
    calc.get_property("elastic_tensor", quartz)
    assert not calc.calculation_required(quartz, ["elastic_tensor"])
    assert calc.calculation_required(quartz, ["elastic_tensor", "dielectric_tensor"])


def test_atoms_get_properties_of_ase(calc, quartz):
    quartz.calc = calc
    properties = quartz.get_properties(["dielectric_tensor", "born_effective_charges"])
    np.testing.assert_array_equal(properties["dielectric_tensor"], calc.get_property("dielectric_tensor"))
    assert properties["born_effective_charges"].shape == (len(quartz), 3, 3)


def test_failed_calculation_leaves_no_results_behind(calc, quartz):
    calc.get_property("elastic_tensor", quartz)
    with pytest.raises(InvalidStructureError):
        calc.get_property("elastic_tensor", Atoms("Si"))
    with pytest.raises(ValueError, match="no structure"):
        calc.get_property("elastic_tensor")
    assert calc.get_property("elastic_tensor", quartz).any()


def test_matches_predict(calc, quartz, tiny_model):
    from ase_comformer import predict

    (expected,) = predict([quartz], ALL, model=tiny_model, dtype="float64")
    for name in ALL:
        np.testing.assert_array_equal(calc.get_property(name, quartz), expected[name])


# What is not available


def test_model_without_a_potential_says_so(calc, quartz):
    quartz.calc = calc
    for getter in (quartz.get_potential_energy, quartz.get_forces, quartz.get_stress):
        with pytest.raises(PropertyNotImplementedError, match=r"is not a property of this model.*piezoelectric_tensor"):
            getter()
    with pytest.raises(PropertyNotImplementedError, match="'energy' is not a property"):
        calc.calculate(quartz)


@pytest.mark.parametrize("name", ["colour", "dipole", "magmoms", "polarization"])
def test_unknown_property_lists_the_choices(calc, quartz, name):
    with pytest.raises(PropertyNotImplementedError, match=f"'{name}' is not a property.*piezoelectric_tensor"):
        calc.get_property(name, quartz)


def test_property_that_the_model_lacks(tmp_path, quartz):
    from ase_comformer.nn import ARCHITECTURES
    from tiny import TINY

    network = ARCHITECTURES["TensorNetwork"](**TINY, properties=("dielectric_tensor",))
    calc = GMTNetCalculator(model=save_weights(network, tmp_path, "eps", tiny_card(network)))
    assert calc.implemented_properties == ["dielectric_tensor"]
    assert {*ALL, *SURFACE} == set(GMTNetCalculator.implemented_properties)
    with pytest.raises(PropertyNotImplementedError, match="It predicts: dielectric_tensor"):
        calc.get_property("elastic_tensor", quartz)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "nonsense"}, UnknownNameError, "nonsense"),
        ({"dtype": "float16"}, UnknownNameError, "float32, float64"),
        ({"device": "abacus"}, UnknownNameError, "'auto', 'cpu'"),
        ({"symprec": 0}, ValueError, "positive"),
        ({"symprec": "fine"}, ValueError, "positive"),
        ({"enforce": False}, TypeError, "enforce"),
    ],
)
def test_wrong_constructor_argument(tiny_model, arguments, error, message):
    with pytest.raises(error, match=message):
        GMTNetCalculator(**{"model": tiny_model, **arguments})


def test_constructor_is_keyword_only(tiny_model):
    with pytest.raises(TypeError):
        GMTNetCalculator(tiny_model)


# Bad structures (all cases: test_structure.py)


@pytest.mark.parametrize(
    ("atoms", "error", "message"),
    [
        (Atoms(), InvalidStructureError, "no atoms"),
        (Atoms("H2O", positions=np.eye(3)), InvalidStructureError, "pbc"),
        (Atoms("C", cell=[4, 4, 4], pbc=[1, 1, 0]), InvalidStructureError, "3D periodicity"),
        (Atoms("C", cell=[4, 4, 0], pbc=True), InvalidStructureError, "zero volume"),
        (Atoms("C", cell=[4, 4, 4], pbc=True, positions=[[np.nan, 0, 0]]), InvalidStructureError, "NaN"),
        (Atoms("C2", cell=[4, 4, 4], pbc=True, positions=[[0, 0, 0], [3.9, 0, 0]]), InvalidStructureError, "overlap"),
        (bulk("U", "fcc", a=5), UnknownElementError, "U in U is outside the training set .* for dielectric_tensor"),
    ],
)
def test_bad_structure(calc, atoms, error, message):
    for _ in range(2):  # the second time must not be served from a cache
        with pytest.raises(error, match=message):
            calc.get_property("dielectric_tensor", atoms)
        with pytest.raises(error):
            calc.symmetry_report(atoms)


def test_elements_are_checked_for_each_property(tmp_path, quartz):
    network = tiny_network()
    fields = tiny_card(network)
    fields["properties"]["elastic_tensor"]["elements"] = ["Si"]
    calc = GMTNetCalculator(model=save_weights(network, tmp_path, "narrow", fields))
    calc.get_property("dielectric_tensor", quartz)
    with pytest.raises(UnknownElementError, match=r"O in O6Si3 .* elastic_tensor"):
        calc.get_property("elastic_tensor", quartz)
    assert "elastic_tensor" not in calc.symmetry_report(quartz).properties


def test_magnetic_moments_warn_and_change_nothing(calc, quartz):
    expected = calc.get_property("dielectric_tensor", quartz)
    quartz.set_initial_magnetic_moments([2.0] + [0.0] * 8)
    calc.reset()
    with pytest.warns(UserWarning, match="magnetic moments are ignored"):
        value = calc.get_property("elastic_tensor", quartz)
    assert value.shape == (6, 6)
    np.testing.assert_array_equal(calc.get_property("dielectric_tensor", quartz), expected)


# Writers


@pytest.mark.parametrize("name", [*ALL, "all", "none"])
@pytest.mark.parametrize("suffix", ["traj", "extxyz", "json", "db"])
def test_writers_work_after_every_query(calc, quartz, tmp_path, name, suffix):
    atoms = quartz
    atoms.calc = calc
    for query in {"all": ALL, "none": []}.get(name, [name]):
        calc.get_property(query, atoms)
    path = tmp_path / f"out.{suffix}"
    if suffix == "db":
        with ase.db.connect(path) as database:
            database.write(atoms)
        row = ase.db.connect(path).get()
        assert row.calculator == "gmtnet"
        assert row.calculator_parameters == calc.todict()
        restored = row.toatoms()
    elif suffix == "traj":
        with Trajectory(str(path), "w") as trajectory:
            trajectory.write(atoms)
        restored = ase.io.read(path)
    else:
        ase.io.write(path, atoms)
        restored = ase.io.read(path)
    assert len(restored) == len(atoms)
    np.testing.assert_allclose(restored.positions, atoms.positions, atol=1e-6)
    if name in ("dielectric_tensor", "all") and suffix != "db":  # ASE's SQLite schema has no column for it
        stored = restored.calc.results["dielectric_tensor"]
        np.testing.assert_allclose(stored, calc.results["dielectric_tensor"], rtol=1e-6)


def test_born_charges_survive_a_trajectory(calc, quartz, tmp_path):
    quartz.calc = calc
    born = calc.get_property("born_effective_charges", quartz)
    with Trajectory(str(tmp_path / "a.traj"), "w") as trajectory:
        trajectory.write(quartz)
    np.testing.assert_allclose(ase.io.read(tmp_path / "a.traj").calc.results["born_effective_charges"], born)


def test_todict_is_json_and_rebuilds_the_calculator(calc, quartz):
    arguments = json.loads(json.dumps(calc.todict()))
    settings = {"model", "device", "dtype", "symprec", "enforce_symmetry", "functional", "route"}
    assert set(arguments) == settings | {"dispersion", "results_also", "electric_field", "field_reference"}
    twin = GMTNetCalculator(**arguments)
    np.testing.assert_array_equal(
        twin.get_property("elastic_tensor", quartz), calc.get_property("elastic_tensor", quartz)
    )
    assert calc.todict(skip_default=True).keys() == {"model", "device", "dtype"}
    assert calc.name == "gmtnet"


def test_model_may_be_a_path_object(tiny_model, quartz):
    from pathlib import Path

    calc = GMTNetCalculator(model=Path(tiny_model))
    assert json.dumps(calc.todict())


def test_set_rebuilds_and_discards(calc, quartz):
    calc.get_property("elastic_tensor", quartz)
    assert calc.set(symprec=1e-2) == {}
    assert not calc.calculation_required(quartz, ["elastic_tensor"])
    assert calc.set(enforce_symmetry=False) == {"enforce_symmetry": False}
    assert calc.calculation_required(quartz, ["elastic_tensor"])
    assert calc.todict()["enforce_symmetry"] is False
    with pytest.raises(UnknownNameError, match="float16"):
        calc.set(dtype="float16")
    assert calc.todict()["dtype"] == "float64"
    with pytest.raises(UnknownNameError, match="colour"):
        calc.set(colour="red")


# Copies, threads, precision, global state


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda calc: pickle.loads(pickle.dumps(calc))])
@pytest.mark.parametrize("used", [False, True])
def test_pickle_and_deepcopy(calc, quartz, rocksalt, duplicate, used):
    expected = {name: calc.get_property(name, quartz) for name in ALL}
    if not used:
        calc.reset()
    twin = duplicate(calc)
    for name in ALL:
        np.testing.assert_array_equal(twin.get_property(name, quartz), expected[name])
    assert (twin.get_property("elastic_tensor", quartz, allow_calculation=False) is not None) or not used
    twin.get_property("elastic_tensor", rocksalt)
    if used:
        np.testing.assert_array_equal(
            calc.get_property("elastic_tensor", quartz, allow_calculation=False), expected["elastic_tensor"]
        )


def test_pickle_is_small(calc, quartz):
    calc.get_property("dielectric_tensor", quartz)
    assert len(pickle.dumps(calc)) < 20_000


def test_pickle_notices_other_weights(tmp_path):
    path = save_weights(tiny_network(0), tmp_path, "net", tiny_card(tiny_network(0)))
    data = pickle.dumps(GMTNetCalculator(model=path))
    save_weights(tiny_network(1), tmp_path, "net", tiny_card(tiny_network(1)))
    with pytest.raises(WeightsError, match="other weights"):
        pickle.loads(data)


def test_pickle_of_a_relative_path_works_elsewhere(model_directory, tmp_path, monkeypatch, quartz):
    monkeypatch.chdir(model_directory)
    data = pickle.dumps(GMTNetCalculator(model="tiny.json"))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(data).get_property("dielectric_tensor", quartz).shape == (3, 3)


def test_atoms_with_calculator_can_be_copied_and_pickled(calc, quartz):
    quartz.calc = calc
    calc.get_property("dielectric_tensor", quartz)
    for twin in (copy.deepcopy(quartz), pickle.loads(pickle.dumps(quartz))):
        np.testing.assert_array_equal(
            twin.calc.get_property("dielectric_tensor", twin), calc.results["dielectric_tensor"]
        )


def test_calculators_of_different_dtype_live_side_by_side(tiny_model, quartz):
    options = {"model": tiny_model, "device": "cpu"}
    alone = GMTNetCalculator(dtype="float64", **options).get_property("elastic_tensor", quartz)
    single, double = GMTNetCalculator(dtype="float32", **options), GMTNetCalculator(dtype="float64", **options)
    rounded = single.get_property("elastic_tensor", quartz)
    np.testing.assert_array_equal(double.get_property("elastic_tensor", quartz), alone)
    assert rounded.dtype == np.float64
    assert 0 < np.abs(rounded - alone).max() < 1e-3
    single.reset()
    np.testing.assert_array_equal(single.get_property("elastic_tensor", quartz), rounded)


@pytest.fixture
def restore_defaults():
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    yield
    torch.set_default_dtype(dtype)
    torch.set_default_device(device if device.type != "cpu" else None)


@pytest.mark.parametrize("hostile", [torch.float64, torch.float16, torch.bfloat16, "meta"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hostile_defaults_of_torch_change_nothing(tiny_model, quartz, restore_defaults, hostile, dtype):
    from ase_comformer.models.registry import _load

    arguments = {"model": tiny_model, "device": "cpu", "dtype": dtype}
    calc = GMTNetCalculator(**arguments)
    expected = {name: calc.get_property(name, quartz) for name in ALL}
    calc.reset()
    _load.cache_clear()  # so that the network is built under the hostile default, too
    if isinstance(hostile, str):
        torch.set_default_device(hostile)
    else:
        torch.set_default_dtype(hostile)
    try:
        for name in ALL:
            fresh = GMTNetCalculator(**arguments)
            np.testing.assert_array_equal(calc.get_property(name, quartz), expected[name], err_msg=name)
            np.testing.assert_array_equal(fresh.get_property(name, quartz), expected[name], err_msg=name)
        fresh.symmetry_report(quartz)
        if not isinstance(hostile, str):
            assert torch.get_default_dtype() == hostile
    finally:
        _load.cache_clear()


def test_global_state_is_left_alone(tiny_model, quartz):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002, the global state is what is tested
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    dtype, grad, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    options = np.get_printoptions()
    calc = GMTNetCalculator(model=tiny_model)
    for name in ALL:
        calc.get_property(name, quartz)
    calc.symmetry_report(quartz)
    assert torch.equal(torch.random.get_rng_state(), state[0])
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    assert (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()) == (dtype, grad, threads)
    assert np.get_printoptions() == options


def test_nothing_is_printed(tiny_model, quartz, capfd):
    calc = GMTNetCalculator(model=tiny_model)
    for name in ALL:
        calc.get_property(name, quartz)
    calc.symmetry_report(quartz)
    calc.describe("elastic_tensor")
    assert capfd.readouterr() == ("", "")


def test_no_warnings_for_an_ordinary_crystal(tiny_model, quartz, recwarn):
    calc = GMTNetCalculator(model=tiny_model)
    for name in ALL:
        calc.get_property(name, quartz)
    assert [str(w.message) for w in recwarn.list if "OLD_ERROR_HANDLING" not in str(w.message)] == []


def test_calculators_in_threads(tiny_model, quartz, rocksalt, wurtzite):
    crystals = [quartz, rocksalt, wurtzite] * 4
    expected = [GMTNetCalculator(model=tiny_model).get_property("elastic_tensor", atoms) for atoms in crystals]
    shared = GMTNetCalculator(model=tiny_model)
    shared.get_property("elastic_tensor", quartz)
    with ThreadPoolExecutor(4) as pool:
        own = list(
            pool.map(lambda atoms: GMTNetCalculator(model=tiny_model).get_property("elastic_tensor", atoms), crystals)
        )
        read = list(pool.map(lambda _: shared.get_property("elastic_tensor", quartz), range(8)))
    for first, second in zip(own, expected, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-4)
    for value in read:
        np.testing.assert_array_equal(value, shared.get_property("elastic_tensor", quartz))


def test_import_of_the_package_does_not_import_torch():
    code = "import ase_comformer, sys; assert 'torch' not in sys.modules; assert 'predict' in dir(ase_comformer)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_export():
    import ase_comformer

    with pytest.raises(AttributeError, match=r"'oracle'.*GMTNetCalculator"):
        _ = ase_comformer.oracle
    assert set(ase_comformer.__all__) <= set(dir(ase_comformer))


# Reports and frames


def test_describe_says_which_tensor_it_is(calc):
    for name in ALL:
        description = json.loads(json.dumps(calc.describe(name)))
        assert description["functional"] == "PBEsol"
        assert description["kind"] == f"kind of {name}"
        assert description["unit"]
        assert "Si" in description["elements"]
        assert description["networks"][0]["training"]["licence"] == "none"
    assert calc.describe("born_effective_charges")["shape"] == ["n", 3, 3]
    with pytest.raises(PropertyNotImplementedError):
        calc.describe("energy")


def test_symmetry_report_shows_raw_and_projected(calc, quartz):
    quartz.rattle(1e-3, seed=1)
    report = calc.symmetry_report(quartz)
    assert (report.number, report.point_group) == (154, "32")
    assert set(report.properties) == set(ALL) - {"formation_energy", "band_gap"}
    assert report.properties["dielectric_tensor"].independent == 2
    assert report.properties["elastic_tensor"].independent == 6
    raw = GMTNetCalculator(**{**calc.todict(), "enforce_symmetry": False}).get_property("elastic_tensor", quartz)
    np.testing.assert_allclose(report.properties["elastic_tensor"].raw, raw, rtol=0, atol=1e-12)
    assert report.properties["elastic_tensor"].residual > 0
    assert "P3_221" in str(report)
    json.dumps(report.as_dict())


def test_symmetry_report_of_chosen_properties(calc, quartz):
    assert calc.symmetry_report(quartz, ["elastic_tensor"]).properties.keys() == {"elastic_tensor"}
    with pytest.raises(PropertyNotImplementedError):
        calc.symmetry_report(quartz, ["forces"])
    with pytest.raises(ValueError, match="no structure"):
        calc.symmetry_report()
    calc.get_property("elastic_tensor", quartz)
    assert calc.symmetry_report().number == 154


def test_cartesian_frame_is_that_of_the_input(calc, quartz):
    framed = calc.get_tensor("elastic_tensor", quartz)
    np.testing.assert_array_equal(framed.rotation, np.eye(3))
    np.testing.assert_array_equal(framed.tensor, calc.get_property("elastic_tensor", quartz))


def test_ieee_frame_comes_with_its_rotation(calc, quartz):
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    turned = quartz.copy()
    turned.set_cell(quartz.cell.array @ rotation.T, scale_atoms=True)
    first, second = calc.get_tensor("elastic_tensor", quartz, "ieee"), calc.get_tensor("elastic_tensor", turned, "ieee")
    np.testing.assert_allclose(
        first.tensor, rotate(calc.get_property("elastic_tensor", quartz), first.rotation, "elastic_tensor"), atol=1e-9
    )
    np.testing.assert_allclose(first.tensor, second.tensor, atol=1e-7)
    with pytest.raises(UnknownNameError, match="cartesian, ieee"):
        calc.get_tensor("elastic_tensor", quartz, "standard")


def test_changes_are_those_that_ase_finds(calc, quartz):
    calc.get_property("elastic_tensor", quartz)
    cases = {"nothing": quartz.copy(), "positions": quartz.copy(), "numbers": quartz.copy(), "cell": quartz.copy()}
    cases["positions"].positions[2, 1] += 1e-9
    cases["numbers"].numbers[0] = 32
    cases["cell"].set_cell(quartz.cell.array * 1.01)
    cases["pbc"] = quartz.copy()
    cases["pbc"].pbc = [True, True, False]
    cases["fewer"] = quartz[:-1]
    cases["charges"] = quartz.copy()
    cases["charges"].set_initial_charges(np.ones(len(quartz)))
    for name, atoms in cases.items():
        assert sorted(calc.check_state(atoms)) == sorted(Calculator.check_state(calc, atoms)), name
    calc.reset()
    assert sorted(calc.check_state(quartz)) == ["cell", "numbers", "pbc", "positions"]
