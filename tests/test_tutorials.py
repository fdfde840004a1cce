"""Every tutorial runs from the first cell to the last and prints what it promises."""

import runpy
from pathlib import Path

import pytest

from ase_comformer.models.registry import load_model

FOLDER = Path(__file__).parents[1] / "tutorials"
#: tutorial -> what it prints, property that the shipped model must have, package beside those of the core
TUTORIALS = {
    "01_query_tensors": ("dielectric", "piezoelectric_tensor", None),
    "02_relax": ("bulk modulus", "stress", None),
    "03_phonons": ("THz", "forces", "phonopy"),
    "05_fields": ("by response", "clamped_piezoelectric_tensor", None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    promised, property_name, package = TUTORIALS[name]
    if package:
        pytest.importorskip(package)
    if property_name not in load_model("default").properties:
        pytest.skip(f"the default bundle has no {property_name}")
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert promised in capsys.readouterr().out


def test_every_tutorial_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(TUTORIALS)
