"""Everything that a report says of a crystal, computed once; ``html_page`` writes it down."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.crystals.validation import validate_structure
from ase_comformer.inference.predictor import Predictor
from ase_comformer.models.registry import model_card
from ase_comformer.models.training_index import training_remark
from ase_comformer.physics.mechanics import MechanicalSummary, mechanical_summary
from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.components import direction_symbols
from ase_comformer.tensors.forbidden import forbidding_operations
from ase_comformer.tensors.reynolds import distinct_components
from ase_comformer.tensors.symmetry_report import ComponentSymmetry
from ase_comformer.workflows.response import CrystalResponse, respond

FloatArray = NDArray[np.float64]

#: Properties of the potential, which have a place of their own on the page or none.
_LEFT_OUT = ("free_energy", "energies", "energy_uncertainty", "forces_uncertainty")


@dataclass(frozen=True)
class TensorPart:
    """One property on the page.

    Attributes:
        name: of the property.
        facts: what ``Predictor.describe`` says.
        value: documented form.
        error: expected error, of the shape of the value or one number; None where it is not known.
        components: rows of the symmetry report, for tensors of crystals.
        why_zero: for each of them the operation that forbids it, or empty.
        route: which of the two routes to relaxed-ion tensors gave it, or empty.
    """

    name: str
    facts: dict[str, Any]
    value: Any
    error: Any = None
    components: tuple[ComponentSymmetry, ...] = ()
    why_zero: tuple[str, ...] = ()
    route: str = ""


@dataclass
class ReportContent:
    """A report before it becomes a page; parts that could not be computed are None, and ``missing`` says why.

    Attributes:
        name: of the source, for the title.
        atoms: the crystal as it came.
        group: its space group, with the idealised primitive cell.
        operations: symbols of the point operations, each once.
        tensors: predicted properties.
        errors: name of a property -> why it could not be predicted.
        mechanics: what the predicted elastic tensor implies.
        response: tensors by second derivatives, the second route.
        phonons: ``physics.phonons.Phonons``.
        spectra: ``workflows.spectra.Spectra``.
        missing: name of a part -> why it is left out.
        notes: what to be aware of, one sentence each.
        accuracy: property -> sentence about crystals of the test split.
        model: name, fingerprint and version.
    """

    name: str
    atoms: Atoms
    group: SpaceGroup
    operations: tuple[str, ...]
    tensors: list[TensorPart] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    mechanics: MechanicalSummary | None = None
    response: CrystalResponse | None = None
    phonons: Any = None
    spectra: Any = None
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    accuracy: dict[str, str] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        """The predicted value of a property, or None."""
        return next((part.value for part in self.tensors if part.name == name), None)


def gather(atoms: Atoms, predictor: Predictor, *, name: str = "", with_phonons: bool = True) -> ReportContent:
    """Compute what a report says.

    Args:
        atoms: crystal, periodic in three directions.
        predictor: loaded model, float64.
        name: of the source.
        with_phonons: phonons and spectra too, which take most of the time.

    Raises:
        InvalidStructureError: no crystal.
    """
    validate_structure(atoms)
    group = analyse_space_group(atoms, predictor.symprec)
    content = ReportContent(name, atoms, group, tuple(dict.fromkeys(direction_symbols(group))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _predict(content, predictor)
        elastic = content.value("elastic_tensor")
        if elastic is not None:
            content.mechanics = mechanical_summary(elastic, volume=atoms.get_volume(), masses=atoms.get_masses())
        content.response = _part(content, "response", lambda: respond(atoms, relax="atoms", predictor=predictor))
        if with_phonons:
            content.phonons = _part(content, "phonons", lambda: _workflow("phonons")(atoms, predictor=predictor))
            content.spectra = _part(content, "spectra", lambda: _workflow("spectra")(atoms, predictor=predictor))
        else:
            content.missing |= dict.fromkeys(("phonons", "spectra"), "not asked for")
    content.notes += [str(warning.message) for warning in caught if warning.category is UserWarning]
    content.notes = list(dict.fromkeys(content.notes))
    if group.idealisation_displacement > 1e-4:
        content.notes.append(
            "Tensors are those of the idealised structure; atoms were moved by up to "
            f"{group.idealisation_displacement:.2g} A."
        )
    content.accuracy = _accuracy(predictor, [part.name for part in content.tensors])
    content.model = {"name": predictor.model.name, "fingerprint": predictor.model.fingerprint}
    return content


def _workflow(name: str) -> Callable[..., Any]:
    """A workflow that may lack a package it needs."""
    return getattr(import_module(f"ase_comformer.workflows.{name}"), name)  # type: ignore[no-any-return]


def _part(content: ReportContent, name: str, compute: Callable[[], Any]) -> Any:
    """A part of the report; what cannot be computed is left out with the reason."""
    try:
        return compute()
    except (ValueError, NotImplementedError, ImportError, ArithmeticError, RuntimeError) as error:
        content.missing[name] = f"{type(error).__name__}: {error}"
        return None


def _predict(content: ReportContent, predictor: Predictor) -> None:
    names = [name for name in predictor.properties if name != "free_energy"]
    values, errors = predictor.evaluate_each(content.atoms, names)
    content.errors = {name: str(error) for name, error in errors.items() if not name.endswith(UNCERTAINTY)}
    tensors = [name for name in values if name in names and tensor_property(name).rank > 0]
    shown = [name for name in tensors if not tensor_property(name).per_atom and name != "stress"]
    reported = predictor.symmetry_report(content.atoms, shown).properties if shown else {}
    for name in names:
        if (
            name not in values
            or name in _LEFT_OUT
            or (name.endswith(UNCERTAINTY) and name.removesuffix(UNCERTAINTY) in values)
        ):
            continue
        part = TensorPart(
            name,
            predictor.describe(name),
            values[name],
            values.get(name + UNCERTAINTY),
            route=_told(values.get("routes", {}).get(name)),
        )
        if name in reported:
            why = tuple(forbidding_operations(name, content.group))
            part = replace(part, components=_with_values(reported[name].components, name, part.value), why_zero=why)
        content.tensors.append(part)
    remarks = (values.get("status", "ok"), training_remark(content.atoms, predictor.model.path))
    content.notes += [remark for remark in remarks if remark not in ("", "ok")]


def _told(route: Mapping[str, Any] | None) -> str:
    """Which route gave a tensor, in words."""
    if route is None:
        return ""
    if route["route"] == "combined":
        return f"{100 * route['response_weight']:.0f} % from the response, the rest from the network"
    return f"from the {route['route']}" if not route["note"] else f"from the {route['route']} ({route['note']})"


def _with_values(components: tuple[ComponentSymmetry, ...], name: str, value: Any) -> tuple[ComponentSymmetry, ...]:
    """Rows of the symmetry report with the components of the value that is shown."""
    shown = distinct_components(tensor_property(name), np.asarray(value, dtype=np.float64))
    return tuple(replace(row, projected=float(number)) for row, number in zip(components, shown, strict=True))


def _accuracy(predictor: Predictor, names: list[str]) -> dict[str, str]:
    """Say how good predictions of test crystals are, from the card of the model where it belongs to these weights."""
    metrics = model_card(predictor.model.path).get("metrics") or {}
    if metrics.get("fingerprint") != predictor.model.fingerprint:
        return {}
    found: dict[str, str] = {}
    for section in metrics.get("sections", ()):
        row = next((row for row in section["rows"] if row["predictor"] == predictor.model.name), None)
        if row is None or section["property"] not in names or section["property"] in found:
            continue
        if "within" in row and "reduction" not in row:
            within = row["within"]
            found[section["property"]] = (
                f"{100 * within[0]:.0f} % of {row['count']} test crystals are within 25 % of the reference "
                f"(norm of the difference), {100 * within[1]:.0f} % within 10 %."
            )
        elif "reduction" in row:
            found[section["property"]] = (
                f"The error of {row['count']} test crystals is {100 * row['reduction']:.0f} % below that of "
                "predicting zero; signs and, where axes may be exchanged, orientations are uncertain."
            )
        elif "mae" in row:
            unit = tensor_property(section["property"]).unit
            found[section["property"]] = (
                f"The mean absolute error of {row['count']} test crystals is {row['mae']:.3g} {unit}."
            )
    return found
