"""Forty-seven crystals, at least six per crystal system and at most twelve atoms each, for invariance tests.

Cells are those of the constructors (conventional or primitive). Parameters are close to the real compounds; where
the smallest real compound of a class is larger than twelve atoms, a made-up one of that space group stands in
(``model`` in its name).
"""

from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal


def _made(symbols: list[str], basis: list, number: int, cell: list[float], primitive: bool = False) -> Atoms:
    angles = cell if len(cell) == 6 else [*cell, 90, 90, 90]
    atoms = crystal(symbols, basis, spacegroup=number, cellpar=angles, primitive_cell=primitive)
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


def _hexagonal(a: float, c: float) -> list[float]:
    return [a, a, c, 90, 90, 120]


CUBIC: dict[str, Atoms] = {
    "Si m-3m": bulk("Si", a=5.43),
    "MgO m-3m": bulk("MgO", "rocksalt", a=4.21, cubic=True),
    "CsCl m-3m": bulk("CsCl", "cesiumchloride", a=4.12),
    "CaF2 m-3m": bulk("CaF2", "fluorite", a=5.46),
    "GaAs -43m": bulk("GaAs", "zincblende", a=5.65),
    "SrTiO3 m-3m": _made(["Sr", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], 221, [3.905] * 3),
    "FeSi 23": _made(["Fe", "Si"], [(0.137,) * 3, (0.842,) * 3], 198, [4.48] * 3),
    "Cu m-3m": bulk("Cu", a=3.61),
}
HEXAGONAL: dict[str, Atoms] = {
    "ZnO 6mm": bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382),
    "Mg 6/mmm": bulk("Mg", "hcp", a=3.21, c=5.21),
    "MgB2 6/mmm": _made(["Mg", "B"], [(0, 0, 0), (1 / 3, 2 / 3, 0.5)], 191, _hexagonal(3.08, 3.52)),
    "MoS2 6/mmm": _made(["Mo", "S"], [(1 / 3, 2 / 3, 0.25), (1 / 3, 2 / 3, 0.621)], 194, _hexagonal(3.16, 12.3)),
    "beta-quartz 622": _made(["Si", "O"], [(0.5, 0, 0), (0.208, 0.416, 0.5)], 180, _hexagonal(5.0, 5.46)),
    "LiIO3 6": _made(
        ["Li", "I", "O"], [(0, 0, 0.07), (1 / 3, 2 / 3, 0), (0.25, 0.34, 0.84)], 173, _hexagonal(5.48, 5.17)
    ),
    "LiCaN -6m2": _made(
        ["Ca", "N", "Li"], [(0, 0, 0), (1 / 3, 2 / 3, 0.5), (2 / 3, 1 / 3, 0)], 187, _hexagonal(4.1, 4.4)
    ),
}
TRIGONAL: dict[str, Atoms] = {
    "quartz 32": _made(["Si", "O"], [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.7858)], 154, _hexagonal(4.916, 5.405)),
    "Al2O3 -3m": _made(["Al", "O"], [(0, 0, 0.352), (0.306, 0, 0.25)], 167, _hexagonal(4.76, 12.99), primitive=True),
    "LiNbO3 3m": _made(
        ["Li", "Nb", "O"],
        [(0, 0, 0.279), (0, 0, 0), (0.048, 0.343, 0.064)],
        161,
        _hexagonal(5.15, 13.86),
        primitive=True,
    ),
    "FeTiO3 -3": _made(
        ["Fe", "Ti", "O"],
        [(0, 0, 0.355), (0, 0, 0.146), (0.317, 0.023, 0.245)],
        148,
        _hexagonal(5.09, 14.09),
        primitive=True,
    ),
    "Mg(OH)2 -3m": _made(
        ["Mg", "O", "H"], [(0, 0, 0), (1 / 3, 2 / 3, 0.22), (1 / 3, 2 / 3, 0.42)], 164, _hexagonal(3.14, 4.77)
    ),
    "Se 32": _made(["Se"], [(0.225, 0, 1 / 3)], 152, _hexagonal(4.37, 4.96)),
    "GeTe 3m": _made(["Ge", "Te"], [(0, 0, 0.237), (0, 0, 0.763)], 160, _hexagonal(4.16, 10.67)),
}
TETRAGONAL: dict[str, Atoms] = {
    "rutile 4/mmm": _made(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], 136, [4.59, 4.59, 2.96]),
    "anatase 4/mmm": _made(["Ti", "O"], [(0, 0, 0), (0, 0, 0.208)], 141, [3.78, 3.78, 9.51]),
    "PbTiO3 4mm": _made(
        ["Pb", "Ti", "O", "O"],
        [(0, 0, 0), (0.5, 0.5, 0.54), (0.5, 0.5, 0.11), (0.5, 0, 0.62)],
        99,
        [3.9, 3.9, 4.15],
    ),
    "CuGaS2 -42m": _made(
        ["Cu", "Ga", "S"], [(0, 0, 0), (0, 0, 0.5), (0.254, 0.25, 0.125)], 122, [5.35, 5.35, 10.48], primitive=True
    ),
    "TeO2 422": _made(["Te", "O"], [(0.027, 0.027, 0), (0.139, 0.256, 0.186)], 92, [4.81, 4.81, 7.61]),
    "BPO4 -4": _made(["B", "P", "O"], [(0, 0.5, 0.25), (0, 0, 0), (0.138, 0.26, 0.129)], 82, [4.34, 4.34, 6.64]),
    "PtS 4/mmm": _made(["Pt", "S"], [(0, 0.5, 0), (0, 0, 0.25)], 131, [3.47, 3.47, 6.11]),
}
ORTHORHOMBIC: dict[str, Atoms] = {
    "SnS mmm": _made(["Sn", "S"], [(0.118, 0.25, 0.122), (0.85, 0.25, 0.479)], 62, [11.2, 3.98, 4.33]),
    "FeS2 mmm": _made(["Fe", "S"], [(0, 0, 0), (0.2, 0.378, 0)], 58, [4.44, 5.42, 3.39]),
    "KNbO3 mm2": _made(
        ["K", "Nb", "O", "O"],
        [(0, 0, 0), (0.5, 0, 0.517), (0, 0, 0.52), (0.5, 0.253, 0.28)],
        38,
        [3.97, 5.69, 5.72],
        primitive=True,
    ),
    "InI mmm": _made(["In", "I"], [(0, 0.398, 0.25), (0, 0.145, 0.25)], 63, [4.75, 12.76, 4.91]),
    "P mmm": _made(["P"], [(0, 0.102, 0.081)], 64, [3.31, 10.48, 4.37]),
    "model 222": _made(["Zn", "S"], [(0.03, 0.11, 0.21), (0.27, 0.18, 0.62)], 19, [4.9, 5.6, 6.4]),
}
MONOCLINIC: dict[str, Atoms] = {
    "ZrO2 2/m": _made(
        ["Zr", "O", "O"],
        [(0.276, 0.041, 0.208), (0.07, 0.332, 0.345), (0.45, 0.757, 0.479)],
        14,
        [5.15, 5.21, 5.32, 90, 99.2, 90],
    ),
    "CuO 2/m": _made(["Cu", "O"], [(0.25, 0.25, 0), (0, 0.418, 0.25)], 15, [4.68, 3.42, 5.13, 90, 99.5, 90]),
    "TiS3 2/m": _made(
        ["Ti", "S", "S", "S"],
        [(0.285, 0.25, 0.653), (0.759, 0.25, 0.554), (0.472, 0.25, 0.174), (0.88, 0.25, 0.167)],
        11,
        [4.96, 3.4, 8.78, 90, 97.3, 90],
    ),
    "model 2": _made(
        ["Mg", "O", "F"], [(0, 0, 0), (0.31, 0.22, 0.39), (0.18, 0.61, 0.13)], 4, [4.6, 5.1, 4.9, 90, 104, 90]
    ),
    "model 2 C": _made(["Zn", "Cl"], [(0, 0.03, 0), (0.21, 0.27, 0.34)], 5, [6.2, 4.5, 6.6, 90, 107, 90]),
    "model m": _made(
        ["Na", "N", "O"],
        [(0, 0, 0), (0.28, 0, 0.52), (0.55, 0.22, 0.27)],
        8,
        [5.9, 5.2, 4.7, 90, 98, 90],
    ),
}
TRICLINIC: dict[str, Atoms] = {
    "model 1 short": _made(["Ga", "N"], [(0, 0, 0), (0.36, 0.41, 0.29)], 1, [3.1, 3.4, 3.9, 84, 77, 95]),
    "model 1": _made(
        ["K", "B", "O", "O"],
        [(0.02, 0.01, 0), (0.48, 0.39, 0.55), (0.7, 0.2, 0.61), (0.3, 0.64, 0.4)],
        1,
        [4.1, 4.7, 5.3, 75, 101, 93],
    ),
    "model 1 obtuse": _made(
        ["Ca", "S", "O"], [(0, 0, 0), (0.5, 0.45, 0.52), (0.2, 0.7, 0.6)], 1, [4, 4.4, 5, 112, 97, 105]
    ),
    "model -1": _made(["Mg", "O"], [(0, 0, 0), (0.27, 0.33, 0.21)], 2, [3.8, 4.2, 4.9, 81, 74, 96]),
    "model -1 acute": _made(
        ["Al", "F", "F"], [(0.2, 0.15, 0.3), (0.55, 0.4, 0.12), (0.8, 0.2, 0.7)], 2, [4.6, 5, 5.7, 62, 71, 66]
    ),
    "model -1 hexagonal-like": _made(
        ["Na", "Cl", "O"], [(0, 0, 0.5), (0.31, 0.35, 0.2), (0.62, 0.1, 0.8)], 2, [4.8, 4.81, 6, 90.2, 89.9, 119.8]
    ),
}
#: crystal system -> name -> crystal
SEVEN_SYSTEMS: dict[str, dict[str, Atoms]] = {
    "cubic": CUBIC,
    "hexagonal": HEXAGONAL,
    "trigonal": TRIGONAL,
    "tetragonal": TETRAGONAL,
    "orthorhombic": ORTHORHOMBIC,
    "monoclinic": MONOCLINIC,
    "triclinic": TRICLINIC,
}
ALL_CRYSTALS: dict[str, Atoms] = {name: atoms for group in SEVEN_SYSTEMS.values() for name, atoms in group.items()}
