"""Which crystals descriptions of different depth tell apart, and crystals rebuilt from edge features."""

import numpy as np
import pytest

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.neighbours import GraphSettings
from benchmarks.colour_refinement import look_the_same, without_low_moments
from benchmarks.completeness import DIFFERENT, SUBJECTS, ZERO, relative_difference
from benchmarks.degenerate_crystals import pairs
from benchmarks.reconstruction import SETTINGS, features_of, largest_deviation, rebuild
from symmetric_crystals import crystals

PAIRS = {pair.name: pair for pair in pairs()}
NETWORKS = {subject.name: subject for subject in SUBJECTS}
#: Whether distances, sums over angles, and edges with angles tell the pair apart.
TOLD_APART = {
    "fcc and hcp": (False, True, True),
    "equal angles, in a box": (False, False, True),
    "molecule turned in its box": (False, False, False),
    "signs of cosines": (False, True, True),
    "rocksalt and zincblende": (True, True, True),
}


@pytest.mark.parametrize("name", TOLD_APART)
def test_colour_refinement_grows_sharper_with_angles(name: str):
    pair = PAIRS[name]
    graphs = [build_graph(atoms, GraphSettings(cutoff=pair.cutoff)) for atoms in (pair.first, pair.second)]
    found = [not look_the_same(*graphs, angles=angles) for angles in (None, "sums", "edges")]
    assert tuple(found) == TOLD_APART[name]


def test_close_packed_layers_have_no_moments_of_low_order_and_quartz_has():
    for name, expected in (("fcc and hcp", True), ("left and right quartz", False)):
        graph = build_graph(PAIRS[name].second, GraphSettings(cutoff=PAIRS[name].cutoff))
        assert without_low_moments(graph) is expected


@pytest.mark.parametrize(
    ("network", "pair", "differs"),
    [
        ("distances", "fcc and hcp", False),
        ("iComFormer", "fcc and hcp", True),
        ("angle sums", "equal angles, in a box", False),
        ("iComFormer", "equal angles, in a box", True),
        ("three-body", "molecule turned in its box", False),
        ("iComFormer", "molecule turned in its box", True),
        ("iComFormer, slots", "signs of cosines", False),
        ("iComFormer", "signs of cosines", True),
        ("iComFormer", "triclinic and its mirror image", False),
        ("iComFormer, right-handed", "triclinic and its mirror image", True),
    ],
)
def test_networks_tell_apart_what_theory_says(network: str, pair: str, differs: bool):
    value = relative_difference(NETWORKS[network], PAIRS[pair])
    assert value > DIFFERENT if differs else value < ZERO


def test_crystals_are_rebuilt_from_edge_features():
    for atoms in crystals():
        primitive = analyse_space_group(atoms).primitive
        graph = build_graph(primitive, SETTINGS)
        assert graph.frame_vector is not None
        frame = graph.frame_vector[:3].numpy()
        assert largest_deviation(rebuild(features_of(graph)), primitive, frame) < 1e-9
        shaken = primitive.copy()
        shaken.positions += np.random.default_rng(0).normal(scale=0.05, size=shaken.positions.shape)
        if len(shaken) > 1:
            assert largest_deviation(rebuild(features_of(graph)), shaken, frame) > 1e-3
