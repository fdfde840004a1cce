"""How results look in a terminal: every value of few structures, one line for each of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.properties.registry import tensor_property

if TYPE_CHECKING:
    from rich.console import Console

    from ase_comformer.workflows.predict_sources import Row

#: More structures than this get one line each.
MOST_IN_DETAIL = 4
#: Atoms whose tensors are shown.
MOST_ATOMS = 12
#: Columns of the table of many structures, beyond which details are left out.
MOST_COLUMNS = 8
#: Longest name of a source that is shown in one line.
_SOURCE_WIDTH = 30
_DETAILS = ("free_energy", "energies", "forces", "stress", "forces_uncertainty", "clamped_piezoelectric_tensor")


def show_rows(
    shown: Console, rows: Sequence[Row], names: Sequence[str], facts: Mapping[str, Mapping[str, Any]]
) -> None:
    """Print results: in detail, or as one table where there are many.

    Args:
        shown: where to.
        rows: results, in order.
        names: properties that were asked for.
        facts: what ``Predictor.describe`` says of each.
    """
    if len(rows) <= MOST_IN_DETAIL:
        for number, row in enumerate(rows):
            _show_in_detail(shown, number, row, names, facts)
    else:
        _show_table(shown, rows, names)


def _headlines(names: Sequence[str]) -> list[str]:
    """Choose what the table of many structures shows: a few of everything a model has, all of a short list."""
    if len(names) <= MOST_COLUMNS:
        return list(names)
    return [name for name in names if name not in _DETAILS]


#: Characters that the name of a quantity keeps on a narrow terminal.
_NAME_WIDTH = 20


def print_headline(shown: Console, row: Mapping[str, Any]) -> None:
    """Print which crystal a table is about: formula, space group and source of a row."""
    shown.print(f"[bold]{plain(row['formula'])}[/bold], {plain(row['space_group'])}, {plain(row['source'])}")


def values_table() -> Table:
    """A table of quantities: name with unit and functional, value."""
    table = Table("property", "value")
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].min_width = _NAME_WIDTH
    return table


def plus_minus(shown: Console) -> str:
    """The sign between a value and its error, as wide as the terminal shows it."""
    return "±" if shown.encoding.lower().startswith("utf") else "+-"


def quantity(name: str, unit: str, what: str = "") -> str:
    """The first cell of a row: a name, its unit and perhaps what it is, one below the other."""
    lines = [f"[bold]{escape(name)}[/bold]", *(escape(text) for text in (unit, what) if text)]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Text from a file or a message, in which square brackets are no markup and control characters are gone."""
    return escape("".join(character if character.isprintable() else " " for character in text))


def number_text(value: Any, most: int = MOST_ATOMS) -> str:
    """Write a number or an array with four digits or so; tensors of atoms beyond the first ``most`` are left out."""
    array = np.asarray(value, dtype=float)
    cut = array[:most] if array.ndim and len(array) > most else array
    largest = float(np.abs(cut[np.isfinite(cut)]).max(initial=0.0)) if cut.ndim else abs(float(cut))
    digits = min(max(3 - int(np.floor(np.log10(largest))), 0), 4) if largest > 0 else 0
    if array.ndim == 0:
        return f"{float(array):.{max(digits, 4 if largest < 1000 else 1)}f}" if largest < 1e6 else f"{float(array):.4e}"
    rounded = np.round(cut, digits) + 0.0
    text = np.array2string(rounded, precision=digits, suppress_small=True, max_line_width=110, threshold=10**6)
    return text if cut is array else f"{text}\n{len(array) - most} more atoms: --json shows all"


def told_route(route: Mapping[str, Any] | None) -> str:
    """Which route gave a tensor, in words; empty where there was no choice.

    Example:
        >>> told_route({"route": "combined", "response_weight": 0.4, "note": ""})
        'combined: 40 % response'
    """
    if route is None:
        return ""
    note = f" ({route['note']})" if route["note"] else ""
    if route["route"] == "combined":
        return f"combined: {100 * route['response_weight']:.0f} % response{note}"
    return f"{route['route']}{note}"


def with_error(value: Any, error: Any, sign: str = "±") -> str:
    """A value and its expected error: ``12.30 ± 0.41`` for scalars, both arrays for tensors."""
    if error is None:
        return number_text(value)
    if np.ndim(value) == 0:
        digits = max(0, 1 - int(np.floor(np.log10(float(error))))) if error and np.isfinite(error) else 4
        return f"{float(value):.{min(digits, 6)}f} {sign} {float(error):.{min(digits, 6)}f}"
    if np.ndim(error) == 0:
        return f"{number_text(value)}\n{sign} {float(error):.2g}"
    return f"{number_text(value)}\n{sign}\n{number_text(error)}"


