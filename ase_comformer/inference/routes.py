"""Two routes to every relaxed-ion tensor, and the best of both: a network's head and the response of the crystal.

``head`` asks the networks and nothing else. ``response`` puts the tensor together from second derivatives of the
enthalpy (``crystal_response``), so that tensors of one crystal obey their identities (e = d C). ``combined`` is
(1 - w) head + w response, w learned on crystals that no network was trained on (``models.calibration``): it falls to
zero as a mode that matters gets soft and as coming to rest moves the atoms, and is zero above twenty atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.structures import structure_key
from ase_comformer.errors import InvalidStructureError, UnknownElementError, UnknownNameError
from ase_comformer.inference.error_bars import Evidence, bar_of, scores, sizes, yardstick
from ase_comformer.inference.loaded_model import LoadedModel
from ase_comformer.inference.prepared import PreparedCrystal
from ase_comformer.inference.recent import Recent
from ase_comformer.inference.results import Result, RouteRecord
from ase_comformer.inference.tensor_evaluator import Answer
from ase_comformer.models.calibration import RESPONSE_PARTS, RouteWeight
from ase_comformer.physics.softness import ModeCouplings, unresolved
from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.properties.registry import base_of, tensor_property
from ase_comformer.tensors.forms import to_cartesian
from ase_comformer.tensors.symmetry_report import project

if TYPE_CHECKING:
    from ase_comformer.inference.crystal_response import CrystalResponse
    from ase_comformer.inference.predictor import Predictor

#: Atoms of the primitive cell above which the combined answer is that of the head.
MOST_ATOMS = 20
#: A, by which coming to rest may move an atom before the combined answer leans on the head (half at this distance).
FAR = 0.3
#: Crystals whose response is remembered.
_REMEMBERED = 8


def aligned(name: str, value: NDArray[np.float64], guide: NDArray[np.float64]) -> NDArray[np.float64]:
    """A tensor whose labels leave the sign open, turned to the side of one whose sign is known."""
    if not tensor_property(name).sign_is_open:
        return value
    overlap = float((to_cartesian(value, name) * to_cartesian(guide, name)).sum())
    return -value if overlap < 0 else value


def weight_of(weight: RouteWeight, couplings: ModeCouplings, atoms: int, distance: float) -> float:
    """Weigh the response, between zero and ``weight.largest``.

    Args:
        weight: fitted.
        couplings: of the crystal's modes.
        atoms: of the primitive cell.
        distance: A, by which coming to rest moved an atom.
    """
    if atoms > MOST_ATOMS:
        return 0.0
    near = 1.0 / (1.0 + (distance / FAR) ** 4)
    return weight.largest * near * couplings.trust(weight.acting, weight.stiffness)


class Routes:
    """Completes what heads have answered: other routes, and error bars.

    Args:
        route: one of ``settings.ROUTES``.
        loaded: the model.
        surface: makes a predictor of the energy surface in float64, on first use.
    """

    def __init__(self, route: str, loaded: LoadedModel, surface: Callable[[], Predictor]) -> None:
        self.route, self._loaded = route, loaded
        self._make_surface = surface
        self._surface: Predictor | None = None
        self._recent: Recent[CrystalResponse] = Recent(_REMEMBERED)

    def complete(
        self,
        crystal: PreparedCrystal,
        names: Sequence[str],
        answer: Answer,
        warn: Callable[[str, str], None],
    ) -> Result:
        """Values and metadata of ``names``.

        Args:
            crystal: prepared.
            names: properties and error bars.
            answer: of the networks to ``names``.
            warn: shows a warning once per kind.

        Raises:
            InvalidStructureError, UnknownElementError: the response cannot be computed and ``route`` is "response".
        """
        result: Result = {}
        records: dict[str, RouteRecord] = {}
        for name in dict.fromkeys(map(base_of, names)):
            routed = self._routed(name, crystal, answer.values[name])
            if routed.record is not None:
                records[name] = routed.record
            if name in names:
                result[name] = routed.value
            bar = name + UNCERTAINTY
            if bar in names:
                result[bar] = self._bar(name, crystal, routed, answer, warn)
        if records:
            result["routes"] = records
        return result

    def describe(self, name: str) -> dict[str, Any]:
        """Say how a property is put together and what its error bars were calibrated on; empty for a plain head."""
        base = base_of(name)
        fitted = self._loaded.calibration.get(base)
        found: dict[str, Any] = {}
        entry = tensor_property(base)
        if entry.has_response:
            found["route"] = self.route
            found["response_parts"] = [part for part in RESPONSE_PARTS if part in self._loaded.model.members]
            if fitted is not None and fitted.route is not None:
                found["response_weight"] = asdict(fitted.route) | {"most_atoms": MOST_ATOMS, "distance": FAR}
        if fitted is not None and name != base:
            kind = self.route if entry.has_response and self.route in fitted.bars else "head"
            bar = fitted.bars[kind]
            found |= {
                "kind": entry.error_bar.kind,
                "factor_90": bar.factor_90,
                "warning_above": bar.warning_above,
                "scores": list(bar.scores),
                "calibrated_on": dict(bar.datasets),
                "calibrated_route": kind,
                "errors_against": f"DFT labels, {entry.functional} whatever is asked for; not against measurements",
            }
        return found

    def response(self, crystal: PreparedCrystal) -> CrystalResponse:
        """The response of a crystal, remembered for the last few."""
        from ase_comformer.inference import crystal_response  # scipy's optimisers come along, heads need none

        key = structure_key(crystal.atoms)
        found = self._recent.get(key)
        if found is None:
            self._surface = self._surface or self._make_surface()
            found = crystal_response.crystal_response(crystal.atoms, self._surface)
            self._recent.put(key, found)
        return found

    def _routed(self, name: str, crystal: PreparedCrystal, head: Any) -> _Routed:
        """A property by the route of the settings."""
        if self.route == "head" or not tensor_property(name).has_response:
            return _Routed(head)
        fitted = self._loaded.calibration.get(name)
        weight = None if fitted is None else fitted.route
        why = self._why_head(crystal, weight) if self.route == "combined" else ""
        if why:
            return _Routed(head, _by_head(why))
        try:
            response = self.response(crystal)
            found = getattr(response.tensors, name)
            if found is None:
                raise InvalidStructureError(f"no {name} by response: {'; '.join(response.status)}")
        except (InvalidStructureError, UnknownElementError, UnknownNameError) as error:
            if self.route == "response":
                raise
            return _Routed(head, _by_head(str(error)))
        if crystal.group is not None:
            found = project(name, found, crystal.group)
        head = aligned(name, head, found)
        couplings = ModeCouplings.of(response.blocks)
        limits = "; ".join(text for text in response.status if text != "ok" and "GPa at rest" not in text)
        if weight is None:
            return _Routed(found, RouteRecord(route="response", response_weight=1.0, note=limits))
        share = 1.0
        if self.route == "combined":
            share = weight_of(weight, couplings, len(response.primitive), response.distance)
        return _Routed(
            value=(1.0 - share) * head + share * found + 0.0,  # no negative zeros
            record=RouteRecord(route=self.route, response_weight=round(share, 4), note=limits),
            difference=found - head,
            softest=couplings.softest(weight.acting),
            unresolved=float(sizes(tensor_property(name), unresolved(response.blocks, weight.acting))[0]),
        )

    @staticmethod
    def _why_head(crystal: PreparedCrystal, weight: RouteWeight | None) -> str:
        """Why the combined answer is the head's for a crystal before any response is computed; empty otherwise."""
        if weight is None:
            return "no weights of the response are fitted for this model"
        if crystal.group is None:
            return "enforce_symmetry is off: the structure is taken as it is"
        if len(crystal.group.primitive) > MOST_ATOMS:
            return f"{len(crystal.group.primitive)} atoms in the primitive cell, above {MOST_ATOMS}"
        return ""

    def _bar(
        self, name: str, crystal: PreparedCrystal, routed: _Routed, answer: Answer, warn: Callable[[str, str], None]
    ) -> Any:
        fitted, entry = self._loaded.calibration[name], tensor_property(name)
        kind = self.route if routed.difference is not None and self.route in fitted.bars else "head"
        bar = fitted.bars[kind]
        evidence = Evidence(
            value=routed.value,
            spread=answer.spreads[name],
            numbers=crystal.atoms.numbers,
            gap=answer.gap,
            permittivity=answer.permittivity,
            difference=routed.difference,
            softest=routed.softest,
        )
        found = bar_of(bar, scores(entry, evidence, fitted.elements), routed.unresolved)
        relative = float((found / yardstick(entry, evidence.value)).max(initial=0.0))
        if relative > bar.warning_above:
            size = f", {relative:.2g} times its size" if entry.rank else ""
            limit = f"{bar.warning_above:.2g}" if entry.rank else f"{bar.warning_above * entry.scale:.2g} {entry.unit}"
            warn(
                f"uncertain {name} {hash(structure_key(crystal.atoms))}",
                f"{crystal.atoms.get_chemical_formula()}: the expected error of {name} is {found.max():.3g} "
                f"{entry.unit}{size}; few crystals have more than {limit}.",
            )
        return found if entry.per_atom else float(found[0])


@dataclass(frozen=True)
class _Routed:
    """A value, the record of its route, and of a response how the routes differ, how soft it is, what that may hide."""

    value: Any
    record: RouteRecord | None = None
    difference: Any = None
    softest: float | None = None
    unresolved: float = 0.0


def _by_head(why: str) -> RouteRecord:
    return RouteRecord(route="head", response_weight=0.0, note=why)


def without_calibration(name: str, properties: Sequence[str]) -> str:
    """Say why a model has no error bars for a property that it predicts; empty where that is not what is missing."""
    base = base_of(name)
    if base == name or base not in properties:
        return ""
    return ", whose error bars were never fitted to these weights (run 'ase-comformer calibrate')"
