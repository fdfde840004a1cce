"""Threads, warnings, and the cost of a query: what is seen only when a calculator is used for long."""

import json
import sys
import threading
import warnings

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, mx2
from ase.calculators.calculator import PropertyNotImplementedError

from ase_comformer import GMTNetCalculator, predict
from ase_comformer.nn.derivatives.analytic import AnalyticPotential
from tiny import tiny_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def calc(model):
    return GMTNetCalculator(model=model, device="cpu", dtype="float64")


@pytest.fixture
def salt():
    return bulk("NaCl", "rocksalt", a=5.64)


def test_one_calculator_in_four_threads_gives_the_numbers_of_one_thread(calc):
    structures = [bulk("NaCl", "rocksalt", a=5.4 + 0.02 * i) for i in range(12)]
    names = ("energy", "forces", "stress", "dielectric_tensor")
    expected = {(i, name): calc.get_property(name, atoms) for i, atoms in enumerate(structures) for name in names}
    wrong, interval = [], sys.getswitchinterval()

    def work(seed):
        random = np.random.default_rng(seed)
        for _ in range(100):
            i, name = int(random.integers(len(structures))), names[int(random.integers(len(names)))]
            try:
                found = calc.get_property(name, structures[i])
                if found is None or not np.allclose(found, expected[i, name], rtol=1e-9, atol=1e-9):
                    wrong.append((i, name, found))
            except Exception as error:
                wrong.append((i, name, error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


# Energies alone


@pytest.fixture
def count_derivatives(monkeypatch):
    calls = []
    for name in ("energies", "derivatives"):
        original = getattr(AnalyticPotential, name)

        def counted(*given, name=name, original=original):
            calls.append(name)
            return original(*given)

        monkeypatch.setattr(AnalyticPotential, name, counted)
    return calls


def test_energy_alone_takes_no_derivative(calc, salt, count_derivatives):
    salt.calc = calc
    salt.get_potential_energy()
    calc.get_property("energy_uncertainty" if "energy_uncertainty" in calc.implemented_properties else "energies", salt)
    assert count_derivatives == ["energies"]
    assert "forces" not in calc.results


def test_energy_is_the_same_to_the_last_bit_with_and_without_forces(model):
    for dtype in ("float32", "float64"):
        for atoms in (
            bulk("NaCl", "rocksalt", a=5.64),
            bulk("Cu", cubic=True).repeat(3),
            Atoms("H2", [[0, 0, 0], [0, 0, 0.8]]),
        ):
            atoms.rattle(0.02, seed=1)
            first, second = (GMTNetCalculator(model=model, dtype=dtype) for _ in range(2))
            second.get_property("forces", atoms)
            assert first.get_property("energy", atoms) == second.get_property("energy", atoms, allow_calculation=False)
            np.testing.assert_array_equal(first.get_property("energies", atoms), second.get_property("energies", atoms))


def test_forces_bring_the_energy_and_the_stress(calc, salt, count_derivatives):
    salt.calc = calc
    salt.get_forces()
    salt.get_potential_energy()
    salt.get_stress()
    assert count_derivatives == ["derivatives"]


def test_forces_that_followed_an_energy_come_with_the_next_one_until_nobody_asks(calc, salt, count_derivatives):
    salt.calc = calc

    def step():
        salt.positions[0, 0] += 0.001
        count_derivatives.clear()
        return salt.get_potential_energy()

    step()
    salt.get_forces()
    assert count_derivatives == ["energies", "derivatives"]
    step()
    salt.get_forces()
    assert count_derivatives == ["derivatives"]
    step()
    assert count_derivatives == ["derivatives"]
    step()
    assert count_derivatives == ["energies"]


# Warnings


def caught_of(work):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    return caught


def test_warnings_come_once_and_point_at_the_code_of_the_user(calc, salt):
    salt.set_initial_magnetic_moments([1, -1])
    salt.set_initial_charges([1, -1])
    salt.info["occupancy"] = {"0": {"Na": 0.5}}
    salt.calc = calc

    def work():
        for _ in range(3):
            salt.positions[0, 0] += 0.1  # too far to be idealised
            salt.get_potential_energy()
            salt.get_forces()
            calc.get_property("dielectric_tensor", salt)

    caught = caught_of(work)
    texts = [str(warning.message).split()[1] for warning in caught]
    assert sorted(texts) == ["charges", "has", "magnetic"]
    assert {warning.filename for warning in caught} == {__file__}
    salt.calc = None
    assert len(caught_of(lambda: predict([salt, salt], model=calc.parameters["model"]))) == 3


def test_close_atoms_warn_once_in_a_trajectory(calc):
    atoms = Atoms("Cu2", [[0, 0, 0], [0.45, 0, 0]], cell=[6, 6, 6], pbc=True)

    def work():
        for _ in range(4):
            atoms.positions[1, 0] -= 0.01
            calc.get_property("forces", atoms)

    (warning,) = caught_of(work)
    assert str(warning.message).startswith("Cu2: atoms closer than 0.5 Å are outside the training domain")


def test_idealisation_warns_once_with_the_distance_and_the_remedy(calc, salt):
    def work(calc, amounts):
        for amount in amounts:
            atoms = salt.copy()
            atoms.positions[0, 0] += amount
            calc.get_property("dielectric_tensor", atoms)

    (warning,) = caught_of(lambda: work(calc, (0.004, 0.005)))
    assert "from which it differs by 0.00" in str(warning.message)
    assert "enforce_symmetry=False" in str(warning.message)
    assert warning.filename == __file__
    assert 1e-3 < calc.provenance["symmetry"]["idealisation_displacement"] <= 1e-2
    free = GMTNetCalculator(**{**calc.todict(), "enforce_symmetry": False})
    assert caught_of(lambda: work(free, (0.004,))) == []
    assert caught_of(lambda: work(GMTNetCalculator(**calc.todict()), (0.0, 1e-4))) == []


def test_filters_that_turn_warnings_into_errors_change_no_number(calc, salt, caplog):
    salt.positions[0, 0] += 0.004
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = calc.get_property("dielectric_tensor", salt)
        (result,) = predict([salt], "dielectric_tensor", model=calc.parameters["model"], dtype="float64")
    assert "enforce_symmetry=False" in caplog.text
    assert "errors" not in result
    np.testing.assert_array_equal(found, result["dielectric_tensor"])


def test_layers_in_a_box_warn_and_say_so_in_their_status(calc):
    layer = mx2("CuCl2", a=3.2, thickness=3.0, vacuum=10.0)
    layer.pbc = True
    caught = caught_of(lambda: [calc.get_property(name, layer) for name in ("dielectric_tensor", "elastic_tensor")])
    assert len([w for w in caught if "no bulk crystal" in str(w.message)]) == 1
    assert "no bulk crystal" in calc.provenance["status"]
    with pytest.warns(UserWarning, match="no bulk crystal"):
        (result,) = predict([layer], "elastic_tensor", model=calc.parameters["model"])
    assert "no bulk crystal" in result["status"]
    (result,) = predict([layer], "energy", model=calc.parameters["model"])
    assert "status" not in result


# What goes to files


def test_further_properties_go_to_results_on_request(model, salt, tmp_path):
    calc = GMTNetCalculator(model=model, results_also=["elastic_tensor", "born_effective_charges"])
    for name in ("elastic_tensor", "born_effective_charges", "piezoelectric_tensor"):
        calc.get_property(name, salt)
        assert (name in calc.results) == (name != "piezoelectric_tensor") == calc.describe(name)["in_results"]
    assert GMTNetCalculator(**calc.todict()).todict() == calc.todict()
    with pytest.raises(ValueError, match="no property 'colour'"):
        GMTNetCalculator(model=model, results_also=["colour"])


def test_what_atomate2_reads_comes_with_the_energy(model, salt, tmp_path):
    """Keys, index order and off by default as its force-field dielectric jobs expect; ASE's writers skip the keys."""
    calc = GMTNetCalculator(model=model, results_also=("becs", "polarizability"))
    salt.calc = calc
    salt.get_potential_energy()
    assert {"becs", "polarizability"} <= set(calc.results)
    np.testing.assert_array_equal(calc.results["becs"], calc.get_property("born_effective_charges", salt))
    expected = calc.get_property("dielectric_tensor", salt) - np.eye(3)
    np.testing.assert_allclose(calc.results["polarizability"], expected, atol=1e-12)
    assert GMTNetCalculator(**json.loads(json.dumps(calc.todict()))).todict() == calc.todict()
    for suffix in ("extxyz", "json", "db", "traj"):
        ase.io.write(tmp_path / f"salt.{suffix}", salt)
        assert ase.io.read(tmp_path / f"salt.{suffix}").get_potential_energy() == pytest.approx(calc.results["energy"])
    assert "becs" not in calc.calculate_properties(salt, ["energy"])
    plain = GMTNetCalculator(model=model)
    plain.get_potential_energy(salt)
    assert {"becs", "polarizability"}.isdisjoint(plain.results)


def test_the_second_derivatives_are_those_of_ase(model, salt):
    calc = GMTNetCalculator(model=model, dtype="float64")
    found = calc.get_hessian(salt)
    moved = [salt.copy(), salt.copy()]
    for sign, atoms in zip((1, -1), moved, strict=True):
        atoms.positions[1, 2] += sign * 1e-3
    slope = (calc.get_property("forces", moved[1]) - calc.get_property("forces", moved[0])) / 2e-3
    np.testing.assert_allclose(found[1, 2], slope, atol=1e-4 * np.abs(found).max())
    np.testing.assert_allclose(found, found.transpose(2, 3, 0, 1), atol=1e-12)


def test_stresses_of_atoms_are_refused_with_the_reason(model, salt):
    with pytest.raises(PropertyNotImplementedError, match="reciprocal space"):
        GMTNetCalculator(model=model).get_stresses(salt)


def test_a_query_makes_few_calls_inside_the_package(model, salt):
    """Counted with the tiny networks; the shipped ones make the calls of their own layers on top."""
    import ase_comformer

    root = ase_comformer.__path__[0]
    calc = GMTNetCalculator(model=model, device="cpu")
    for a in (5.60, 5.61):
        calc.get_property("dielectric_tensor", bulk("NaCl", "rocksalt", a=a))
    calls: dict[tuple[str, str], int] = {}

    def hook(frame, event, _):
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(root):
            key = (file[len(root) + 1 :], frame.f_code.co_name)
            calls[key] = calls.get(key, 0) + 1

    sys.setprofile(hook)
    try:
        calc.get_property("dielectric_tensor", salt)
    finally:
        sys.setprofile(None)
    for once in ("check_state", "_require_implemented", "validate_structure", "evaluate_each", "structure_key"):
        assert sum(count for (_, name), count in calls.items() if name == once) == 1, once
    outside = sum(count for (file, _), count in calls.items() if not file.startswith("nn"))
    assert outside < 300
