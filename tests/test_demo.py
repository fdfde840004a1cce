"""The demo prints every crystal beside published values and writes its figure; its structures are what they claim."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ase_comformer import demo
from ase_comformer.reference_values import DEMO_CRYSTALS
from ase_comformer.symmetry import analyse_space_group

SPACE_GROUPS = {"MgO": 225, "GaAs": 216, "AlN": 186, "TiO2 (rutile)": 136, "SiO2 (quartz)": 152, "BaTiO3 (P4mm)": 99}


@pytest.mark.parametrize("entry", DEMO_CRYSTALS, ids=lambda entry: entry.name)
def test_structures_have_their_space_group_and_sensible_bonds(entry) -> None:
    atoms = entry.build()
    assert analyse_space_group(atoms, 1e-3).number == SPACE_GROUPS[entry.name]
    distances = atoms.repeat(2).get_all_distances(mic=True)
    assert 1.58 < distances[distances > 0].min() < 2.5


def test_quartz_silicon_has_four_oxygens_at_the_known_distance() -> None:
    quartz = next(entry for entry in DEMO_CRYSTALS if "quartz" in entry.name).build()
    distances = np.sort(quartz.get_distances(0, range(3, 9), mic=True))
    assert np.allclose(distances[:4], 1.61, atol=0.015)


def test_demo_prints_all_crystals_and_writes_the_figure(tmp_path: Path) -> None:
    text = StringIO()
    results = demo.run(figure=tmp_path / "demo.png", console=Console(file=text, width=150))
    for entry, result in zip(DEMO_CRYSTALS, results, strict=True):
        assert entry.name in text.getvalue()
        for value in entry.values:
            assert np.shape(result[value.property])[-len(value.index) :] or value.index == ()
    assert (tmp_path / "demo.png").stat().st_size > 10_000
