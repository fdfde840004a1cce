"""Calculations of one's own as training data: frames and tensors of VASP and other outputs in this package's files.

``collect`` writes ``NAME_frames.npz``, which ``train`` reads as the data set NAME for potentials, and
``NAME_tensors.jsonl.gz``, the data set NAME_tensors for tensors. Whole calculations validate, because neighbouring
steps of one trajectory know each other. Energies are moved per element onto the scale of the potential they are to
teach: pseudopotentials differ by constants that no structure depends on.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.io import read
from numpy.typing import NDArray

from ase_comformer.errors import UnreadableFileError, warn_user
from ase_comformer.first_principles import FirstPrinciplesTensors, format_of, read_tensors
from ase_comformer.inference.predictor import Predictor
from ase_comformer.training.data.records import split_of

FloatArray = NDArray[np.float64]

#: eV/A: frames with larger forces teach collisions.
LARGEST_FORCE = 30.0


@dataclass(frozen=True)
class Collected:
    """Says what was found in the files.

    Attributes:
        frames, tensors: numbers of training and validation frames, and of crystals with tensors.
        energy_shifts: eV per atom of each element, taken from the energies of the calculations.
        skipped: file -> why nothing was taken from it.
    """

    frames: dict[str, int]
    tensors: dict[str, int]
    energy_shifts: dict[str, float]
    skipped: dict[str, str]


def collect(
    paths: Sequence[str | Path],
    folder: str | Path,
    name: str,
    *,
    validation: float = 0.1,
    every: int = 1,
    functional: str = "PBE",
    predictor: Predictor | None = None,
) -> Collected:
    """Write frames and tensors of calculations as data sets of ``train``.

    Args:
        paths: outputs with energies and forces that ASE reads (vasprun.xml, OUTCAR, extxyz, ...), all their steps, and
            with tensors that ``first_principles.read_tensors`` reads.
        folder: of the data sets, made where it is missing; ``ASE_COMFORMER_DATA`` of the training.
        name: of the data sets.
        validation: share of the calculations that validate, at least one; of a single calculation its last steps.
        every: take every n-th step.
        functional: of the tensors, "PBE" or "PBEsol".
        predictor: its potential gives the scale of energies; made from the default model where None.

    Raises:
        UnreadableFileError: nothing was found in any file.
        ValueError: ``validation`` or ``every`` out of range.

    Warns:
        UserWarning: tensors of a single calculation, which then both teach and validate; formulas that the figures of
            the shipped models are measured on.

    Example:
        >>> collect(["relax/vasprun.xml", "dfpt/vasprun.xml"], "my-data", "mine")  # doctest: +SKIP
    """
    if not 0 < validation < 1 or every < 1:
        raise ValueError(f"validation={validation} must lie between 0 and 1, every={every} must be at least 1")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    frames: dict[str, list[Atoms]] = {}
    tensors: dict[str, FirstPrinciplesTensors] = {}
    skipped: dict[str, str] = {}
    for path in map(str, paths):
        reasons = []
        try:
            frames[path] = _frames_of(path)[::every]
        except UnreadableFileError as error:
            reasons.append(str(error))
        try:
            tensors[path] = read_tensors(path)
        except UnreadableFileError as error:
            reasons.append(str(error))
        if len(reasons) == 2:
            skipped[path] = reasons[0]
    if not frames and not tensors:
        raise UnreadableFileError(f"No frames and no tensors in {len(paths)} files: {'; '.join(skipped.values())}")
    _warn_of_measured_formulas(
        [*(part[0] for part in frames.values()), *(t.atoms for t in tensors.values() if t.atoms)]
    )
    counts, shifts = {}, {}
    if frames:
        shifts = energy_shifts([atoms for part in frames.values() for atoms in part], predictor or Predictor())
        counts = _write_frames(folder / f"{name}_frames.npz", frames, shifts, validation)
    found = _write_tensors(folder / f"{name}_tensors.jsonl.gz", tensors, functional, validation) if tensors else {}
    return Collected(counts, found, {chemical_symbols[z]: value for z, value in shifts.items()}, skipped)


def energy_shifts(frames: Sequence[Atoms], predictor: Predictor) -> dict[int, float]:
    """Least-squares energy per atom of each element by which frames lie above the potential's scale, eV.

    Of elements that always come in the same proportion only the sum is known; it is shared equally.
    """
    numbers = sorted({int(number) for atoms in frames for number in atoms.numbers})
    results = predictor.predict(list(frames), ["energy"], on_error="raise")
    composition = np.array([[(atoms.numbers == number).sum() for number in numbers] for atoms in frames], dtype=float)
    difference = np.array([_energy(atoms) - each["energy"] for atoms, each in zip(frames, results, strict=True)])
    count = composition.sum(axis=1)
    found = np.linalg.lstsq(composition / count[:, None], difference / count, rcond=1e-6)[0]
    return dict(zip(numbers, found.tolist(), strict=True))


def _frames_of(path: str) -> list[Atoms]:
    try:
        steps = read(path, index=":", format=format_of(path))
    except Exception as error:  # readers fail in as many ways as files can be wrong
        raise UnreadableFileError(f"{path}: ASE reads no frames ({type(error).__name__}: {error})") from error
    assert isinstance(steps, list)
    kept = []
    for atoms in steps:
        results = {} if atoms.calc is None else atoms.calc.results
        known = "forces" in results and ("energy" in results or "free_energy" in results)
        if known and atoms.pbc.all() and np.abs(results["forces"]).max(initial=0.0) < LARGEST_FORCE:
            kept.append(atoms)
    if not kept:
        raise UnreadableFileError(f"{path} has no steps of a crystal with energy and forces below {LARGEST_FORCE} eV/A")
    return kept


def _energy(atoms: Atoms) -> float:
    """The energy that forces are derivatives of, eV."""
    assert atoms.calc is not None
    results = atoms.calc.results
    return float(results.get("free_energy", results.get("energy")))


def _splits(count: int, validation: float) -> list[str]:
    """Evenly spread validation calculations, at least one of several."""
    chosen = max(1, round(validation * count)) if count > 1 else 0
    places = {round((k + 0.5) * count / chosen - 0.5) for k in range(chosen)}
    return ["val" if k in places else "train" for k in range(count)]


def _write_frames(
    path: Path, calculations: dict[str, list[Atoms]], shifts: dict[int, float], validation: float
) -> dict[str, int]:
    split: list[str] = []
    for part, side in zip(calculations.values(), _splits(len(calculations), validation), strict=True):
        held = max(1, round(validation * len(part))) if len(calculations) == 1 and len(part) > 1 else 0
        split += [side] * (len(part) - held) + ["val"] * held
    frames = [atoms for part in calculations.values() for atoms in part]
    own = [sum(shifts[int(number)] for number in atoms.numbers) for atoms in frames]
    np.savez_compressed(
        path,
        numbers=np.concatenate([atoms.numbers for atoms in frames]),
        positions=np.concatenate([atoms.positions for atoms in frames]),
        forces=np.concatenate([atoms.get_forces(apply_constraint=False) for atoms in frames]).astype(np.float32),
        cell=np.array([atoms.cell.array for atoms in frames]),
        energy=np.array([_energy(atoms) - shift for atoms, shift in zip(frames, own, strict=True)]),
        stress=np.array([_stress(atoms) for atoms in frames], dtype=np.float32),
        ptr=np.cumsum([0, *(len(atoms) for atoms in frames)]),
        variant=np.full(len(frames), "own"),
        base_id=np.array([name for name, part in calculations.items() for _ in part]),
        split=np.array(split),
    )
    return {side: split.count(side) for side in ("train", "val")}


def _stress(atoms: Atoms) -> FloatArray:
    assert atoms.calc is not None
    stress = atoms.calc.results.get("stress")
    return np.full(6, np.nan) if stress is None else np.asarray(stress, dtype=np.float64)


def _write_tensors(
    path: Path, calculations: dict[str, FirstPrinciplesTensors], functional: str, validation: float
) -> dict[str, int]:
    known = {name: found for name, found in calculations.items() if found.atoms is not None}
    splits = [[side] for side in _splits(len(known), validation)]
    if len(known) == 1:
        warn_user(
            f"Tensors of one calculation only ({next(iter(known))}) teach and validate: the figures of the run are not "
            "a measure of anything. Add calculations of other crystals."
        )
        splits = [["train", "val"]]
    rows: list[dict[str, Any]] = []
    for (name, found), sides in zip(known.items(), splits, strict=True):
        assert found.atoms is not None
        for side in sides:
            rows.append(
                {
                    "id": f"{name} {side}",
                    "formula": found.atoms.get_chemical_formula(empirical=True),
                    "split": side,
                    "split_by": "calculation",
                    "numbers": found.atoms.numbers.tolist(),
                    "frac": found.atoms.get_scaled_positions().tolist(),
                    "lattice": found.atoms.cell.array.tolist(),
                    "labels": {label: tensor.tolist() for label, tensor in found.tensors.items()},
                    "functional": functional,
                    "flags": [],
                }
            )
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return {side: sum(row["split"] == side for row in rows) for side in ("train", "val")}


def _warn_of_measured_formulas(structures: Sequence[Atoms]) -> None:
    from pymatgen.core import Composition

    formulas = sorted({Composition(atoms.get_chemical_formula()).reduced_formula for atoms in structures})
    measured = [formula for formula in formulas if split_of(formula) in ("test", "withheld")]
    if measured:
        warn_user(
            f"{', '.join(measured)}: figures in model cards are measured on such formulas, which models never see. "
            "They do not hold for weights that learned from these calculations; measure those on calculations of your "
            "own."
        )
