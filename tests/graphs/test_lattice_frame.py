"""The lattice frame depends on the lattice only: not on its basis, orientation, handedness or supercell."""

import itertools
import time

import numpy as np
import pytest
import spglib
from ase import Atoms, lattice
from ase.build import bulk
from ase.geometry import minkowski_reduce as ase_minkowski_reduce
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_comformer.crystals import spglib_calls
from ase_comformer.crystals.lattice_reduction import reduced_cell
from ase_comformer.errors import InvalidStructureError
from ase_comformer.graphs.lattice_frame import LatticeFrame, lattice_frame, primitive_lattice

BRAVAIS = {
    "CUB": lattice.CUB(3.3),
    "FCC": lattice.FCC(4.1),
    "BCC": lattice.BCC(2.9),
    "TET": lattice.TET(3.1, 4.7),
    "BCT flat": lattice.BCT(5.0, 2.9),
    "BCT long": lattice.BCT(3.0, 7.9),
    "ORC": lattice.ORC(3.1, 3.9, 5.2),
    "ORCF": lattice.ORCF(4.0, 5.1, 6.3),
    "ORCI": lattice.ORCI(3.3, 4.2, 5.9),
    "ORCC": lattice.ORCC(3.3, 4.4, 5.0),
    "HEX": lattice.HEX(3.2, 5.1),
    "HEX flat": lattice.HEX(5.2, 2.6),
    "RHL acute": lattice.RHL(4.1, 52.0),
    "RHL obtuse": lattice.RHL(4.1, 103.0),
    "MCL": lattice.MCL(3.2, 4.1, 5.3, 74.0),
    "MCLC": lattice.MCLC(5.1, 5.9, 7.2, 71.0),
    "TRI": lattice.TRI(3.3, 4.1, 5.2, 107.0, 100.0, 94.0),
    "slab": lattice.HEX(3.0, 70.0),
    "rod": lattice.TET(31.0, 2.9),
}
CELLS = {name: value.tocell().array for name, value in BRAVAIS.items()}


def canonical(frame: LatticeFrame) -> np.ndarray:
    """Rows (slot, x, y, z, weight) in an order that round-off cannot change."""
    rows = np.column_stack([frame.slots, frame.vectors, frame.weights])
    keys = np.round(rows[:, :4], 5) + 0.0
    return rows[np.lexsort(keys.T[::-1])]


def assert_same(first: LatticeFrame, second: LatticeFrame, atol: float = 1e-8) -> None:
    one, two = canonical(first), canonical(second)
    assert one.shape == two.shape
    np.testing.assert_allclose(one, two, rtol=0, atol=atol)


def rotated(frame: LatticeFrame, rotation: np.ndarray) -> LatticeFrame:
    return LatticeFrame(frame.vectors @ rotation.T, frame.slots, frame.weights)


def random_rotation(seed: int, improper: bool) -> np.ndarray:
    matrix, upper = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    return matrix * (np.sign(np.linalg.det(matrix)) * (-1 if improper else 1))


def random_basis(seed: int, steps: int = 6) -> np.ndarray:
    """Integer matrix of determinant +-1."""
    generator = np.random.default_rng(seed)
    matrix = np.eye(3, dtype=int)[generator.permutation(3)]
    for _ in range(steps):
        i, j = generator.permutation(3)[:2]
        matrix[i] += generator.integers(-2, 3) * matrix[j]
    return matrix


def holohedry(cell: np.ndarray) -> np.ndarray:
    operations = spglib.get_symmetry((cell, [[0, 0, 0]], [1]), symprec=1e-5)
    return np.array([cell.T @ w @ np.linalg.inv(cell.T) for w in np.asarray(operations["rotations"])])


