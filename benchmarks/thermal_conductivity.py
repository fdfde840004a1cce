"""Lattice thermal conductivity beside measured values: ``python -m benchmarks.thermal_conductivity``.

MgO, NaCl, Si, GaAs and AlN are relaxed; force constants of second and third order come from displaced supercells of the
potential (pairs within ``--pairs``), the splitting of longitudinal modes from predicted Born charges and dielectric
tensors, and the conductivity at 300 K from phono3py in the relaxation-time approximation with isotope scattering, on a
mesh of ``--mesh`` points along each reciprocal vector. Needs phono3py (extra ``conductivity``); half an hour.
Measured values of crystals of natural isotopes (W/m/K): D. T. Morelli and G. A. Slack in High Thermal Conductivity
Materials (Springer 2006), tables 2.1 to 2.4; of AlN G. A. Slack et al., J. Phys. Chem. Solids 48, 641 (1987), pure
crystals. None could be read in its source here, so each has a ``*``. Nothing is demanded of the difference.
"""

import warnings
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from rich.table import Table

from ase_comformer.inference.predictor import Predictor
from ase_comformer.workflows.phonons import phonons
from benchmarks.published import NOT_CONFIRMED, Unconfirmed
from benchmarks.surface import Clock, one_thread, parser, prepare_console

#: Crystal, measured W/m/K.
CRYSTALS: dict[str, tuple[Atoms, float]] = {
    "NaCl": (bulk("NaCl", "rocksalt", a=5.64), Unconfirmed(7.1)),
    "MgO": (bulk("MgO", "rocksalt", a=4.21), Unconfirmed(60.0)),
    "Si": (bulk("Si", a=5.43), Unconfirmed(166.0)),
    "GaAs": (bulk("GaAs", "zincblende", a=5.65), Unconfirmed(45.0)),
    "AlN": (bulk("AlN", "wurtzite", a=3.11, c=4.98), Unconfirmed(285.0)),
}
TEMPERATURE = 300.0


def conductivity(atoms: Atoms, predictor: Predictor, mesh: int, pairs: float) -> tuple[np.ndarray, int, int]:
    """Principal conductivities (3,) in W/m/K, the number of displaced supercells and of their atoms."""
    from phono3py import Phono3py

    # relaxed, with Born charges mapped to the primitive cell
    harmonic = phonons(atoms, relax="cell", predictor=predictor).phonopy
    third = Phono3py(
        harmonic.unitcell,
        supercell_matrix=harmonic.supercell_matrix,
        primitive_matrix=harmonic.primitive_matrix,
        log_level=0,
    )
    third.generate_displacements(distance=0.03, cutoff_pair_distance=pairs)
    every = third.supercells_with_displacements
    chosen = [number for number, cell in enumerate(every) if cell is not None]
    supercells = [Atoms(c.symbols, cell=c.cell, positions=c.positions, pbc=True) for c in (every[k] for k in chosen)]
    perfect = third.supercell
    supercells.append(Atoms(perfect.symbols, cell=perfect.cell, positions=perfect.positions, pbc=True))
    found = [each["forces"] for each in predictor.predict(supercells, ("forces",), on_error="raise")]
    forces = np.zeros((len(every), len(perfect), 3))
    # what is left in the perfect supercell belongs to no displacement
    forces[chosen] = np.array(found[:-1]) - found[-1]
    third.forces = forces
    if harmonic.nac_params is not None:
        third.nac_params = harmonic.nac_params
    third.produce_fc3(symmetrize_fc3r=True)
    third.produce_fc2(symmetrize_fc2=True)
    third.mesh_numbers = [mesh] * 3
    third.init_phph_interaction()
    third.run_thermal_conductivity(temperatures=[TEMPERATURE], is_isotope=True)
    values: Any = np.asarray(third.thermal_conductivity.kappa).reshape(-1, 6)[0]
    return values[:3], len(supercells), len(perfect)


def main() -> None:
    """Print one table."""
    made = parser(__doc__, dtype="float64")
    made.add_argument("--mesh", type=int, default=11)
    made.add_argument("--pairs", type=float, default=5.0, help="A, farthest pairs that are displaced together")
    made.add_argument("--only", nargs="*", choices=list(CRYSTALS), default=list(CRYSTALS))
    given = made.parse_args()
    try:
        import phono3py
    except ModuleNotFoundError as error:
        raise SystemExit("phono3py is not installed here: pip install 'ase-comformer[conductivity]'") from error
    one_thread()
    console, clock = prepare_console(), Clock()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    predictor = Predictor(model=given.model, dtype=given.dtype)
    table = Table(
        title=f"lattice thermal conductivity at {TEMPERATURE:.0f} K (W/m/K), model {given.model}, mesh {given.mesh}, "
        f"phono3py {phono3py.__version__}"
    )
    for heading in ("crystal", "supercells", "atoms", "x", "z", "mean", "measured", "ratio"):
        table.add_column(heading, justify="right")
    for name in given.only:
        atoms, measured = CRYSTALS[name]
        found, supercells, size = conductivity(atoms, predictor, given.mesh, given.pairs)
        values = (f"{found[0]:.1f}", f"{found[2]:.1f}", f"{found.mean():.1f}")
        table.add_row(name, str(supercells), str(size), *values, f"{measured:.0f}", f"{found.mean() / measured:.2f}")
    console.print(table)
    console.print(NOT_CONFIRMED)
    console.print(str(clock))


if __name__ == "__main__":
    main()
