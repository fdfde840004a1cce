"""The recipes of docs/interop.md, each where its package is installed (.ci/peers): all relax MgO to one volume."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk

from ase_comformer import respond

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"
#: Heading of the recipe -> module of the package.
RECIPES = {
    "matcalc": "matcalc",
    "quacc": "quacc",
    "atomate2": "atomate2",
    "janus-core": "janus_core",
    "torch-sim": "torch_sim",
}


def recipe(heading: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    """Names that the code of a section leaves."""
    monkeypatch.chdir(folder)
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1]
    code = section.split("```python\n", 1)[1].split("```", 1)[0]
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(code, f"{PAGE.name}: {heading}", "exec"), names)
    return names


@pytest.mark.parametrize("heading", RECIPES)
def test_recipes_relax_to_the_volume_of_respond(heading, monkeypatch, tmp_path):
    if importlib.util.find_spec(RECIPES[heading]) is None:
        pytest.skip(f"{heading} is not installed")
    expected = respond(bulk("MgO", "rocksalt", a=4.35), relax="cell", fmax=1e-4).primitive.cell.volume
    assert recipe(heading, monkeypatch, tmp_path)["volume"] == pytest.approx(expected, rel=2e-3)


def test_tensors_and_records_of_the_page(monkeypatch, tmp_path):
    pytest.importorskip("pymatgen.core")
    found = recipe("Tensors out, as pymatgen's objects", monkeypatch, tmp_path)
    assert type(found["elastic"]).__name__ == "ElasticTensor"
    pytest.importorskip("pyarrow")
    assert recipe("Results to and from files", monkeypatch, tmp_path)["value"].unit == "GPa"
