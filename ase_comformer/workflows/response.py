"""``respond``: the linear response of a crystal, from the potential and the networks of one model.

The potential gives force constants, internal strain and clamped-ion stiffness (``physics.force_response``), networks
give Born charges and the electronic dielectric tensor; ``physics.response`` lets the atoms follow. All of it belongs
to one idealised primitive cell at rest, so the tensors are consistent with each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

from ase_comformer.calculator import GMTNetCalculator
from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.errors import InvalidStructureError, UnknownElementError, check_choice
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.force_response import response_blocks
from ase_comformer.physics.response import SOFTNESS, Response, ResponseBlocks, combine
from ase_comformer.physics.vibrations import Vibrations, vibrations

FloatArray = NDArray[np.float64]

#: What ``relax`` may be.
RELAXATIONS = ("atoms", "cell", "none")
#: GPa, stress of the crystal at rest above which a warning says so.
STRESS_WARNING = 1.0
#: Properties of networks that the response is made of, where the model has them and knows the elements.
_ELECTRIC = ("born_effective_charges", "dielectric_tensor", "clamped_piezoelectric_tensor")


@dataclass(frozen=True)
class CrystalResponse:
    """Linear response of a crystal at rest; fields named as the properties, None where a part is missing.

    Tensors are in the Cartesian frame of the atoms that were passed in; what belongs to atoms is that of ``primitive``.

    Attributes:
        primitive: idealised primitive cell at rest, p atoms, in the orientation of the input.
        space_group: international symbol.
        blocks: second derivatives of the enthalpy, see ``physics.response.ResponseBlocks``.
        tensors: relaxed-ion tensors and modes, see ``physics.response.Response``.
        vibrations: frequencies (3p,) THz at q = 0 without LO-TO splitting, infrared intensities, eigenvectors.
        stress: (6,) GPa, Voigt, ASE's sign, at rest.
        status: "ok", or what limits the numbers, one sentence each.
    """

    primitive: Atoms
    space_group: str
    blocks: ResponseBlocks
    tensors: Response
    vibrations: Vibrations
    stress: FloatArray
    status: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        """Look tensors up by the name of the property: ``response.elastic_tensor``, ``response.force_constants``."""
        if not name.startswith("_"):
            for part in ("tensors", "blocks", "vibrations"):
                found = self.__dict__.get(part)
                if found is not None and hasattr(found, name):
                    return getattr(found, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


def respond(
    atoms: Any,
    *,
    relax: str | None = "atoms",
    fmax: float = 1e-3,
    softness: float = SOFTNESS,
    predictor: Predictor | None = None,
    model: str | Path = "default",
    device: str = "auto",
    symprec: float = 1e-2,
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
    check_choice("none" if relax is None else relax, RELAXATIONS, "relax")
    if predictor is None:
        predictor = Predictor(model=model, device=device, dtype="float64", symprec=symprec)
    group = analyse_space_group(atoms, predictor.symprec)
    status: list[str] = []
    if relax not in (None, "none"):
        group, at_rest = _at_rest(group, predictor, relax == "cell", fmax)
        if not at_rest:
            status.append(f"atoms did not come to rest below {fmax:g} eV/A")
    evaluate = _evaluator(predictor)
    ((_, stress),) = evaluate([group.primitive])
    if np.abs(stress).max() / GPa > STRESS_WARNING:
        status.append(f"stress of {np.abs(stress).max() / GPa:.2g} GPa at rest: relax the cell (relax='cell')")
    blocks = response_blocks(group, evaluate)
    blocks, missing = _with_charges(blocks, group, predictor)
    status += missing
    tensors = combine(blocks, softness=softness)
    if tensors.soft_modes:
        soft = ", ".join(f"{tensors.modes.stiffness[k]:.2g}" for k in tensors.soft_modes)
        status.append(f"soft modes that field or strain act on ({soft} eV/A^2): their response is damped")
    for text in status:
        warnings.warn(f"{atoms.get_chemical_formula()}: {text}", UserWarning, stacklevel=2)
    modes = vibrations(blocks.force_constants, group.primitive.get_masses(), blocks.born_effective_charges)
    return CrystalResponse(
        group.primitive, group.international, blocks, tensors, modes, stress / GPa, tuple(status) or ("ok",)
    )


def _evaluator(predictor: Predictor) -> Any:
    """Forces and stresses of lists of structures, as ``physics.force_response`` asks for them."""

    def evaluate(structures: Sequence[Atoms]) -> list[tuple[FloatArray, FloatArray]]:
        found = predictor.predict(list(structures), ("forces", "stress"), on_error="raise")
        return [(result["forces"], result["stress"]) for result in found]

    return evaluate


def _with_charges(blocks: ResponseBlocks, group: SpaceGroup, predictor: Predictor) -> tuple[ResponseBlocks, list[str]]:
    """Add what networks know of charges; say what is missing and why."""
    found, missing = {}, []
    for name in _ELECTRIC:
        if name not in predictor.properties:
            continue
        try:
            found[name] = predictor.evaluate(group.primitive, [name])[name]
        except UnknownElementError as error:
            missing.append(f"no {name.replace('_', ' ')}: {error}")
        except InvalidStructureError as error:
            missing.append(f"no {name.replace('_', ' ')}: {error}")
    return replace(blocks, **found), missing


def _at_rest(group: SpaceGroup, predictor: Predictor, cell: bool, fmax: float) -> tuple[SpaceGroup, bool]:
    """Relax the primitive cell with its space group kept; return its group, and whether it came to rest."""
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    atoms = group.primitive.copy()
    atoms.calc = GMTNetCalculator(**{**predictor.arguments, "dtype": "float64"})
    if not cell and np.abs(atoms.get_forces()).max() < fmax:
        return group, True
    atoms.set_constraint(FixSymmetry(atoms, symprec=1e-4, adjust_cell=cell))
    moved: Any = FrechetCellFilter(atoms) if cell else atoms
    optimiser = BFGS(moved, logfile=None)
    ended = bool(optimiser.run(fmax=fmax, steps=200))
    return analyse_space_group(atoms, 1e-4), ended
