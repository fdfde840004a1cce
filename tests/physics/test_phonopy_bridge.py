"""phonopy through the bridge gives the force constants of a model whose force constants are known."""

from collections.abc import Sequence

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from phonopy.file_IO import parse_BORN

from ase_comformer.physics.phonopy_bridge import NAC_FACTOR, born_lines, phonopy_with_forces, set_non_analytic_term


def emt_forces(structures: Sequence[Atoms]) -> list[np.ndarray]:
    found = []
    for atoms in structures:
        atoms.calc = EMT()
        found.append(atoms.get_forces())
    return found


def test_frequencies_agree_with_ase_phonons(tmp_path) -> None:
    from ase.phonons import Phonons

    copper = bulk("Cu", a=3.6)
    phonon = phonopy_with_forces(copper, (4, 4, 4), emt_forces)
    phonon.run_qpoints([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    reference = Phonons(copper, EMT(), supercell=(4, 4, 4), delta=0.01, name=str(tmp_path / "phonons"))
    reference.run()
    reference.read(acoustic=True)
    expected = reference.band_structure([[0.5, 0.5, 0.0]], verbose=False)[0] * 241.799  # eV to THz
    np.testing.assert_allclose(phonon.qpoints.frequencies[0], expected, rtol=2e-3)
    np.testing.assert_allclose(phonon.qpoints.frequencies[1], 0, atol=1e-3)


def test_a_constant_force_of_the_undisplaced_crystal_is_taken_off_where_asked() -> None:
    copper = bulk("Cu", a=3.6)

    def pushed(structures: Sequence[Atoms]) -> list[np.ndarray]:
        return [forces + 0.05 for forces in emt_forces(structures)]

    expected = phonopy_with_forces(copper, (2, 2, 2), emt_forces, subtract_rest=True).force_constants
    found = phonopy_with_forces(copper, (2, 2, 2), pushed, subtract_rest=True).force_constants
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_non_analytic_term_has_the_unit_that_phonopy_takes() -> None:
    phonon = phonopy_with_forces(bulk("Cu", a=3.6), np.eye(3, dtype=int), emt_forces)
    set_non_analytic_term(phonon, np.zeros((1, 3, 3)), 2 * np.eye(3))
    factor = phonon.nac_params["factor"]
    assert factor == pytest.approx(14.39964, rel=1e-5)
    assert factor == pytest.approx(ase.units.Hartree * ase.units.Bohr)


#: A crystal without symmetry, its charges, which are no symmetric matrices, and its dielectric tensor.
TRICLINIC = Atoms("HF", cell=[3.0, 3.5, 4.0, 75, 83, 98], scaled_positions=[(0, 0, 0), (0.3, 0.2, 0.4)], pbc=True)
CHARGES = np.array([1.0, -1.0])[:, None, None] * np.array([[1.0, 0.5, -0.2], [0.1, 1.4, 0.3], [0.7, -0.4, 0.8]])
EPSILON = np.array([[2.0, 0.1, 0.2], [0.1, 3.0, -0.1], [0.2, -0.1, 4.0]])


def test_the_first_index_of_charges_is_the_field_and_meets_the_wave_vector() -> None:
    phonon = phonopy_with_forces(TRICLINIC, (1, 1, 1), lambda given: [np.zeros((2, 3)) for _ in given])
    set_non_analytic_term(phonon, CHARGES, EPSILON)
    wave = np.array([0.3, -0.5, 0.8])
    phonon.run_qpoints([[0, 0, 0]], nac_q_direction=TRICLINIC.cell.array @ wave, with_dynamical_matrices=True)
    push = np.einsum("i,aij->aj", wave, CHARGES).ravel() / np.sqrt(np.repeat(TRICLINIC.get_masses(), 3))
    expected = 4 * np.pi * NAC_FACTOR / TRICLINIC.cell.volume * np.outer(push, push) / (wave @ EPSILON @ wave)
    np.testing.assert_allclose(phonon.qpoints.dynamical_matrices[0], expected, rtol=1e-4, atol=1e-6)


def test_phonopy_reads_charges_and_dielectric_tensor_from_the_text_of_born(tmp_path) -> None:
    (tmp_path / "BORN").write_text(born_lines(CHARGES, EPSILON, [0, 1]))
    phonon = phonopy_with_forces(TRICLINIC, (1, 1, 1), lambda given: [np.zeros((2, 3)) for _ in given])
    read = parse_BORN(phonon.primitive, filename=tmp_path / "BORN")
    np.testing.assert_allclose(read["born"], CHARGES, atol=1e-12)
    np.testing.assert_allclose(read["dielectric"], EPSILON, atol=1e-12)
