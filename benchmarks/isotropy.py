"""Tensor components that harmonics up to l = 2 cannot give: e of zincblende and wurtzite, anisotropy of cubic C.

    python -m benchmarks.isotropy [--model default] [--seeds 3]

The research code's zincblende crystals have e14 = 0 and its cubic crystals a Zener ratio 2 C44 / (C11 - C12) of
exactly 1, whatever the weights, because edge harmonics stop at l = 2. Here both must differ, with random weights and
with the shipped ones; the exit status is 1 if they do not. Outputs are raw (``enforce_symmetry=False``), float64.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols

from ase_comformer.inference.predictor import Predictor
from ase_comformer.models.registry import available_models, save_weights
from ase_comformer.nn import TensorNetwork
from ase_comformer.nn.layers.cartesian import MAX_ATOMIC_NUMBER
from benchmarks.published import NOT_CONFIRMED, Unconfirmed

PROPERTIES = ("piezoelectric_tensor", "elastic_tensor")
#: lattice parameters in A of the experiment (Landolt-Boernstein, rounded)
ZINCBLENDE = {"GaAs": 5.653, "ZnS": 5.409, "InSb": 6.479}
WURTZITE = {"ZnO": (3.250, 5.207), "AlN": (3.112, 4.982), "GaN": (3.189, 5.185), "CdS": (4.136, 6.714)}
CUBIC: dict[str, tuple[str, str, float]] = {
    "Si": ("Si", "diamond", 5.431),
    "NaCl": ("NaCl", "rocksalt", 5.640),
    "Cu": ("Cu", "fcc", 3.615),
    "CsCl": ("CsCl", "cesiumchloride", 4.123),
    "CaF2": ("CaF2", "fluorite", 5.463),
}
#: Zener ratios of the experiment: Si from C11, C12, C44 = 165.7, 63.9, 79.56 GPa, NaCl (48.7, 12.4, 12.6)
#: and CsCl (36.4, 9.2, 8.0) of www.ucl.ac.uk/~ucapahh/research/crystal, Cu and CaF2 of Simmons and Wang (1971)
MEASURED_ZENER = {"Si": 1.56, "NaCl": 0.69, "Cu": Unconfirmed(3.21), "CsCl": 0.59, "CaF2": Unconfirmed(0.56)}
#: smallest size that counts as non-zero: a component in C/m^2, and |ratio - 1|
SMALLEST = 1e-6


def zener_ratio(stiffness: np.ndarray) -> float:
    """2 C44 / (C11 - C12) of a cubic crystal on cubic axes, from (6, 6) Voigt; 1 where elasticity is isotropic."""
    return float(2 * stiffness[3, 3] / (stiffness[0, 0] - stiffness[0, 1]))


def component(tensor: np.ndarray, name: str) -> float:
    """``"e14"`` -> entry (1, 4) of a (3, 6) Voigt array."""
    return float(tensor[int(name[1]) - 1, int(name[2]) - 1])


def piezoelectric_crystals() -> dict[str, tuple[Atoms, tuple[str, ...]]]:
    """Zincblende and wurtzite crystals, c along z, with the components that their class allows."""
    cubic = {f"{name} zincblende": (bulk(name, "zincblende", a=a), ("e14",)) for name, a in ZINCBLENDE.items()}
    polar = {
        f"{name} wurtzite": (bulk(name, "wurtzite", a=a, c=c, u=0.380), ("e31", "e33", "e15"))
        for name, (a, c) in WURTZITE.items()
    }
    return cubic | polar


def elastic_crystals() -> dict[str, Atoms]:
    """Cubic crystals in their primitive cells, cubic axes along x, y, z."""
    return {name: bulk(formula, kind, a=a) for name, (formula, kind, a) in CUBIC.items()}


def random_model(directory: Path, seed: int) -> str:
    """Path of a default-sized network with random weights that claims to know every element."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = TensorNetwork(properties=PROPERTIES)
    elements = chemical_symbols[1 : MAX_ATOMIC_NUMBER + 1]
    covered = {name: {"elements": elements, "functional": "none", "kind": "random weights"} for name in PROPERTIES}
    return str(save_weights(network, directory, f"random{seed}", {"properties": covered}))


def row(name: str, values: Sequence[float], form: str, note: str = "") -> str:
    """One line of a table."""
    return f"{name:24s}" + "".join(f"{value:>13{form}}" for value in values) + (f"   {note}" if note else "")


def main() -> int:
    """Print both tables; 0 if every component is there and no crystal isotropic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="name or path; left out where it does not exist")
    parser.add_argument("--seeds", type=int, default=3, help="how many networks with random weights")
    options = parser.parse_args()
    piezoelectric, elastic = piezoelectric_crystals(), elastic_crystals()
    crystals = [atoms for atoms, _ in piezoelectric.values()] + list(elastic.values())
    columns: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        models = {f"random {seed}": random_model(Path(folder), seed) for seed in range(options.seeds)}
        if options.model in available_models() or Path(options.model).exists():
            models[options.model] = options.model
        else:
            print(
                f"no model {options.model!r} yet (available: {', '.join(available_models()) or 'none'}): random only\n"
            )
        for name, path in models.items():
            predictor = Predictor(model=path, device="cpu", dtype="float64", enforce_symmetry=False)
            columns[name] = predictor.predict(crystals, PROPERTIES, on_error="raise")
    failures = 0
    heading = "".join(f"{Path(name).stem[:12]:>13s}" for name in columns)
    print(f"{'e (C/m^2)':24s}{heading}")
    for number, (name, (_, components)) in enumerate(piezoelectric.items()):
        for which in components:
            values = [component(results[number]["piezoelectric_tensor"], which) for results in columns.values()]
            failures += sum(abs(value) < SMALLEST for value in values)
            print(row(f"{name} {which}", values, ".5f"))
    print(f"\n{'2 C44 / (C11 - C12)':24s}{heading}   experiment")
    for number, name in enumerate(elastic, start=len(piezoelectric)):
        values = [zener_ratio(results[number]["elastic_tensor"]) for results in columns.values()]
        failures += sum(abs(value - 1) < SMALLEST for value in values)
        print(row(name, values, ".5f", f"{MEASURED_ZENER[name]:.2f}"))
    print(NOT_CONFIRMED)
    verdict = "all components non-zero, no crystal isotropic" if failures == 0 else f"{failures} entries vanish or tie"
    print(f"\n{verdict} (threshold {SMALLEST:g})")
    return 0 if failures == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
