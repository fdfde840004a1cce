"""Maps of tensors show every entry, mark what symmetry forbids, and name what is not zero there."""

import numpy as np
import pytest
from ase.build import bulk

pytest.importorskip("matplotlib")

from ase_comformer.crystals.neighbour_search import pairs_within
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.plotting.crystal_graphs import (
    crystal_graph_figure,
    edge_orbit_numbers,
    lattice_frame_figure,
)
from ase_comformer.plotting.tensor_maps import TensorComparison, tensor_map_figure
from ase_comformer.tensors.forbidden import forbidden_entries
from benchmarks import nye

ZINCBLENDE = np.zeros((3, 6))
ZINCBLENDE[[0, 1, 2], [3, 4, 5]] = 0.7


def panel(predicted: np.ndarray, title: str = "GaAs") -> TensorComparison:
    return TensorComparison(title, ZINCBLENDE, predicted, ZINCBLENDE == 0)


def test_forbidden_entries_are_crossed_out_and_others_have_their_number():
    (axis,) = tensor_map_figure([panel(ZINCBLENDE)]).axes
    texts = [text.get_text() for text in axis.texts]
    assert texts.count("×") == 2 * 15
    assert texts.count("0.70") == 2 * 3
    assert {"DFT", "predicted"} < set(texts)


def test_a_forbidden_entry_that_is_not_zero_is_shown_with_a_frame():
    wrong = ZINCBLENDE.copy()
    wrong[2, 2] = 0.05
    (axis,) = tensor_map_figure([panel(wrong)]).axes
    assert [text.get_text() for text in axis.texts].count("×") == 2 * 15 - 1
    framed = [patch for patch in axis.patches if patch.get_linewidth() > 1 and not patch.get_fill()]
    # columns of the prediction start after six of the reference and a gap
    assert [round(patch.get_x() - 6.5) for patch in framed] == [2]
    assert panel(wrong).violations()[1].sum() == 1
    assert not panel(wrong).violations()[0].any()


def test_panels_have_one_shape_and_finite_values():
    with pytest.raises(ValueError, match="one shape"):
        tensor_map_figure([panel(np.eye(3))])
    with pytest.raises(ValueError, match="not finite"):
        tensor_map_figure([panel(np.full((3, 6), np.nan))])
    with pytest.raises(ValueError, match="at least one panel"):
        tensor_map_figure([])
    with pytest.raises(ValueError, match="arrays of one shape"):
        tensor_map_figure([panel(ZINCBLENDE), TensorComparison("", np.eye(3), np.eye(3), np.eye(3) == 0)])


@pytest.mark.parametrize("name", ["dielectric_tensor", "piezoelectric_tensor", "elastic_tensor"])
def test_forbidden_entries_are_those_of_nyes_tables(name: str):
    for atoms, point_group in (
        (bulk("ZnO", "wurtzite", a=3.25, c=5.2), "6mm"),
        (bulk("GaAs", "zincblende", a=5.65, cubic=True), "-43m"),
    ):
        expected = np.zeros(forbidden_entries(name, analyse_space_group(atoms)).shape, dtype=bool)
        for index in nye.pattern(name, point_group).zeros:
            expected[index] = True
            if expected.shape[0] == expected.shape[1]:
                expected[index[::-1]] = True
        np.testing.assert_array_equal(forbidden_entries(name, analyse_space_group(atoms)), expected)


def test_edges_of_one_orbit_have_one_length_and_the_orbits_of_rocksalt_are_its_shells():
    group = analyse_space_group(bulk("MgO", "rocksalt", a=4.2))
    pairs = pairs_within(group.primitive, 3.0)
    orbit = edge_orbit_numbers(group, pairs)
    assert sorted(np.bincount(orbit)) == [6, 6, 12, 12]
    for number in range(4):
        assert np.ptp(pairs.distance[orbit == number]) < 1e-9


def test_the_reduced_graph_is_drawn_with_the_sizes_of_its_orbits(tmp_path):
    group = analyse_space_group(bulk("MgO", "rocksalt", a=4.2))
    figure = crystal_graph_figure(group, 3.0, tmp_path / "graph.png")
    whole, reduced = figure.axes
    assert "36 directed edges" in whole.get_title()
    assert "2 nodes, 4 edges" in reduced.get_title()
    texts = [text.get_text() for text in reduced.texts]
    assert sum(text == "×6, 2.10 Å" for text in texts) == 2
    assert sum(text == "×12, 2.97 Å" for text in texts) == 2
    assert (tmp_path / "graph.png").stat().st_size > 5_000


def test_the_frame_is_drawn_with_its_lengths_and_how_many_tie():
    skew = bulk("MgO", "rocksalt", a=4.2)
    skew.set_cell([[3.0, 0, 0], [0.4, 3.5, 0], [0.5, 0.6, 4.0]], scale_atoms=True)
    triclinic, cubic = lattice_frame_figure([("skew", skew), ("cubic", bulk("Cu", "sc", a=3.0))]).axes
    assert triclinic.get_title() == "skew: one frame and its inverse"
    assert cubic.get_title() == "cubic: 48 frames tie"
    lengths = [text.get_text().split(", ")[1] for text in triclinic.texts if "mathbf{e}" in text.get_text()]
    assert lengths == ["3.00 Å", "3.52 Å", "4.08 Å"]
    with pytest.raises(ValueError, match="at least one crystal"):
        lattice_frame_figure([])
