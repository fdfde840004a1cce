"""What the calculator, ``predict`` and the command line share: defaults, errors per property, streams, bundles."""

import dataclasses
import inspect
import itertools

import numpy as np
import pytest
import torch
import typer
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from ase_comformer import GMTNetCalculator, predict, predict_iter
from ase_comformer.cli.application import application
from ase_comformer.errors import InvalidStructureError, UnknownElementError
from ase_comformer.inference import streams
from ase_comformer.inference.loaded_model import loaded_model
from ase_comformer.inference.potential_evaluator import PotentialEvaluator
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.recent import Recent
from ase_comformer.inference.results import METADATA, Prediction
from ase_comformer.inference.settings import BATCH_SIZE, DEFAULTS
from ase_comformer.models.registry import model_card, save_bundle, save_weights
from ase_comformer.nn import ARCHITECTURES
from ase_comformer.nn.protocols import Network
from ase_comformer.properties.registry import PROPERTIES
from tiny import TINY, tiny_card, tiny_network, tiny_potential

TENSORS = ("dielectric_tensor", "elastic_tensor", "piezoelectric_tensor", "born_effective_charges")
POTENTIALS = ("energy", "free_energy", "energies", "forces", "stress")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Networks with random weights: tensors (piezoelectric without oxygen), potentials of two graph settings."""
    folder = tmp_path_factory.mktemp("door")
    network = tiny_network()
    fields = tiny_card(network)
    fields["properties"]["piezoelectric_tensor"]["elements"] = ["Mg", "Na", "Cl", "Cu", "Al"]
    save_weights(network, folder, "tensors", fields)
    for seed in range(3):
        potential = tiny_potential(seed)
        save_weights(potential, folder, f"potential-{seed}", tiny_card(potential))
    names = ("scalars", "vectors", "layers", "radial", "hidden")
    with torch.random.fork_rng():
        torch.manual_seed(7)
        wide = ARCHITECTURES["Potential"](**{n: TINY[n] for n in names}, graph_settings={"cutoff": 5.5})
    save_weights(wide, folder, "wide", tiny_card(wide))
    return folder


@pytest.fixture(scope="module")
def bundle(folder):
    """Path of a model: tensors, and another potential for each of energy, forces and stress."""

    def bundle(name="default", **potentials):
        chosen = {"energy": ["potential-0"], "forces": ["potential-0"], "stress": ["potential-0"], **potentials}
        members = {name: ["tensors"] for name in tiny_network().properties} | chosen
        return save_bundle(folder, name, members)

    return bundle


@pytest.fixture(scope="module")
def model(bundle):
    return bundle()


def test_names_and_defaults_agree():
    settings = {field.name: field.default for field in dataclasses.fields(DEFAULTS)}
    command = typer.main.get_command(application).commands["predict"]
    options = {parameter.name: parameter.default for parameter in command.params}
    for function in (predict, predict_iter, Predictor, GMTNetCalculator):
        parameters = inspect.signature(function).parameters
        for name, default in settings.items():
            if name == "route":  # one structure at a time gets the best answer, batches the fastest
                default = "combined" if function is GMTNetCalculator else "head"
                assert options[name] == "combined"
            else:
                assert options[name] == default
            assert parameters[name].default == default, (function, name)
    for function in (predict, predict_iter, Predictor.predict, Predictor.predict_iter, streams.stream):
        parameters = inspect.signature(function).parameters
        assert parameters["properties"].default is None
        assert parameters["batch_size"].default == options["batch_size"] == BATCH_SIZE
    own = {"route": "combined", "dispersion": "", "results_also": [], "electric_field": None, "field_reference": None}
    assert GMTNetCalculator.default_parameters == {**settings, **own}


def test_results_are_typed_for_every_property():
    offered = {name for name, entry in PROPERTIES.items() if not entry.is_auxiliary}
    assert offered | set(METADATA) == set(Prediction.__annotations__)


def test_networks_are_what_the_protocol_says():
    for kind in ("TensorNetwork", "EComFormer", "GMTNet"):
        assert isinstance(ARCHITECTURES[kind](), Network), kind


# Errors per property


def test_element_that_one_property_does_not_know_costs_only_that(model, rocksalt):
    (result,) = predict([rocksalt], model=model)
    assert result["errors"].keys() == {"piezoelectric_tensor"}
    assert "O in MgO is outside the training set" in result["errors"]["piezoelectric_tensor"]
    assert "error" not in result
    assert {*POTENTIALS, "born_effective_charges", "elastic_tensor"} <= result.keys()


@pytest.mark.parametrize("batch_size", [1, 64])
def test_slabs_and_molecules_have_energies_and_forces(model, batch_size, rocksalt):
    slab, water = fcc111("Al", (1, 1, 3), vacuum=6.0), molecule("H2O")
    results = predict([slab, rocksalt, water], model=model, batch_size=batch_size)
    for atoms, result in zip((slab, rocksalt, water), results, strict=True):
        assert result["forces"].shape == (len(atoms), 3)
        assert "error" not in result
    assert set(TENSORS) < results[0]["errors"].keys()
    assert "stress" in results[0]
    assert "stress" not in results[0]["errors"]
    assert "has no stress" in results[2]["errors"]["stress"]
    assert results[1]["dielectric_tensor"].shape == (3, 3)


def test_error_is_there_only_where_nothing_could_be_computed(model, rocksalt):
    ghost = Atoms("X", cell=[4, 4, 4], pbc=True)
    results = predict(["MgO", rocksalt, ghost, Atoms()], ["energy", "elastic_tensor"], model=model)
    assert ["error" in result for result in results] == [True, False, True, True]
    assert results[0]["errors"].keys() == {"energy", "elastic_tensor"}
    assert results[0]["error"].startswith("InvalidStructureError: Expected an ase.Atoms or a pymatgen Structure")


def test_raising_takes_the_first_error(model, rocksalt):
    with pytest.raises(UnknownElementError, match="piezoelectric_tensor"):
        predict([rocksalt], model=model, on_error="raise")
    with pytest.raises(InvalidStructureError):
        Predictor(model=model).evaluate(molecule("H2O"), ["energy", "elastic_tensor"])


def test_calculate_keeps_what_can_be_computed(model, rocksalt):
    calc = GMTNetCalculator(model=model)
    calc.calculate(rocksalt, calc.implemented_properties)
    assert calc.get_property("elastic_tensor", rocksalt, allow_calculation=False) is not None
    assert calc.provenance["errors"].keys() == {"piezoelectric_tensor"}
    assert calc.provenance["status"] == "ok"
    assert calc.provenance["symmetry"]["international"] == "Fm-3m"
    with pytest.raises(UnknownElementError):
        calc.get_property("piezoelectric_tensor", rocksalt)
    calc.calculate(molecule("H2O"), calc.implemented_properties)
    assert "forces" in calc.results
    with pytest.raises(InvalidStructureError):
        calc.calculate(molecule("H2O"), ["elastic_tensor", "dielectric_tensor"])


# Streams


def test_streams_give_results_in_order_and_take_structures_as_they_go(model, monkeypatch):
    monkeypatch.setattr(streams, "_CHUNK", 2)
    taken = []

    def structures():
        for number in itertools.count():
            taken.append(number)
            yield bulk("NaCl", "rocksalt", a=5.5 + 0.01 * (number % 7)).repeat((1 + number % 3, 1, 1))

    stream = predict_iter(structures(), "energies", model=model, batch_size=2)
    results = list(itertools.islice(stream, 10))
    assert [len(result["energies"]) for result in results] == [2 * (1 + number % 3) for number in range(10)]
    assert len(taken) == 12  # chunks of two batches of two
    expected = predict(itertools.islice(structures(), 10), "energies", model=model)
    for first, second in zip(results, expected, strict=True):
        np.testing.assert_allclose(first["energies"], second["energies"], atol=1e-5)


def test_streams_check_their_arguments_at_once(model):
    with pytest.raises(ValueError, match="batch_size"):
        predict_iter([], model=model, batch_size=0)


def test_chunks_are_closed_before_their_graphs_fill_the_memory(model, monkeypatch):
    monkeypatch.setattr(streams, "_CHUNK_EDGES", 1)
    taken = []
    stream = predict_iter((taken.append(1) or bulk("Cu") for _ in range(9)), "energy", model=model)
    next(stream)
    assert len(taken) == 1


# Bundles


def alone(folder, name, atoms):
    networks = loaded_model(str(folder / f"{name}.json"), "cpu", "float64").model.entries("energy")
    return PotentialEvaluator(networks).evaluate(atoms)


def test_forces_and_stress_come_from_the_potentials_that_the_bundle_names(folder, bundle):
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.rattle(0.05, seed=0)
    path = bundle("each", forces=["potential-1"], stress=["potential-2"])
    (found,) = predict([atoms], POTENTIALS, model=path, dtype="float64")
    calc = GMTNetCalculator(model=path, dtype="float64")
    for quantity, name in (("energy", "potential-0"), ("forces", "potential-1"), ("stress", "potential-2")):
        expected = alone(folder, name, atoms)[quantity]
        np.testing.assert_allclose(found[quantity], expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(calc.get_property(quantity, atoms), expected, rtol=1e-12, atol=1e-14)


def test_members_with_other_graph_settings_are_evaluated_on_their_own_graph(folder, bundle):
    atoms = bulk("NaCl", "rocksalt", a=5.64).repeat((2, 2, 2))
    for symmetric in (True, False):
        if not symmetric:
            atoms.rattle(0.05, seed=0)
        path = bundle("mixed", energy=["potential-0", "wide"], forces=["wide", "potential-0"])
        first, second = alone(folder, "potential-0", atoms), alone(folder, "wide", atoms)
        calc = GMTNetCalculator(model=path, dtype="float64")
        (found,) = predict([atoms], ["energy", "forces"], model=path, dtype="float64")
        for quantity in ("energy", "forces"):
            expected = (first[quantity] + second[quantity]) / 2
            np.testing.assert_allclose(calc.get_property(quantity, atoms), expected, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(found[quantity], expected, rtol=1e-10, atol=1e-12)


# What calculators share


def test_calculators_share_weights_and_what_is_made_of_them(model):
    first, second = GMTNetCalculator(model=model), GMTNetCalculator(model=model)
    assert first._predictor.loaded is second._predictor.loaded
    assert first._predictor.potential.ensemble is second._predictor.potential.ensemble


def test_memories_of_idle_calculators_are_forgotten_and_come_back(model):
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    kept = [GMTNetCalculator(model=model) for _ in range(40)]
    expected = [calc.get_property("dielectric_tensor", atoms) for calc in kept]
    energies = [calc.get_property("energy", atoms) for calc in kept]
    shared = kept[0]._predictor.loaded
    assert len(shared.prepared) == len(shared.moving) == shared.moving.capacity < 40
    assert len(set(energies)) == 1
    np.testing.assert_array_equal(kept[0].get_property("dielectric_tensor", atoms), expected[0])
    atoms.positions[0] += 0.01
    assert kept[0].get_property("energy", atoms) == kept[-1].get_property("energy", atoms)


def test_the_oldest_is_forgotten_first():
    store, tokens = Recent(2), [object() for _ in range(3)]
    for number, token in enumerate(tokens[:2]):
        store.put(token, number)
    assert store.get(tokens[0]) == 0
    store.put(tokens[2], 2)
    assert [store.get(token) for token in tokens] == [0, None, 2]
    store.forget(tokens[0])
    assert store.of(tokens[0], lambda: "new") == "new"
    assert len(store) == 2


def test_structures_of_pymatgen_are_taken_wherever_atoms_are(model, rocksalt):
    core = pytest.importorskip("pymatgen.core")
    structure = core.Structure(rocksalt.cell.array, ["Mg", "O"], rocksalt.get_scaled_positions())
    calc = GMTNetCalculator(model=model, dtype="float64")
    expected = calc.get_property("dielectric_tensor", rocksalt)
    np.testing.assert_allclose(calc.get_property("dielectric_tensor", structure), expected, atol=1e-9)
    assert not calc.calculation_required(structure, ["dielectric_tensor"])
    assert calc.symmetry_report(structure, ["dielectric_tensor"]).number == 225
    assert calc.get_tensor("dielectric_tensor", structure, "ieee").tensor.shape == (3, 3)
    (result,) = predict([structure], "dielectric_tensor", model=model, dtype="float64")
    np.testing.assert_allclose(result["dielectric_tensor"], expected, atol=1e-9)
    with pytest.raises(TypeError, match="single Structure"):
        predict(structure, model=model)


@pytest.mark.filterwarnings("ignore:.*(likely a metal|far outside the training domain|the expected error of)")
def test_the_sign_of_a_tensor_does_not_depend_on_what_else_is_asked(wurtzite):
    """Members agree on piezoelectric tensors up to a sign, which the first member of that property settles."""
    name, disputed = "piezoelectric_tensor", bulk("GaAs", "zincblende", a=5.65)
    members = model_card("default")["members"][name]
    own = np.array([predict([disputed], name, model=member)[0][name] for member in members])
    assert (np.einsum("nij,ij->n", own, own[0]) < 0).any()  # else this shows nothing
    for atoms in (wurtzite, disputed):
        alone = predict([atoms], name)[0][name]
        together = predict([atoms])[0][name]
        np.testing.assert_allclose(together, alone, rtol=2e-3, atol=2e-3 * np.abs(alone).max())
