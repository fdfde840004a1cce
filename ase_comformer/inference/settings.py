"""The arguments that the calculator, ``predict`` and the command line share, with one set of defaults.

This module imports nothing heavy, so that ``ase-comformer --help`` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ase_comformer.errors import check_choice

BATCH_SIZE = 64
"""Crystals evaluated together."""

ROUTES = ("head", "response", "combined")
"""What ``route`` may be."""


@dataclass(frozen=True)
class Settings:
    """How structures are evaluated; JSON-able by ``dataclasses.asdict``.

    Attributes:
        model: name (``ase_comformer.available_models()``) or path of a model.
        device: ``"auto"`` (CUDA if there is one) or a torch device such as ``"cpu"``.
        dtype: ``"float32"`` or ``"float64"``.
        symprec: farthest, in Å, that idealisation may move an atom.
        enforce_symmetry: evaluate the idealised structure and return exactly symmetric tensors.
        functional: what dielectric tensors and Born charges follow, ``"PBEsol"`` or ``"PBE"``; where empty what they
            follow by default (PBEsol).
        route: where relaxed-ion tensors come from: ``"head"`` of a network, ``"response"`` of the crystal, or
            ``"combined"``, the best of both (``inference.routes``).
    """

    model: str = "default"
    device: str = "auto"
    dtype: str = "float32"
    symprec: float = 1e-2
    enforce_symmetry: bool = True
    functional: str = ""
    route: str = "head"

    @classmethod
    def of(
        cls,
        *,
        model: str | Path,
        device: str,
        dtype: str,
        symprec: float,
        enforce_symmetry: bool,
        functional: str = "",
        route: str = "head",
    ) -> Settings:
        """Settings from arguments as users write them.

        Raises:
            UnknownNameError: unknown ``route``.
            ValueError: ``symprec`` is not a positive number.
        """
        check_choice(route, ROUTES, "route")
        accuracy = (dtype, _positive(symprec), bool(enforce_symmetry))
        return cls(str(model), str(device), *accuracy, str(functional or ""), route)


DEFAULTS = Settings()


def _positive(symprec: Any) -> float:
    try:
        value = float(symprec)
    except (TypeError, ValueError):
        value = float("nan")
    if not (isfinite(value) and value > 0):
        raise ValueError(f"symprec must be a positive length in Å, got {symprec!r}. The default is {DEFAULTS.symprec}.")
    return value
