"""What commands share of the terminal: consoles, JSON, errors in one line, terminals that know only ASCII."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import typer
from rich.console import Console

Item = TypeVar("Item")

#: What is printed for characters that the terminal cannot show.
_SPELLED_OUT = {"Å": "A", "×": "x", "ε": "eps", "±": "+-", "–": "-", "—": "-", "…": "...", "•": "*"}


def make_streams_tolerant() -> None:
    """Spell out characters that standard output or error cannot encode, instead of failing on them."""
    codecs.register_error("spelled_out", _spelled_out)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="spelled_out")


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    bad = error.object[error.start : error.end]
    return "".join(_SPELLED_OUT.get(character, "-" if "─" <= character <= "╿" else "?") for character in bad), error.end


def console(stderr: bool = False) -> Console:
    """A console for tables; a file or a pipe has no width, and 80 columns would break them."""
    found = Console(stderr=stderr, soft_wrap=True)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = 160
    return found


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many there were so far and how fast they come; yields what is called with a number."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield lambda count: None
        return
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), TextColumn("{task.completed}"), TimeElapsedColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task(what, total=None, rate="")

        def advance(count: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=count, rate=f"{speed:.1f}/s" if speed else "")

        yield advance


def counted(items: Iterable[Item], what: str) -> Iterator[Item]:
    """Pass items on, and show on a terminal how many there were so far."""
    with counting(what) as advance:
        for item in items:
            advance(1)
            yield item


def complain(problem: Exception | str, remark: str = "", style: str = "red") -> None:
    """Print an error or a warning as one line on standard error."""
    text = f"{type(problem).__name__}: {problem}" if isinstance(problem, Exception) else problem
    line = " ".join(f"{text} {remark}".split())
    console(stderr=True).print(line, style=style, markup=False, highlight=False)


def print_json(value: Any) -> None:
    """Print JSON; arrays become lists."""
    typer.echo(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON-able")


def indented(value: Any) -> str:
    """A number or array as text, four columns to the right."""
    text = np.array2string(np.asarray(value), precision=4, suppress_small=True, max_line_width=120)
    return "\n".join(f"    {line}" for line in text.splitlines())
