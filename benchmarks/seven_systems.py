"""Small crystals of all seven crystal systems, with and without a centre of inversion, for tests of symmetry.

Parameters are close to the real compounds; where the smallest real one of a class is large, a made-up one of that
space group stands in ("model").
"""

from __future__ import annotations

from ase import Atoms
from ase.spacegroup import crystal

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group


def _made(symbols: list[str], basis: list[tuple[float, float, float]], number: int, cell: list[float]) -> Atoms:
    angles = cell if len(cell) == 6 else [*cell, 90, 90, 90]
    return crystal(symbols, basis, spacegroup=number, cellpar=angles)


def seven_systems() -> dict[str, SpaceGroup]:
    """Name -> space group with the exactly symmetric primitive cell (``group.primitive``), two of most systems."""
    hexagonal = [90.0, 90.0, 120.0]
    made = {
        "GaAs": _made(["Ga", "As"], [(0, 0, 0), (0.25, 0.25, 0.25)], 216, [5.65] * 3),
        "SrTiO3": _made(["Sr", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], 221, [3.905] * 3),
        "ZnO": _made(["Zn", "O"], [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.382)], 186, [3.25, 3.25, 5.2, *hexagonal]),
        "beta-quartz": _made(["Si", "O"], [(0.5, 0, 0), (0.208, 0.416, 0.5)], 180, [5.0, 5.0, 5.46, *hexagonal]),
        "quartz": _made(
            ["Si", "O"], [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.7858)], 154, [4.916, 4.916, 5.405, *hexagonal]
        ),
        "Mg(OH)2": _made(
            ["Mg", "O", "H"],
            [(0, 0, 0), (1 / 3, 2 / 3, 0.22), (1 / 3, 2 / 3, 0.42)],
            164,
            [3.14, 3.14, 4.77, *hexagonal],
        ),
        "rutile": _made(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], 136, [4.59, 4.59, 2.96]),
        "BPO4": _made(["B", "P", "O"], [(0, 0.5, 0.25), (0, 0, 0), (0.138, 0.26, 0.129)], 82, [4.34, 4.34, 6.64]),
        "KNbO3": _made(
            ["K", "Nb", "O", "O"],
            [(0, 0, 0), (0.5, 0, 0.517), (0, 0, 0.52), (0.5, 0.253, 0.28)],
            38,
            [3.97, 5.69, 5.72],
        ),
        "FeS2": _made(["Fe", "S"], [(0, 0, 0), (0.2, 0.378, 0)], 58, [4.44, 5.42, 3.39]),
        "ZrO2": _made(
            ["Zr", "O", "O"],
            [(0.276, 0.041, 0.208), (0.07, 0.332, 0.345), (0.45, 0.757, 0.479)],
            14,
            [5.15, 5.21, 5.32, 90, 99.2, 90],
        ),
        "model 2": _made(
            ["Mg", "O", "F"], [(0, 0, 0), (0.31, 0.22, 0.39), (0.18, 0.61, 0.13)], 4, [4.6, 5.1, 4.9, 90, 104, 90]
        ),
        "model -1": _made(["Mg", "O"], [(0, 0, 0), (0.27, 0.33, 0.21)], 2, [3.8, 4.2, 4.9, 81, 74, 96]),
        "model 1": _made(["Ga", "N"], [(0, 0, 0), (0.36, 0.41, 0.29)], 1, [3.1, 3.4, 3.9, 84, 77, 95]),
    }
    return {name: analyse_space_group(atoms) for name, atoms in made.items()}