def _show_in_detail(
    shown: Console, number: int, row: Row, names: Sequence[str], facts: Mapping[str, Mapping[str, Any]]
) -> None:
    group = f", {row.space_group} (No. {row.space_group_number})" if row.space_group else ""
    shown.print(f"[bold]{number}: {plain(row.formula or row.source)}[/bold]{plain(group)}, {plain(row.source)}")
    if row.error:
        shown.print(f"  {row.error}", style="red", markup=False, highlight=False)
        return
    if row.status not in ("", "ok"):
        shown.print(f"  {row.status}", style="yellow", markup=False, highlight=False)
    if row.training:
        shown.print(f"  {row.training}", style="dim", markup=False, highlight=False)
    values = row.values or {}
    table = values_table()
    for name in names:
        if name not in values or (name.endswith(UNCERTAINTY) and name.removesuffix(UNCERTAINTY) in values):
            continue
        described = facts[name]
        functional = described["functional"].partition(" (")[0]
        route = told_route((row.routes or {}).get(name))
        table.add_row(
            quantity(name, described["unit"], f"{functional}, {route}" if route else functional),
            with_error(values[name], values.get(name + UNCERTAINTY), plus_minus(shown)),
        )
    if table.rows:
        shown.print(table, highlight=False)
    for name, message in (row.errors or {}).items():
        shown.print(f"  {name}: {message}", style="red", markup=False, highlight=False)


def _show_table(shown: Console, rows: Sequence[Row], names: Sequence[str]) -> None:
    """One line per structure; columns that do not fit beside each other follow in further tables."""
    columns = [name for name in _headlines(names) if any(name in (row.values or {}) for row in rows)]
    columns = [
        name for name in columns if not name.endswith(UNCERTAINTY) or name.removesuffix(UNCERTAINTY) not in columns
    ]
    fixed = {
        "": [str(number) for number in range(len(rows))],
        "source": [plain(row.source) for row in rows],
        "formula": [plain(row.formula) for row in rows],
        "space\ngroup": [escape(row.space_group) if not row.error else "failed" for row in rows],
    }
    cells: dict[str, list[str]] = {}
    for name in columns:
        title, summary = _summary(name)
        cells[title.replace(" ", "\n")] = [_summary_text(shown, row.values or {}, name, summary) for row in rows]
    for some in _side_by_side(shown.width, fixed, cells) or [{}]:
        table = Table()
        for head in (*fixed, *some):
            table.add_column(
                head, no_wrap=head != "source", overflow="fold", justify="left" if head in fixed else "right"
            )
        table.columns[1].min_width = min(_width("source", fixed["source"]), _SOURCE_WIDTH)
        for line in zip(*fixed.values(), *some.values(), strict=True):
            table.add_row(*line)
        shown.print(table, highlight=False)
    for number, row in enumerate(rows):
        if row.error:
            shown.print(f"  {number}: {row.error}", style="red", markup=False, highlight=False)
        for name, message in (row.errors or {}).items() if not row.error else ():
            shown.print(f"  {number}, {name}: {message}", style="yellow", markup=False, highlight=False)


def _side_by_side(
    width: int, fixed: Mapping[str, list[str]], cells: Mapping[str, list[str]]
) -> list[dict[str, list[str]]]:
    """Columns in groups that fit into the width beside the fixed ones."""
    widths = {head: _width(head, texts) + 3 for head, texts in {**fixed, **cells}.items()}
    widths["source"] = min(widths["source"], _SOURCE_WIDTH + 3)
    room = width - 1 - sum(widths[head] for head in fixed)
    groups: list[dict[str, list[str]]] = []
    used = room + 1
    for head, texts in cells.items():
        if used + widths[head] > room:
            groups.append({})
            used = 0
        groups[-1][head] = texts
        used += widths[head]
    return groups


def _width(head: str, texts: Sequence[str]) -> int:
    return max(map(len, (*head.split("\n"), *texts)))


def _summary_text(shown: Console, values: Mapping[str, Any], name: str, summary: Callable[[Any], float]) -> str:
    if name not in values:
        return "-"
    error = values.get(name + UNCERTAINTY)
    if error is not None and np.ndim(error) == 0 and np.ndim(values[name]) == 0:
        return with_error(values[name], error, plus_minus(shown))
    return f"{summary(values[name]):.4g}"


def _summary(name: str) -> tuple[str, Callable[[Any], float]]:
    """Title with unit, and the function that gives the one number that stands for a property in a table."""
    entry = tensor_property(name)
    unit = "" if entry.unit.startswith("relative") else f" {entry.unit}"
    title = name.removesuffix("_tensor").removeprefix("born_effective_").replace("_", " ")
    if entry.rank == 0 and not entry.per_atom:
        return f"{title}{unit}", float
    if name == "elastic_tensor":
        from ase_comformer.physics.moduli import voigt_reuss_hill

        return "bulk modulus GPa", lambda value: float(voigt_reuss_hill(np.asarray(value)).bulk)
    if name == "stress":
        return f"pressure{unit}", lambda value: -float(np.asarray(value)[:3].mean())
    if entry.shape == (3, 3) and not entry.per_atom:
        return f"{title}, mean{unit}", lambda value: float(np.trace(value) / 3)
    return f"{title}, largest{unit}", lambda value: float(np.abs(value).max())
