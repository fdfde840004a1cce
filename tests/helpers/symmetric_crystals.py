"""Small crystals of different systems for tests of networks."""

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal


def quartz() -> Atoms:
    return crystal(
        ["Si", "O"],
        [(0.4697, 0.0, 2 / 3), (0.4135, 0.2669, 0.7858)],
        spacegroup=154,
        cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
    )


def crystals() -> list[Atoms]:
    skew = quartz()
    skew.set_cell(skew.cell.array @ (np.eye(3) + 0.05 * np.random.default_rng(0).normal(size=(3, 3))), scale_atoms=True)
    return [
        quartz(),
        bulk("MgO", "rocksalt", a=4.21),
        bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382),
        bulk("Si"),
        skew,
    ]
