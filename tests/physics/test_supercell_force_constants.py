"""Force constants from few displacements are those that phonopy finds with all of its own search."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.physics.phonopy_bridge import phonopy_of_group, phonopy_with_forces, set_forces

Surface = Callable[[Sequence[Atoms]], list[tuple[np.ndarray, np.ndarray]]]


def wurtzite() -> SpaceGroup:
    return analyse_space_group(bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382))


def rocksalt() -> SpaceGroup:
    return analyse_space_group(bulk("MgO", "rocksalt", a=4.3))


def low_symmetry() -> SpaceGroup:
    atoms = Atoms(
        "ZnOZn",
        cell=[3.6, 4.1, 5.0, 90, 103, 90],
        scaled_positions=[(0, 0, 0), (0.4, 0, 0.5), (0.5, 0.5, 0.1)],
        pbc=True,
    )
    return analyse_space_group(atoms)


def ours(group: SpaceGroup, matrix: np.ndarray, surface: Surface, displacement: float = 1e-3):
    phonon, symmetry = phonopy_of_group(group, matrix)
    copies = symmetry.displaced_copies(displacement)
    set_forces(phonon, symmetry, copies, [forces for forces, _ in surface([copy.structure for copy in copies])])
    return phonon, copies


@pytest.mark.parametrize(
    ("make", "matrix"),
    [
        (wurtzite, np.diag([2, 2, 1])),
        (rocksalt, np.diag([2, 2, 2])),
        (rocksalt, np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])),
        (rocksalt, np.diag([1, 2, 3])),
        (low_symmetry, np.array([[2, 0, 0], [0, 1, 0], [1, 0, 2]])),
    ],
    ids=["wurtzite", "primitive", "conventional", "supercell of less symmetry", "monoclinic"],
)
@pytest.mark.filterwarnings("ignore:Warning. Point group symmetries")
def test_they_are_phonopys(make: Callable[[], SpaceGroup], matrix: np.ndarray, smooth_surface: Surface) -> None:
    group = make()
    phonon, _ = ours(group, matrix, smooth_surface)
    expected = phonopy_with_forces(
        group.primitive, matrix, lambda structures: [f for f, _ in smooth_surface(structures)], distance=1e-3
    )
    q = np.random.default_rng(0).random((6, 3))
    for each in (phonon, expected):
        each.run_qpoints(q)
    np.testing.assert_allclose(phonon.qpoints.frequencies, expected.qpoints.frequencies, atol=2e-4)


def test_they_obey_sum_rule_exchange_and_every_operation(smooth_surface: Surface) -> None:
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc

    phonon, _ = ours(wurtzite(), np.diag([2, 2, 1]), smooth_surface)
    full = compact_fc_to_full_fc(phonon.primitive, phonon.force_constants)
    scale = np.abs(full).max()
    np.testing.assert_allclose(full.sum(axis=1), 0, atol=1e-12 * scale)
    np.testing.assert_allclose(full, full.transpose(1, 0, 3, 2), atol=1e-12 * scale)
    symmetry = phonon.symmetry  # found by phonopy
    lattice = phonon.supercell.cell.T
    operations = zip(symmetry.symmetry_operations["rotations"], symmetry.atomic_permutations, strict=True)
    for rotation, moved in list(operations)[::7]:
        turn = lattice @ rotation @ np.linalg.inv(lattice)
        np.testing.assert_allclose(full[np.ix_(moved, moved)], turn @ full @ turn.T, atol=1e-10 * scale)


def test_symmetry_leaves_one_displacement_of_each_atom_of_rocksalt() -> None:
    copies = phonopy_of_group(rocksalt(), np.diag([4, 4, 4]))[1].displaced_copies(0.01)
    assert [copy.atom for copy in copies] == [0, 1]
    assert all(copy.group.order == 8 for copy in copies)


@pytest.mark.parametrize("make", [wurtzite, rocksalt, low_symmetry])
def test_the_group_of_a_copy_maps_it_onto_itself(make: Callable[[], SpaceGroup]) -> None:
    _, symmetry = phonopy_of_group(make(), np.diag([2, 2, 3]))
    for copy in symmetry.displaced_copies(0.01):
        group, scaled = copy.group, copy.structure.get_scaled_positions(wrap=False)
        images = np.einsum("gxy,ny->gnx", group.fractional_rotations, scaled) + group.translations[:, None]
        np.testing.assert_allclose(images, scaled[group.permutations] + group.lattice_shifts, atol=1e-9)


def test_a_displacement_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        phonopy_of_group(rocksalt(), np.eye(3, dtype=int))[1].displaced_copies(0.0)
