"""Calibrations on disk: what is written is read, damage is an error, other weights get nothing."""

import json
from pathlib import Path

import pytest

from ase_comformer.errors import WeightsError
from ase_comformer.models.calibration import (
    ErrorBar,
    PropertyCalibration,
    RouteWeight,
    calibration_path,
    property_fingerprint,
    read_calibration,
    write_calibration,
)
from ase_comformer.models.checksums import verify_folder
from ase_comformer.models.registry import Model, load_model, save_weights
from tiny import tiny_card, tiny_network

BAR = ErrorBar(("size",), (1.0,), (0.5,), (0.1, 0.2), 1.7, 0.4, 50, {"elastic_mp": 50})


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(save_weights(tiny_network(), tmp_path, "tiny", tiny_card(tiny_network())), "cpu")


def fitted(model: Model, name: str = "elastic_tensor") -> dict[str, PropertyCalibration]:
    return {
        name: PropertyCalibration(
            property_fingerprint(model, name), RouteWeight("strain", 0.4, 0.2), {"head": BAR}, {"O": 3}
        )
    }


def test_what_is_written_is_read(model: Model) -> None:
    assert read_calibration(model) == {}
    write_calibration(model, fitted(model))
    assert read_calibration(model) == fitted(model)
    assert verify_folder(model.path.parent) == []
    assert "calibration/tiny.json" in (model.path.parent / "SHA256SUMS").read_text()


def test_a_changed_number_is_noticed(model: Model) -> None:
    path = write_calibration(model, fitted(model))
    content = json.loads(path.read_text())
    content["properties"]["elastic_tensor"]["route"]["largest"] = 0.9
    path.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match="is damaged"):
        read_calibration(model)


def test_calibrations_of_other_weights_are_not_used(model: Model, tmp_path: Path) -> None:
    write_calibration(model, fitted(model))
    other = load_model(save_weights(tiny_network(3), tmp_path, "tiny", tiny_card(tiny_network(3))), "cpu")
    assert calibration_path(other).is_file()
    assert read_calibration(other) == {}
