"""What was fitted after training: weights of the response route and error bars, a JSON file beside the weights.

``calibration/NAME.json`` in the folder of a model holds, by property, how its head and the linear response are mixed,
and for each route how large errors are expected to be. It carries its own SHA-256, and for each property the
fingerprint of the networks it was fitted to: what belongs to other weights is not used. ``ase-comformer calibrate``
writes it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase_comformer.errors import WeightsError
from ase_comformer.models.checksums import replace_file, sha256, write_checksums
from ase_comformer.models.registry import Model
from ase_comformer.properties.registry import tensor_property

#: Folder beside the weights, and version of the layout.
FOLDER, FORMAT = "calibration", 1
#: Properties whose networks the response of a crystal is made of, where a model has them.
RESPONSE_PARTS = (
    "energy",
    "forces",
    "stress",
    "born_effective_charges",
    "dielectric_tensor",
    "clamped_piezoelectric_tensor",
)
_REDO = "Run 'ase-comformer calibrate' again."


@dataclass(frozen=True)
class RouteWeight:
    """How much the response of a crystal counts in the combined answer: ``largest * trust(acting, stiffness)``.

    Attributes:
        acting: what the atoms follow, see ``physics.softness``.
        largest: weight where all modes are stiff.
        stiffness: eV/A^2 at which a mode that matters halves the weight.
    """

    acting: str
    largest: float
    stiffness: float


@dataclass(frozen=True)
class ErrorBar:
    """Expected errors of one route: exp(coefficients . scores), scores standardised, the first coefficient constant.

    Attributes:
        scores: names, see ``inference.error_bars``.
        mean: of each score where it was fitted.
        deviation: of each score.
        coefficients: (1 + scores); the result is what 68 % of errors stay below.
        factor_90: times it is what 90 % stay below.
        warning_above: relative to the size of a tensor (of a number: to its scale), beyond which a bar is a warning:
            where one in twenty of the crystals it was fitted on lies, and twice the size at most.
        count: errors it was fitted on.
        small_gap_factor: of bars of crystals without a gap, whose errors the scores alone do not hold.
        datasets: where they come from, ``{data set: count}``.
    """

    scores: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    coefficients: tuple[float, ...]
    factor_90: float
    warning_above: float
    count: int
    small_gap_factor: float = 1.0
    datasets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PropertyCalibration:
    """What was fitted for one property.

    Attributes:
        fingerprint: of the networks behind it, ``property_fingerprint``.
        route: mixture with the response, None where the head stands alone.
        bars: by route.
        elements: training records that contain an element, by symbol.
    """

    fingerprint: str
    route: RouteWeight | None
    bars: Mapping[str, ErrorBar]
    elements: Mapping[str, int]


def calibration_path(model: Model) -> Path:
    """Return the place where the calibration of a model is, or would be."""
    return model.path.parent / FOLDER / f"{model.path.stem}.json"


def property_fingerprint(model: Model, name: str) -> str:
    """SHA-256 over the networks that a property depends on, those of the response included where it has one."""
    names = [name, *(RESPONSE_PARTS if tensor_property(name).has_response else ())]
    parts = [f"{each} {card['sha256']}" for each in names if each in model.members for card in model.cards(each)]
    return sha256("\n".join(parts).encode())


def read_calibration(model: Model) -> dict[str, PropertyCalibration]:
    """Calibration of a model by property, without what belongs to other weights; empty where there is none.

    Raises:
        WeightsError: the file is damaged.
    """
    path = calibration_path(model)
    if not path.is_file():
        return {}
    status = path.stat()
    found = _read(path, status.st_mtime_ns, status.st_size)
    return {
        name: each
        for name, each in found.items()
        if name in model.members and each.fingerprint == property_fingerprint(model, name)
    }


def write_calibration(model: Model, found: Mapping[str, PropertyCalibration]) -> Path:
    """Write the calibration of a model and update the checksums of its folder."""
    path = calibration_path(model)
    path.parent.mkdir(exist_ok=True)
    content = {
        "format": FORMAT,
        "model": model.name,
        "properties": {name: asdict(each) for name, each in found.items()},
    }
    text = json.dumps({**content, "sha256": _digest(content)}, indent=1)
    replace_file(path, (text + "\n").encode())
    write_checksums(path.parent.parent)
    return path


def _digest(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode())


@functools.lru_cache(maxsize=8)
def _read(path: Path, stamp: int, size: int) -> dict[str, PropertyCalibration]:
    """Cached on the time stamp of the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        digest = content.pop("sha256")
        if content["format"] != FORMAT or digest != _digest(content):
            raise ValueError("its checksum or format is wrong")
        return {name: _property_of(each) for name, each in content["properties"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"The calibration {path} is damaged ({error}). {_REDO}") from error


def _property_of(content: Mapping[str, Any]) -> PropertyCalibration:
    route = content["route"]
    bars = {}
    for name, bar in content["bars"].items():
        values: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in bar.items()}
        bars[name] = ErrorBar(**values)
    return PropertyCalibration(
        content["fingerprint"], None if route is None else RouteWeight(**route), bars, content["elements"]
    )
