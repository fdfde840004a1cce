"""``respond``: the linear response of a crystal in one call; ``inference.crystal_response`` does the work."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.inference.crystal_response import CrystalResponse, crystal_response
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.settings import DEFAULTS
from ase_comformer.physics.response import SOFTNESS
from ase_comformer.workflows.loading import predictor_for

__all__ = ["CrystalResponse", "respond"]


def respond(
    atoms: Any,
    *,
    relax: str | None = "atoms",
    fmax: float = 1e-3,
    softness: float = SOFTNESS,
    predictor: Predictor | None = None,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    symprec: float = DEFAULTS.symprec,
) -> CrystalResponse:
    """Compute the linear response of a crystal to displacements, strain and electric field.

    Args:
        atoms: crystal, periodic in three directions, or a pymatgen ``Structure``; not changed.
        relax: ``"atoms"`` brings the atoms to rest in the given cell, ``"cell"`` the cell too, with the space group
            kept; ``None`` (or ``"none"``) takes the crystal as it is.
        fmax: eV/A, largest force at rest.
        softness: eV/A^2, stiffness at which the response of a mode is damped (``physics.response.combine``).
        predictor: loaded model in float64; made from the arguments below where None.
        model: name or path, as ``predict``.
        device: ``"auto"`` or a torch device.
        symprec: A, the largest distance by which idealisation may move an atom.

    Returns:
        ``CrystalResponse``; ``.elastic_tensor`` (6, 6) GPa, ``.static_dielectric_tensor`` (3, 3) and so on.

    Raises:
        InvalidStructureError: no crystal.
        UnknownElementError: the potential does not know an element.
        UnknownNameError: unknown ``relax``, model or device.

    Warns:
        UserWarning: stress above 1 GPa at rest, atoms that do not come to rest, soft modes that field or strain act on.

    Example:
        >>> from ase.build import bulk
        >>> response = respond(bulk("MgO", "rocksalt", a=4.25))
        >>> response.elastic_tensor.shape, response.space_group
        ((6, 6), 'Fm-3m')

    Source: Wu, Vanderbilt, Hamann, Phys. Rev. B 72, 035105 (2005).
    """
    atoms = as_atoms(atoms)
    predictor = predictor_for(predictor, model=model, device=device, symprec=symprec)
    found = crystal_response(atoms, predictor, relax=relax, fmax=fmax, softness=softness)
    for text in found.status:
        if text != "ok":
            warnings.warn(f"{atoms.get_chemical_formula()}: {text}", UserWarning, stacklevel=2)
    return found
