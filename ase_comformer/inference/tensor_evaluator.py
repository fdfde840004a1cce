"""Crystal properties of prepared crystals: networks, means over members, symmetry.

Nothing here remembers structures, so it serves any number of calculators and threads.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor, nn

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.devices import shielded_device
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.inference.loaded_model import LoadedModel
from ase_comformer.inference.plausibility import require_plausible
from ase_comformer.inference.prepared import PreparedCrystal
from ase_comformer.inference.results import Result
from ase_comformer.inference.undefined import GAP, undefined_for
from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.properties.registry import base_of, tensor_property
from ase_comformer.tensors.forms import to_cartesian
from ase_comformer.tensors.symmetry_report import project, symmetry_residual

logger = logging.getLogger(__name__)

_PERMITTIVITY = "dielectric_tensor"

RESIDUAL_WARNING = 1e-3
"""Relative symmetry residual of a network output above which a warning is logged; float32 rounding stays far below."""


@dataclass(frozen=True)
class Answer:
    """What the networks of a model say of one crystal.

    Attributes:
        values: by property, in the documented form; more than was asked for where it came along.
        spreads: by property whose error bar was asked for, how far its networks are apart: a float or (n,).
        gap: eV, None where it is not known.
        permittivity: mean of the electronic dielectric tensor, None where it is not known.
    """

    values: Result
    spreads: Result
    gap: float | None
    permittivity: float | None


class TensorEvaluator:
    """Evaluates the networks of a model on crystals.

    Args:
        loaded: the model.
        device: where it is.
        dtype: its precision.
        functional: the one that properties with a choice follow.
    """

    def __init__(self, loaded: LoadedModel, device: torch.device, dtype: torch.dtype, functional: str = "") -> None:
        self.loaded, self.device, self.dtype, self.functional = loaded, device, dtype, functional

    def evaluate(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Result]:
        """Properties in their documented form, projected onto what the space group allows where there is one."""
        return self._documented(crystals, self._members(crystals, names))

    def answers(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Answer]:
        """Evaluate all that ``names``, error bars among them, are made of; networks run once.

        The band gap comes along where it decides whether a property means anything or how large an error bar is, and
        for error bars the dielectric tensor where the model has no gap for the elements of a crystal.
        """
        heads = tuple(dict.fromkeys(map(base_of, names)))
        barred = [name for name in heads if name + UNCERTAINTY in names]
        helpful = (GAP, _PERMITTIVITY) if barred else (GAP,) if "metals" in undefined_for(heads) else ()
        along = [self._known_of(crystal, helpful)[:1] for crystal in crystals]
        found: dict[int, Answer] = {}
        for further in set(along):
            rows = [k for k, each in enumerate(along) if each == further]
            chosen = [crystals[k] for k in rows]
            outputs = self._members(chosen, tuple(dict.fromkeys((*heads, *further))))
            spreads = self._spreads(chosen, {name: outputs[name] for name in barred})
            for k, values, spread in zip(rows, self._documented(chosen, outputs), spreads, strict=True):
                tensor = values.get(_PERMITTIVITY)
                mean = None if tensor is None else float(np.trace(tensor)) / 3
                found[k] = Answer(values, spread, values.get(GAP), mean)
        return [found[k] for k in range(len(crystals))]

    def outputs(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Result]:
        """Mean network outputs on the input atoms, not projected."""
        return self._means(crystals, self._members(crystals, names))

    def _known_of(self, crystal: PreparedCrystal, names: Sequence[str]) -> tuple[str, ...]:
        """Pick those of ``names`` that the model predicts for the elements of a crystal."""
        numbers = crystal.atoms.numbers.tolist()
        offered = (name for name in names if name in self.loaded.properties)
        return tuple(name for name in offered if self.loaded.covered(name).issuperset(numbers))

    def _documented(self, crystals: Sequence[PreparedCrystal], members: Mapping[str, Tensor]) -> list[Result]:
        """Bring outputs of all networks into the documented form, projected where there is a space group."""
        results = self._means(crystals, members)
        for crystal, result in zip(crystals, results, strict=True):
            for name in members:
                if tensor_property(name).rank == 0 and not tensor_property(name).per_atom:
                    result[name] = float(result[name])
                elif crystal.group is not None and tensor_property(name).rank > 0:
                    result[name] = _projected(name, result[name], crystal.atoms, crystal.group)
        return results

    def _means(self, crystals: Sequence[PreparedCrystal], members: Mapping[str, Tensor]) -> list[Result]:
        """Average outputs (networks, rows, ...) over networks and refuse what is implausible."""
        means = self._of_crystals(crystals, {name: of.mean(0) for name, of in members.items()})
        for crystal, mean in zip(crystals, means, strict=True):
            require_plausible(mean, crystal.atoms)
        return means

    def _spreads(self, crystals: Sequence[PreparedCrystal], members: Mapping[str, Tensor]) -> list[Result]:
        """Root mean square distance of outputs (networks, rows, ...) from their mean, full Cartesian norm.

        A float per crystal, (n,) where every atom has the property; zero where there is one network.
        """
        found = {}
        for name, of in members.items():
            apart = of - of.mean(0)
            squares = (to_cartesian(apart, name) if tensor_property(name).rank else apart).square().mean(0)
            found[name] = squares.flatten(1).sum(1).sqrt() if squares.dim() > 1 else squares.sqrt()
        return self._of_crystals(crystals, found)

    def _members(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> dict[str, Tensor]:
        """Outputs (networks, rows, ...) of all networks on the cells that they see."""
        batches: dict[Hashable, CrystalGraph] = {}

        def batch_of(network: nn.Module) -> tuple[Hashable, CrystalGraph]:
            graphs = [crystal.graph(network) for crystal in crystals]
            key = (network.graph_settings, any(graph.is_reduced for graph in graphs))
            if key not in batches:
                with shielded_device("cpu"):
                    joined = collate(graphs)
                batches[key] = joined.to(dtype=self.dtype, device=self.device)
            return key, batches[key]

        networks = self.loaded.networks(tuple(names))
        with torch.inference_mode(), shielded_device(str(self.device)):
            return self.loaded.ensemble.members(networks, batch_of, self.functional, self.loaded.model.entries)

    def _of_crystals(self, crystals: Sequence[PreparedCrystal], batched: dict[str, Tensor]) -> list[Result]:
        """Values (rows, ...) of a batch by crystal, those of atoms on the input atoms."""
        results: list[Result] = [{} for _ in crystals]
        for name, of in batched.items():
            values = of.to("cpu", torch.float64).numpy()
            parts: Any = values
            if tensor_property(name).per_atom:
                counts = [len(crystal.evaluated) for crystal in crystals]
                parts = np.split(values, np.cumsum(counts)[:-1])
            for crystal, result, part in zip(crystals, results, parts, strict=True):
                result[name] = crystal.to_input(name, np.asarray(part))
        return results


def _projected(name: str, raw: NDArray[np.float64], atoms: Atoms, group: SpaceGroup) -> NDArray[np.float64]:
    projected = project(name, raw, group)
    residual = symmetry_residual(name, raw, projected)
    if residual > RESIDUAL_WARNING:
        logger.warning(
            "%s of %s: the network output violates %s by %.2g of its norm; the projected tensor is returned",
            *(name, atoms.get_chemical_formula(), group.international, residual),
        )
    # What rounding leaves of forbidden components is shown as the zero that it is.
    projected[np.abs(projected) < 1e-14 * np.abs(projected).max(initial=0.0)] = 0.0
    return projected