def enumerate_frames(cell: np.ndarray, tolerance: float = 1e-3) -> LatticeFrame:
    """The rule spelled out: all signed triples, lengths and angles compared one after the other."""
    reduced = ase_minkowski_reduce(cell)[0]
    integers = np.array([c for c in itertools.product(range(-3, 4), repeat=3) if any(c)])
    vectors = integers @ reduced
    lengths = np.linalg.norm(vectors, axis=1)
    order = np.argsort(lengths, kind="stable")[:32]
    integers, vectors, lengths = integers[order], vectors[order], lengths[order]
    triples = []
    for i, j, k in itertools.permutations(range(len(vectors)), 3):
        if lengths[i] > lengths[0] * (1 + tolerance):
            continue
        if not np.cross(integers[i], integers[j]).any() or np.linalg.det(integers[[i, j, k]]).round() == 0:
            continue
        a, b, c = (vectors[m] / lengths[m] for m in (i, j, k))
        if a @ b < -tolerance or a @ c < -tolerance:
            continue
        key = (lengths[i], lengths[j], abs(a @ b), lengths[k], abs(a @ c), abs(b @ c))
        triples.append((key, (i, j, k)))
    for position in range(6):
        best = min(key[position] for key, _ in triples)
        scale = best if position in (0, 1, 3) else 1.0
        triples = [t for t in triples if t[0][position] <= best + tolerance * scale]
    slots, chosen, weights = [], [], []
    for slot in range(3):
        indices, counts = np.unique([t[1][slot] for t in triples], return_counts=True)
        slots += [slot] * len(indices)
        chosen += list(vectors[indices])
        weights += list(counts / len(triples))
    return LatticeFrame(np.array(chosen), np.array(slots), np.array(weights))


@pytest.mark.parametrize("name", CELLS)
def test_weights_of_each_slot_sum_to_one_and_signs_are_balanced(name):
    frame = lattice_frame(CELLS[name])
    np.testing.assert_allclose(np.bincount(frame.slots, weights=frame.weights), 1.0, atol=1e-12)
    assert_same(frame, rotated(frame, -np.eye(3)))
    assert frame.vectors.dtype == np.float64


@pytest.mark.parametrize("name", CELLS)
def test_candidates_are_mapped_onto_themselves_by_the_point_group_of_the_lattice(name):
    frame = lattice_frame(CELLS[name])
    operations = holohedry(CELLS[name])
    assert len(operations) in (2, 4, 8, 12, 16, 24, 48)
    for operation in operations:
        assert_same(frame, rotated(frame, operation))


@pytest.mark.parametrize("name", [name for name in CELLS if name not in ("slab", "rod")])
def test_agrees_with_the_rule_spelled_out_over_signed_triples(name):
    cell = CELLS[name]
    reduced, _ = reduced_cell(cell)
    # Enough vectors for the plain enumeration: everything up to the third minimum.
    assert np.linalg.norm(reduced[2]) < 2.7 * np.linalg.norm(reduced[0])
    assert_same(lattice_frame(cell), enumerate_frames(cell))


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(sorted(CELLS)),
    seed=st.integers(0, 2**31),
    improper=st.booleans(),
)
def test_frame_is_independent_of_the_basis_and_turns_with_the_lattice(name, seed, improper):
    cell, rotation = CELLS[name], random_rotation(seed, improper)
    turned = random_basis(seed) @ cell @ rotation.T
    assert_same(lattice_frame(turned), rotated(lattice_frame(cell), rotation))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**31), improper=st.booleans())
