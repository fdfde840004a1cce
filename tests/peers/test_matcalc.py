"""matcalc's property calculators on ours; runs where matcalc is installed (.ci/peers)."""

import numpy as np
import pytest
from ase.build import bulk

from ase_comformer import GMTNetCalculator, respond

matcalc = pytest.importorskip("matcalc")


@pytest.fixture(scope="module")
def calculator() -> GMTNetCalculator:
    return GMTNetCalculator(dtype="float64")


def test_relaxation(calculator):
    found = matcalc.RelaxCalc(calculator, fmax=1e-3).calc(bulk("MgO", "rocksalt", a=4.35))
    expected = respond(bulk("MgO", "rocksalt", a=4.35), relax="cell", fmax=1e-4).primitive.cell.volume
    assert found["final_structure"].volume == pytest.approx(expected, rel=1e-3)


@pytest.mark.filterwarnings("ignore:Elastic strain-stress fits")  # of components that symmetry makes zero
def test_elastic_constants(calculator):
    calc = matcalc.ElasticityCalc(
        calculator, norm_strains=(-0.004, 0.004), shear_strains=(-0.004, 0.004), fmax=1e-4, units_GPa=True
    )
    found = calc.calc(bulk("MgO", "rocksalt", a=4.25))["elastic_tensor"].voigt
    expected = respond(bulk("MgO", "rocksalt", a=4.25), relax="cell").elastic_tensor
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max())


def test_phonons(calculator, tmp_path):
    calc = matcalc.PhononCalc(
        calculator, supercell_matrix=np.diag([3, 3, 3]), min_length=None, fmax=1e-4, t_max=300, write_phonon=False
    )
    phonon = calc.calc(bulk("MgO", "rocksalt", a=4.25))["phonon"]
    phonon.run_qpoints([[0, 0, 0]])
    expected = respond(bulk("MgO", "rocksalt", a=4.25), relax="cell").vibrations.frequencies
    np.testing.assert_allclose(phonon.qpoints.frequencies[0][3:], expected[3:], atol=0.05)
