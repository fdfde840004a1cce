"""London dispersion, which PBE lacks: Grimme's D3 with Becke-Johnson damping, of the library ``dftd3`` (s-dftd3).

J. Chem. Phys. 132, 154104 (2010), doi:10.1063/1.3382344; J. Comput. Chem. 32, 1456 (2011), doi:10.1002/jcc.21759.
"""

from typing import Any

import numpy as np
from ase import Atoms, units
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ase_comformer.errors import UnknownNameError

#: Names of the corrections that can be added; the empty one is none.
CORRECTIONS = ("", "d3bj")
#: Functional whose parameters are read: that of the labels of the potential.
FUNCTIONAL = "PBE"


class Dispersion:
    """Energies and their derivatives of one correction.

    Raises:
        UnknownNameError: a name that is not in ``CORRECTIONS``.
        ImportError: without the package ``dftd3``; the message says how to get it.
    """

    def __init__(self, name: str) -> None:
        if name not in CORRECTIONS:
            raise UnknownNameError(f"unknown dispersion {name!r}: choose one of {', '.join(map(repr, CORRECTIONS))}")
        try:
            from dftd3 import interface
        except ImportError as error:
            raise ImportError("dispersion needs the package dftd3: pip install dftd3") from error
        self.name, self._interface = name, interface
        self._damping = interface.RationalDampingParam(method=FUNCTIONAL)

    def __reduce__(self) -> tuple[Any, ...]:
        """The library's objects cannot be pickled; the name makes them again."""
        return Dispersion, (self.name,)

    def evaluate(self, atoms: Atoms) -> dict[str, Any]:
        """Energy in eV, forces (n, 3) eV/A, and of a cell with volume the stress (6,) eV/A^3, Voigt, ASE's sign."""
        if not len(atoms):
            return {"energy": 0.0, "forces": np.zeros((0, 3)), "stress": np.zeros(6)}
        periodic = bool(atoms.pbc.any())
        model = self._interface.DispersionModel(
            atoms.numbers,
            atoms.positions / units.Bohr,
            lattice=atoms.cell.complete().array / units.Bohr if periodic else None,
            periodic=atoms.pbc if periodic else None,
        )
        found = model.get_dispersion(self._damping, grad=True)
        force: NDArray[np.float64] = -np.asarray(found["gradient"]) * (units.Hartree / units.Bohr)
        values: dict[str, Any] = {"energy": float(found["energy"]) * units.Hartree, "forces": force}
        if atoms.cell.rank == 3 and periodic:
            virial = np.asarray(found["virial"]) * units.Hartree
            values["stress"] = full_3x3_to_voigt_6_stress(virial / atoms.get_volume())
        return values
