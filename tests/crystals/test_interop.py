"""Structures of other packages at the door."""

import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.errors import InvalidStructureError


def test_atoms_pass_untouched():
    atoms = bulk("Cu")
    assert as_atoms(atoms) is atoms


def test_pymatgen_structures_and_molecules_are_converted():
    core = pytest.importorskip("pymatgen.core")
    salt = core.Structure(core.Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    for structure in (salt, core.IStructure.from_sites(salt)):
        atoms = as_atoms(structure)
        assert atoms.pbc.all()
        np.testing.assert_allclose(atoms.positions, salt.cart_coords)
        np.testing.assert_allclose(atoms.cell.array, salt.lattice.matrix)
    assert not as_atoms(core.Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.74]])).pbc.any()


def test_disorder_and_strangers_are_refused():
    core = pytest.importorskip("pymatgen.core")
    alloy = core.Structure(core.Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(InvalidStructureError, match="partially occupied"):
        as_atoms(alloy)
    with pytest.raises(InvalidStructureError, match="got pymatgen's Lattice"):
        as_atoms(core.Lattice.cubic(3.6))
    with pytest.raises(InvalidStructureError, match="got str"):
        as_atoms("MgO")


def test_pymatgen_is_not_imported_for_atoms():
    code = (
        "import sys; from ase.build import bulk; from ase_comformer.crystals.interop import as_atoms; "
        "as_atoms(bulk('Cu')); assert 'pymatgen' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_structures_of_pymatgen_go_in_everywhere():
    core = pytest.importorskip("pymatgen.core")
    from ase_comformer import GMTNetCalculator, predict, respond
    from ase_comformer.crystals.applicability import assess_applicability
    from ase_comformer.crystals.space_group import analyse_space_group

    structure = core.Structure(core.Lattice.cubic(4.25), ["Mg", "O"] * 4, [[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.5],
        [0.5, 0, 0], [0.5, 0, 0.5], [0, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0.5]])  # fmt: skip
    atoms = as_atoms(structure)
    assert analyse_space_group(structure).international == "Fm-3m"
    assert assess_applicability(structure).is_bulk
    assert predict([structure], "energy")[0]["energy"] == pytest.approx(predict([atoms], "energy")[0]["energy"])
    calc = GMTNetCalculator(electric_field=(0, 0, 0.01), field_reference=structure)
    assert calc.get_property("energy", structure) == pytest.approx(calc.get_potential_energy(atoms))
    np.testing.assert_allclose(calc.get_hessian(structure).shape, (8, 3, 8, 3))
    assert respond(structure, relax="none").space_group == "Fm-3m"
