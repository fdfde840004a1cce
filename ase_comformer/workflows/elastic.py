"""``elastic``: the elastic tensor of a crystal and what it implies, from the network or from the response matrix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import check_choice
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.settings import DEFAULTS
from ase_comformer.physics.directional import sphere, youngs_modulus
from ase_comformer.physics.mechanics import MechanicalSummary, mechanical_summary
from ase_comformer.workflows.loading import predictor_for
from ase_comformer.workflows.response import respond

FloatArray = NDArray[np.float64]
#: Where the tensor comes from: the elastic head, or second derivatives of the potential.
ELASTIC_ROUTES = ("head", "response")


@dataclass(frozen=True)
class ElasticProperties:
    """Elastic tensor of a crystal with its consequences.

    Attributes:
        tensor: (6, 6) GPa, Voigt, relaxed ions, in the Cartesian frame of the atoms.
        route: one of ``ELASTIC_ROUTES``.
        space_group: international symbol.
        summary: moduli, stability, anisotropy, sound, Debye temperature.
        softest: GPa, the smallest Young's modulus of any direction, and (3,) that direction.
        stiffest: the largest, likewise.
        status: "ok", or what limits the numbers.
    """

    tensor: FloatArray
    route: str
    space_group: str
    summary: MechanicalSummary
    softest: tuple[float, FloatArray]
    stiffest: tuple[float, FloatArray]
    status: tuple[str, ...] = ("ok",)

    def as_dict(self) -> dict[str, Any]:
        """Numbers by name, units in the names' documentation; JSON-able but for arrays."""
        moduli, summary = self.summary.moduli, self.summary
        return {
            "elastic_tensor": self.tensor,
            "route": self.route,
            "space_group": self.space_group,
            "bulk_modulus": _averages(moduli.bulk_voigt, moduli.bulk_reuss, moduli.bulk),
            "shear_modulus": _averages(moduli.shear_voigt, moduli.shear_reuss, moduli.shear),
            "youngs_modulus": summary.youngs_modulus,
            "youngs_modulus_range": [self.softest[0], self.stiffest[0]],
            "youngs_modulus_directions": [self.softest[1], self.stiffest[1]],
            "poisson_ratio": summary.poisson_ratio,
            "universal_anisotropy": summary.universal_anisotropy,
            "is_stable": summary.is_stable,
            "stiffness_eigenvalues": summary.stiffness_eigenvalues,
            "density": summary.density,
            "longitudinal_velocity": summary.longitudinal_velocity,
            "transverse_velocity": summary.transverse_velocity,
            "debye_temperature": summary.debye_temperature,
            "status": list(self.status),
        }


def _averages(voigt: Any, reuss: Any, hill: Any) -> dict[str, float]:
    return {"voigt": float(voigt), "reuss": float(reuss), "hill": float(hill)}


def elastic(
    atoms: Atoms,
    *,
    route: str = "response",
    relax: str | None = "cell",
    predictor: Predictor | None = None,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    symprec: float = DEFAULTS.symprec,
) -> ElasticProperties:
    """Elastic tensor of a crystal, and what follows from it.

    Args:
        atoms: crystal, periodic in three directions; not changed.
        route: ``"response"``: second derivatives of the potential, the atoms following the strain
            (``workflows.response.respond``); ``"head"``: the network that was trained on elastic tensors, milliseconds.
        relax: what comes to rest before (``"cell"``, ``"atoms"``, ``"none"``); the head takes crystals as they are.
        predictor: loaded model, float64; made from the arguments below where None.
        model: name or path, as ``predict``.
        device: ``"auto"`` or a torch device.
        symprec: A, the largest distance by which idealisation may move an atom.

    Returns:
        ``ElasticProperties``: tensor in GPa, moduli, stability, anisotropy, Debye temperature.

    Raises:
        InvalidStructureError, UnknownElementError: no crystal, or an element is not covered.
        UnknownNameError: unknown ``route`` or ``relax``.

    Example:
        >>> from ase.build import bulk
        >>> found = elastic(bulk("MgO", "rocksalt", a=4.21), route="head")
        >>> found.summary.is_stable, 800 < found.summary.debye_temperature < 1000
        (True, True)
    """
    check_choice(route, ELASTIC_ROUTES, "route")
    atoms = as_atoms(atoms)
    predictor = predictor_for(predictor, model=model, device=device, symprec=symprec)
    status: tuple[str, ...] = ("ok",)
    if route == "head":
        tensor = predictor.evaluate(atoms, ["elastic_tensor"])["elastic_tensor"]
        cell, symbol = atoms, analyse_space_group(atoms, predictor.symprec).international
    else:
        response = respond(atoms, relax=relax, predictor=predictor)
        tensor, cell, symbol, status = (
            response.elastic_tensor,
            response.primitive,
            response.space_group,
            response.status,
        )
    summary = mechanical_summary(tensor, volume=cell.get_volume(), masses=cell.get_masses())
    directions = sphere(91, 181).reshape(-1, 3)
    along = youngs_modulus(tensor, directions)
    lowest, highest = int(np.argmin(along)), int(np.argmax(along))
    return ElasticProperties(
        tensor=tensor,
        route=route,
        space_group=symbol,
        summary=summary,
        softest=(float(along[lowest]), directions[lowest]),
        stiffest=(float(along[highest]), directions[highest]),
        status=status,
    )
