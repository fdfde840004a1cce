"""Against pymatgen's elasticity, Nye's formulas written with full tensors, and energy of strained crystals."""

import numpy as np
import pytest
from ase.build import bulk

from ase_comformer.physics.directional import (
    along,
    circle,
    linear_compressibility,
    longitudinal_piezoelectric,
    sphere,
    youngs_modulus,
)
from ase_comformer.physics.mechanics import mechanical_summary
from ase_comformer.tensors.voigt import voigt_to_cartesian


def some_stiffness(seed=0):
    """A stable stiffness without any symmetry."""
    matrix = np.random.default_rng(seed).normal(size=(6, 6))
    return 40 * matrix @ matrix.T + 30 * np.eye(6)


def full_compliance(stiffness):
    """s_ijkl from the Voigt compliance, by its definition."""
    voigt = {(0, 0): 0, (1, 1): 1, (2, 2): 2, (1, 2): 3, (2, 1): 3, (0, 2): 4, (2, 0): 4, (0, 1): 5, (1, 0): 5}
    compliance = np.linalg.inv(stiffness)
    full = np.zeros((3, 3, 3, 3))
    for (i, j), first in voigt.items():
        for (k, m), second in voigt.items():
            full[i, j, k, m] = compliance[first, second] / ((1 + (first > 2)) * (1 + (second > 2)))
    return full


def test_summary_agrees_with_pymatgen():
    elasticity = pytest.importorskip("pymatgen.analysis.elasticity.elastic")
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms, stiffness = bulk("AlN", "wurtzite", a=3.11, c=4.98), some_stiffness()
    theirs = elasticity.ElasticTensor.from_voigt(stiffness)
    structure = AseAtomsAdaptor.get_structure(atoms)
    ours = mechanical_summary(stiffness, volume=atoms.get_volume(), masses=atoms.get_masses())
    assert ours.moduli.bulk == pytest.approx(theirs.k_vrh)
    assert ours.moduli.shear == pytest.approx(theirs.g_vrh)
    assert ours.youngs_modulus == pytest.approx(theirs.y_mod / 1e9)
    assert ours.poisson_ratio == pytest.approx(theirs.homogeneous_poisson)
    assert ours.universal_anisotropy == pytest.approx(theirs.universal_anisotropy)
    assert ours.longitudinal_velocity == pytest.approx(theirs.long_v(structure), rel=1e-3)
    assert ours.transverse_velocity == pytest.approx(theirs.trans_v(structure), rel=1e-3)
    assert ours.debye_temperature == pytest.approx(theirs.debye_temperature(structure), rel=1e-3)


def test_a_negative_eigenvalue_is_instability_and_has_no_debye_temperature():
    stiffness = np.diag([100.0] * 3 + [-5.0, 40.0, 40.0])
    summary = mechanical_summary(stiffness, volume=20.0, masses=[20.0, 30.0])
    assert not summary.is_stable
    assert summary.stiffness_eigenvalues[0] == pytest.approx(-10.0)  # Mandel: twice C44
    assert summary.debye_temperature is None
    assert summary.density is not None


@pytest.mark.parametrize("wrong", [np.eye(3), np.zeros((6, 6))])
def test_what_is_no_stiffness_is_refused(wrong):
    with pytest.raises(ValueError, match=r"\(6, 6\) array|singular"):
        mechanical_summary(wrong)


def test_directional_moduli_are_contractions_of_the_full_compliance():
    stiffness, n = some_stiffness(1), sphere(5, 7)
    full = full_compliance(stiffness)
    expected = 1 / np.einsum("ijkl,...i,...j,...k,...l->...", full, n, n, n, n)
    np.testing.assert_allclose(youngs_modulus(stiffness, n), expected, rtol=1e-10)
    np.testing.assert_allclose(
        linear_compressibility(stiffness, n), np.einsum("ijkk,...i,...j->...", full, n, n), rtol=1e-10, atol=1e-12
    )


def test_longitudinal_piezoelectric_response_of_e_and_of_d():
    tensor, n = np.random.default_rng(2).normal(size=(3, 6)), sphere(5, 7)
    full = np.array([voigt_to_cartesian(row, "stress") for row in tensor])  # e_ijk as it stands
    np.testing.assert_allclose(
        longitudinal_piezoelectric(tensor, n), np.einsum("ijk,...i,...j,...k->...", full, n, n, n), atol=1e-12
    )
    halved = np.array([voigt_to_cartesian(row, "strain") for row in tensor])  # shear columns of d are counted twice
    np.testing.assert_allclose(
        longitudinal_piezoelectric(tensor, n, kind="d"),
        np.einsum("ijk,...i,...j,...k->...", halved, n, n, n),
        atol=1e-12,
    )


def test_directions_are_unit_vectors_and_circles_lie_across_their_axis():
    assert np.linalg.norm(sphere(), axis=-1) == pytest.approx(1.0)
    for axis, name in enumerate("xyz"):
        assert np.abs(circle(name)[:, axis]).max() == 0
        assert np.linalg.norm(circle(name), axis=-1) == pytest.approx(1.0)
    assert along(np.diag([2.0, 3.0, 4.0]), [0, 0, 1]) == pytest.approx(4.0)
