"""The demo shows every crystal beside published values and writes its figure; its structures and values are sane."""

import re
import sys
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.demo import tables as demo
from ase_comformer.demo.reference_values import component_index, reference_crystals
from ase_comformer.plotting.parity import ParityPanel, panel_figure, parity_figure
from ase_comformer.tensors.forms import tensor_property
from ase_comformer.tensors.symmetry_report import independent_components, project

CRYSTALS = reference_crystals()
STRUCTURES = demo.demo_structures()


@pytest.fixture(scope="module")
def shown(tiny_model, tmp_path_factory):
    """Text and result of one run with random weights."""
    text = StringIO()
    figure = tmp_path_factory.mktemp("demo") / "figures" / "demo.png"
    result = demo.run(figure, Console(file=text, width=80, soft_wrap=True), model=tiny_model)
    return text.getvalue(), result


@pytest.mark.parametrize("entry", CRYSTALS, ids=lambda entry: entry.name)
def test_structures_have_their_space_group_and_sensible_bonds(entry):
    atoms = STRUCTURES[entry.name]
    assert analyse_space_group(atoms, 1e-3).number == entry.spacegroup
    distances = atoms.repeat(2).get_all_distances(mic=True)
    assert 1.58 < distances[distances > 0].min() < 2.5


def test_quartz_silicon_has_four_oxygens_at_the_known_distance():
    distances = np.sort(STRUCTURES["SiO2"].get_distances(0, range(3, 9), mic=True))
    np.testing.assert_allclose(distances[:4], 1.61, atol=0.015)


def test_stated_sides_of_the_split_follow_the_rule():
    pytest.importorskip("pymatgen")
    from ase_comformer.training.data.records import split_of

    assert {entry.name: entry.split for entry in CRYSTALS} == {entry.name: split_of(entry.name) for entry in CRYSTALS}


@pytest.mark.parametrize("entry", CRYSTALS, ids=lambda entry: entry.name)
def test_published_components_are_allowed_by_symmetry(entry):
    group = analyse_space_group(STRUCTURES[entry.name], 1e-3)
    for reference in entry.references:
        spec = tensor_property(reference.property_name)
        if spec.rank == 0:
            continue
        random = np.random.default_rng(1).normal(size=(len(STRUCTURES[entry.name]), *spec.shape))
        allowed = project(reference.property_name, random if spec.per_atom else random[0], group)
        if reference.site:
            allowed = allowed[STRUCTURES[entry.name].symbols.indices()[reference.site][0]]
        for key in reference.components:
            assert abs(allowed[component_index(key)]) > 1e-6, (entry.name, reference.property_name, key)
        assert len(reference.components) <= independent_components(reference.property_name, group)


@pytest.mark.parametrize("entry", CRYSTALS, ids=lambda entry: entry.name)
def test_published_values_are_physical(entry):
    values = {}
    for reference in entry.references:
        for key, value in reference.components.items():
            values.setdefault(reference.property_name, {})[key] = value
    for key, value in values["dielectric_tensor"].items():
        assert 1 < value <= values.get("static_dielectric_tensor", {}).get(key, np.inf)
    assert -5 < values["formation_energy"][""] < 0
    c = values["elastic_tensor"]
    assert c["11"] > abs(c["12"])
    assert c.get("33", c["11"]) * (c["11"] + c["12"]) > 2 * c.get("13", c["12"]) ** 2
    assert min(c["44"], c.get("66", c["44"])) > 0


def test_every_source_has_a_kind_and_a_year():
    for reference in (reference for entry in CRYSTALS for reference in entry.references):
        assert reference.source.kind == "experiment" or reference.source.kind.startswith("DFT (")
        assert re.search(r"\((CRC Press, )?(19|20)\d\d\)", reference.source.text), reference.source


def test_demo_shows_every_crystal_with_predicted_and_published_values(shown):
    text, result = shown
    assert not result.problems
    for entry in CRYSTALS:
        assert f"\n{entry.name}, {entry.structure}, space group {entry.spacegroup}" in text
        rows = [row for row in result.rows if row.crystal == entry.name]
        published = sum(len(reference.components) for reference in entry.references)
        assert sum(row.published is not None for row in rows) == published
        assert all(row.label in text and f"{row.predicted:.3f}" in text for row in rows)
    for reference in (reference for entry in CRYSTALS for reference in entry.references):
        assert reference.source.text in text


def test_demo_writes_the_figure(shown):
    text, result = shown
    assert result.figure.stat().st_size > 10_000
    assert str(result.figure) in text


def test_signs_that_depend_on_the_setting_do_not_count(shown):
    rows = [row for row in shown[1].rows if row.label == "|e14|"]
    assert len(rows) == 2
    assert all(row.published > 0 and row.predicted >= 0 for row in rows)
    polar = [row for row in shown[1].rows if row.crystal == "AlN" and row.property_name == "piezoelectric_tensor"]
    assert sum(row.predicted * row.published for row in polar) >= 0


def test_without_matplotlib_the_demo_says_so_and_goes_on(tiny_model, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = StringIO()
    result = demo.run(tmp_path / "demo.png", Console(file=text, width=80, soft_wrap=True), model=tiny_model)
    assert result.figure is None
    assert not (tmp_path / "demo.png").exists()
    assert "pip install 'ase-comformer[plot]'" in text.getvalue()
    assert "BaTiO3" in text.getvalue()


def test_panels_leave_out_what_a_logarithm_cannot_show():
    reference, predicted, *_ = ParityPanel("x", "", [1.0, -1.0, 2.0], [1.0, 1.0, 0.0]).arrays()
    assert reference.tolist() == predicted.tolist() == [1.0]
    with pytest.raises(ValueError, match="unequal lengths"):
        ParityPanel("x", "", [1.0], [1.0, 2.0]).arrays()
    with pytest.raises(ValueError, match="at least one panel"):
        panel_figure([])


def test_parity_figure_of_many_points(tmp_path):
    values = np.random.default_rng(0).uniform(1, 30, (2, 500))
    path = parity_figure(
        {"dielectric_tensor": tuple(values), "elastic_tensor": tuple(values)}, tmp_path / "a" / "b.png"
    )
    assert path.stat().st_size > 5_000
