"""``compare``: tensors of a first-principles calculation beside those predicted for the same crystal, in its frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.errors import UnreadableFileError
from ase_comformer.first_principles import read_tensors
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import message_of
from ase_comformer.inference.settings import DEFAULTS

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ComparedTensor:
    """One property, calculated and predicted.

    Attributes:
        name, unit, functional: of the prediction.
        calculated: documented form, in the frame of the file.
        predicted: the same; None where nothing could be predicted.
        uncertainty: expected error of the prediction, None where none is known.
        error: why there is no prediction, or empty.
    """

    name: str
    unit: str
    functional: str
    calculated: FloatArray
    predicted: FloatArray | None
    uncertainty: Any = None
    error: str = ""

    @property
    def relative_difference(self) -> float | None:
        """Frobenius norm of the difference over max(norm of the calculated tensor, 1), both as arrays printed."""
        if self.predicted is None:
            return None
        norm = max(float(np.linalg.norm(self.calculated)), 1.0)
        return float(np.linalg.norm(self.predicted - self.calculated)) / norm


@dataclass(frozen=True)
class Comparison:
    """Tensors of a file beside predictions.

    Attributes:
        program: that wrote the file.
        atoms: the crystal, in whose frame and order all tensors are.
        rows: one per tensor of the file.
        status: "ok", or what the predictions say of the crystal.
    """

    program: str
    atoms: Atoms
    rows: tuple[ComparedTensor, ...]
    status: str


def compare(
    path: str | Path,
    *,
    structure: Any = None,
    predictor: Predictor | None = None,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
) -> Comparison:
    """Read the tensors of a first-principles calculation and predict them for its structure.

    Args:
        path: see ``first_principles.read_tensors``.
        structure: the crystal, for files that do not hold it (``anaddb``), in their frame and order of atoms; of files
            that do, theirs is taken and this must be None.
        predictor: loaded model; made from the arguments below where None.
        model: name or path, as ``predict``.
        device: ``"auto"`` or a torch device.

    Raises:
        UnreadableFileError: the file is not known, or a structure is missing, superfluous or has another number of
            atoms.

    Example:
        >>> found = compare("vasprun.xml")  # doctest: +SKIP
        >>> [(row.name, row.relative_difference) for row in found.rows]  # doctest: +SKIP
    """
    found = read_tensors(path)
    atoms = _structure(path, found.atoms, structure)
    charges = found.tensors.get("born_effective_charges")
    if charges is not None and len(charges) != len(atoms):
        raise UnreadableFileError(
            f"{path} has Born charges of {len(charges)} atoms, the structure {len(atoms)}. Pass the structure that the "
            "calculation was made for."
        )
    predictor = predictor or Predictor(model=model, device=device)
    names = [name for name in found.tensors if name in predictor.properties]
    asked = [*names, *(f"{name}_uncertainty" for name in names if f"{name}_uncertainty" in predictor.properties)]
    result, errors = predictor.evaluate_each(atoms, asked) if names else ({}, {})
    rows = []
    for name, calculated in found.tensors.items():
        known = name in predictor.properties
        facts = predictor.describe(name) if known else {"unit": "", "functional": ""}
        if not known:
            why = f"model {predictor.model.name!r} has no such property"
        else:
            why = message_of(errors[name]) if name in errors else ""
        error = result.get(f"{name}_uncertainty")
        predicted = result.get(name)
        rows.append(ComparedTensor(name, facts["unit"], facts["functional"], calculated, predicted, error, why))
    return Comparison(found.program, atoms, tuple(rows), str(result.get("status", "ok")))


def _structure(path: str | Path, held: Atoms | None, given: Any) -> Atoms:
    if held is not None and given is None:
        return held
    if held is None and given is not None:
        return as_atoms(given)
    problem = "holds a structure of its own" if held is not None else "does not hold the structure"
    remedy = "leave structure out" if held is not None else "pass structure=atoms (--structure FILE)"
    raise UnreadableFileError(f"{path} {problem}: {remedy}.")
