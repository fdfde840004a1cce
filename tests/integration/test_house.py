"""One query stays a short walk through the package, and no module grows beyond what can be read at once."""

from pathlib import Path

import pytest

import ase_comformer
from benchmarks.house import calls_of, lines_of

#: Lines of a module.
LONGEST = 350


@pytest.mark.parametrize(("name", "most"), [("dielectric_tensor", 600), ("energy", 200)])
def test_a_query_makes_few_calls_inside_the_package(name: str, most: int) -> None:
    calls = calls_of(name)
    assert calls["calculator.py"] > 0
    assert sum(calls.values()) <= most, calls


def test_no_module_is_longer_than_can_be_read_at_once() -> None:
    lines = lines_of(Path(ase_comformer.__file__).parents[1])
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
