"""Figures draw what they are given: values on axes, not only files that exist."""

import numpy as np
import pytest
from ase.build import bulk

pytest.importorskip("matplotlib")

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.physics.directional import youngs_modulus
from ase_comformer.plotting.directional import (
    dielectric_ellipsoid_figure,
    directional_figure,
    interactive_surface,
    piezoelectric_figure,
    youngs_modulus_figure,
)
from ase_comformer.plotting.parity import ParityPanel, panel_figure
from ase_comformer.plotting.style import as_svg, new_figure, saved, styled
from ase_comformer.plotting.symmetry import symmetry_figure
from ase_comformer.tensors.symmetry_report import symmetry_report

SILICON = np.diag([165.8] * 3 + [79.6] * 3)
SILICON[:3, :3] += 63.9 * (1 - np.eye(3))


def test_style_comes_and_goes():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with styled():
        assert matplotlib.rcParams["xtick.direction"] == "in"
        figure, axes = new_figure(1, 2)
        axes[0, 1].plot([0, 1], [1, 0])
    assert dict(matplotlib.rcParams) == before
    assert as_svg(figure).startswith("<svg")


def test_sections_show_the_values_along_their_circle(tmp_path):
    figure = youngs_modulus_figure(SILICON, tmp_path / "folder" / "young.png")
    assert (tmp_path / "folder" / "young.png").stat().st_size > 10_000
    sections = [axis for axis in figure.axes if axis.name == "polar"]
    assert len(sections) == 3
    angle, radius = sections[0].lines[0].get_data()
    assert radius[0] == pytest.approx(youngs_modulus(SILICON, [1, 0, 0]))
    assert radius[45] == pytest.approx(youngs_modulus(SILICON, [np.sqrt(0.5), np.sqrt(0.5), 0]))
    assert angle[90] == pytest.approx(np.pi / 2)


def test_negative_values_are_lines_of_their_own():
    figure = directional_figure(lambda n: n[..., 2])
    section = next(axis for axis in figure.axes if axis.name == "polar" and axis.get_xticklabels()[1].get_text() == "z")
    positive, negative = (line.get_data()[1] for line in section.lines)
    assert np.nanmax(positive) == pytest.approx(1)
    assert np.nanmax(negative) == pytest.approx(1)
    assert np.isnan(positive[np.isfinite(negative)]).all()


def test_piezoelectric_figure_knows_e_from_d():
    tensor = np.zeros((3, 6))
    tensor[0, 3] = tensor[1, 4] = tensor[2, 5] = 1.0  # zincblende
    for kind, factor in (("e", 2.0), ("d", 1.0)):
        figure = piezoelectric_figure(tensor, kind=kind)
        scale = next(axis for axis in figure.axes if axis.get_ylabel())
        assert scale.get_ylim()[1] == pytest.approx(3 * factor / np.sqrt(27), rel=0.02)


def test_ellipsoid_names_the_refractive_indices():
    figure = dielectric_ellipsoid_figure(np.diag([4.0, 4.0, 9.0]))
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["n = 2.000", "n = 2.000", "n = 3.000"]


@pytest.mark.parametrize("draw", [youngs_modulus_figure, dielectric_ellipsoid_figure])
def test_tensors_that_are_not_positive_definite_are_refused(draw):
    with pytest.raises(ValueError, match="positive"):
        draw(-np.eye(6 if draw is youngs_modulus_figure else 3))


def test_symmetry_figure_shows_every_component():
    group = analyse_space_group(bulk("ZnO", "wurtzite", a=3.25, c=5.2), 1e-2)
    tensor = np.arange(18.0).reshape(3, 6)
    figure = symmetry_figure(symmetry_report(group, {"piezoelectric_tensor": tensor}))
    (axis,) = figure.axes
    assert len(axis.texts) == 18
    assert sum(text.get_text() != "0" for text in axis.texts) == 5  # e15 = e24, e31 = e32, e33
    assert "3 independent" in axis.get_xlabel()
    with pytest.raises(ValueError, match="no tensor of the crystal"):
        symmetry_figure(symmetry_report(group, {}))


def test_error_bars_of_parity_plots_are_as_long_as_the_errors():
    errors = [0.5, 0.0, 2.0]
    panel = ParityPanel("eps", "", [3.0, 5.0, 9.0], [3.5, 5.0, 8.0], errors=errors, logarithmic=False)
    figure = panel_figure([panel])
    (bars,) = [c for c in figure.axes[0].collections if type(c).__name__ == "LineCollection"]
    lengths = [segment[1][1] - segment[0][1] for segment in bars.get_segments()]
    np.testing.assert_allclose(lengths, 2 * np.array(errors))
    with pytest.raises(ValueError, match="negative expected error"):
        panel_figure([ParityPanel("eps", "", [3.0], [3.5], errors=[-1.0])])


def test_interactive_surface_has_the_values():
    pytest.importorskip("plotly")
    (surface,) = interactive_surface(lambda n: youngs_modulus(SILICON, n), unit="GPa").data
    assert np.asarray(surface.surfacecolor).max() == pytest.approx(187.9, abs=0.1)


def test_saved_returns_the_figure_without_a_path():
    with styled():
        figure, _ = new_figure()
    assert saved(figure, None) is figure


def test_points_far_from_the_diagonal_are_named() -> None:
    panel = ParityPanel(
        "C", "GPa", [100.0, 200.0, 50.0], [101.0, 390.0, 20.0], labels=["MgO C11", "TiO2 C33", "SiO2 C14"]
    )
    assert panel.outliers() == [(50.0, 20.0, "SiO2 C14"), (200.0, 390.0, "TiO2 C33")]
    (axis, *_) = panel_figure([panel]).axes
    assert {text.get_text() for text in axis.texts} == {"SiO2 C14", "TiO2 C33"}
    linear = ParityPanel("E", "eV", [-3.0, 0.0], [-2.9, 1.0], labels=["a", "b"], logarithmic=False)
    assert [label for _, _, label in linear.outliers()] == ["b"]
