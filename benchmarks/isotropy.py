"""Tensors that vanish or turn isotropic when edge harmonics stop at l = 2: ``python -m benchmarks.isotropy``.

Zincblende and wurtzite crystals must have piezoelectric coefficients, cubic crystals a Zener ratio
2 C44 / (C11 - C12) other than one. Random weights and the shipped model, without enforced symmetry.
"""

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from rich.console import Console
from rich.table import Table

from ase_comformer import predict
from ase_comformer.graph import build_graph
from ase_comformer.nn.tensor_network import TensorNetwork

PIEZOELECTRIC = {
    "GaAs zincblende": bulk("GaAs", "zincblende", a=5.653),
    "ZnS zincblende": bulk("ZnS", "zincblende", a=5.41),
    "InSb zincblende": bulk("InSb", "zincblende", a=6.479),
    "ZnO wurtzite": bulk("ZnO", "wurtzite", a=3.25, c=5.207),
    "AlN wurtzite": bulk("AlN", "wurtzite", a=3.112, c=4.982),
    "GaN wurtzite": bulk("GaN", "wurtzite", a=3.189, c=5.185),
}
CUBIC = {
    "Si": bulk("Si"),
    "NaCl": bulk("NaCl", "rocksalt", a=5.64),
    "Cu": bulk("Cu"),
    "CsCl": bulk("CsCl", "cesiumchloride", a=4.12),
    "CaF2": crystal(["Ca", "F"], [(0, 0, 0), (0.25, 0.25, 0.25)], spacegroup=225, cellpar=[5.463] * 3 + [90] * 3),
}


def random_outputs(atoms: Atoms, name: str) -> np.ndarray:
    """Output of a network with random weights, seed 0."""
    torch.manual_seed(0)
    network = TensorNetwork().double().eval()
    with torch.no_grad():
        return network(build_graph(atoms, network.graph_settings), (name,))[name][0].numpy()


def zener(stiffness: np.ndarray) -> float:
    """2 C44 / (C11 - C12)."""
    return float(2 * stiffness[3, 3] / (stiffness[0, 0] - stiffness[0, 1]))


def main() -> None:
    """Print both tables."""
    console = Console(width=120)
    names = ("piezoelectric_tensor", "elastic_tensor")
    for crystals, name, title in (
        (PIEZOELECTRIC, names[0], "largest |e_ij|, C/m^2"),
        (CUBIC, names[1], "Zener ratio 2 C44 / (C11 - C12)"),
    ):
        shipped = predict(list(crystals.values()), [name], enforce_symmetry=False, dtype="float64")
        table = Table("crystal", "random weights", "shipped model", title=title)
        for (label, atoms), result in zip(crystals.items(), shipped, strict=True):
            values = [random_outputs(atoms, name), result.get(name)]
            shown = [
                result["error"] if v is None else f"{np.abs(v).max() if name == names[0] else zener(v):.4f}"
                for v in values
            ]
            table.add_row(label, *shown)
        console.print(table)


if __name__ == "__main__":
    main()
