"""Fourier sums over atoms at the reciprocal vectors of a large cell, in a time that grows as the number of atoms.

Summed one by one, waves and atoms are both as many as the cell is large, so the time grows as its square. Here atoms
are spread on a regular grid with a kernel of compact support, and a fast Fourier transform does the rest, as in the
particle-mesh Ewald method; the kernel exp(b sqrt(1 - z^2)) on a grid twice as fine as the waves need loses about one
digit for each grid point of its width (Barnett, Magland, af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019)).
Index letters: A atoms, K reciprocal vectors, w width of the kernel, C columns.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

#: Grid points that the kernel is wide; errors are some 1e-7 and 1e-12 of the largest value.
_WIDTH = {torch.float32: 8, torch.float64: 13}
#: Weights of the kernel that are held at a time.
_LARGEST_PART = 2**23
#: Exponent of the kernel per grid point of its width, for a grid of twice the waves.
_STEEPNESS = 2.3


class FourierGrid:
    """The grid of one crystal.

    Args:
        cell: (3, 3) A, rows are vectors.
        position: (A, 3) A.
        vector: (K, 3) 1/A, reciprocal vectors of the cell.
    """

    def __init__(self, cell: Tensor, position: Tensor, vector: Tensor) -> None:
        whole = torch.round(vector.double() @ cell.double().t() / (2 * math.pi)).long()
        self.sizes = tuple(grid_sizes(whole))
        self.width = _WIDTH[position.dtype]
        size = torch.tensor(self.sizes, device=cell.device)
        self._wave = whole
        self._place = _flattened(whole % size, self.sizes)
        kernel = [_transformed_kernel(self.width, n).to(cell.device) for n in self.sizes]
        parts = [values[index] for values, index in zip(kernel, (whole % size).unbind(1), strict=True)]
        self._damping = (parts[0] * parts[1] * parts[2]).to(position.dtype)
        fractional = torch.linalg.solve(cell.double().t(), position.double().t()).t()
        self._at = (fractional - fractional.floor()) * size
        self._dtype = position.dtype

    def sum_over_atoms(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Sums (K, C) of values (A, C) times cos(k.r), and times sin(k.r)."""
        grid = values.new_zeros(values.shape[1], math.prod(self.sizes))
        for rows, index, weight in self._kernels():
            for column, own in zip(grid, values[rows].t(), strict=True):
                column.scatter_add_(0, index.flatten(), (weight * own.unsqueeze(1)).flatten())
        found = torch.fft.fftn(grid.view(-1, *self.sizes), dim=(1, 2, 3)).flatten(1)[:, self._place]
        # the transform has exp(-ik.r)
        found = found.t() / self._damping.unsqueeze(1)
        return found.real.contiguous(), -found.imag

    def sum_over_waves(self, cosine: Tensor, sine: Tensor) -> Tensor:
        """Sums (A, C) over k of cos(k.r) times ``cosine`` (K, C) and sin(k.r) times ``sine`` (K, C)."""
        factors = torch.complex(cosine, -sine) / (2 * self._damping.unsqueeze(1))
        table = cosine.new_empty(math.prod(self.sizes), factors.shape[1])
        last = self.sizes[2] // 2 + 1
        half = (*self.sizes[:2], last)
        size = torch.tensor(self.sizes, device=cosine.device)
        upper, lower = self._wave[:, 2] >= 0, self._wave[:, 2] <= 0
        places = [_flattened(sign * self._wave[kept] % size, half) for sign, kept in ((1, upper), (-1, lower))]
        for column, own in enumerate(factors.t()):
            grid = own.new_zeros(math.prod(half))
            grid[places[0]] = own[upper]
            grid[places[1]] += own[lower].conj()
            table[:, column] = torch.fft.irfftn(grid.view(half), s=self.sizes, norm="forward").flatten()
        found = [
            torch.embedding_bag(table, index.flatten(), _starts(index), False, 0, False, weight.flatten())[0]
            for _, index, weight in self._kernels()
        ]
        return torch.cat(found)

    def _kernels(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Some atoms at a time, with grid points (a, w^3) around them and weights of the kernel there."""
        step, width = max(1, _LARGEST_PART // self.width**3), self.width
        offset = torch.arange(width, device=self._at.device)
        size = torch.tensor(self.sizes, device=self._at.device)
        for first in range(0, len(self._at), step):
            at = self._at[first : first + step]
            nearest = torch.ceil(at - width / 2)
            distance = (nearest - at).unsqueeze(2) + offset
            weight = _kernel(distance / (width / 2), width).to(self._dtype)
            index = (nearest.long().unsqueeze(2) + offset) % size.unsqueeze(1)
            x, y, z = index.unbind(1)
            plane = (x.unsqueeze(2) * self.sizes[1] + y.unsqueeze(1)).flatten(1)
            in_plane = (weight[:, 0].unsqueeze(2) * weight[:, 1].unsqueeze(1)).flatten(1)
            place = plane.unsqueeze(2) * self.sizes[2] + z.unsqueeze(1)
            weights = in_plane.unsqueeze(2) * weight[:, 2].unsqueeze(1)
            yield slice(first, first + len(at)), place.flatten(1), weights.flatten(1)


def grid_sizes(waves: Tensor) -> list[int]:
    """Points along each axis that waves (K, 3), whole numbers of periods, need."""
    largest = waves.abs().amax(0).tolist()
    return [_fast_size(max(2 * (2 * most + 1), 2 * max(_WIDTH.values()))) for most in largest]


def _fast_size(least: int) -> int:
    """The next number without prime factors beyond five, of which transforms are fast."""
    while True:
        rest = least
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return least
        least += 1


def _starts(index: Tensor) -> Tensor:
    return torch.arange(0, index.numel(), index.shape[1], device=index.device)


def _flattened(index: Tensor, sizes: tuple[int, ...]) -> Tensor:
    return (index[:, 0] * sizes[1] + index[:, 1]) * sizes[2] + index[:, 2]


def _kernel(z: Tensor, width: int) -> Tensor:
    """Value at distances of ``z`` half widths, in [-1, 1]."""
    inside = (1 - z.square()).clamp(min=0.0)
    return torch.where(inside > 0, torch.exp(_STEEPNESS * width * (inside.sqrt() - 1)), 0.0)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # it outlives the call
def _transformed_kernel(width: int, size: int) -> Tensor:
    """(size,) Fourier transform of the kernel at the waves 0, 1, ..., -1 of a grid of ``size`` points."""
    z, weight = np.polynomial.legendre.leggauss(4 * width + 40)
    values = weight * _kernel(torch.from_numpy(z), width).numpy() * width / 2
    wave = np.fft.fftfreq(size, 1 / size)
    phase = 2 * math.pi * np.outer(wave, z * width / 2) / size
    return torch.from_numpy(np.cos(phase) @ values)
