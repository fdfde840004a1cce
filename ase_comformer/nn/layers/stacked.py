"""Several networks of one architecture evaluated as one: parameters with a leading axis of members.

A stacked network reads a graph in which every crystal is there once per member, member by member (``repeated``), so
its rows are (members x n, C) and only the layers below know of members. With one network they are PyTorch's.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.schema import declarations


def affine(inputs: Tensor, weight: Tensor, bias: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
    """``inputs`` W^T + scale b: (..., n, in) -> (..., n, out).

    Args:
        inputs: rows; members x n of them where the parameters are stacked.
        weight: (out, in) or (members, out, in).
        bias: (out,) or (members, out).
        scale: (n, 1), one where None.
    """
    if weight.dim() == 2:
        if scale is None or bias is None:
            return nn.functional.linear(inputs, weight, bias)
        return torch.addcmul(nn.functional.linear(inputs, weight), scale, bias)
    members, (rows, width) = len(weight), inputs.shape[-2:]
    count = rows // members
    # members first: a product that broadcasts would copy the weights for every entry of the leading axes
    first = inputs.reshape(-1, members, count, width).transpose(0, 1).reshape(members, -1, width)
    turned = weight.transpose(1, 2)
    if bias is None or scale is not None:
        result = torch.bmm(first, turned)
    else:
        result = torch.baddbmm(bias.unsqueeze(1), first, turned)
    result = result.view(members, -1, count, weight.shape[1]).transpose(0, 1)
    if bias is not None and scale is not None:
        result = torch.addcmul(result, scale.reshape(-1, members, count, 1), bias.unsqueeze(1))
    return result.reshape(*inputs.shape[:-1], -1)


def per_row(values: Tensor, count: int, dimensions: int) -> Tensor:
    """Values of all rows or of each member, broadcast to ``count`` rows: (members, C) -> (count, C) where stacked.

    ``dimensions`` is that of the values of one network.
    """
    if values.dim() == dimensions:
        return values
    return values.repeat_interleave(count // len(values), dim=0)


class Linear(nn.Linear):
    """``torch.nn.Linear`` on (..., n, in), for one network or several."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., n, in) -> (..., n, out)."""
        return affine(inputs, self.weight, self.bias)


class LayerNorm(nn.LayerNorm):
    """``torch.nn.LayerNorm`` of (n, C), for one network or several."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, C) -> (n, C)."""
        if self.weight.dim() == 1:
            return super().forward(inputs)
        normal = nn.functional.layer_norm(inputs, self.normalized_shape, eps=self.eps)
        members = normal.view(len(self.weight), -1, normal.shape[1])
        return torch.addcmul(self.bias.unsqueeze(1), members, self.weight.unsqueeze(1)).flatten(0, 1)


class Embedding(nn.Embedding):
    """``torch.nn.Embedding`` of (n,), for one network or several."""

    def forward(self, indices: Tensor) -> Tensor:
        """(n,) -> (n, C)."""
        return rows_of(self.weight, indices) if self.weight.dim() == 3 else super().forward(indices)


def rows_of(table: Tensor, indices: Tensor) -> Tensor:
    """Rows (n, C) of one table per member, (members, rows, C)."""
    members, rows = table.shape[:2]
    start = torch.arange(members, device=indices.device).repeat_interleave(len(indices) // members) * rows
    return table.flatten(0, 1)[indices + start]


def stack_networks(networks: Sequence[nn.Module]) -> nn.Module:
    """One network, without gradients, that evaluates all members on ``repeated`` graphs.

    Args:
        networks: of one architecture, built of the layers of this module, with parameters of equal shapes. What is
            not in all of them must not be in the first.
    """
    stacked = copy.deepcopy(networks[0])
    states = [network.state_dict() for network in networks]
    for name in states[0]:
        owner, _, leaf = name.rpartition(".")
        value = torch.stack([state[name] for state in states])
        module = stacked.get_submodule(owner)
        is_parameter = leaf in module._parameters
        setattr(module, leaf, nn.Parameter(value, requires_grad=False) if is_parameter else value)
    return stacked.eval()


def repeated(graph: CrystalGraph, members: int) -> CrystalGraph:
    """The batch ``members`` times, member by member: what ``collate`` makes of copies, at a third of its calls."""
    found: dict[str, Tensor | None] = {}
    counts: dict[str, int] = {}
    declared = declarations(CrystalGraph)
    for name, part in declared.items():
        value = getattr(graph, name)
        if value is not None:
            counts.setdefault(part.over, len(value))
            found[name] = value.repeat(members, *[1] * (value.dim() - 1))
    for name, part in declared.items():
        repeats = found.get(name)
        if part.refers_to is not None and repeats is not None:
            start = torch.arange(members, device=repeats.device) * counts[part.refers_to]
            found[name] = repeats + start.repeat_interleave(len(repeats) // members)
    return CrystalGraph(**found)  # type: ignore[arg-type]
