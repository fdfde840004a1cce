"""Well-known crystals and published values of their tensors, for the demo: none of them is a training label.

Structures are experimental cells written out here. Signs that depend on the choice of axes (C14 and e14 of quartz,
e11 of an enantiomorph, the polar direction, e14 of zincblende) are compared in magnitude, and marked so.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

ADACHI = "Adachi, J. Appl. Phys. 58, R1 (1985), experiment"
SINOGEIKIN = "Sinogeikin, Bass, Phys. Earth Planet. Inter. 120, 43 (2000), experiment"
BERNARDINI = "Bernardini, Fiorentini, Vanderbilt, Phys. Rev. B 56, R10024 (1997), DFT-LDA"
WRIGHT = "Wright, J. Appl. Phys. 82, 2833 (1997), DFT-LDA"
DEVORE = "DeVore, J. Opt. Soc. Am. 41, 416 (1951), experiment, n^2 at 589 nm"
ISAAK = "Isaak et al., Phys. Chem. Miner. 26, 31 (1998), experiment"
LEE = "Lee, Ghosez, Gonze, Phys. Rev. B 50, 13379 (1994), DFT-LDA"
BECHMANN = "Bechmann, Phys. Rev. 110, 1060 (1958), experiment"
GHOSEZ = "Ghosez, Michenaud, Gonze, Phys. Rev. B 58, 6224 (1998), DFT-LDA"
BERLINCOURT = "Berlincourt, Jaffe, Phys. Rev. 111, 143 (1958), experiment"
CRC = "CRC Handbook of Chemistry and Physics, experiment"


@dataclass(frozen=True)
class PublishedValue:
    """One component: property, label, index in the documented form, value in its unit, source.

    ``magnitude``: the sign depends on the setting, compare absolute values.
    """

    property: str
    label: str
    index: tuple[int, ...]
    value: float
    source: str
    magnitude: bool = False


@dataclass(frozen=True)
class DemoCrystal:
    """Name, a function that builds the structure, and what is published about it."""

    name: str
    build: Callable[[], Atoms]
    values: tuple[PublishedValue, ...]


def _dielectric(values: dict[str, float], source: str, name: str = "dielectric_tensor") -> list[PublishedValue]:
    symbol = "eps_inf" if name == "dielectric_tensor" else "eps_0"
    axes = {"xx": (0, 0), "zz": (2, 2)}
    return [PublishedValue(name, f"{symbol} {axis}", axes[axis], value, source) for axis, value in values.items()]


def _elastic(values: dict[str, float], source: str) -> list[PublishedValue]:
    return [
        PublishedValue("elastic_tensor", label, (int(label[1]) - 1, int(label[2]) - 1), value, source, label == "C14")
        for label, value in values.items()
    ]


def _piezoelectric(values: dict[str, float], source: str) -> list[PublishedValue]:
    return [
        PublishedValue("piezoelectric_tensor", label, (int(label[1]) - 1, int(label[2]) - 1), value, source, True)
        for label, value in values.items()
    ]


def _born(values: dict[str, tuple[int, int, float]], source: str) -> list[PublishedValue]:
    return [
        PublishedValue("born_effective_charges", f"Z*({label})", (atom, axis, axis), value, source)
        for label, (atom, axis, value) in values.items()
    ]


def rutile() -> Atoms:
    """TiO2, P4_2/mnm."""
    basis = [(0, 0, 0), (0.3048, 0.3048, 0)]
    return crystal(["Ti", "O"], basis, spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90])


def quartz() -> Atoms:
    """Alpha-quartz SiO2, P3_121."""
    basis = [(0.4697, 0, 1 / 3), (0.4135, 0.2669, 0.2144)]
    return crystal(["Si", "O"], basis, spacegroup=152, cellpar=[4.913, 4.913, 5.405, 90, 90, 120])


def barium_titanate() -> Atoms:
    """Tetragonal BaTiO3, P4mm, polar axis along z."""
    basis = [(0, 0, 0), (0.5, 0.5, 0.5215), (0.5, 0.5, -0.0253), (0.5, 0, 0.4839)]
    return crystal(["Ba", "Ti", "O", "O"], basis, spacegroup=99, cellpar=[3.994, 3.994, 4.036, 90, 90, 90])


DEMO_CRYSTALS: tuple[DemoCrystal, ...] = (
    DemoCrystal(
        "MgO",
        lambda: bulk("MgO", "rocksalt", a=4.212),
        (
            *_dielectric({"xx": 2.94}, CRC),
            *_dielectric({"xx": 9.8}, CRC, "static_dielectric_tensor"),
            *_elastic({"C11": 297.9, "C12": 95.8, "C44": 154.4}, SINOGEIKIN),
            PublishedValue("formation_energy", "E_f", (), -3.118, CRC),
        ),
    ),
    DemoCrystal(
        "GaAs",
        lambda: bulk("GaAs", "zincblende", a=5.653),
        (
            *_dielectric({"xx": 10.89}, ADACHI),
            *_dielectric({"xx": 13.18}, ADACHI, "static_dielectric_tensor"),
            *_elastic({"C11": 118.8, "C12": 53.8, "C44": 59.4}, ADACHI),
            *_piezoelectric({"e14": -0.16}, ADACHI),
        ),
    ),
    DemoCrystal(
        "AlN",
        lambda: bulk("AlN", "wurtzite", a=3.112, c=4.982),
        (
            *_born({"Al zz": (0, 2, 2.70)}, BERNARDINI),
            *_elastic({"C11": 396.0, "C12": 137.0, "C13": 108.0, "C33": 373.0, "C44": 116.0}, WRIGHT),
            *_piezoelectric({"e33": 1.46, "e31": -0.60}, BERNARDINI),
        ),
    ),
    DemoCrystal(
        "TiO2 (rutile)",
        rutile,
        (
            *_dielectric({"xx": 6.84, "zz": 8.43}, DEVORE),
            *_born({"Ti xx": (0, 0, 6.34), "Ti zz": (0, 2, 7.54)}, LEE),
            *_elastic({"C11": 268.0, "C12": 175.0, "C13": 147.0, "C33": 484.0, "C44": 124.0, "C66": 190.0}, ISAAK),
        ),
    ),
    DemoCrystal(
        "SiO2 (quartz)",
        quartz,
        (
            *_dielectric({"xx": 2.385, "zz": 2.413}, CRC + ", n^2 at 589 nm"),
            *_elastic(
                {"C11": 86.74, "C12": 6.99, "C13": 11.91, "C14": -17.91, "C33": 107.2, "C44": 57.94}, BECHMANN
            ),
            *_piezoelectric({"e11": 0.171, "e14": -0.041}, BECHMANN),
        ),
    ),
    DemoCrystal(
        "BaTiO3 (P4mm)",
        barium_titanate,
        (
            *_born({"Ba zz": (0, 2, 2.83), "Ti xx": (1, 0, 6.94), "Ti zz": (1, 2, 5.81)}, GHOSEZ),
            *_elastic({"C11": 275.0, "C12": 179.0, "C13": 152.0, "C33": 165.0, "C44": 54.0, "C66": 113.0}, BERLINCOURT),
            *_piezoelectric({"e31": -2.7, "e33": 3.65, "e15": 21.3}, BERLINCOURT),
        ),
    ),
)


def component(tensor: "np.ndarray | float", value: PublishedValue) -> float:
    """The entry of a predicted tensor that ``value`` is about, without its sign where that depends on the setting."""
    entry = float(np.asarray(tensor)[value.index])
    return abs(entry) if value.magnitude else entry
