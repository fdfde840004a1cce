"""``phonons`` with the shipped model: what phonopy reads back, LO-TO splitting, and honesty about instabilities."""

from pathlib import Path

import numpy as np
import phonopy
import pytest
from ase.build import bulk
from ase.spacegroup import crystal

from ase_comformer import phonons, write_born
from ase_comformer.errors import InvalidStructureError, UnknownNameError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.phonons import Phonons, commensurate_points

pytestmark = pytest.mark.filterwarnings("ignore:.*GPa at rest")

Q = np.random.default_rng(0).uniform(-0.5, 0.5, (12, 3))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(dtype="float64")


@pytest.fixture(scope="module")
def aluminium_nitride(predictor: Predictor) -> Phonons:
    return phonons(bulk("AlN", "wurtzite", a=3.13, c=5.02), supercell=(3, 3, 2), gruneisen=True, predictor=predictor)


@pytest.fixture(scope="module")
def salt(predictor: Predictor) -> Phonons:
    return phonons(bulk("NaCl", "rocksalt", a=5.64), predictor=predictor)


def without_noise(frequencies: np.ndarray) -> np.ndarray:
    """Signed squares: at Gamma a rounding error of the dynamical matrix is a frequency of 1e-6 THz."""
    return np.sign(frequencies) * frequencies**2


def test_phonopy_load_reproduces_every_frequency(aluminium_nitride: Phonons, tmp_path: Path) -> None:
    aluminium_nitride.write(tmp_path)
    loaded = phonopy.load(tmp_path / "phonopy_params.yaml")
    loaded.run_qpoints(Q)
    np.testing.assert_allclose(loaded.qpoints.frequencies, aluminium_nitride.frequencies(Q), atol=1e-6)
    loaded.run_qpoints([[0, 0, 0]], nac_q_direction=aluminium_nitride.primitive.cell.array @ [1, 0, 0])
    expected = aluminium_nitride.frequencies([0, 0, 0], direction=[1, 0, 0])
    np.testing.assert_allclose(without_noise(loaded.qpoints.frequencies[0]), without_noise(expected), atol=1e-6)


def test_force_sets_and_born_say_the_same_as_the_yaml_file(aluminium_nitride: Phonons, tmp_path: Path) -> None:
    aluminium_nitride.write(tmp_path)
    loaded = phonopy.load(
        unitcell=aluminium_nitride.phonopy.unitcell,
        supercell_matrix=aluminium_nitride.supercell.T,
        primitive_matrix="P",
        force_sets_filename=tmp_path / "FORCE_SETS",
        born_filename=tmp_path / "BORN",
    )
    loaded.run_qpoints(Q)
    np.testing.assert_allclose(loaded.qpoints.frequencies, aluminium_nitride.frequencies(Q), atol=1e-6)


def test_the_non_analytic_term_changes_nothing_where_the_supercell_is_exact(
    salt: Phonons, predictor: Predictor
) -> None:
    bare = phonons(salt.primitive, nac=False, relax=None, predictor=predictor)
    assert not bare.has_non_analytic_term
    points = commensurate_points(salt.supercell)[1:]
    np.testing.assert_allclose(salt.frequencies(points), bare.frequencies(points), atol=1e-6)
    between = points[0] / 2
    assert np.abs(salt.frequencies(between) - bare.frequencies(between)).max() > 0.1


def test_longitudinal_waves_of_the_potential_lead_to_the_limit_with_charges(
    salt: Phonons, predictor: Predictor
) -> None:
    cubic = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    long = phonons(salt.primitive, supercell=cubic * [[8], [1], [1]], nac=False, relax=None, predictor=predictor)
    wave = salt.primitive.cell.array @ [1 / (8 * 5.64), 0, 0]
    limit = salt.frequencies([0, 0, 0], direction=[1, 0, 0])[-1]
    assert limit == pytest.approx(long.frequencies(wave)[-1], rel=0.05)
    assert limit > salt.frequencies([0, 0, 0])[-1] + 1.5


