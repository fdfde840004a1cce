"""``compare``: predictions beside a calculation in the same frame and order."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ase_comformer.cli.application import application
from ase_comformer.errors import UnreadableFileError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.models.registry import save_weights
from ase_comformer.nn import ARCHITECTURES
from ase_comformer.workflows.compare import compare
from first_principles_files import WRITERS, triclinic, write_anaddb, write_vasprun
from tiny import TINY, tiny_card, tiny_network


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """A network that knows the elements of the crystal; its tensors have no symmetry in the crystal without any."""
    folder = tmp_path_factory.mktemp("compare")
    network = tiny_network(3)
    save_weights(network, folder, "tiny", tiny_card(network))
    return Predictor(model=str(folder / "tiny.json"), dtype="float64")


@pytest.fixture(scope="module")
def crystal(predictor):
    """The triclinic crystal, and what the network says of it (some of it invented where it says nothing)."""
    atoms = triclinic()
    tensors = predictor.evaluate(atoms, [n for n in predictor.properties if "tensor" in n or "born" in n])
    tensors.setdefault("clamped_piezoelectric_tensor", tensors["piezoelectric_tensor"] * 0.5)
    return atoms, tensors


@pytest.mark.parametrize("name", WRITERS)
def test_a_calculation_that_found_what_is_predicted_agrees(name, crystal, predictor, tmp_path):
    """Any permuted index or axis of a crystal without symmetry would show."""
    atoms, tensors = crystal
    WRITERS[name](tmp_path / name, atoms, tensors)
    found = compare(tmp_path / name, predictor=predictor)
    assert len(found.rows) >= 2
    for row in found.rows:
        assert row.relative_difference < 2e-3, row.name
        assert row.unit == predictor.describe(row.name)["unit"]
    with pytest.raises(UnreadableFileError, match="leave structure out"):
        compare(tmp_path / name, structure=atoms, predictor=predictor)


def test_what_the_model_does_not_predict_is_said_in_its_row(crystal, tmp_path):
    atoms, tensors = crystal
    network = ARCHITECTURES["TensorNetwork"](**TINY, properties=["dielectric_tensor"])
    save_weights(network, tmp_path, "tiny", tiny_card(network))
    write_vasprun(tmp_path / "vasprun.xml", atoms, tensors)
    found = compare(tmp_path / "vasprun.xml", predictor=Predictor(model=str(tmp_path / "tiny.json")))
    errors = {row.name: row.error for row in found.rows}
    assert not errors.pop("dielectric_tensor")
    assert set(errors) == {"static_dielectric_tensor", "born_effective_charges"}
    assert all("no such property" in error for error in errors.values())


def test_anaddb_needs_the_structure(crystal, predictor, tmp_path):
    atoms, tensors = crystal
    write_anaddb(tmp_path / "anaddb.out", tensors)
    found = compare(tmp_path / "anaddb.out", structure=atoms, predictor=predictor)
    assert max(row.relative_difference for row in found.rows if not row.error) < 1e-4
    with pytest.raises(UnreadableFileError, match="pass structure=atoms"):
        compare(tmp_path / "anaddb.out", predictor=predictor)
    with pytest.raises(UnreadableFileError, match="Born charges of 4 atoms, the structure 8"):
        compare(tmp_path / "anaddb.out", structure=atoms.repeat((2, 1, 1)), predictor=predictor)


def test_the_command_prints_both(crystal, predictor, tmp_path):
    atoms, tensors = crystal
    write_vasprun(tmp_path / "vasprun.xml", atoms, tensors)
    arguments = ["compare", str(tmp_path / "vasprun.xml"), "--model", predictor.settings.model]
    shown = CliRunner().invoke(application, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    rows = json.loads(shown.stdout)["tensors"]
    np.testing.assert_allclose(rows["dielectric_tensor"]["calculated"], tensors["dielectric_tensor"], atol=1e-6)
    assert rows["dielectric_tensor"]["relative_difference"] < 1e-3
    text = CliRunner().invoke(application, arguments)
    assert "born_effective_charges" in text.stdout
    assert "relative difference" in text.stdout
