"""ReciprocalVectors of cells: all of them once, smooth weights, boxes for structures that are not periodic
everywhere."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from ase_comformer.errors import InvalidStructureError
from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.reciprocal_vectors import (
    COULOMB,
    batched_reciprocal_vectors,
    nonperiodic_directions,
    structure_reciprocal_vectors,
)

CUTOFF = 1.6
TRICLINIC = np.array([[7.0, 0.3, -0.2], [1.0, 6.0, 0.4], [-0.5, 0.8, 9.0]])


def test_coulomb_constant_is_that_of_the_textbooks() -> None:
    assert pytest.approx(14.399645, abs=1e-6) == COULOMB


def test_there_is_one_wave_of_each_pair_of_reciprocal_vectors() -> None:
    found = batched_reciprocal_vectors(TRICLINIC[None], CUTOFF).vector[0]
    grid = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    every = 2 * np.pi * grid @ np.linalg.inv(TRICLINIC).T
    length = np.linalg.norm(every, axis=1)
    expected = every[(length > 0) & (length < CUTOFF)]
    both = np.concatenate([found, -found])
    order, other = (np.lexsort(np.round(vectors, 6).T) for vectors in (both, expected))
    np.testing.assert_allclose(both[order], expected[other], atol=1e-12)


def test_small_cells_have_no_waves_and_long_waves_interact_as_charges() -> None:
    assert structure_reciprocal_vectors(bulk("MgO", "rocksalt", a=4.2), CUTOFF).weight.shape == (1, 0)
    long = batched_reciprocal_vectors(np.diag([200.0, 5.0, 5.0])[None], CUTOFF)
    k = np.linalg.norm(long.vector[0], axis=1)
    first = k.argmin()
    bare = 4 * np.pi * COULOMB / (200.0 * 25.0 * k[first] ** 2)
    assert long.weight[0, first] == pytest.approx(bare, rel=1e-3)


def test_slopes_are_the_derivatives_of_weights() -> None:
    def weights(cell: np.ndarray) -> np.ndarray:
        return batched_reciprocal_vectors(cell[None], CUTOFF).weight[0] * abs(np.linalg.det(cell))

    found = batched_reciprocal_vectors(TRICLINIC[None], CUTOFF)
    step = 1e-6
    for x in range(3):
        for y in range(3):
            strain = np.zeros((3, 3))
            strain[x, y] = step
            ahead, back = (weights(TRICLINIC @ (np.eye(3) + sign * strain)) for sign in (1, -1))
            # k_y changes by - strain_xy k_x
            slope = -found.slope[0, :, y] * found.vector[0, :, x] * abs(np.linalg.det(TRICLINIC))
            np.testing.assert_allclose((ahead - back) / (2 * step), slope, rtol=1e-5, atol=1e-4)


def test_weights_are_smooth_where_waves_appear() -> None:
    """The shortest wave of a cell that grows through the cut-off."""
    contact = 2 * np.pi / CUTOFF
    sizes = contact * (1 + np.array([-1e-3, 1e-4, 1e-3]))
    totals = [batched_reciprocal_vectors(size * np.eye(3)[None], CUTOFF).weight.sum() for size in sizes]
    assert totals[0] == 0
    assert totals[1] < 1e-2 * totals[2] < 1e-8


def test_boxes_leave_periodic_vectors_and_reach_beyond_the_atoms() -> None:
    slab = fcc111("Al", (1, 1, 3), vacuum=None)
    slab.pbc = (True, True, False)
    np.testing.assert_allclose(nonperiodic_directions(slab), np.diag([0, 0, 1]), atol=1e-12)
    assert structure_reciprocal_vectors(slab, CUTOFF).weight.shape[1] > 0
    water = molecule("H2O")
    np.testing.assert_allclose(nonperiodic_directions(water), np.eye(3), atol=1e-12)
    assert structure_reciprocal_vectors(water, CUTOFF).weight.shape == (1, 0)


def test_graphs_have_waves_where_settings_ask_for_them() -> None:
    atoms = Atoms("NaCl", [[0, 0, 0], [2.8, 0, 0]], cell=TRICLINIC, pbc=True)
    assert build_graph(atoms, GraphSettings(cutoff=4.0)).reciprocal_vector is None
    small = build_graph(bulk("Cu"), GraphSettings(cutoff=4.0, reciprocal_cutoff=CUTOFF))
    large = build_graph(atoms, GraphSettings(cutoff=4.0, reciprocal_cutoff=CUTOFF))
    both = collate([small, large])
    assert both.reciprocal_weight is not None
    assert both.reciprocal_weight.shape == (2, large.reciprocal_weight.shape[1])
    assert not both.reciprocal_weight[0].any()


def test_cells_of_too_many_waves_are_refused() -> None:
    with pytest.raises(InvalidStructureError, match=r"1e\+06 x 1e\+06 x 1e\+06 Å.*pbc = False"):
        structure_reciprocal_vectors(Atoms("Cu", cell=[1e6] * 3, pbc=True), CUTOFF)
    far = Atoms("Cu2", [[0, 0, 0], [0, 0, 1e6]], cell=[30, 30, 1], pbc=(True, True, False))
    with pytest.raises(InvalidStructureError, match="far from all others"):
        structure_reciprocal_vectors(far, CUTOFF)


def test_graphs_with_and_without_waves_are_not_joined() -> None:
    graphs = [build_graph(bulk("Na"), GraphSettings(cutoff=4.0, reciprocal_cutoff=cutoff)) for cutoff in (0.0, CUTOFF)]
    with pytest.raises(ValueError, match="reciprocal_vector"):
        collate(graphs)
