"""Make ``elastic_frames.npz``: strained crystals with the stresses that published elastic constants (PBE) give them.

    python training_data/make_elastic.py

Every crystal of ``elastic_mp`` (train, val) of up to 24 atoms is strained three times, once its volume alone, and the
opposite way. The constants are those of relaxed atoms; where the atoms go is taken from the shipped potential, as the
change from its own relaxed positions without strain. Layout of ``labelled_frames.npz`` of the data package, without
energies and forces (NaN).
"""

import logging
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from ase.units import GPa
from make_frames import write

from ase_comformer import GMTNetCalculator
from ase_comformer.tensors.forms import cartesian_to_voigt
from ase_comformer.training.data.records import Record, load_records

LARGEST, VOLUME_STRAIN, STRAIN = 24, 0.007, 0.006  # atoms, strains
FORCE, STEPS, LONGEST = 2e-3, 60, 0.15  # eV/A, of relaxations; A, at rest: further moves are of an unstable crystal

logger = logging.getLogger(__name__)


def strains(random: np.random.Generator) -> list[np.ndarray]:
    """A volume change, and two random ones."""
    made = [VOLUME_STRAIN * np.eye(3)]
    for _ in range(2):
        change = STRAIN * random.normal(size=(3, 3))
        made.append((change + change.T) / 2)
    return made


def relaxed(atoms: Atoms, calculator: GMTNetCalculator) -> Atoms | None:
    """A copy with atoms at rest; None where they do not come to it."""
    copy = atoms.copy()
    copy.calc = calculator
    return copy if BFGS(copy, logfile=None).run(fmax=FORCE, steps=STEPS) else None


def pairs(record: Record, calculator: GMTNetCalculator, random: np.random.Generator) -> list[tuple[Atoms, np.ndarray]]:
    """Frames and their stresses (6,), Voigt, eV/A^3; neighbours in the list have opposite strains."""
    atoms, stiffness = record.atoms, np.asarray(record.labels["elastic_tensor"]) * GPa
    rest = relaxed(atoms, calculator)
    if rest is None or np.abs(rest.positions - atoms.positions).max() > LONGEST:
        return []
    made = []
    for strain in strains(random):
        strained = rest.copy()
        strained.set_cell(rest.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        end = relaxed(strained, calculator)
        if end is None:
            continue
        shift = (end.positions - strained.positions) @ np.linalg.inv(strained.cell.array)
        shift -= shift.mean(axis=0)
        for sign in (1, -1):
            frame = atoms.copy()
            frame.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
            frame.positions += sign * shift @ frame.cell.array
            made.append((frame, sign * stiffness @ cartesian_to_voigt(strain, "strain")))
    return made


def main() -> None:
    """Write the file beside this script."""
    calculator, random = GMTNetCalculator(), np.random.default_rng(0)
    frames, stresses, facts = [], [], []
    for record in load_records("elastic_mp", splits=("train", "val")):
        if len(record.atoms) > LARGEST:
            continue
        try:
            found = pairs(record, calculator, random)
        except Exception as error:  # a crystal that the potential refuses has no frames
            logger.warning("%s %s: %s", record.id, record.formula, error)
            continue
        for number, (atoms, stress) in enumerate(found):
            frames.append((atoms, "elastic", f"{record.id}-{number // 2}"))
            stresses.append(stress)
            facts.append((record.formula, record.split))
    formulas, splits = map(np.array, zip(*facts, strict=True))
    write(
        frames,
        Path(__file__).with_name("elastic_frames.npz"),
        forces=np.full((sum(len(atoms) for atoms, *_ in frames), 3), np.nan, dtype=np.float32),
        energy=np.full(len(frames), np.nan),
        stress=np.array(stresses, dtype=np.float32),
        formula=formulas,
        split=splits,
    )


if __name__ == "__main__":
    main()
