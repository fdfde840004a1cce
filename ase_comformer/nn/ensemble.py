"""Means of the outputs of several networks, with everything shared that the networks have in common.

Small batches are bound by the number of operations: networks of one architecture are stacked and evaluated as one.
Large batches are bound by memory: networks are evaluated one by one and share the geometry of the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.layers.stacked import repeated
from ase_comformer.nn.protocols import FollowsFunctionals, Network, SharesGeometry, Stackable
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.forms import to_cartesian

#: Batches of fewer edges are evaluated with stacked networks (measured on one core: equal at about 2000).
STACKED_EDGES = 1500


class Ensemble:
    """Evaluates networks; keeps the stacked ones that it has made, for all threads and calculators that share it."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[nn.Module, ...], nn.Module] = {}
        self._keys: dict[nn.Module, Hashable] = {}

    def means(
        self,
        networks: Mapping[nn.Module, Sequence[str]],
        batch_of: Callable[[nn.Module], tuple[Hashable, CrystalGraph]],
        functional: str = "",
        order: Callable[[str], Sequence[nn.Module]] | None = None,
    ) -> dict[str, Tensor]:
        """Property -> mean of the outputs of the networks that were asked for it, float64.

        Args:
            networks: each with the properties it is asked for.
            batch_of: as ``members``.
            functional: as ``members``.
            order: as ``members``.
        """
        found = self.members(networks, batch_of, functional, order)
        return {name: values.mean(0) for name, values in found.items()}

    def members(
        self,
        networks: Mapping[nn.Module, Sequence[str]],
        batch_of: Callable[[nn.Module], tuple[Hashable, CrystalGraph]],
        functional: str = "",
        order: Callable[[str], Sequence[nn.Module]] | None = None,
    ) -> dict[str, Tensor]:
        """Property -> outputs (networks, rows, ...) of the networks that were asked for it, float64.

        Where labels leave the sign of a property open, outputs are turned to the sign of the first network's.

        Args:
            networks: each with the properties it is asked for.
            batch_of: gives the batch that a network reads, with a key that is the same for the same batch.
            functional: that networks with a choice are to follow; each property's own where empty.
            order: networks of a property, the first of which settles open signs; that of ``networks`` where None,
                which may depend on what else is asked for.
        """
        groups: dict[Hashable, list[nn.Module]] = {}
        for network, names in networks.items():
            groups.setdefault((self._stacking_key(network), tuple(names)), []).append(network)
        found: dict[str, dict[nn.Module, Tensor]] = {}
        geometries: dict[Hashable, Any] = {}
        for members in groups.values():
            names = tuple(networks[members[0]])
            key, graph = batch_of(members[0])
            follows = functional and isinstance(members[0], FollowsFunctionals)
            choice: dict[str, Any] = {"functional": functional} if follows else {}
            if len(members) > 1 and len(graph.edge_receiver) < STACKED_EDGES:
                outputs = self._stacked(members)(repeated(graph, len(members)), names, **choice)
                for name in names:
                    each = outputs[name].to(torch.float64).unflatten(0, (len(members), -1))
                    found.setdefault(name, {}).update(zip(members, each, strict=True))
                continue
            for network in members:
                shared = dict(choice)
                if isinstance(network, SharesGeometry):
                    geometry_key = (key, network.geometry)
                    if geometry_key not in geometries:
                        geometries[geometry_key] = network.edge_geometry(graph)
                    shared["edge"] = geometries[geometry_key]
                outputs = cast(Network, network)(graph, names, **shared)
                for name, value in outputs.items():
                    found.setdefault(name, {})[network] = value.to(torch.float64)
        return {
            name: _alike(name, [of[n] for n in (order(name) if order else networks) if n in of])
            for name, of in found.items()
        }

    def _stacking_key(self, network: nn.Module) -> Hashable:
        """Equal for networks that can be stacked, found once: it is a text of all arguments."""
        if network not in self._keys:
            self._keys[network] = network.stacking_key if isinstance(network, Stackable) else id(network)
        return self._keys[network]

    def _stacked(self, members: Sequence[nn.Module]) -> nn.Module:
        key = tuple(members)
        if key not in self._stacks:
            self._stacks[key] = cast(Stackable, members[0]).stacked(members)
        return self._stacks[key]


def _alike(name: str, outputs: Sequence[Tensor]) -> Tensor:
    """Outputs of all members; where labels leave the sign open, turned to the sign of the first member's.

    Every network then learns a sign convention of its own, and a plain mean would cancel tensors that agree.
    """
    values = torch.stack(list(outputs))
    if len(outputs) > 1 and tensor_property(name).sign_is_open:
        full = to_cartesian(values, name)  # Voigt components would not give an invariant product
        overlap = (full * full[0]).flatten(2).sum(2)
        sign = torch.where(overlap < 0, -1.0, 1.0).to(values.dtype)
        values = values * sign.reshape(*sign.shape, *[1] * (values.dim() - 2))
    return values
