"""Every tutorial runs from the first cell to the last and prints what it promises."""

import runpy
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path), run_name="__main__")
    assert "dielectric" in capsys.readouterr().out


def test_there_is_a_tutorial() -> None:
    assert TUTORIALS
