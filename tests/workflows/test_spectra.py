"""``spectra`` with the shipped model: selection rules, identities with other routes, files that others read."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal

from ase_comformer import respond, spectra
from ase_comformer.errors import InvalidStructureError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.spectra import PER_CM

pytestmark = pytest.mark.filterwarnings("ignore:.*GPa at rest")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(dtype="float64")


def test_the_static_limit_is_the_tensor_of_respond(predictor: Predictor) -> None:
    atoms = bulk("AlN", "wurtzite", a=3.11, c=4.98)
    found = spectra(atoms, raman=False, predictor=predictor)
    expected = respond(atoms, predictor=predictor, softness=0.0)
    static = found.infrared.dielectric_function([0.0])[0].real
    np.testing.assert_allclose(static, expected.static_dielectric_tensor, rtol=5e-3, atol=1e-3)
    np.testing.assert_allclose(found.infrared.frequencies, expected.frequencies[3:], atol=5e-3)


def test_longitudinal_modes_are_zeros_of_the_dielectric_function(predictor: Predictor) -> None:
    found = spectra(bulk("MgO", "rocksalt", a=4.21), raman=False, predictor=predictor)
    limit = found.phonons.frequencies([0, 0, 0], direction=[1, 0, 0])[-1]
    epsilon = found.infrared.dielectric_function([limit * PER_CM], damping=1e-6)[0, 0, 0]
    assert abs(epsilon) < 1e-4 * found.infrared.dielectric_tensor[0, 0]


def test_modes_of_rutile_are_seen_by_infrared_or_by_raman(predictor: Predictor, tmp_path: Path) -> None:
    rutile = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90]
    )
    found = spectra(rutile, predictor=predictor)
    absorbs = found.infrared.intensities > 1e-6 * found.infrared.intensities.max()
    scatters = found.raman.activities > 1e-6 * found.raman.activities.max()
    assert not (absorbs & scatters).any()  # inversion
    assert absorbs.sum() == 7  # A2u + 3 Eu
    assert scatters.sum() == 5  # A1g + B1g + B2g + Eg
    ratios = found.raman.depolarisation_ratios[scatters]
    assert (ratios < 0.74).sum() == 1  # A1g alone is polarised
    names = {path.name for path in found.write(tmp_path)}
    assert names == {"phonopy_params.yaml", "FORCE_SETS", "BORN", "mesh.yaml", "phonopy.yaml"}
    _check_files(tmp_path, found)


def _check_files(folder: Path, found) -> None:
    """Read the files as Phonopy-Spectroscopy does: structure, real eigenvectors at q = 0, charges."""
    yaml = pytest.importorskip("yaml")
    structure = yaml.safe_load((folder / "phonopy.yaml").read_text(encoding="utf-8"))["primitive_cell"]
    assert [point["symbol"] for point in structure["points"]] == found.phonons.primitive.get_chemical_symbols()
    (gamma,) = yaml.safe_load((folder / "mesh.yaml").read_text(encoding="utf-8"))["phonon"]
    np.testing.assert_allclose(gamma["q-position"], 0)
    vectors = np.array([mode["eigenvector"] for mode in gamma["band"]])
    np.testing.assert_allclose(vectors[..., 1], 0, atol=1e-8)
    frequencies = np.array([mode["frequency"] for mode in gamma["band"]])
    np.testing.assert_allclose(frequencies[3:], found.infrared.frequencies, atol=1e-3)


def test_silicon_scatters_and_does_not_absorb(predictor: Predictor) -> None:
    found = spectra(bulk("Si", a=5.43), predictor=predictor)
    assert found.infrared.intensities.max() < 1e-6
    np.testing.assert_allclose(found.raman.intensities(), 1.0, rtol=1e-6)
    tensors = found.raman.tensors
    np.testing.assert_allclose(np.einsum("mii->mi", tensors), 0, atol=1e-6 * np.abs(tensors).max())


def test_rocksalt_has_no_first_order_raman_scattering(predictor: Predictor) -> None:
    assert spectra(bulk("MgO", "rocksalt", a=4.21), predictor=predictor).raman.intensities().max() == 0


def test_metals_are_refused(predictor: Predictor) -> None:
    with pytest.raises(InvalidStructureError, match="likely a metal"):
        spectra(bulk("Al", a=4.05), predictor=predictor)