def test_random_triclinic_lattice_is_independent_of_basis_and_orientation(seed, improper):
    generator = np.random.default_rng(seed)
    cell = generator.normal(size=(3, 3)) * 4
    if abs(np.linalg.det(cell)) < 5:
        cell += 6 * np.eye(3)
    rotation = random_rotation(seed + 1, improper)
    assert_same(
        lattice_frame(random_basis(seed) @ cell @ rotation.T),
        rotated(lattice_frame(cell), rotation),
        atol=1e-7,
    )


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(CELLS)), seed=st.integers(0, 2**31), size=st.floats(1e-12, 5e-5))
def test_near_ties_are_chosen_as_ties(name, seed, size):
    """Noise far below the tolerance moves the candidates by no more than itself; weights stay."""
    noise = np.random.default_rng(seed).uniform(-size, size, (3, 3))
    cell = CELLS[name]
    clean, noisy = lattice_frame(cell), lattice_frame(random_basis(seed) @ (cell @ (np.eye(3) + noise)))
    assert len(noisy.slots) == len(clean.slots)
    distances = np.linalg.norm(noisy.vectors[:, None] - clean.vectors[None], axis=2)
    distances[noisy.slots[:, None] != clean.slots[None]] = np.inf
    partner = distances.argmin(axis=1)
    assert sorted(partner) == list(range(len(partner)))
    assert distances.min(axis=1).max() <= 4 * size * np.linalg.norm(clean.vectors, axis=1).max()
    np.testing.assert_allclose(noisy.weights, clean.weights[partner], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(CELLS)), seed=st.integers(0, 2**31))
def test_average_of_edge_features_is_invariant(name, seed):
    """What the edge update computes: a sum over slots of a non-linear function of length and angle."""

    def features(cell, edge):
        frame = lattice_frame(cell)
        lengths = np.linalg.norm(frame.vectors, axis=1)
        cosines = frame.vectors @ edge / lengths / np.linalg.norm(edge)
        values = np.exp(cosines - 0.3 * lengths) * np.sin(2 * cosines + frame.slots)
        return float((frame.weights * values).sum())

    edge = np.random.default_rng(seed).normal(size=3)
    rotation = random_rotation(seed, bool(seed % 2))
    reference = features(CELLS[name], edge)
    assert features(random_basis(seed) @ CELLS[name] @ rotation.T, rotation @ edge) == pytest.approx(
        reference, abs=1e-9
    )
    for operation in holohedry(CELLS[name]):
        assert features(CELLS[name], operation @ edge) == pytest.approx(reference, abs=1e-9)


def test_candidates_of_simple_lattices():
    """Counts and weights that follow by hand."""
    frame = lattice_frame(CELLS["CUB"])
    assert np.bincount(frame.slots).tolist() == [6, 6, 6]
    np.testing.assert_allclose(frame.weights, 1 / 6)
    assert np.bincount(lattice_frame(CELLS["FCC"]).slots).tolist() == [12, 12, 12]
    assert np.bincount(lattice_frame(CELLS["BCC"]).slots).tolist() == [8, 8, 8]
    hexagonal = lattice_frame(CELLS["HEX"])
    assert np.bincount(hexagonal.slots).tolist() == [6, 6, 2]
    np.testing.assert_allclose(np.abs(hexagonal.vectors[hexagonal.slots == 2, 2]), 5.1)
    triclinic = lattice_frame(CELLS["TRI"])
    assert np.bincount(triclinic.slots).tolist() == [2, 2, 2]
    # A slab: the long vector stands upright although leaning ones are longer by less than the tolerance.
    slab = lattice_frame(CELLS["slab"])
    np.testing.assert_allclose(np.abs(slab.vectors[slab.slots == 2]), [[0, 0, 70.0]] * 2, atol=1e-9)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("seed", range(5))
def test_minkowski_reduction_reaches_the_successive_minima(name, seed):
    cell = random_basis(seed, steps=10) @ CELLS[name]
    ours, theirs = reduced_cell(cell)[0], ase_minkowski_reduce(CELLS[name])[0]
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), np.sort(np.linalg.norm(theirs, axis=1)), rtol=1e-9)
    assert abs(np.linalg.det(ours)) == pytest.approx(abs(np.linalg.det(CELLS[name])))


def crystals() -> list[Atoms]:
    quartz_like = Atoms(
        "Si3",
        scaled_positions=[[0.47, 0, 0], [0, 0.47, 2 / 3], [0.53, 0.53, 1 / 3]],
        cell=CELLS["HEX"],
        pbc=True,
    )
    low = Atoms("LiF", scaled_positions=[[0, 0, 0], [0.31, 0.42, 0.57]], cell=CELLS["TRI"], pbc=True)
    return [
        bulk("NaCl", "rocksalt", a=5.64),
        bulk("Fe", cubic=True),
        bulk("Ti", "hcp", a=2.95, c=4.68),
        bulk("GaAs", "zincblende", a=5.65, cubic=True),
        quartz_like,
        low,
    ]


