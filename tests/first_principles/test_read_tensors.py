"""Output files of a triclinic crystal: every component lands where this package has it, as other parsers find it."""

import numpy as np
import pytest

from ase_comformer.errors import UnreadableFileError
from ase_comformer.first_principles import read_tensors
from first_principles_files import (
    WRITERS,
    distinct_tensors,
    triclinic,
    write_abinit_output,
    write_anaddb,
    write_outcar,
    write_phonon_output,
    write_vasprun,
)

TENSORS = distinct_tensors(4)
HELD = {
    "OUTCAR": set(TENSORS),
    "vasprun.xml": {"dielectric_tensor", "static_dielectric_tensor", "born_effective_charges"},
    "ph.out": {"dielectric_tensor", "born_effective_charges"},
    "run.abo": {"dielectric_tensor", "born_effective_charges"},
}


@pytest.mark.parametrize("name", WRITERS)
def test_structures_and_tensors_are_read(name, tmp_path):
    atoms = triclinic()
    WRITERS[name](tmp_path / name, atoms, TENSORS)
    found = read_tensors(tmp_path / name)
    assert found.atoms.get_chemical_symbols() == atoms.get_chemical_symbols()
    np.testing.assert_allclose(found.atoms.cell.array, atoms.cell.array, atol=1e-4)
    np.testing.assert_allclose(found.atoms.positions, atoms.positions, atol=1e-4)
    assert set(found.tensors) == HELD[name]
    for each, tensor in found.tensors.items():
        np.testing.assert_allclose(tensor, TENSORS[each], atol=2e-5, err_msg=each)


def test_anaddb_holds_all_tensors_and_no_structure(tmp_path):
    write_anaddb(tmp_path / "anaddb.out", TENSORS)
    found = read_tensors(tmp_path / "anaddb.out")
    assert found.atoms is None
    assert set(found.tensors) == set(TENSORS)
    for each, tensor in found.tensors.items():
        np.testing.assert_allclose(tensor, TENSORS[each], atol=2e-5, err_msg=each)


def test_pymatgen_finds_the_same_in_an_outcar(tmp_path):
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    piezo = pytest.importorskip("pymatgen.analysis.piezo")
    write_outcar(tmp_path / "OUTCAR", triclinic(), TENSORS)
    outcar = outputs.Outcar.__new__(outputs.Outcar)  # without what belongs to magnetism and timing
    outcar.filename, outcar.data = str(tmp_path / "OUTCAR"), {}
    found = read_tensors(tmp_path / "OUTCAR").tensors
    outcar.read_lepsilon()
    np.testing.assert_allclose(found["dielectric_tensor"], outcar.dielectric_tensor, atol=1e-12)
    np.testing.assert_allclose(found["born_effective_charges"], outcar.born, atol=1e-12)
    outcar.read_lepsilon_ionic()
    ionic = piezo.PiezoTensor.from_vasp_voigt(outcar.piezo_ionic_tensor).voigt
    difference = found["piezoelectric_tensor"] - found["clamped_piezoelectric_tensor"]
    np.testing.assert_allclose(difference, ionic, atol=1e-12)
    outcar.read_elastic_tensor()
    order = [0, 1, 2, 4, 5, 3]  # places of xx yy zz yz xz xy in XX YY ZZ XY YZ ZX
    moduli = np.array(outcar.data["elastic_tensor"])[order][:, order] / 10
    np.testing.assert_allclose(found["elastic_tensor"], moduli, atol=1e-12)


def test_phonopy_finds_the_same_charges(tmp_path):
    """phonopy contracts the first index of Born charges with the wave vector: the field."""
    vasp = pytest.importorskip("phonopy.interface.vasp")
    write_vasprun(tmp_path / "vasprun.xml", triclinic(), TENSORS)
    charges, dielectric, _ = vasp.get_born_vasprunxml(tmp_path / "vasprun.xml", is_symmetry=False)
    found = read_tensors(tmp_path / "vasprun.xml").tensors
    np.testing.assert_allclose(charges, found["born_effective_charges"], atol=1e-12)
    np.testing.assert_allclose(dielectric, found["dielectric_tensor"], atol=1e-12)
    script = pytest.importorskip("phonopy.cui.phonopy_qe_born_script")
    write_phonon_output(tmp_path / "ph.out", triclinic(), TENSORS)
    charges = script.parse_ph_out(str(tmp_path / "ph.out"), 4)[1]
    found = read_tensors(tmp_path / "ph.out").tensors
    # phonopy takes the charges before the sum rule, here shifted by 0.3
    np.testing.assert_allclose(charges - 0.3, found["born_effective_charges"], atol=1e-9)


def test_files_without_tensors_cut_off_or_of_others_are_refused(tmp_path):
    other = tmp_path / "POSCAR"
    other.write_text("MgO\n1.0\n")
    with pytest.raises(UnreadableFileError, match="no output that is known"):
        read_tensors(other)
    write_vasprun(tmp_path / "vasprun.xml", triclinic(), TENSORS)
    text = (tmp_path / "vasprun.xml").read_text()
    (tmp_path / "cut.xml").write_text(text[: len(text) // 2])
    with pytest.raises(UnreadableFileError, match="did the calculation end"):
        read_tensors(tmp_path / "cut.xml")
    write_outcar(tmp_path / "OUTCAR", triclinic(), TENSORS)
    text = (tmp_path / "OUTCAR").read_text()
    (tmp_path / "cut").write_text(text[: text.index("ion    4") + 60])
    with pytest.raises(UnreadableFileError, match="of 3 rows"):
        read_tensors(tmp_path / "cut")
    (tmp_path / "none").write_text(text[: text.index(" SYMMETRIZED")])
    with pytest.raises(UnreadableFileError, match="neither dielectric"):
        read_tensors(tmp_path / "none")
    write_abinit_output(tmp_path / "run.abo", triclinic(), TENSORS)
    text = (tmp_path / "run.abo").read_text().replace("   2    6   1    6", "   2    9   1    9")
    (tmp_path / "some.abo").write_text(text)
    with pytest.raises(UnreadableFileError, match="elements of dielectric_tensor are missing"):
        read_tensors(tmp_path / "some.abo")
