"""What a field of a batch of graphs says about itself, and the operations that follow from it alone.

A batch is a dataclass of tensors that stand one structure after the other. Each field is declared with
``graph_field``: what its first axis counts, what its values number if they are indices, and what fills it up where a
batch is brought to a constant size. Joining, choosing, padding and moving between devices read these declarations and
nothing else, so a new field takes one line in the dataclass and the place where its value is made.

``CrystalGraph`` (``crystal_graph.py``) and the labels of ``training.tasks.frame_batch`` are such batches.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor

Batch = TypeVar("Batch")

#: What the rows of a field may count.
COUNTED = ("node", "edge", "atom", "crystal", "operation", "site", "frame")


@dataclass(frozen=True)
class GraphField:
    """The declaration of one field.

    Attributes:
        over: what the first axis counts, one of ``COUNTED``.
        refers_to: what the values number where they are indices, one of ``COUNTED``; None where they are no indices.
        padding: value of the rows that ``pad`` adds: a number; ``"identity"`` for square matrices; of indices
            ``"first"``, ``"last"`` or ``"same"``: the first, the last or the k-th of the added rows they refer to, or
            ``"none"``: indices equal to the number of rows mean *no partner*, before and after.
        ragged: name of what the second axis counts where it differs between structures; shorter ones end in zeros.
        missing: what stands for the field of a batch that lacks it when it is joined with one that has it: nothing,
            which is an error (``"error"``), or zeros (``"zeros"``).
    """

    over: str
    refers_to: str | None = None
    padding: float | Literal["identity", "first", "last", "same", "none"] = 0
    ragged: str | None = None
    missing: Literal["error", "zeros"] = "error"

    def __post_init__(self) -> None:
        for name in (self.over, self.refers_to):
            if name is not None and name not in COUNTED:
                raise ValueError(f"a graph field cannot run over {name!r}: choose from {', '.join(COUNTED)}")


def graph_field(over: str, refers_to: str | None = None, *, optional: bool = False, **declared: Any) -> Any:
    """Declare a field of a batch of graphs; the arguments are those of ``GraphField``.

    Args:
        over: what the first axis counts.
        refers_to: what the values number.
        optional: whether the field may be None, which is then its default.
        declared: ``padding``, ``ragged``, ``missing``.

    Example:
        >>> from ase_comformer.graphs.crystal_graph import CrystalGraph
        >>> @dataclass
        ... class Charged(CrystalGraph):
        ...     charge: Tensor | None = graph_field("atom", optional=True)
    """
    metadata = {"graph": GraphField(over, refers_to, **declared)}
    return field(metadata=metadata, default=None) if optional else field(metadata=metadata)


@functools.cache
def _declarations(kind: Hashable) -> Mapping[str, GraphField]:
    return {part.name: part.metadata["graph"] for part in fields(cast(Any, kind)) if "graph" in part.metadata}


def declarations(kind: type[Any]) -> Mapping[str, GraphField]:
    """Return the declared fields of a batch class by name, in the order of the class."""
    return _declarations(cast(Hashable, kind))


def present(batch: Any) -> Iterator[tuple[str, GraphField, Tensor]]:
    """Give name, declaration and value of every declared field that is not None."""
    for name, declared in declarations(type(batch)).items():
        value = getattr(batch, name)
        if value is not None:
            yield name, declared, value


def row_counts(batch: Any) -> dict[str, int]:
    """Return how many rows a batch has of each of ``COUNTED`` that it has fields of."""
    return {declared.over: len(value) for _, declared, value in present(batch)}


def row_owners(batch: Any) -> dict[str, Tensor]:
    """Return the crystal of every row, (rows,) for each of ``COUNTED``, by following the indices of the batch."""
    links = {}
    for _, declared, value in present(batch):
        if declared.refers_to is not None and (declared.over not in links or declared.refers_to == "crystal"):
            links[declared.over] = (declared.refers_to, value)
    crystals = row_counts(batch)["crystal"]

    def owner(name: str) -> Tensor:
        if name == "crystal":
            return torch.arange(crystals, device=next(iter(links.values()))[1].device)
        target, index = links[name]
        return index if target == "crystal" else owner(target)[index]

    return {name: owner(name) for name in row_counts(batch)}


def join(batches: Sequence[Batch]) -> Batch:
    """Join batches of one class into one; indices count on.

    Raises:
        ValueError: if only some of them have an optional field that nothing can stand for.
    """
    kind = type(batches[0])
    declared = declarations(kind)
    values = {name: [getattr(batch, name) for batch in batches] for name in declared}
    lacking = [name for name, given in values.items() if any(value is None for value in given)]
    if lacking:
        values = _completed(batches, values, lacking)
    starts: dict[str, list[int]] = {}
    joined: dict[str, Tensor] = {}
    for name, given in values.items():
        target = declared[name].refers_to
        if declared[name].ragged is not None:
            given = equally_wide(given)
        if target is not None:
            if target not in starts:
                counted = next(given for other, given in values.items() if declared[other].over == target)
                starts[target] = [0, *itertools.accumulate(map(len, counted))]
            given = [value + start if start else value for value, start in zip(given, starts[target], strict=False)]
        joined[name] = torch.cat(given)
    return kind(**joined)


def _completed(
    batches: Sequence[Any], values: Mapping[str, list[Any]], lacking: Sequence[str]
) -> dict[str, list[Tensor]]:
    """Leave out fields that no batch has, and put zeros where only some lack one, if its declaration allows."""
    declared = declarations(type(batches[0]))
    partly = [name for name in lacking if any(value is not None for value in values[name])]
    refused = [name for name in partly if declared[name].missing == "error"]
    if refused:
        raise ValueError(
            f"some graphs have {', '.join(refused)} and some do not; build all with the same GraphSettings"
        )
    complete = {name: given for name, given in values.items() if name not in lacking}
    for name in partly:
        like = next(value for value in values[name] if value is not None)
        complete[name] = [
            like.new_zeros(row_counts(batch)[declared[name].over], *like.shape[1:]) if value is None else value
            for batch, value in zip(batches, values[name], strict=True)
        ]
    return complete


def equally_wide(values: Sequence[Tensor]) -> list[Tensor]:
    """Fill tensors (rows, K, ...) up with zeros to the largest K of any."""
    most = max(value.shape[1] for value in values)
    return [widened(value, most) for value in values]


def widened(value: Tensor, width: int) -> Tensor:
    """Fill a tensor (rows, K, ...) up with zeros to (rows, width, ...)."""
    more = width - value.shape[1]
    return value if not more else torch.cat([value, value.new_zeros(len(value), more, *value.shape[2:])], dim=1)


class Layout:
    """Where the rows of every crystal stand in a batch whose crystals are contiguous.

    Args:
        batch: as ``join`` makes it.

    Attributes:
        counts, starts: name of ``COUNTED`` -> (B,) rows of each crystal and the first of them.
    """

    def __init__(self, batch: Any) -> None:
        crystals = row_counts(batch)["crystal"]
        self.counts = {name: torch.bincount(owner, minlength=crystals) for name, owner in row_owners(batch).items()}
        self.starts = {name: torch.cumsum(count, 0) - count for name, count in self.counts.items()}

    def rows(self, name: str, crystals: Tensor) -> Tensor:
        """Return the rows of these crystals (b,), one crystal after the other."""
        count, start = self.counts[name][crystals], self.starts[name][crystals]
        before = torch.cumsum(count, 0) - count
        return torch.arange(int(count.sum()), device=count.device) + torch.repeat_interleave(start - before, count)


def take(batch: Batch, crystals: Tensor, layout: Layout | None = None) -> Batch:
    """Return the crystals with these indices (b,) as a batch of b crystals.

    Args:
        batch: whose crystals are contiguous, as ``join`` makes it.
        crystals: (b,) indices, in any order, repeated ones too.
        layout: of ``batch``, where it is known.
    """
    layout = Layout(batch) if layout is None else layout
    rows = {name: layout.rows(name, crystals) for name in layout.counts}
    shifts: dict[str, Tensor] = {}
    taken: dict[str, Tensor] = {}
    for name, declared, value in present(batch):
        chosen, target = value[rows[declared.over]], declared.refers_to
        if target is not None:
            if target not in shifts:
                count = layout.counts[target][crystals]
                shifts[target] = torch.cumsum(count, 0) - count - layout.starts[target][crystals]
            chosen = chosen + torch.repeat_interleave(shifts[target], layout.counts[declared.over][crystals])
        taken[name] = chosen
    return type(batch)(**taken)


def without_rows(batch: Batch, *counted: str) -> Batch:
    """Return a batch with no rows of what ``counted`` names (of ``COUNTED``), for readers that do not look at them.

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.graphs.building import build_graph
        >>> from ase_comformer.graphs.neighbours import GraphSettings
        >>> len(without_rows(build_graph(bulk("Cu"), GraphSettings()), "edge").edge_vector)
        0
    """
    emptied = {name: value[:0] for name, declared, value in present(batch) if declared.over in counted}
    return replace(batch, **emptied)  # type: ignore[type-var]


def pad(batch: Batch, sizes: Mapping[str, int], widths: Mapping[str, int] | None = None) -> Batch:
    """Fill a batch up to constant sizes with rows that count nothing (``GraphField.padding``).

    Args:
        batch: with at most as many rows.
        sizes: name of ``COUNTED`` -> rows, for everything that the batch has fields of.
        widths: name of a ragged axis -> its length; as it is where missing.
    """
    counts = row_counts(batch)
    filled = {}
    for name, declared, value in present(batch):
        if declared.ragged is not None and widths is not None and declared.ragged in widths:
            value = widened(value, widths[declared.ragged])
        target = declared.refers_to
        have, want = (counts[target], sizes[target]) if target is not None else (0, 0)
        if declared.padding == "none":
            value = torch.where(value == have, want, value)
        more = sizes[declared.over] - len(value)
        filled[name] = torch.cat([value, padding_rows(declared, value, more, have, want)])
    return replace(batch, **filled)  # type: ignore[type-var]


def padding_rows(declared: GraphField, like: Tensor, more: int, have: int = 0, want: int = 0) -> Tensor:
    """Make ``more`` rows of padding for a field with values ``like``; indices refer to rows ``have`` to ``want``."""
    if declared.padding == "identity":
        return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device).expand(more, *like.shape[1:])
    if declared.padding == "same":
        return torch.arange(have, have + more, dtype=like.dtype, device=like.device)
    if isinstance(declared.padding, str):
        return like.new_full((more,), {"first": have, "last": want - 1, "none": want}[declared.padding])
    return like.new_full((more, *like.shape[1:]), declared.padding)


def convert(batch: Batch, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Batch:
    """Return a batch with its floating-point fields in ``dtype`` and everything on ``device``."""
    changed = {
        name: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
        for name, _, value in present(batch)
    }
    return replace(batch, **changed)  # type: ignore[type-var]
