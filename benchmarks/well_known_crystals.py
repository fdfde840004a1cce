"""Crystals that the benchmarks of phonons and spectra share, at their measured lattice parameters (room temperature).

Quartz: Levien et al., Am. Mineral. 65, 920 (1980), mirrored into P3_121 with silicon at z = 1/3; rutile: Abrahams,
Bernstein, J. Chem. Phys. 55, 3206 (1971). Not confirmed (``benchmarks.published``): the others, of Wyckoff, Crystal
Structures (1963), and AlN of Schulz, Thiemann, Solid State Commun. 23, 815 (1977); a refinement that was read has AlN
at 3.112 and 4.981 A. Cubic BaTiO3 has a round lattice parameter.
"""

from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal


def quartz() -> Atoms:
    """Alpha quartz, 9 atoms."""
    return crystal(
        ["Si", "O"],
        [(0.4697, 0.0, 1 / 3), (0.4135, 0.2669, 1 / 3 - 0.1191)],
        spacegroup=152,
        cellpar=[4.9160, 4.9160, 5.4054, 90, 90, 120],
    )


def rutile() -> Atoms:
    """TiO2, 6 atoms."""
    return crystal(
        ["Ti", "O"], [(0, 0, 0), (0.3048, 0.3048, 0)], spacegroup=136, cellpar=[4.5937, 4.5937, 2.9587, 90, 90, 90]
    )


def perovskite() -> Atoms:
    """BaTiO3 in its cubic phase, which is stable at high temperature only."""
    return crystal(
        ["Ba", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221, cellpar=[4.0] * 3 + [90] * 3
    )


CRYSTALS = {
    "NaCl": bulk("NaCl", "rocksalt", a=5.640),
    "MgO": bulk("MgO", "rocksalt", a=4.212),
    "GaAs": bulk("GaAs", "zincblende", a=5.653),
    "AlN": bulk("AlN", "wurtzite", a=3.110, c=4.980, u=0.3821),
    "quartz": quartz(),
    "TiO2": rutile(),
    "BaTiO3, cubic": perovskite(),
    "Cs": bulk("Cs", a=6.14),
    "Si": bulk("Si", a=5.431),
    "diamond": bulk("C", "diamond", a=3.567),
}
