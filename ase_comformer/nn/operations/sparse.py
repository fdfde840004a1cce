"""Products of sparse matrices with tables of features: sums over edges, fast and differentiable any number of times.

``torch.embedding_bag`` is the fastest such product on a CPU: it writes no array of the size edges x components x
channels, as ``index_add`` of products needs. Its own derivative cannot be differentiated again, so ``sparse_product``
and its derivative (products of rows at the positions of the non-zeros) are each written in terms of the other.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

#: Entries of a matrix below which the full product takes less time than setting up one of the non-zeros.
_SMALL_MATRIX = 8192


class SparsePattern:
    """The places of the non-zeros of a matrix (rows, width), row by row.

    Args:
        columns: (K,) int64, column of every non-zero; those of row 0 first.
        offsets: (rows,) int64, first non-zero of each row.
        width: number of columns.
        transpose: gives the transposed pattern and the order (K,) of its non-zeros, where that is known more cheaply
            than by sorting.
        rows: gives the row (K,) of every non-zero, where that is known without asking for sizes.

    Attributes:
        rows: (K,) int64, row of every non-zero, of patterns from ``from_tensors``.
        ends: (rows + 1,) int64, offsets with the number of non-zeros behind them.
        flat: (K,) int64, position of every non-zero in the full matrix, row by row.
    """

    def __init__(
        self,
        columns: Tensor,
        offsets: Tensor,
        width: int,
        transpose: Callable[[], tuple[SparsePattern, Tensor]] | None = None,
        *,
        rows: Callable[[], Tensor] | None = None,
    ) -> None:
        self.columns, self.offsets, self.width = columns, offsets, width
        self.rows: Tensor | None = None
        self._known_rows = rows
        self._transpose = transpose
        self._transposed: tuple[SparsePattern, Tensor] | None = None

    @property
    def transposed(self) -> tuple[SparsePattern, Tensor]:
        """Give the transposed pattern, and for each of its non-zeros the position (K,) in this one; found once."""
        if self._transposed is None:
            self._transposed = self._sorted() if self._transpose is None else self._transpose()
        return self._transposed

    def tensors(self) -> tuple[Tensor, ...]:
        """Take the pattern apart into eight tensors, its transpose and its rows included, for ``from_tensors``."""
        other, order = self.transposed
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return (*self._entries(), *other._entries(), order, back)

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor], width: int) -> SparsePattern:
        """Put a pattern together on which nothing is searched or sorted any more: a tracer sees products only."""
        columns, offsets, rows, other_columns, other_offsets, other_rows, order, back = tensors
        pattern, other = cls(columns, offsets, width), cls(other_columns, other_offsets, offsets.shape[0])
        pattern.rows, other.rows = rows, other_rows
        pattern._transposed, other._transposed = (other, order), (pattern, back)
        return pattern

    def _entries(self) -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.repeat_interleave(torch.diff(self.ends)) if self._known_rows is None else self._known_rows()
        return self.columns, self.offsets, rows

    @functools.cached_property
    def ends(self) -> Tensor:
        """See the class."""
        return torch.cat([self.offsets, self.offsets.new_tensor([len(self.columns)])])

    @functools.cached_property
    def flat(self) -> Tensor:
        """See the class."""
        return torch.repeat_interleave(torch.diff(self.ends)) * self.width + self.columns

    def product(self, values: Tensor | None, table: Tensor) -> Tensor:
        """``bare_product``."""
        if len(self.columns) == 0:
            return table.new_zeros(len(self.offsets), table.shape[1])
        return torch.embedding_bag(table, self.columns, self.offsets, False, 0, False, values)[0]

    def sampled(self, left: Tensor, right: Tensor) -> Tensor:
        """``bare_sampled``."""
        columns = self.columns
        if len(columns) == 0:
            return left.new_zeros(0)
        if self.rows is not None:  # for tracers; a sparse matrix takes a fifth of the time
            return (left[self.rows] * right[columns]).sum(1)
        if len(left) * len(right) <= _SMALL_MATRIX:
            return (left @ right.t()).flatten().index_select(0, self.flat)
        _silence_beta_warning()
        where = torch.sparse_csr_tensor(
            self.ends,
            columns,
            left.new_zeros(len(columns)),
            size=(len(self.offsets), self.width),
            check_invariants=False,
        )
        return torch.sparse.sampled_addmm(where, left.contiguous(), right.contiguous().t(), beta=0).values()

    def _sorted(self) -> tuple[SparsePattern, Tensor]:
        rows = torch.repeat_interleave(torch.diff(self.ends))
        order = torch.argsort(self.columns, stable=True)
        counts = torch.bincount(self.columns, minlength=self.width)
        return SparsePattern(rows[order], torch.cumsum(counts, 0) - counts, len(self.offsets)), order


def sparse_product(pattern: SparsePattern, values: Tensor | None, table: Tensor) -> Tensor:
    """Matrix product S table, (rows, width) x (width, C) -> (rows, C).

    Args:
        pattern: of S.
        values: (K,) its non-zeros, all one where None.
        table: (width, C).
    """
    return _Product.apply(pattern, values, table)


def bare_product(pattern: SparsePattern, values: Tensor | None, table: Tensor) -> Tensor:
    """Multiply as ``sparse_product`` does, without derivatives."""
    return pattern.product(values, table)


def bare_sampled(pattern: SparsePattern, left: Tensor, right: Tensor) -> Tensor:
    """Multiply row r of ``left`` and row c of ``right`` for every non-zero (r, c): (K,), without derivatives."""
    return pattern.sampled(left, right)


class _Product(torch.autograd.Function):
    """S table."""

    @staticmethod
    def forward(ctx: Any, pattern: SparsePattern, values: Tensor | None, table: Tensor) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(values, table)
        return bare_product(pattern, values, table)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        values, table = ctx.saved_tensors
        values_gradient = table_gradient = None
        if values is not None and ctx.needs_input_grad[1]:
            values_gradient = _Sampled.apply(ctx.pattern, gradient, table)
        if ctx.needs_input_grad[2]:
            pattern, order = ctx.pattern.transposed
            reordered = None if values is None else values[order]
            table_gradient = _Product.apply(pattern, reordered, gradient.contiguous())
        return None, values_gradient, table_gradient


class _Sampled(torch.autograd.Function):
    """Scalar products of row r of ``left`` and row c of ``right`` for every non-zero (r, c)."""

    @staticmethod
    def forward(ctx: Any, pattern: SparsePattern, left: Tensor, right: Tensor) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(left, right)
        return bare_sampled(pattern, left, right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        left, right = ctx.saved_tensors
        left_gradient = right_gradient = None
        if ctx.needs_input_grad[1]:
            left_gradient = _Product.apply(ctx.pattern, gradient.contiguous(), right)
        if ctx.needs_input_grad[2]:
            pattern, order = ctx.pattern.transposed
            right_gradient = _Product.apply(pattern, gradient[order], left)
        return None, left_gradient, right_gradient


@functools.cache
def _silence_beta_warning() -> None:
    """Let PyTorch warn here, unheard, that CSR tensors are in beta, as it does once per process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.sparse_csr_tensor([0, 0], [], [], size=(1, 1), check_invariants=False)
