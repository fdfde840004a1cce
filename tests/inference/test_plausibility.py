"""Numbers that no matter has are errors that name the property, the value and what is crowded."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer import GMTNetCalculator
from ase_comformer.errors import InvalidStructureError
from ase_comformer.inference.plausibility import plausible_part, require_plausible
from benchmarks.fuzz_structures import made

MGO = bulk("MgO", "rocksalt", a=4.21)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dielectric_tensor", np.eye(3) * 2e3),
        ("born_effective_charges", np.full((2, 3, 3), -80.0)),
        ("energies", np.array([1.0, 2e6])),
        ("energy", -3e6),
        ("elastic_tensor", np.full((6, 6), np.nan)),
        ("formation_energy", float("inf")),
        ("some_registered_tensor", np.array([np.nan])),
    ],
)
def test_absurd_and_infinite_numbers_are_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidStructureError, match=rf"for {name} of MgO.*shortest distance 2\.1.*Å³ per atom"):
        require_plausible({name: value}, MGO)


def test_extreme_but_known_numbers_pass() -> None:
    require_plausible({"elastic_tensor": np.full((6, 6), 6000.0), "status": "ok", "energy": -1e6}, MGO)


def test_one_absurd_result_costs_the_others_nothing() -> None:
    kept, errors = plausible_part({"energies": np.zeros(2), "forces": np.full((2, 3), 1e9)}, MGO)
    assert list(kept) == ["energies"]
    assert list(errors) == ["forces"]


def test_crystals_whose_atoms_see_nothing_are_refused_by_every_tensor_and_not_by_the_energy() -> None:
    calculator = GMTNetCalculator()
    lonely = Atoms("Na", cell=[12] * 3, pbc=True)
    with pytest.warns(UserWarning, match="far outside the training domain"):
        assert np.isfinite(calculator.get_property("energy", lonely))
    for _ in range(2):  # what is remembered of the structure must not change the answer
        for name in ("dielectric_tensor", "born_effective_charges", "elastic_tensor", "formation_energy"):
            with pytest.raises(InvalidStructureError, match="no neighbour within"):
                calculator.get_property(name, lonely)


def test_forces_that_do_not_add_up_to_nothing_are_refused() -> None:
    require_plausible({"forces": np.array([[0.3, 0.0, 0.0], [-0.3, 0.001, 0.0]])}, MGO)
    require_plausible({"forces": np.array([[0.43, 0.0, 0.0], [-0.3, 0.0, 0.0]])}, MGO)
    require_plausible({"forces": np.array([[3e5, 0.0, 0.0], [-3e5 + 90, 0.0, 0.0]])}, MGO)
    with pytest.raises(InvalidStructureError, match=r"MgO add up to 0.2 eV/Å.*dtype='float64'"):
        require_plausible({"forces": np.array([[0.5, 0.0, 0.0], [-0.3, 0.0, 0.0]])}, MGO)


@pytest.mark.filterwarnings("ignore:.*far outside the training domain")
def test_noise_of_crowded_atoms_is_an_error_in_single_precision_and_none_in_double() -> None:
    _, sheet = made(0, 591)  # one gallium atom, its images in a plane 0.96 A apart
    with pytest.raises(InvalidStructureError, match="not to nothing"):
        GMTNetCalculator(dtype="float32").get_property("forces", sheet)
    np.testing.assert_allclose(GMTNetCalculator(dtype="float64").get_property("forces", sheet), 0, atol=1e-9)