def test_the_supercell_grows_until_frequencies_hold_still(predictor: Predictor) -> None:
    silicon = bulk("Si", a=5.43)
    small = phonons(silicon, supercell=5.0, predictor=predictor)
    converged = phonons(silicon, supercell=5.0, convergence=0.1, predictor=predictor)
    reference = phonons(silicon, supercell=20.0, predictor=predictor)
    errors = [np.abs(each.frequencies(Q) - reference.frequencies(Q)).mean() for each in (small, converged)]
    assert errors[1] < 0.1 < errors[0]
    assert len(small.phonopy.supercell) < len(converged.phonopy.supercell) < len(reference.phonopy.supercell)


def test_bands_meet_the_limit_of_their_own_direction_at_gamma(aluminium_nitride: Phonons) -> None:
    found = aluminium_nitride.bands()
    reciprocal = np.linalg.inv(aluminium_nitride.primitive.cell.array).T
    limits = set()
    for (start, end), q, frequencies in zip(found.path.labels, found.path.q, found.frequencies, strict=True):
        for label, place in ((start, 0), (end, -1)):
            if label == "Γ":
                direction = (q[-1] - q[0]) @ reciprocal
                expected = aluminium_nitride.frequencies([0, 0, 0], direction=direction)
                np.testing.assert_allclose(without_noise(frequencies[place]), without_noise(expected), atol=1e-6)
                assert np.abs(np.diff(frequencies[place :: 1 if place == 0 else -1][:2, -6:], axis=0)).max() < 0.1
                limits.add(round(float(expected[-1]), 3))
    assert len(limits) == 2  # along the polar axis and across it
    assert found.path.ticks[0] == (0.0, "Γ")


def test_integrals_of_the_density_of_states_and_heat_capacity_count_the_modes(salt: Phonons) -> None:
    density = salt.density_of_states(mesh=30.0, by_element=True)
    assert np.trapezoid(density.total, density.frequencies) == pytest.approx(6, rel=0.02)
    np.testing.assert_allclose(sum(density.by_element.values()), density.total, atol=0.02 * density.total.max())
    thermal = salt.thermal_properties([5.0, 2000.0])
    assert thermal.heat_capacity[1] == pytest.approx(6 * 8.314, rel=0.01)
    assert thermal.heat_capacity[0] < 0.1
    # zero-point energy, from the mean frequency: h f / 2 per mode
    mean = np.trapezoid(density.total * density.frequencies, density.frequencies)
    assert thermal.free_energy[0] == pytest.approx(mean / 2 * 0.39903, rel=0.02)


def test_group_velocities_are_slopes_of_the_bands(aluminium_nitride: Phonons) -> None:
    q, step = np.array([0.21, 0.13, 0.3]), np.array([1e-4, 0, 0])
    found = aluminium_nitride.group_velocities(q[None])[0]
    change = aluminium_nitride.frequencies(q + step) - aluminium_nitride.frequencies(q - step)
    # the first reduced coordinate changes the wave vector by the first reciprocal vector
    slopes = found @ np.linalg.inv(aluminium_nitride.primitive.cell.array)[:, 0]
    np.testing.assert_allclose(slopes, 100 * change / 2e-4, rtol=1e-3, atol=1)


def test_gruneisen_parameters_are_those_of_phonopy(aluminium_nitride: Phonons) -> None:
    smaller, larger = aluminium_nitride.strained
    reference = phonopy.PhonopyGruneisen(aluminium_nitride.phonopy, larger, smaller)
    reference.set_mesh([3, 3, 3], is_mesh_symmetry=False)
    points, _, frequencies, _, expected = reference.get_mesh()
    kept = frequencies > 0.1
    found = aluminium_nitride.gruneisen(points)
    np.testing.assert_allclose(np.sort(found)[kept.all(axis=1)], np.sort(expected)[kept.all(axis=1)], atol=0.02)


