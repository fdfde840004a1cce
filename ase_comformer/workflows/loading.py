"""The predictor that a workflow computes with: the one that was passed, or one loaded as workflows need it."""

from __future__ import annotations

from pathlib import Path

from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.settings import DEFAULTS


def predictor_for(
    predictor: Predictor | None, *, model: str | Path, device: str, symprec: float, route: str = DEFAULTS.route
) -> Predictor:
    """Return ``predictor``, or load one in float64, which differences of forces and relaxations to rest need.

    Args:
        predictor: what the user passed; the other arguments are not read then.
        model: name or path, as ``predict``.
        device: ``"auto"`` or a torch device.
        symprec: A, the largest distance by which idealisation may move an atom.
        route: of relaxed-ion tensors, as ``predict``.
    """
    if predictor is not None:
        return predictor
    return Predictor(model=model, device=device, dtype="float64", symprec=symprec, route=route)
