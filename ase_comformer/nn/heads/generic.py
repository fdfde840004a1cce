"""A head for any tensor, built from the irreps of its index formula; per crystal or per atom.

The trunk carries scalars, vectors (1o) and symmetric traceless tensors (2e). What else an irrep needs comes from the
densities of neighbours (3o, 4e) and from products of two of these; pseudoscalars from products of three. Densities
enter linearly, so that the mean over the site group or point group makes their features exact on symmetry-reduced
graphs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ase_comformer.nn.heads.common import (
    EdgeDensity,
    HeadInput,
    PooledChannels,
    Product,
    Widths,
    impose_sum_rule,
    sum_rows,
)
from ase_comformer.nn.layers.cartesian import soft_unit
from ase_comformer.nn.layers.stacked import Linear
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.tensors.cartesian_bases import cartesian_basis
from ase_comformer.tensors.forms import rotate_cartesian
from ase_comformer.tensors.irreps import determinant_sign, parse_irreps
from ase_comformer.tensors.voigt import cartesian_to_voigt

Irrep = tuple[int, int]
"""Degree and parity (+1 or -1)."""

_NATURAL: dict[str, Irrep] = {"vectors": (1, -1), "tensors": (2, 1), "third": (3, -1), "fourth": (4, 1)}
#: Which features are multiplied: a density only once, because it is not projected on the site group.
_PAIRS = (("vectors", "vectors"), ("vectors", "tensors"), ("tensors", "tensors"), ("third", "vectors"),
          ("third", "tensors"), ("fourth", "vectors"), ("fourth", "tensors"))  # fmt: skip


class IrrepFeatures(nn.Module):
    """All features (2l+1, n, C) of one irrep l, p > 0: those of the trunk, densities, and products of both.

    Args:
        irrep: degree and parity.
        widths: of the input.
        available: names of features that there are.
    """

    def __init__(self, irrep: Irrep, widths: Widths, available: Sequence[str]) -> None:
        super().__init__()
        self.direct = [name for name in available if _NATURAL[name] == irrep]
        self.pairs = [pair for pair in _PAIRS if set(pair) <= set(available) and _couples(pair, irrep)]
        self.products = nn.ModuleList(
            Product(_NATURAL[first][0], _NATURAL[second][0], irrep[0]) for first, second in self.pairs
        )
        self.turned: nn.Module | None = None
        if irrep == (0, -1):  # (first x vectors or tensors -> 2o) . tensors
            self.pairs = [pair for pair in _PAIRS if set(pair) <= set(available) and _couples(pair, (2, -1))]
            self.products = nn.ModuleList(Product(_NATURAL[a][0], _NATURAL[b][0], 2) for a, b in self.pairs)
            self.turned = Product(2, 2, 0)
        widths_of = {"vectors": widths["vectors"], "tensors": widths["vectors"]}
        self.channels = sum(widths_of.get(name, widths["high"]) for name in self.direct)
        self.channels += widths["high"] * len(self.pairs)
        if not self.channels:
            raise ValueError(f"no product of features has the irrep l = {irrep[0]}, parity {irrep[1]:+d}")

    def forward(self, raw: dict[str, Tensor], left: dict[str, Tensor], right: dict[str, Tensor]) -> Tensor:
        """Concatenate features.

        Args:
            raw: (2l+1, n, C) by name.
            left: mixed to equal channels, as first factors.
            right: mixed otherwise, as second factors (a product of a feature with itself may vanish).
        """
        found = [raw[name] for name in self.direct]
        for (first, second), product in zip(self.pairs, self.products, strict=True):
            value = product(left[first], right[second])
            found.append(value if self.turned is None else self.turned(value, left["tensors"]))
        return torch.cat(found, dim=-1)


def _couples(pair: tuple[str, str], irrep: Irrep) -> bool:
    (first, p1), (second, p2) = (_NATURAL[name] for name in pair)
    return abs(first - second) <= irrep[0] <= first + second and p1 * p2 == irrep[1]


class AtomChannels(nn.Module):
    """Mix channels of one irrep with gates of the atom and its crystal: (2l+1, n, C) -> (n, copies, 2l+1)."""

    def __init__(self, channels: int, scalars: int, crystal: int, copies: int) -> None:
        super().__init__()
        self.copies = copies
        self.gates = nn.Sequential(Linear(scalars + crystal, scalars), nn.SiLU(), Linear(scalars, channels * copies))
        self.scale = 1.0 / channels**0.5

    def forward(self, given: HeadInput, values: Tensor) -> Tensor:
        """See the class."""
        context = torch.cat([given.node.scalars, given.crystal[given.graph.node_crystal]], dim=1)
        gates = self.gates(context).view(len(context), self.copies, -1)
        return gates @ values.permute(1, 2, 0) * self.scale


class GenericHead(nn.Module):
    """Any tensor of the registry in its documented form; (B, ...) per crystal, (A, ...) per atom.

    Args:
        entry: whose formula, form, scale and sum rule it follows.
        widths: of its input.
    """

    basis: Tensor

    def __init__(self, entry: TensorProperty, widths: Widths) -> None:
        super().__init__()
        self.entry = entry
        scalars, crystal = widths["scalars"], widths["crystal"]
        self.irreps = [(degree, parity, copies) for copies, degree, parity in parse_irreps(entry.irreps)]
        degrees = [degree for degree, _, _ in self.irreps]
        is_natural = all(parity == (-1) ** degree for degree, parity, _ in self.irreps)
        available = ["vectors", "tensors"]
        self.densities = nn.ModuleDict()
        for name, degree in (("third", 3), ("fourth", 4)):
            if max(degrees) >= degree or (degree == 3 and not is_natural):
                self.densities[name] = EdgeDensity(degree, scalars, widths["radial"], widths["hidden"], widths["high"])
                available.append(name)
        self.left = nn.ModuleDict({n: Linear(widths["vectors"], widths["high"], bias=False) for n in available[:2]})
        self.right = nn.ModuleDict({n: Linear(widths["vectors"], widths["high"], bias=False) for n in available[:2]})
        #: on reduced graphs, features of densities must be averaged over the site group
        self.needs_site_operations = entry.per_atom and bool(len(self.densities))
        context = scalars + crystal if entry.per_atom else crystal
        invariant = sum(copies for degree, parity, copies in self.irreps if (degree, parity) == (0, 1))
        self.invariant = (
            nn.Sequential(Linear(context, crystal), nn.SiLU(), Linear(crystal, invariant)) if invariant else None
        )
        self.size = nn.Sequential(Linear(crystal, crystal), nn.SiLU(), Linear(crystal, 1))
        self.features, self.mixing = nn.ModuleDict(), nn.ModuleDict()
        mixing = AtomChannels if entry.per_atom else PooledChannels
        for degree, parity, copies in self.irreps:
            if (degree, parity) != (0, 1):
                key = f"{degree}{'e' if parity > 0 else 'o'}"
                features = IrrepFeatures((degree, parity), widths, available)
                self.features[key] = features
                self.mixing[key] = mixing(features.channels, scalars, crystal, copies)
        if entry.sum_rule:
            self.weight = Linear(scalars, 1)
        basis = torch.tensor(cartesian_basis(entry.formula))
        self.register_buffer("basis", basis.reshape(len(basis), -1), persistent=False)

    def forward(self, given: HeadInput) -> Tensor:
        """See the class."""
        graph, entry = given.graph, self.entry
        coefficients = torch.cat([part.flatten(1) for part in self._coefficients(given)], dim=1)
        # at most e^4 = 55 times the untrained size; the factor 10 starts training at the typical size
        factor = 10.0 * entry.scale * torch.exp(4.0 * torch.tanh(self.size(given.crystal) / 4.0))
        coefficients = coefficients * (factor[graph.node_crystal] if entry.per_atom else factor)
        tensor = (coefficients @ self.basis.to(coefficients.dtype)).view(-1, *entry.cartesian_shape)
        if entry.per_atom:
            tensor = self._on_atoms(given, tensor)
        elif graph.operation_rotation is not None and graph.operation_crystal is not None:
            tensor = self._mean(graph.operation_rotation, graph.operation_crystal, tensor)
        return tensor if entry.voigt is None else cartesian_to_voigt(tensor, entry.voigt)

    def _coefficients(self, given: HeadInput) -> list[Tensor]:
        """(B or n, copies, 2l+1) of each irrep."""
        node = given.node
        raw = {"vectors": node.vectors, "tensors": node.tensors}
        tamed = {name: soft_unit(value) for name, value in raw.items()}
        left = {name: self.left[name](value) for name, value in tamed.items()}
        right = {name: self.right[name](value) for name, value in tamed.items()}
        for name, density in self.densities.items():
            raw[name] = left[name] = density(given)
        parts = []
        for degree, parity, copies in self.irreps:
            if (degree, parity) == (0, 1):
                assert self.invariant is not None
                context = given.crystal
                if self.entry.per_atom:
                    context = torch.cat([node.scalars, context[given.graph.node_crystal]], dim=1)
                parts.append(self.invariant(context).view(-1, copies, 1) / 10.0)
            else:
                key = f"{degree}{'e' if parity > 0 else 'o'}"
                parts.append(self.mixing[key](given, self.features[key](raw, left, right)))
        return parts

    def _on_atoms(self, given: HeadInput, tensor: Tensor) -> Tensor:
        """Tensors of nodes (n, 3, ...) -> of atoms (A, 3, ...), exact under the site groups, with the sum rule."""
        graph = given.graph
        if graph.site_rotation is not None and graph.site_node is not None:
            tensor = self._mean(graph.site_rotation, graph.site_node, tensor)
        tensor = tensor[graph.atom_node]
        if graph.atom_rotation is not None:
            tensor = self._turned(graph.atom_rotation, tensor)
        return impose_sum_rule(graph, tensor, self.weight(given.node.scalars)) if self.entry.sum_rule else tensor

    def _mean(self, rotation: Tensor, owner: Tensor, tensor: Tensor) -> Tensor:
        """Mean over the operations (O, 3, 3) of each owner (O,) of the tensors (owners, 3, ...)."""
        turned = sum_rows(self._turned(rotation, tensor[owner]), owner, len(tensor))
        count = torch.bincount(owner, minlength=len(tensor)).to(tensor.dtype)
        return turned / count.view(-1, *[1] * (tensor.dim() - 1))

    def _turned(self, rotation: Tensor, tensor: Tensor) -> Tensor:
        if self.entry.rank:
            tensor = rotate_cartesian(tensor, rotation, self.entry.rank)
        if self.entry.is_axial:
            tensor = tensor * determinant_sign(rotation).view(-1, *[1] * (tensor.dim() - 1))
        return tensor
