"""Crystal properties of prepared crystals: networks, means over members, symmetry.

Nothing here remembers structures, so it serves any number of calculators and threads.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
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
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.forms import to_cartesian
from ase_comformer.tensors.symmetry_report import project, symmetry_residual

logger = logging.getLogger(__name__)

RESIDUAL_WARNING = 1e-3
"""Relative symmetry residual of a network output above which a warning is logged; float32 rounding stays far below."""


class TensorEvaluator:
    """Evaluates the networks of a model on crystals.

    Args:
        loaded: the model.
        device: where it is.
        dtype: its precision.
        functional: that properties with a choice follow.
    """

    def __init__(self, loaded: LoadedModel, device: torch.device, dtype: torch.dtype, functional: str = "") -> None:
        self.loaded, self.device, self.dtype, self.functional = loaded, device, dtype, functional

    def evaluate(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Result]:
        """Properties in their documented form, projected onto what the space group allows where there is one."""
        results = self.outputs(crystals, names)
        for crystal, result in zip(crystals, results, strict=True):
            for name in names:
                if tensor_property(name).rank == 0 and not tensor_property(name).per_atom:
                    result[name] = float(result[name])
                elif crystal.group is not None and tensor_property(name).rank > 0:
                    result[name] = _projected(name, result[name], crystal.atoms, crystal.group)
        return results

    def evaluate_with_gaps(
        self, crystals: Sequence[PreparedCrystal], names: Sequence[str]
    ) -> list[tuple[Result, float | None]]:
        """``evaluate``, and the band gap (eV) of each crystal where it decides whether a property means anything.

        The gap is None where no property needs it, and where the model has none for the elements of a crystal. Asked
        for together with the other properties it costs little: networks run once.
        """
        if "metals" not in undefined_for(names) or GAP not in self.loaded.properties:
            return [(values, None) for values in self.evaluate(crystals, names)]
        known = [self.loaded.covered(GAP).issuperset(crystal.atoms.numbers.tolist()) for crystal in crystals]
        results: list[tuple[Result, float | None]] = [({}, None)] * len(crystals)
        for has_gap in set(known):
            chosen = [k for k, each in enumerate(known) if each == has_gap]
            asked = tuple(dict.fromkeys((*names, GAP))) if has_gap else names
            for k, values in zip(chosen, self.evaluate([crystals[k] for k in chosen], asked), strict=True):
                gap = values.get(GAP) if GAP in names else values.pop(GAP, None)
                results[k] = values, gap
        return results

    def outputs(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Result]:
        """Mean network outputs on the input atoms, not projected."""
        means = self._of_crystals(crystals, {name: of.mean(0) for name, of in self._members(crystals, names).items()})
        for crystal, mean in zip(crystals, means, strict=True):
            require_plausible(mean, crystal.atoms)
        return means

    def spreads(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Result]:
        """Root mean square distance of the outputs of a property's networks from their mean, full Cartesian norm.

        A float per crystal, (n,) where every atom has the property; zero where there is one network.
        """
        found = {}
        for name, of in self._members(crystals, names).items():
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
