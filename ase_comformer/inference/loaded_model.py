"""A model in memory with all that is derived from its weights, shared by every calculator of the process.

A calculator has settings and results of its own and nothing else: weights, stacked networks, rearranged potentials and
what the most recent structures have left (neighbour lists, space groups, graphs) are here, the last in a store that
forgets the oldest. So a thousand calculators that are kept for their results cost little more than one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, cast

from ase.data import atomic_numbers
from torch import nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.inference.potential_ensemble import QUANTITIES, PotentialEnsemble
from ase_comformer.inference.recent import Recent
from ase_comformer.models.calibration import calibration_path, read_calibration
from ase_comformer.models.registry import Model, load_model
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.nn.ensemble import Ensemble
from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.properties.registry import base_of, tensor_property

#: Structures, of different calculators, whose neighbour lists or graphs are kept.
REMEMBERED = 16


class LoadedModel:
    """Weights and what is derived from them; reading it from several threads is safe.

    Args:
        model: frozen networks by property.

    Attributes:
        ensemble: evaluates the networks of crystal properties.
        potentials: evaluates the energy surface, None without one.
        properties: names of everything that can be asked for.
        moving: memories of evaluators of the energy surface.
        calibration: routes and error bars by property, see ``models.calibration``.
        prepared: the last crystals with their graphs.
        reference_energies: eV per atom of elements in their reference structures (``elements``), as asked for.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.ensemble = Ensemble()
        surface = {
            name: cast(Sequence[Potential], model.entries(name))
            for name in ("energy", "forces", "stress")
            if name in model.members
        }
        self.potentials = PotentialEnsemble(surface) if surface else None
        self.potential_properties = self.potentials.properties if self.potentials else ()
        others = (name for name in model.properties if name not in self.potential_properties)
        self.calibration = read_calibration(model)
        bars = (f"{name}{UNCERTAINTY}" for name in self.calibration)
        self.properties: tuple[str, ...] = (*self.potential_properties, *others, *bars)
        self.moving: Recent[Any] = Recent(REMEMBERED)
        self.prepared: Recent[Any] = Recent(REMEMBERED)
        self.reference_energies: dict[int, float | None] = {}
        self._covered: dict[str, frozenset[int]] = {}
        self._networks: dict[tuple[str, ...], dict[nn.Module, list[str]]] = {}

    def covered(self, name: str) -> frozenset[int]:
        """Atomic numbers that all networks behind a property know."""
        if name not in self._covered:
            self._covered[name] = frozenset(atomic_numbers[symbol] for symbol in self.elements(name))
        return self._covered[name]

    def elements(self, name: str) -> frozenset[str]:
        """Chemical symbols that all networks behind a property were trained on."""
        return self.model.elements(self.source(name))

    def functionals(self, name: str) -> tuple[str, ...]:
        """List what predictions of a property can follow, choices of ``predict(functional=...)``; empty without one."""
        if name not in self.model.members:
            return ()
        known = [card["properties"][name].get("functionals", ()) for card in self.model.cards(name)]
        return tuple(each for each in tensor_property(name).functionals if all(each in names for names in known))

    def check_functional(self, functional: str) -> None:
        """Refuse a functional that no property of the model can follow.

        Raises:
            UnknownNameError: the message lists the choices by property.
        """
        choices = {name: self.functionals(name) for name in self.properties if self.functionals(name)}
        if functional and not any(functional in names for names in choices.values()):
            listed = "; ".join(f"{name}: {', '.join(names)}" for name, names in choices.items()) or "it has no choice"
            raise UnknownNameError(f"Model {self.model.name!r} knows no functional {functional!r}. Choices: {listed}.")

    def source(self, name: str) -> str:
        """The entry of the model that a property comes from: atomic energies, for instance, from the energy."""
        name = base_of(name)
        if name in self.model.members:
            return name
        quantity = QUANTITIES.get(name, name)
        return quantity if quantity in self.model.members else "energy"

    def networks(self, names: tuple[str, ...]) -> dict[nn.Module, list[str]]:
        """Networks behind crystal properties -> those that each is asked for, so that shared trunks run once."""
        if names not in self._networks:
            found: dict[nn.Module, list[str]] = {}
            for name in dict.fromkeys(map(base_of, names)):
                for network in self.model.entries(name):
                    found.setdefault(network, []).append(name)
            self._networks[names] = found
        return self._networks[names]


def loaded_model(name: str, device: str, dtype: str) -> LoadedModel:
    """Load a model, or find it in memory; arguments and errors as ``models.registry.load_model``."""
    model = load_model(name, device, dtype)
    path = calibration_path(model)
    return _derived(model, path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=8)
def _derived(model: Model, stamp: int) -> LoadedModel:
    """Cached as models are: the same object for the same model and calibration."""
    return LoadedModel(model)
