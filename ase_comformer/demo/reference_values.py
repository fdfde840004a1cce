"""Published tensors of well-known crystals, for ``ase-comformer demo``: values with source and kind of measurement.

The numbers are in ``reference_values.json``; components are in the crystal axes with a along x and c along z, except
that their sign may be open (``Reference.sign``). None of them was used to fit anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from ase import units
from ase.formula import Formula

Sign = Literal["fixed", "overall", "free"]


@dataclass(frozen=True)
class Source:
    """Where a value was published.

    Attributes:
        key: name in the JSON file.
        kind: ``"experiment"`` or ``"DFT (functional)"``.
        text: authors, journal, volume, page, year.
        doi: empty where it was not looked up.
        method: remark on the measurement, may be empty.
    """

    key: str
    kind: str
    text: str
    doi: str = ""
    method: str = ""


@dataclass(frozen=True)
class Reference:
    """Components of one tensor of one crystal from one source.

    Attributes:
        crystal: name of the crystal.
        property_name: public name of the property.
        components: ``"xx"`` (3x3), ``"14"`` (Voigt) or ``""`` (scalar) -> value in the documented unit.
        source: where they come from.
        site: element of the atom for Born charges (the first of its kind), else empty.
        sign: ``"fixed"``; ``"overall"``: the tensor changes sign with the sense of the polar axis; ``"free"``: the
            sign of each component depends on the setting of the crystal, only magnitudes are comparable.
        note: remark, may be empty.
    """

    crystal: str
    property_name: str
    components: Mapping[str, float]
    source: Source
    site: str = ""
    sign: Sign = "fixed"
    note: str = ""


@dataclass(frozen=True)
class ReferenceCrystal:
    """A crystal of the demo.

    Attributes:
        name: reduced formula.
        structure: structure type.
        spacegroup: number.
        split: side of the data split that the formula is on: train, val, test or withheld.
        references: published values.
    """

    name: str
    structure: str
    spacegroup: int
    split: str
    references: tuple[Reference, ...]


@cache
def reference_crystals() -> tuple[ReferenceCrystal, ...]:
    """The crystals of the demo with all published values, energies converted to eV/atom."""
    data = json.loads(files("ase_comformer.demo").joinpath("reference_values.json").read_text(encoding="utf-8"))
    sources = {key: Source(key, **fields) for key, fields in data["sources"].items()}
    references = [_reference(entry, sources) for entry in data["values"]]
    return tuple(
        ReferenceCrystal(**fields, references=tuple(ref for ref in references if ref.crystal == fields["name"]))
        for fields in data["crystals"]
    )


def component_index(component: str) -> tuple[int, ...]:
    """``"xz"`` -> (0, 2), Voigt ``"14"`` -> (0, 3), ``""`` -> (): index into the documented array."""
    if component.isdigit():
        return tuple(int(digit) - 1 for digit in component)
    return tuple("xyz".index(letter) for letter in component)


def _reference(entry: Mapping[str, Any], sources: Mapping[str, Source]) -> Reference:
    scale = 1.0
    if entry.get("unit") == "kJ/mol":
        scale = units.kJ / units.mol / len(Formula(entry["crystal"]))
    return Reference(
        crystal=entry["crystal"],
        property_name=entry["property"],
        components={key: scale * value for key, value in entry["components"].items()},
        source=sources[entry["source"]],
        site=entry.get("site", ""),
        sign=entry.get("sign", "fixed"),
        note=entry.get("note", ""),
    )
