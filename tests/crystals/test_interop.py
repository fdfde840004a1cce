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
