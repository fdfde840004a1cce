"""The registry: what is declared, what is refused, how extensions are found."""

from pathlib import Path
from typing import get_args

import pytest

from ase_comformer.errors import UnknownNameError
from ase_comformer.properties import plugins
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import (
    PROPERTIES,
    ShippedProperty,
    label_owner,
    register,
    table,
    temporary_registry,
    tensor_property,
)

OPTICAL = TensorProperty("gyration_tensor", "g", "ij=ji", "relative", "optical activity", is_axial=True)


def test_the_literal_lists_what_is_shipped():
    assert set(get_args(ShippedProperty)) == set(PROPERTIES)


def test_pinned_irreps_stay():
    expected = {
        "dielectric_tensor": "0e+2e", "born_effective_charges": "0e+1e+2e", "piezoelectric_tensor": "2x1o+2o+3o",
        "elastic_tensor": "2x0e+2x2e+4e", "forces": "1o", "stress": "0e+2e", "energy": "0e",
    }  # fmt: skip
    assert {name: PROPERTIES[name].irreps for name in expected} == expected


def test_a_property_is_registered_once_and_its_registration_can_be_undone():
    with temporary_registry():
        register(OPTICAL)
        register(OPTICAL)  # the same declaration, as when a file is read twice
        assert tensor_property("gyration_tensor").irreps == "0o+2o"
        assert "`gyration_tensor`" in table()
        with pytest.raises(ValueError, match="already"):
            register(TensorProperty("gyration_tensor", "g", "ij", "relative", "something else"))
        with pytest.raises(ValueError, match="derived label of elastic_tensor"):
            register(TensorProperty("moduli", "M", "", "GPa", "taken"))
    with pytest.raises(UnknownNameError, match="dielectric_tensor"):
        tensor_property("gyration_tensor")


@pytest.mark.parametrize(("changes", "message"), [
    ({"voigt": "stiffness"}, "has 4 indices"), ({"formula": "ijk", "voigt": "piezoelectric_stress"}, "needs ijk = ikj"),
    ({"name": "two words"}, "letters, digits"), ({"undefined_for": ("gases",)}, "choose one of"),
    ({"route": "guess"}, "choose one of"),
])  # fmt: skip
def test_declarations_that_contradict_themselves_are_refused(changes, message):
    fields = {"name": "x", "symbol": "x", "formula": "ij", "unit": "", "description": "", **changes}
    with pytest.raises(ValueError, match=message):
        TensorProperty(**fields)


def test_derived_labels_belong_to_a_property():
    assert label_owner("moduli") == "elastic_tensor"
    assert label_owner("elastic_tensor") == "elastic_tensor"


def test_a_file_named_in_the_environment_is_found_when_its_property_is_asked_for(tmp_path, monkeypatch):
    file = tmp_path / "optics.py"
    file.write_text(
        "from ase_comformer.properties.entry import TensorProperty\n"
        "from ase_comformer.properties.registry import register\n"
        "register(TensorProperty('verdet', 'V', 'ij', 'rad', 'Faraday rotation'))\n"
    )
    monkeypatch.setenv(plugins.VARIABLE, str(file))
    for _ in range(2):  # and again after it was undone
        with temporary_registry():
            assert tensor_property("verdet").rank == 2
    with pytest.raises(FileNotFoundError, match="check plugins"):
        plugins.load_plugins(["missing.py"], tmp_path)


def test_the_documentation_shows_what_is_registered():
    page = Path(__file__).parents[2] / "docs" / "add_a_tensor.md"
    assert page.read_text(encoding="utf-8").endswith(f"{table()}\n"), "append the output of registry.table() anew"
