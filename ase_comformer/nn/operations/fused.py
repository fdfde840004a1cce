"""The sums over edges of a batch of constant shape on a GPU: few passes over memory, products that can be fused.

``nn.sparse`` writes every sum as a product with a sparse matrix, which reads the features of an edge once for each of
the ten rows that they go to. Here a segment of edges is read once for all its moments, by two Triton kernels, and what
only picks rows is left to the compiler as plain indexing. The patterns stand in for those of ``SumTopology``; edges are
sorted by receiver and sender, as ``resident`` has them. On a CPU the same operations are written in PyTorch, for tests.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from ase_comformer.nn.operations.sparse import SparsePattern
from ase_comformer.nn.operations.sum_topology import COMPONENTS, SumTopology

_MOMENTS = sum(COMPONENTS)
_FEATURES = 8
_BLOCK = 64


@functools.cache
def kernels() -> tuple[Any, Any]:
    """The two Triton kernels, made on first use: Triton is not there without a GPU."""
    import triton
    import triton.language as tl

    @triton.jit
    def moments(  # type: ignore[no-untyped-def] # noqa: ANN202
        values, table, starts, out,  # noqa: ANN001
        edges, rows, width,  # noqa: ANN001
        COUNT: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        """out[m, r, :] = sum over the edges k of row r of values[m, k] table[k, :]."""
        row = tl.program_id(0).to(tl.int64)
        column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        moment = tl.arange(0, PADDED)
        inside = column < width
        total = tl.zeros((PADDED, BLOCK), dtype=tl.float32)
        first = tl.load(starts + row)
        last = tl.load(starts + row + 1)
        for edge in range(first, last):
            value = tl.load(values + moment * edges + edge, mask=moment < COUNT, other=0.0)
            feature = tl.load(table + edge * width + column, mask=inside, other=0.0)
            total += value[:, None] * feature[None, :]
        place = (moment[:, None] * rows + row) * width + column[None, :]
        tl.store(out + place, total, mask=(moment < COUNT)[:, None] & inside[None, :])

    @triton.jit
    def segments(  # type: ignore[no-untyped-def] # noqa: ANN202
        table, columns, starts, out,  # noqa: ANN001
        height, rows, width,  # noqa: ANN001
        BLOCK: tl.constexpr,
    ):  # fmt: skip
        """out[b, r, :] = sum over k of row r of table[b, columns[k], :]."""
        row = tl.program_id(0).to(tl.int64)
        block = tl.program_id(1).to(tl.int64)
        column = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
        inside = column < width
        total = tl.zeros((BLOCK,), dtype=tl.float32)
        first = tl.load(starts + row)
        last = tl.load(starts + row + 1)
        for k in range(first, last):
            place = tl.load(columns + k)
            total += tl.load(table + (block * height + place) * width + column, mask=inside, other=0.0)
        tl.store(out + (block * rows + row) * width + column, total, mask=inside)

    return moments, segments


def launch_moments(values: Tensor, table: Tensor, starts: Tensor, pair_starts: Tensor, out: Tensor) -> None:
    """See ``moment_sums``, into ``out``."""
    kernel, _ = kernels()
    edges, width = table.shape
    nodes, pairs = len(starts) - 1, len(pair_starts) - 1
    blocks = -(-width // _BLOCK)
    own, pair_sums = out[: _MOMENTS * nodes], out[_MOMENTS * nodes :]
    first, last = values[: _MOMENTS * edges], values[_MOMENTS * edges :]
    kernel[(nodes, blocks)](first, table, starts, own, edges, nodes, width, _MOMENTS, 16, _BLOCK, num_warps=4)
    kernel[(pairs, blocks)](last, table, pair_starts, pair_sums, edges, pairs, width, 1, 1, _BLOCK, num_warps=1)


def launch_segments(table: Tensor, columns: Tensor, starts: Tensor, out: Tensor) -> None:
    """See ``segment_sums``, into ``out``."""
    _, kernel = kernels()
    blocks, height, width = table.shape
    rows = len(starts) - 1
    kernel[(rows, blocks, -(-width // _BLOCK))](table, columns, starts, out, height, rows, width, _BLOCK, num_warps=1)


@torch.library.custom_op("ase_comformer::moment_sums", mutates_args=())
def moment_sums(values: Tensor, table: Tensor, starts: Tensor, pair_starts: Tensor) -> Tensor:
    """(9n + P, C): nine weighted sums over the edges of every node, component by component, and one over every pair.

    Args:
        values: (10E,) weights of the edges, moment by moment, those in pairs last.
        table: (E, C) of edges.
        starts: (n + 1,) first edge of every node.
        pair_starts: (P + 1,) first edge of every pair.
    """
    nodes, pairs = len(starts) - 1, len(pair_starts) - 1
    values, table = values.contiguous(), table.contiguous()
    out = table.new_empty(_MOMENTS * nodes + pairs, table.shape[1])
    if table.is_cuda:
        launch_moments(values, table, starts, pair_starts, out)
        return out
    node, pair = (torch.repeat_interleave(torch.diff(ends)) for ends in (starts, pair_starts))
    weighted = values.view(-1, len(table), 1) * table
    node_sums = table.new_zeros(_MOMENTS, nodes, table.shape[1]).index_add(1, node, weighted[:_MOMENTS])
    pair_sums = table.new_zeros(pairs, table.shape[1]).index_add(0, pair, weighted[_MOMENTS])
    return torch.cat([node_sums.flatten(0, 1), pair_sums])


@moment_sums.register_fake
def _(values: Tensor, table: Tensor, starts: Tensor, pair_starts: Tensor) -> Tensor:
    return table.new_empty(_MOMENTS * (len(starts) - 1) + len(pair_starts) - 1, table.shape[1])


@torch.library.custom_op("ase_comformer::segment_sums", mutates_args=())
def segment_sums(table: Tensor, columns: Tensor, starts: Tensor) -> Tensor:
    """(b, r, C): in each of b blocks (b, R, C) the sums over ``columns`` (K,), from ``starts`` (r + 1,) on of each."""
    table = table.contiguous()
    out = table.new_empty(len(table), len(starts) - 1, table.shape[2])
    if table.is_cuda:
        launch_segments(table, columns, starts, out)
        return out
    row = torch.repeat_interleave(torch.diff(starts))
    return torch.zeros_like(out).index_add(1, row, table[:, columns])


@segment_sums.register_fake
def _(table: Tensor, columns: Tensor, starts: Tensor) -> Tensor:
    return table.new_empty(len(table), len(starts) - 1, table.shape[2])


class FusedPattern(SparsePattern):
    """A pattern that multiplies in its own way; ``columns`` and the like are not there.

    Args:
        indices: tensors that the products read.
        shape: rows and width.
    """

    def __init__(self, indices: tuple[Tensor, ...], shape: tuple[int, int]) -> None:
        self.indices, (self.height, self.width) = indices, shape

    @property
    def transposed(self) -> tuple[SparsePattern, Tensor]:
        """See ``SparsePattern``; nothing reads the order where all values are one."""
        raise NotImplementedError

    def product(self, values: Tensor | None, table: Tensor) -> Tensor:
        """``sparse.bare_product``."""
        raise NotImplementedError

    def sampled(self, left: Tensor, right: Tensor) -> Tensor:
        """``sparse.bare_sampled``."""
        raise NotImplementedError


class _Picked(FusedPattern):
    """Blocks of rows picked from blocks of a table, and one of each of several picks summed.

    Indices: the picks, each (r,), then columns (K,) and starts (R + 1,) of the transposed sums; ``blocks`` of them.
    """

    def __init__(self, indices: tuple[Tensor, ...], blocks: int, rows: int, width: int) -> None:
        super().__init__(indices, (blocks * rows, blocks * width))
        self.blocks, self.rows_of_block, self.width_of_block = blocks, rows, width

    @property
    def transposed(self) -> tuple[SparsePattern, Tensor]:
        """See ``FusedPattern``."""
        other = _Summed(self.indices, self.blocks, self.width_of_block, self.rows_of_block)
        return other, self.indices[0]

    def product(self, values: Tensor | None, table: Tensor) -> Tensor:
        """See ``FusedPattern``."""
        blocks = table.view(self.blocks, self.width_of_block, -1)
        found = blocks[:, self.indices[0]]
        for pick in self.indices[1:-2]:
            found = found + blocks[:, pick]
        return found.reshape(self.height, -1)


class _Summed(_Picked):
    """The transpose of ``_Picked``."""

    @property
    def transposed(self) -> tuple[SparsePattern, Tensor]:
        """See ``FusedPattern``."""
        return _Picked(self.indices, self.blocks, self.width_of_block, self.rows_of_block), self.indices[0]

    def product(self, values: Tensor | None, table: Tensor) -> Tensor:
        """See ``FusedPattern``."""
        found: Tensor = segment_sums(table.view(self.blocks, self.width_of_block, -1), *self.indices[-2:])
        return found.flatten(0, 1)


class _Moments(FusedPattern):
    """``SumTopology.moments``. Indices: receiver (E,), pair (E,), starts (n + 1,), pair_starts (P + 1,)."""

    @property
    def transposed(self) -> tuple[SparsePattern, Tensor]:
        """See ``FusedPattern``."""
        edges = len(self.indices[0])
        order = torch.arange((_MOMENTS + 1) * edges, device=self.indices[0].device).view(-1, edges).t().flatten()
        return _SpreadMoments(self.indices, (self.width, self.height)), order

    def product(self, values: Tensor | None, table: Tensor) -> Tensor:
        """See ``FusedPattern``."""
        assert values is not None
        found: Tensor = moment_sums(values, table, *self.indices[2:])
        return found

    def sampled(self, left: Tensor, right: Tensor) -> Tensor:
        """See ``FusedPattern``."""
        receiver, pair, starts, _ = self.indices
        own, pair_sums = left.split([_MOMENTS * (len(starts) - 1), len(left) - _MOMENTS * (len(starts) - 1)])
        moments = own.view(_MOMENTS, len(starts) - 1, -1).transpose(0, 1)
        found = (moments[receiver] * right.unsqueeze(1)).sum(2)
        last = (pair_sums[pair] * right).sum(1)
        return torch.cat([found.t().flatten(), last])


class _SpreadMoments(FusedPattern):
    """The transpose of ``_Moments``, whose non-zeros are the ten of each edge, edge by edge."""

    @property
    def transposed(self) -> tuple[SparsePattern, Tensor]:
        """See ``FusedPattern``."""
        edges = len(self.indices[0])
        order = torch.arange((_MOMENTS + 1) * edges, device=self.indices[0].device).view(edges, -1).t().flatten()
        return _Moments(self.indices, (self.width, self.height)), order

    def product(self, values: Tensor | None, table: Tensor) -> Tensor:
        """See ``FusedPattern``."""
        assert values is not None
        receiver, pair, starts, _ = self.indices
        nodes = len(starts) - 1
        weights = values.view(len(receiver), _MOMENTS + 1, 1)
        found = table[pair + _MOMENTS * nodes] * weights[:, _MOMENTS]
        for moment in range(_MOMENTS):
            found = found + table[receiver + moment * nodes] * weights[:, moment]
        return found

    def sampled(self, left: Tensor, right: Tensor) -> Tensor:
        """See ``FusedPattern``; no training step reads it."""
        other = _Moments(self.indices, (self.width, self.height))
        return other.sampled(right, left).view(_MOMENTS + 1, -1).t().flatten()


def fused_topology(tensors: dict[str, Tensor], receiver: Tensor, sender: Tensor, atoms: int) -> SumTopology:
    """A topology of fused patterns.

    Args:
        tensors: what ``resident`` makes: starts (n + 1,), edge_pair (E,), pair_starts (P + 1,), pair_receiver (P,),
            pair_atom (P,), ends_columns (2E,) edges by receiver, then by sender, ends_starts (2n + 1,),
            pair_order (P,), receiver_starts (n + 1,), pair_by_sender (P,), sender_starts (n + 1,).
        receiver: (E,) of the graph.
        sender: (E,) of the graph.
        atoms: n.
    """
    edges, pairs = len(receiver), len(tensors["pair_atom"])
    at = tensors.__getitem__
    carried = (at("pair_atom"), at("pair_by_sender"), at("sender_starts"))
    arriving = (at("pair_receiver"), at("pair_order"), at("receiver_starts"))
    return SumTopology(
        receiver=receiver,
        sender_atom=sender,
        edges=None,
        rows=slice(None),
        senders=None,
        nodes=atoms,
        is_reduced=False,
        order=torch.arange(edges, device=receiver.device),
        starts=at("starts")[:-1],
        pair_receiver=at("pair_receiver"),
        pair_atom=at("pair_atom"),
        ends=_Picked((receiver, sender + atoms, at("ends_columns"), at("ends_starts")), 1, edges, 2 * atoms),
        moments=_Moments(
            (receiver, at("edge_pair"), at("starts"), at("pair_starts")), (_MOMENTS * atoms + pairs, edges)
        ),
        carried=_Picked(carried, _FEATURES, pairs, atoms),
        arriving=_Summed(arriving, _FEATURES, atoms, pairs),
    )
