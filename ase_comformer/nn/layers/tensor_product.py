"""The fully connected tensor product of irreps, with weights per row: e3nn's, as few matrix products as can be.

Features are real irreps in e3nn's component order. Clebsch-Gordan tensors are made in float64 and cast last.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ase_comformer.tensors.irreps import parse_irreps, wigner_3j


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept may serve training later
def clebsch_gordan(
    degrees: tuple[int, int, int], dtype: torch.dtype, device: torch.device, *, rounded: bool = False
) -> Tensor:
    """Real coupling tensor (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) of norm one, made in float64 and cast.

    ``rounded`` takes it through float32, as published checkpoints store it (error 1e-8).
    """
    exact = wigner_3j(*degrees)
    return (exact.to(torch.float32) if rounded else exact).to(dtype=dtype, device=device)


@dataclass(frozen=True)
class _Path:
    right: int  # block of the right irreps
    out: int  # block of the output irreps
    channels: int  # multiplicity of the output
    degrees: tuple[int, int, int]
    coefficient: float


@dataclass(frozen=True)
class _Block:
    """One term of a string of irreps: ``multiplicity`` copies of degree l and parity p."""

    multiplicity: int
    degree: int
    parity: int

    @property
    def dim(self) -> int:
        return self.multiplicity * (2 * self.degree + 1)

    def in_product(self, left: "_Block", right: "_Block") -> bool:
        """Whether this irrep occurs in the product of two others (triangle rule and parity)."""
        triangle = abs(left.degree - right.degree) <= self.degree <= left.degree + right.degree
        return triangle and self.parity == left.parity * right.parity


def _blocks(irreps: str) -> list[_Block]:
    return [_Block(*term) for term in parse_irreps(irreps)]


class TensorProduct:
    """Fully connected tensor product with weights given per row: e3nn's weight layout and default normalisation.

    Component irrep normalisation, element path normalisation: coefficient sqrt((2 l_out + 1) / number of weights that
    feed one output channel). Holds no parameters; works in the dtype of its input.
    """

    def __init__(self, left: str, right: str, out: str, *, rounded: bool = False) -> None:
        """Irreps in e3nn's notation, right ones once each, outputs keep their order; ``rounded`` as the couplings."""
        self.rounded = rounded
        self.left, self.right, self.out = map(_blocks, (left, right, out))
        self.left_dim, self.right_dim, self.out_dim = (
            sum(block.dim for block in blocks) for blocks in (self.left, self.right, self.out)
        )
        if any(block.multiplicity != 1 for block in self.right):
            raise ValueError(f"the right irreps must have multiplicity one, got {right}; split them into single ones")
        found = [
            (i, j, k)
            for i, first in enumerate(self.left)
            for j, second in enumerate(self.right)
            for k, result in enumerate(self.out)
            if result.in_product(first, second)
        ]
        fan_in = dict.fromkeys(range(len(self.out)), 0)
        for i, _, k in found:
            fan_in[k] += self.left[i].multiplicity
        # e3nn stores (left channel, output channel) blocks path by path; here all paths from one left block are columns
        # of one matrix, so that they cost one matrix product per row
        self._paths: list[list[_Path]] = [[] for _ in self.left]
        columns: list[list[Tensor]] = [[] for _ in self.left]
        start = 0
        for i, j, k in found:
            first, second, result = self.left[i], self.right[j], self.out[k]
            mul, mul_out = first.multiplicity, result.multiplicity
            degrees = (first.degree, second.degree, result.degree)
            coefficient = ((2 * result.degree + 1) / fan_in[k]) ** 0.5
            self._paths[i].append(_Path(j, k, mul_out, degrees, coefficient))
            columns[i].append(torch.arange(start, start + mul * mul_out).view(mul, mul_out))
            start += mul * mul_out
        self.weight_count = start
        flat = [torch.cat(block, dim=1).flatten() if block else torch.empty(0, dtype=torch.int64) for block in columns]
        self._sizes = [len(block) for block in flat]
        #: (weight_count,) e3nn's position of each weight in the order that ``evaluate`` takes.
        self.order = torch.cat(flat)

    def __call__(self, left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
        """Multiply left (E, left_dim) by right (E, right_dim), weight (E or 1, weight_count), to give (E, out_dim)."""
        return self.evaluate(left, right, weight.index_select(1, self.order.to(weight.device)))

    def evaluate(self, left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
        """The product with weights already in ``order``."""
        rows = left.shape[0]
        harmonics = right.split([block.dim for block in self.right], dim=1)
        parts: list[list[Tensor]] = [[] for _ in self.out]
        cache: dict[tuple[int, tuple[int, int, int], float], Tensor] = {}
        blocks = zip(left.split([part.dim for part in self.left], dim=1), weight.split(self._sizes, dim=1), strict=True)
        for block, (x, w), paths in zip(self.left, blocks, self._paths, strict=True):
            if not paths:
                continue
            mul = block.multiplicity
            mixed = x.reshape(rows, mul, 2 * block.degree + 1).transpose(1, 2) @ w.reshape(-1, mul, w.shape[1] // mul)
            for path, term in zip(paths, mixed.split([path.channels for path in paths], dim=2), strict=True):
                y = harmonics[path.right]
                parts[path.out].append(self._couple(term, y, path, cache).reshape(rows, -1))
        sums = [
            sum(terms[1:], start=terms[0]) if terms else left.new_zeros((rows, part.dim))
            for terms, part in zip(parts, self.out, strict=True)
        ]
        return torch.cat(sums, dim=1)

    def _couple(
        self,
        term: Tensor,
        y: Tensor,
        path: _Path,
        cache: dict[tuple[int, tuple[int, int, int], float], Tensor],
    ) -> Tensor:
        """Mixed left features (E, 2 l1 + 1, channels) with harmonics (E, 2 l2 + 1) -> (E, channels, 2 l3 + 1)."""
        l1, l2, l3 = path.degrees
        if 0 in path.degrees:  # the coupling tensor is a multiple of the identity
            scaled = y * (path.coefficient / (2 * max(path.degrees) + 1) ** 0.5)
            product = term * scaled[:, :, None]  # l1 = 0 or l2 = 0 broadcasts, l3 = 0 is a scalar product
            return product.sum(1) if l3 == 0 else product.transpose(1, 2)
        key = (path.right, path.degrees, path.coefficient)
        if key not in cache:
            coupling = clebsch_gordan(path.degrees, y.dtype, y.device, rounded=self.rounded) * path.coefficient
            matrix = coupling.transpose(0, 1).reshape(2 * l2 + 1, -1)
            cache[key] = (y @ matrix).view(-1, 2 * l1 + 1, 2 * l3 + 1)
        return torch.bmm(term.transpose(1, 2), cache[key])
