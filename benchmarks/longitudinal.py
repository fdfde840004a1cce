"""Optical phonons of long waves: ``python -m benchmarks.longitudinal``.

Frozen phonons in cells that are one cubic cell wide and ``LENGTH`` long (phonopy, no non-analytic term): a potential
that ends at a cut-off finds the transverse frequency for long longitudinal waves too. "NAC" is what the Born charges
and the dielectric tensor of the tensor heads add at q -> 0. Measured at room temperature, with a ``*`` where not
confirmed (``benchmarks.published``): NaCl Lowndes, Martin, Proc. R. Soc. A 308, 473 (1969); MgO Jasperse et al.,
Phys. Rev. 146, 526 (1966); GaAs NSM Archive of the Ioffe Institute (33.2 and 36.1 meV); CaF2 Kaiser et al., Phys.
Rev. 127, 1950 (1962) (257 1/cm, and the longitudinal mode that its permittivities 6.645 and 2.045 imply).
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from phonopy import Phonopy
from rich.table import Table

from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.phonopy_bridge import phonopy_with_forces, set_non_analytic_term
from benchmarks.published import NOT_CONFIRMED, Unconfirmed
from benchmarks.surface import Clock, one_thread, parser, prepare_console

#: Cubic cells along x, and waves in that length that are shown.
LENGTH, WAVES = 8, (1, 2, 4)
#: Crystal: structure, lattice parameter in A, TO and LO in THz.
MEASURED = {
    "NaCl": ("rocksalt", 5.64, Unconfirmed(4.9), Unconfirmed(7.9)),
    "MgO": ("rocksalt", 4.21, Unconfirmed(12.0), Unconfirmed(21.5)),
    "GaAs": ("zincblende", 5.65, 8.0, 8.7),
    "CaF2": ("fluorite", 5.46, 7.7, 13.9),
}
#: Rows are the vectors of the cubic cell in those of the primitive one.
_CUBIC = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])


def optical(phonon: Phonopy, cell: np.ndarray, along: float, direction: list[float] | None = None) -> np.ndarray:
    """(3n - 3,) THz at the wave vector (along, 0, 0) in units of 2 pi / A, ascending."""
    towards = None if direction is None else cell @ np.array(direction)
    phonon.run_qpoints([cell @ np.array([along, 0.0, 0.0])], nac_q_direction=towards)
    return np.sort(np.array(phonon.qpoints.frequencies[0]))[3:]


def force_constants(atoms: Atoms, predictor: Predictor) -> Phonopy:
    """In the long cell; no symmetry beyond that of phonopy."""
    supercell = _CUBIC * np.array([[LENGTH], [1], [1]])

    def forces(structures: Sequence[Atoms]) -> list[np.ndarray]:
        return [result["forces"] for result in predictor.predict(structures, ["forces"], on_error="raise")]

    return phonopy_with_forces(atoms, supercell, forces)


def main() -> None:
    """Print highest optical frequencies by wave length."""
    given = parser(__doc__, dtype="float64").parse_args()
    one_thread()
    console, clock = prepare_console(150), Clock()
    predictor = Predictor(model=given.model, dtype=given.dtype)
    heads = Predictor(dtype="float64")
    table = Table(title=f"highest optical frequency along [100] (THz), model {given.model}")
    headings = ["crystal", "TO, Γ", *(f"LO, 1/{LENGTH // n}" if n < LENGTH else "LO, X" for n in WAVES)]
    for heading in (*headings, "LO with NAC, Γ", "TO measured", "LO measured"):
        table.add_column(heading, justify="right")
    for name, (structure, size, transverse, longitudinal) in MEASURED.items():
        atoms = bulk(name, structure, a=size)
        phonon, cell = force_constants(atoms, predictor), atoms.cell.array
        # the mode that light excites is the lowest optical one at Gamma, where it is transverse, the highest elsewhere
        shown = [optical(phonon, cell, n / (LENGTH * size))[-1] for n in WAVES]
        at_rest = optical(phonon, cell, 0.0)[0]
        tensors = heads.predict([atoms], ["born_effective_charges", "dielectric_tensor"])[0]
        set_non_analytic_term(phonon, tensors["born_effective_charges"], tensors["dielectric_tensor"])
        corrected = optical(phonon, cell, 0.0, [1.0, 0.0, 0.0])[-1]
        values = [at_rest, *shown, corrected, transverse, longitudinal]
        table.add_row(name, *(f"{value:.2f}" for value in values))
    console.print(table)
    console.print(NOT_CONFIRMED)
    console.print(str(clock))


if __name__ == "__main__":
    main()
