"""A result that stands for itself: structure, values with unit, functional and expected error, and the model behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.io.jsonio import decode, encode

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.inference.results import METADATA
from ase_comformer.properties.entry import UNCERTAINTY

if TYPE_CHECKING:
    from ase_comformer.inference.predictor import Predictor

#: Written along, so that files of later versions can be told apart.
VERSION = 1


@dataclass(frozen=True, eq=False)
class PropertyValue:
    """A value with what it is.

    Attributes:
        value: number, or array in the documented form of the property.
        unit, functional, kind: as ``Predictor.describe`` says them.
        uncertainty: expected error in the same unit, a number or an array; None where none is known.
    """

    value: Any
    unit: str
    functional: str
    kind: str
    uncertainty: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Lists and numbers that JSON takes."""
        parts = {"value": _plain(self.value), "unit": self.unit, "functional": self.functional, "kind": self.kind}
        return parts if self.uncertainty is None else parts | {"uncertainty": _plain(self.uncertainty)}

    @classmethod
    def from_dict(cls, parts: Mapping[str, Any]) -> PropertyValue:
        """Inverse of ``as_dict``."""
        value, uncertainty = _array(parts["value"]), _array(parts.get("uncertainty"))
        return cls(value, parts["unit"], parts["functional"], parts["kind"], uncertainty)


@dataclass(frozen=True, eq=False)
class ResultRecord:
    """Results of one structure.

    Attributes:
        atoms: the structure, with its ``info`` and arrays, without a calculator.
        values: property name -> value.
        model: name of the model.
        fingerprint: SHA-256 of its weights.
        settings: arguments of the ``Predictor``.
        metadata: ``status``, ``symmetry``, ``errors`` and ``error`` of the result, as far as it has them.
    """

    atoms: Atoms
    values: dict[str, PropertyValue]
    model: str
    fingerprint: str
    settings: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_result(self) -> dict[str, Any]:
        """Return values and metadata as ``predict`` returns them, expected errors under their own names."""
        result = {name: each.value for name, each in self.values.items()}
        errors = {f"{name}{UNCERTAINTY}": each.uncertainty for name, each in self.values.items()}
        return result | {name: error for name, error in errors.items() if error is not None} | self.metadata

    def as_dict(self) -> dict[str, Any]:
        """Nested dictionaries that JSON takes; ``from_dict`` is the inverse, to the last bit."""
        return {
            "version": VERSION,
            "formula": self.atoms.get_chemical_formula(),
            "structure": structure_as_dict(self.atoms),
            "properties": {name: value.as_dict() for name, value in self.values.items()},
            "model": self.model,
            "fingerprint": self.fingerprint,
            "settings": self.settings,
            "metadata": self.metadata,
        }

    @classmethod
    def from_dict(cls, parts: Mapping[str, Any]) -> ResultRecord:
        """Make a record from what ``as_dict`` returned.

        Raises:
            ValueError: it was written by a later version.
        """
        if parts.get("version", VERSION) > VERSION:
            raise ValueError(
                f"A record of version {parts['version']} was written by a later ase-comformer; this one reads version "
                f"{VERSION}. Install the later one."
            )
        values = {name: PropertyValue.from_dict(value) for name, value in parts["properties"].items()}
        return cls(
            structure_from_dict(parts["structure"]),
            values,
            parts["model"],
            parts["fingerprint"],
            dict(parts["settings"]),
            dict(parts["metadata"]),
        )


def records_of(
    predictor: Predictor, structures: Iterable[Any], results: Iterable[Mapping[str, Any]]
) -> Iterator[ResultRecord]:
    """Join structures and their results to records.

    Args:
        predictor: made the results.
        structures: ``Atoms`` or pymatgen structures, in the order of the results.
        results: of ``Predictor.predict``.

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.inference.predictor import Predictor
        >>> predictor, salts = Predictor(), [bulk("MgO", "rocksalt", a=4.21)]
        >>> (record,) = records_of(predictor, salts, predictor.predict(salts, ["energy", "energy_uncertainty"]))
        >>> record.values["energy"].unit, record.values["energy"].uncertainty > 0
        ('eV', True)
    """
    described: dict[str, dict[str, Any]] = {}
    settings = {key: value for key, value in predictor.arguments.items() if key != "device"}
    for structure, result in zip(structures, results, strict=True):
        atoms = as_atoms(structure).copy()
        values = {}
        for name, value in result.items():
            if name in METADATA or (name.endswith(UNCERTAINTY) and name.removesuffix(UNCERTAINTY) in result):
                continue
            if name not in described:
                described[name] = predictor.describe(name)
            facts = described[name]
            error = result.get(f"{name}{UNCERTAINTY}")
            values[name] = PropertyValue(value, facts["unit"], facts["functional"], facts["kind"], error)
        metadata = {name: result[name] for name in METADATA if name in result}
        yield ResultRecord(atoms, values, predictor.model.name, predictor.model.fingerprint, settings, metadata)


def structure_as_dict(atoms: Atoms) -> dict[str, Any]:
    """Plain lists of numbers, positions, cell and pbc; what else atoms carry as a text of ASE's JSON, where it exists.

    Example:
        >>> from ase.build import bulk
        >>> structure_as_dict(bulk("Cu"))["numbers"]
        [29]
    """
    parts = {key: _plain(getattr(atoms, key)) for key in ("numbers", "positions", "pbc")}
    parts["cell"] = atoms.cell.array.tolist()
    known = ("numbers", "positions", "cell", "pbc")
    more = {key: value for key, value in atoms.todict().items() if key not in known}
    return parts | ({"more": encode(more)} if more else {})


def structure_from_dict(parts: Mapping[str, Any]) -> Atoms:
    """Inverse of ``structure_as_dict``."""
    basic = {key: parts[key] for key in ("numbers", "cell", "pbc")}
    positions = np.array(parts["positions"], dtype=np.float64).reshape(-1, 3)
    more = decode(parts["more"], always_array=False) if parts.get("more") else {}
    atoms: Atoms = Atoms.fromdict({**more, **basic, "positions": positions})
    return atoms


def _plain(value: Any) -> Any:
    """Lists and numbers of Python."""
    return np.asarray(value).tolist()


def _array(value: Any) -> Any:
    """Arrays of lists; numbers stay numbers."""
    return np.array(value, dtype=np.float64) if isinstance(value, list) else value
