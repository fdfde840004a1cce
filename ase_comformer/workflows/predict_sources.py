"""Properties of named structures as a stream: what cannot be read and what cannot be computed goes along as a row."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.crystals.structure_sources import Source
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import METADATA, Result, message_of
from ase_comformer.inference.settings import BATCH_SIZE
from ase_comformer.models.training_index import training_remark


@dataclass(frozen=True)
class Row:
    """Result of one structure.

    Attributes:
        source: where the structure came from, ``FILE`` or ``FILE@INDEX``.
        formula: of the cell that was read; empty where nothing could be read.
        space_group: international symbol; empty for what is no crystal.
        space_group_number: 1 to 230, or 0.
        values: property name -> number or array in the documented form.
        status: "ok" for a bulk crystal, else what it is; empty where no tensor was asked for.
        routes: by relaxed-ion tensor, which route gave it (``inference.results.RouteRecord``).
        training: whether a network was trained on the crystal or its formula, one sentence; empty where unknown.
        errors: message for each property that could not be computed.
        error: why there is nothing at all, or empty.
        atoms: the structure, None where it could not be read.
        result: as ``Predictor.predict`` returned it.
    """

    source: str
    formula: str = ""
    space_group: str = ""
    space_group_number: int = 0
    values: dict[str, Any] | None = None
    status: str = ""
    routes: dict[str, Any] | None = None
    training: str = ""
    errors: dict[str, str] | None = None
    error: str = ""
    atoms: Atoms | None = None
    result: Result | None = None

    def as_dict(self) -> dict[str, Any]:
        """One flat dictionary, without the structure: what the row is, values, and errors where there are any."""
        found: dict[str, Any] = {
            "source": self.source,
            "formula": self.formula,
            "space_group": self.space_group,
            "space_group_number": self.space_group_number,
            **(self.values or {}),
        }
        for name, text in (
            ("status", self.status),
            ("routes", self.routes),
            ("training", self.training),
            ("errors", self.errors),
            ("error", self.error),
        ):
            if text:
                found[name] = text
        return found


def predict_sources(
    predictor: Predictor,
    sources: Iterable[Source],
    names: Sequence[str],
    *,
    batch_size: int = BATCH_SIZE,
    with_training: bool = True,
) -> Iterator[Row]:
    """Predict properties of a stream of named structures, in their order and in constant memory.

    Args:
        predictor: loaded model.
        sources: see ``crystals.structure_sources.iter_sources``; those with an error become rows with one.
        names: properties.
        batch_size: structures evaluated together.
        with_training: say of each structure whether a network was trained on it, which takes milliseconds.

    Example:
        >>> from ase.build import bulk
        >>> rows = predict_sources(Predictor(), [Source("MgO", bulk("MgO", "rocksalt", a=4.2))], ["formation_energy"])
        >>> [(row.formula, row.space_group, bool(row.values["formation_energy"] < 0)) for row in rows]
        [('MgO', 'Fm-3m', True)]
    """
    waiting: deque[Source] = deque()

    def readable() -> Iterator[Atoms]:
        for source in sources:
            waiting.append(source)
            if source.atoms is not None:
                yield source.atoms

    for result in predictor.predict_iter(readable(), names, batch_size=batch_size):
        while waiting[0].atoms is None:
            yield _row(waiting.popleft(), {}, predictor, with_training)
        yield _row(waiting.popleft(), result, predictor, with_training)
    while waiting:
        yield _row(waiting.popleft(), {}, predictor, with_training)


def _row(source: Source, result: Result, predictor: Predictor, with_training: bool) -> Row:
    if source.atoms is None:
        assert source.error is not None
        return Row(source.name, error=message_of(source.error))
    symbol, number = _space_group(source.atoms, result, predictor.symprec)
    return Row(
        source=source.name,
        formula=source.atoms.get_chemical_formula(),
        space_group=symbol,
        space_group_number=number,
        values={name: value for name, value in result.items() if name not in METADATA},
        status=result.get("status", ""),
        routes=result.get("routes"),
        training=training_remark(source.atoms, predictor.model.path) if with_training else "",
        errors=result.get("errors"),
        error=result.get("error", ""),
        atoms=source.atoms,
        result=result,
    )


def _space_group(atoms: Atoms, result: Result, symprec: float) -> tuple[str, int]:
    """The group that tensors were evaluated with; looked for where none was needed."""
    if "symmetry" in result:
        return result["symmetry"]["international"], result["symmetry"]["number"]
    if "error" in result or not atoms.pbc.all():
        return "", 0
    try:
        group = analyse_space_group(atoms, symprec)
    except Exception:  # the structure is good enough for an energy, though not for spglib
        return "", 0
    return group.international, group.number
