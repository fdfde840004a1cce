"""Make ``relaxed_cells.npz``: strains that bring present-day cells of the Materials Project onto the PBE surface.

    python training_data/relax_cells.py

Structures of source ``mp_cif_2023`` (``moduli``, ``dielectric_scalars``, ``piezo_modulus_mp``) were relaxed with
r2SCAN, their labels belong to PBE cells, which are 2 to 4 % larger. Two Newton steps with the stress of the shipped
potential and the stiffness of the shipped networks relax the cell at fixed space group; atoms keep their fractional
coordinates, as the stiffness is that of relaxed atoms. Elements that the stiffness does not cover get an isotropic one,
from the stress of a volume change. A strain is at most 6 % along any axis: layers that only dispersion holds together
have no end of their own in PBE. Strains that the file has already are kept, so the script may be stopped and resumed.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import GPa

from ase_comformer.inference.predictor import Predictor
from ase_comformer.tensors.voigt import cartesian_to_voigt, voigt_to_cartesian
from ase_comformer.training.data.records import data_folder, split_of
from ase_comformer.training.data.relaxed_cells import cells_of_2023

LARGEST, STEPS, CAP, PROBE = 20, 2, 0.06, 0.01  # atoms, Newton steps, strains along an axis, strain of a volume change
SOFTEST, STIFFEST = 5.0, 400.0  # GPa, bulk moduli of isotropic stiffness

logger = logging.getLogger(__name__)


def isotropic(bulk: float) -> np.ndarray:
    """(6, 6) GPa, stiffness with a shear modulus of half the bulk modulus."""
    shear = bulk / 2
    stiffness = np.diag([2 * shear] * 3 + [shear] * 3)
    stiffness[:3, :3] += bulk - 2 * shear / 3
    return stiffness


def limited(strain: np.ndarray) -> np.ndarray:
    """(3, 3) strain with principal values cut at ``CAP``."""
    values, axes = np.linalg.eigh(strain)
    return axes @ np.diag(np.clip(values, -CAP, CAP)) @ axes.T


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """A copy in a strained cell; fractional coordinates stay."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def relaxing_strains(structures: Sequence[Atoms], predictor: Predictor) -> list[np.ndarray | None]:
    """(3, 3) strains; None of what the potential refuses."""
    total: list[np.ndarray | None] = [np.zeros((3, 3)) for _ in structures]
    stiffness: list[np.ndarray] = []
    for number, found in enumerate(predictor.predict(structures, ["stress", "elastic_tensor"])):
        known = found.get("elastic_tensor")
        if "stress" not in found:
            total[number] = None
            known = np.eye(6)
        elif known is None:
            (larger,) = predictor.predict([strained(structures[number], PROBE * np.eye(3))], ["stress"])
            change = np.mean((larger.get("stress", found["stress"]) - found["stress"])[:3]) / GPa
            known = isotropic(float(np.clip(change / (3 * PROBE), SOFTEST, STIFFEST)))
        stiffness.append(known)
    for _ in range(STEPS):
        rows = [number for number, strain in enumerate(total) if strain is not None]
        moved = [strained(structures[number], total[number]) for number in rows]
        for number, found in zip(rows, predictor.predict(moved, ["stress"]), strict=True):
            if "stress" not in found:
                total[number] = None
                continue
            step = -np.linalg.solve(stiffness[number], found["stress"] / GPa)
            total[number] = limited(total[number] + voigt_to_cartesian(step, "strain"))
    return total


def main() -> None:
    """Write the file beside this script."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    predictor = Predictor()
    cells = cells_of_2023(data_folder(), LARGEST)
    path = Path(__file__).with_name("relaxed_cells.npz")
    found: dict[str, np.ndarray] = {}
    if path.is_file():
        with np.load(path) as stored:
            found = dict(zip(stored["id"].tolist(), stored["strain"], strict=True))
    sides = {name: split_of(atoms.get_chemical_formula(empirical=True)) for name, atoms in cells.items()}
    # what accuracy is measured on comes first
    names = sorted(cells.keys() - found.keys(), key=lambda name: (sides[name] == "train", len(cells[name]), name))
    for start in range(0, len(names), 256):
        part = names[start : start + 256]
        strains = relaxing_strains([cells[name] for name in part], predictor)
        for name, strain in zip(part, strains, strict=True):
            if strain is not None:
                found[name] = cartesian_to_voigt(strain, "strain")
        logger.info("%d of %d cells, up to %d atoms", start + len(part), len(names), len(cells[part[-1]]))
        kept = sorted(found)
        np.savez_compressed(path, id=np.array(kept), strain=np.array([found[name] for name in kept], dtype=np.float16))


if __name__ == "__main__":
    main()