@pytest.mark.parametrize("atoms", crystals(), ids=lambda atoms: atoms.get_chemical_formula())
@pytest.mark.parametrize("multiples", [(2, 1, 1), (2, 2, 2), (1, 3, 2)])
def test_supercells_have_the_same_frame_in_the_orientation_of_the_input(atoms, multiples):
    rotation = random_rotation(7, improper=True)
    reference = lattice_frame(primitive_lattice(atoms))
    supercell = atoms.repeat(multiples)
    supercell.set_cell(supercell.cell.array @ rotation.T, scale_atoms=True)
    supercell.positions += [0.1, 0.7, -0.3]
    supercell = supercell[np.random.default_rng(1).permutation(len(supercell))]
    assert_same(lattice_frame(primitive_lattice(supercell)), rotated(reference, rotation))
    operations = holohedry(primitive_lattice(supercell))
    assert_same(rotated(reference, rotation), rotated(reference, operations[-1] @ rotation))


def test_primitive_lattice_is_not_rotated_and_has_the_primitive_volume():
    atoms = bulk("Cu", cubic=True)
    cell = primitive_lattice(atoms)
    assert abs(np.linalg.det(cell)) == pytest.approx(atoms.get_volume() / 4)
    multiples = atoms.cell.array @ np.linalg.inv(cell)
    np.testing.assert_allclose(multiples, multiples.round(), atol=1e-12)


def test_noise_below_symprec_does_not_reach_the_primitive_lattice():
    clean = bulk("NaCl", "rocksalt", a=5.64).repeat((2, 2, 1))
    noisy = clean.copy()
    noisy.rattle(5e-4, seed=3)
    assert_same(lattice_frame(primitive_lattice(noisy)), lattice_frame(primitive_lattice(clean)))


def test_failure_of_spglib_keeps_the_cell_and_warns(monkeypatch, caplog):
    atoms = bulk("Cu", cubic=True)

    class OwnError(Exception):
        pass

    def fail(*_, **__):
        raise OwnError("spacegroup type not found")

    monkeypatch.setattr(spglib_calls, "SpglibError", OwnError)

    for replacement in (fail, lambda *_, **__: None):
        caplog.clear()
        monkeypatch.setattr(spglib, "get_symmetry_dataset", replacement)
        np.testing.assert_array_equal(primitive_lattice(atoms), atoms.cell.array)
        assert "its cell is taken as primitive" in caplog.text


def test_bad_input_is_refused_with_the_remedy():
    with pytest.raises(InvalidStructureError, match="no volume"):
        lattice_frame(np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]]))
    with pytest.raises(InvalidStructureError, match="finite"):
        lattice_frame(np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="tolerance"):
        lattice_frame(np.eye(3), tolerance=0.0)
    with pytest.raises(InvalidStructureError, match="periodic"):
        primitive_lattice(Atoms("Cu", cell=np.eye(3) * 4, pbc=(True, True, False)))
    with pytest.raises(InvalidStructureError, match="no atoms"):
        primitive_lattice(Atoms(cell=np.eye(3), pbc=True))


def test_left_handed_cells_have_the_same_frame():
    cell = CELLS["MCLC"]
    assert_same(lattice_frame(cell), lattice_frame(cell[[1, 0, 2]]))
    assert_same(lattice_frame(cell), lattice_frame(-cell))


def test_a_frame_takes_a_few_milliseconds_at_most():
    cells = [random_basis(3) @ cell for cell in CELLS.values()]
    for cell in cells:
        lattice_frame(cell)
    start = time.process_time()
    for cell in cells:
        lattice_frame(cell)
    # 0.4 to 0.8 ms on one core; the bound leaves room for a busy machine.
    assert (time.process_time() - start) / len(cells) < 5e-3