def test_gruneisen_parameters_have_to_be_asked_for(salt: Phonons) -> None:
    with pytest.raises(ValueError, match="gruneisen=True"):
        salt.gruneisen([[0.5, 0, 0]])


def test_imaginary_modes_are_reported_with_their_pattern(predictor: Predictor) -> None:
    cubic = crystal(
        ["Ba", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221, cellpar=[4.0] * 3 + [90] * 3
    )
    with pytest.warns(UserWarning, match="imaginary modes below"):
        found = phonons(cubic, supercell=(2, 2, 2), predictor=predictor)
    mode = found.imaginary_modes[0]
    assert mode.frequency < -2
    np.testing.assert_allclose(mode.q, 0, atol=1e-12)
    assert np.linalg.norm(mode.eigenvector) == pytest.approx(1)
    moved = mode.eigenvector / np.sqrt(found.primitive.get_masses())[:, None]
    titanium, oxygen = (moved[found.primitive.symbols == symbol].sum(axis=0) for symbol in ("Ti", "O"))
    assert np.real(titanium @ oxygen.conj()) < 0  # the ferroelectric mode: titanium against oxygen
    assert found.bands().lowest == pytest.approx(mode.frequency, abs=0.3)


def test_a_metal_has_no_splitting(predictor: Predictor, tmp_path: Path) -> None:
    found = phonons(bulk("CuZn", "cesiumchloride", a=2.95), supercell=(2, 2, 2), predictor=predictor)
    assert not found.has_non_analytic_term
    assert "likely a metal" in found.status[-1]
    assert sorted(path.name for path in found.write(tmp_path)) == ["FORCE_SETS", "phonopy_params.yaml"]


def test_nothing_depends_on_the_description_of_the_crystal(salt: Phonons, predictor: Predictor) -> None:
    from pymatgen.io.ase import AseAtomsAdaptor

    turned = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    turned.rotate(25, (1, 2, 3), rotate_cell=True)
    found = phonons(AseAtomsAdaptor.get_structure(turned), predictor=predictor)
    assert found.space_group == salt.space_group == "Fm-3m"
    np.testing.assert_allclose(found.bands().frequencies[0], salt.bands().frequencies[0], atol=2e-3)


def test_born_files_serve_force_constants_of_other_origin(
    aluminium_nitride: Phonons, tmp_path: Path, predictor
) -> None:
    path = write_born(aluminium_nitride.primitive, tmp_path / "BORN", predictor=predictor)
    read = phonopy.file_IO.parse_BORN(aluminium_nitride.phonopy.primitive, filename=path)
    np.testing.assert_allclose(read["born"], aluminium_nitride.born_effective_charges, atol=1e-6)
    np.testing.assert_allclose(read["dielectric"], aluminium_nitride.dielectric_tensor, atol=1e-6)
    np.testing.assert_allclose(np.sum(read["born"], axis=0), 0, atol=1e-6)  # acoustic sum rule
    with pytest.raises(InvalidStructureError, match="primitive cell 2"):
        write_born(bulk("NaCl", "rocksalt", a=5.64, cubic=True), tmp_path / "BORN", predictor=predictor)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"relax": "everything"}, UnknownNameError, "atoms, cell, none"),
        ({"supercell": (2, 2)}, ValueError, "three positive integers"),
        ({"supercell": (2, 2, 0)}, ValueError, "three positive integers"),
        ({"supercell": -3.0}, ValueError, "must be positive, got -3"),
        ({"convergence": 0.0}, ValueError, "positive frequency in THz"),
        ({"displacement": 0.0}, ValueError, "displacement must be positive"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, error: type, message: str, predictor: Predictor) -> None:
    with pytest.raises(error, match=message):
        phonons(bulk("NaCl", "rocksalt", a=5.64), predictor=predictor, **arguments)
