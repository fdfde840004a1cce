"""Stand-ins for calculations of one's own, in the format of VASP: ``python tests/helpers/own_calculations.py FOLDER``.

A surface that the shipped potential does not have: its own one with all lengths 1.5 % larger and energies of the
elements moved, as another functional and other pseudopotentials would; dielectric tensors 20 % larger.
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_comformer.inference.predictor import Predictor
from first_principles_files import write_vasprun

STRETCH, SHIFTS, DIELECTRIC = 1.015, {"Al": 1.3, "N": -0.4, "P": 0.2}, 1.2


def labelled(atoms: Atoms, predictor: Predictor) -> Atoms:
    """Copy with energy, forces and stress of the stretched surface."""
    shrunk = atoms.copy()
    shrunk.set_cell(atoms.cell.array / STRETCH, scale_atoms=True)
    found = predictor.evaluate(shrunk, ["energy", "forces", "stress"])
    energy = found["energy"] + sum(SHIFTS[symbol] for symbol in atoms.get_chemical_symbols())
    result = atoms.copy()
    result.calc = SinglePointCalculator(
        result, energy=energy, forces=found["forces"] / STRETCH, stress=found["stress"] / STRETCH**3
    )
    return result


def write_calculations(folder: Path, predictor: Predictor, *, runs: int = 6, steps: int = 5) -> list[Path]:
    """Runs of distorted aluminium nitride, and dielectric calculations of it and of aluminium phosphide."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(1)
    nitride = bulk("AlN", "wurtzite", a=3.122 * STRETCH, c=5.012 * STRETCH)
    nitride = nitride[np.argsort(nitride.get_chemical_symbols(), kind="stable")]
    paths = []
    for run in range(runs):
        frames = []
        for _ in range(steps):
            atoms = nitride.copy()
            strain = np.eye(3) + generator.uniform(-0.02, 0.02, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            atoms.positions += generator.normal(scale=0.05, size=atoms.positions.shape)
            frames.append(labelled(atoms, predictor))
        paths.append(folder / f"run-{run}-vasprun.xml")
        write_vasprun(paths[-1], frames[0], {}, frames, mode=0)
    for name, atoms in (("AlN", nitride), ("AlP", bulk("AlP", "zincblende", a=5.47))):
        tensors = {
            "dielectric_tensor": DIELECTRIC * predictor.evaluate(atoms, ["dielectric_tensor"])["dielectric_tensor"]
        }
        paths.append(folder / f"dielectric-{name}-vasprun.xml")
        write_vasprun(paths[-1], atoms, tensors, [labelled(atoms, predictor)], mode=-1)
    return paths


if __name__ == "__main__":
    for path in write_calculations(Path(sys.argv[1]), Predictor(dtype="float64")):
        sys.stdout.write(f"{path}\n")
