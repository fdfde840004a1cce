"""The ionic dielectric tensor follows the textbook and the response of the whole matrix."""

import numpy as np

from ase_comformer.physics.dielectric import ionic_dielectric, without_translations
from ase_comformer.physics.vibrations import vibrations


def test_ionic_part_of_a_diatomic_crystal_follows_the_textbook() -> None:
    """One spring k per direction: eps_ion = Z^2 e^2 / (eps0 V k), omega^2 = k / reduced mass."""
    charge, stiffness, volume = 1.7, 6.0, 40.0
    constants = np.einsum("ab,ij->aibj", stiffness * np.array([[1.0, -1], [-1, 1]]), np.eye(3))
    born = np.array([charge, -charge])[:, None, None] * np.eye(3)
    ionic = ionic_dielectric(born, constants, volume)
    np.testing.assert_allclose(ionic, 180.95128 * charge**2 / (volume * stiffness) * np.eye(3), rtol=1e-6)
    frequencies = vibrations(without_translations(constants), np.array([24.0, 16.0])).frequencies
    # sqrt(6 eV/A^2 / 9.6 u) / 2 pi, with 1 eV = 1.602177e-19 J and 1 u = 1.660539e-27 kg
    expected = np.sqrt(6 * 1.602177e-19 * 1e20 / (9.6 * 1.660539e-27)) / (2 * np.pi) * 1e-12
    np.testing.assert_allclose(frequencies[3:], expected, rtol=1e-5)
    np.testing.assert_allclose(frequencies[:3], 0, atol=1e-4)


def test_translations_cost_nothing_once_they_are_projected_out() -> None:
    constants = np.random.default_rng(0).normal(size=(4, 3, 4, 3))
    projected = without_translations(constants)
    np.testing.assert_allclose(projected.sum(axis=2), 0, atol=1e-12)
    np.testing.assert_allclose(projected, projected.transpose(2, 3, 0, 1), atol=1e-12)
    np.testing.assert_allclose(without_translations(projected), projected, atol=1e-12)
