"""docs/papers.md names commands and files that exist, and quotes numbers that the commands printed."""

import importlib.util
import re
from pathlib import Path

import pytest
from typer.main import get_command

from ase_comformer.cli.application import application

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "papers.md"
COLUMNS = ("claim", "code", "command", "output", "paper", "ours", "why they differ")


def rows_of(text: str) -> list[dict[str, str]]:
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] != "claim" and not set(cells[0]) <= {"-"}:
            assert len(cells) == len(COLUMNS), line
            found.append(dict(zip(COLUMNS, cells, strict=True)))
    return found


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def squeezed(text: str) -> str:
    """The text with every run of spaces, line breaks and table borders as one space."""
    return re.sub(r"[\s│┃|]+", " ", text)


ROWS = rows_of(PAGE.read_text(encoding="utf-8"))


def missing_quotes(row: dict[str, str]) -> list[str]:
    """What a row says that ours is and no output of its says."""
    printed = squeezed(" ".join((ROOT / path).read_text(encoding="utf-8") for path in quoted(row["output"])))
    return [text for text in quoted(row["ours"]) if squeezed(text) not in printed]


def exists(command: str) -> bool:
    words = command.split()
    if words[:2] == ["python", "-m"]:
        return importlib.util.find_spec(words[2]) is not None
    if words[0] == "python":
        return (ROOT / words[1]).is_file()
    return words[0] == "ase-comformer" and words[1] in get_command(application).commands


def test_both_papers_have_their_claims():
    assert len(ROWS) >= 15
    assert all(row["claim"] and row["paper"] and row["ours"] for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["claim"][:40])
def test_what_a_row_names_exists_and_what_it_quotes_was_printed(row: dict[str, str]):
    for path in quoted(row["code"]) + quoted(row["output"]):
        assert (ROOT / path).is_file(), path
    for command in quoted(row["command"]):
        assert exists(command), command
    assert missing_quotes(row) == []
    if quoted(row["ours"]):
        assert quoted(row["output"]), "numbers without the output that they stand in"


def test_the_output_names_the_command_that_made_it():
    for row in ROWS:
        for command in quoted(row["command"]):
            text = "".join((ROOT / path).read_text(encoding="utf-8") for path in quoted(row["output"]))
            assert not text or f"$ {command}" in text, (command, row["output"])


def test_the_checks_find_out_what_is_wrong():
    row = {"output": "`docs/completeness.txt`", "ours": "`1.1e-13` and `9.9e-13`"}
    assert missing_quotes(row) == ["9.9e-13"]
    assert not exists("python -m benchmarks.no_such_table")
    assert not exists("ase-comformer no-such-command")
    assert exists("ase-comformer evaluate default")
