"""The linear response of a crystal, from the potential and the networks of one predictor.

The potential gives force constants, internal strain and clamped-ion stiffness (``physics.force_response``), networks
give Born charges, the electronic dielectric and the clamped-ion piezoelectric tensor; ``physics.response`` lets the
atoms follow. All of it belongs to one idealised primitive cell at rest, so the tensors are consistent with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.units import GPa
from numpy.typing import NDArray

from ase_comformer.crystals.metallicity import why_metallic
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import InvalidStructureError, UnknownElementError, check_choice
from ase_comformer.inference.relaxation import at_rest
from ase_comformer.inference.undefined import predicted_gap
from ase_comformer.physics.force_response import response_blocks
from ase_comformer.physics.response import SOFTNESS, Response, ResponseBlocks, combine, coupling_factors
from ase_comformer.physics.vibrations import Vibrations, vibrations
from ase_comformer.tensors.forms import ieee_frame

if TYPE_CHECKING:
    from ase_comformer.inference.predictor import Predictor

FloatArray = NDArray[np.float64]

#: What ``relax`` may be.
RELAXATIONS = ("atoms", "cell", "none")
#: GPa, stress of the crystal at rest above which a warning says so.
STRESS_WARNING = 1.0
#: eV/A and GPa beyond which a structure is too far from rest to have a linear response.
LARGEST_FORCE, LARGEST_STRESS = 50.0, 1000.0
#: Properties of networks that the response is made of, where the model has them and knows the elements.
ELECTRIC = ("born_effective_charges", "dielectric_tensor", "clamped_piezoelectric_tensor")


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
        distance: A, the farthest that coming to rest has moved an atom against the others.
        status: "ok", or what limits the numbers, one sentence each.
    """

    primitive: Atoms
    space_group: str
    blocks: ResponseBlocks
    tensors: Response
    vibrations: Vibrations
    stress: FloatArray
    distance: float
    status: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        """Look tensors up by the name of the property: ``response.elastic_tensor``, ``response.force_constants``."""
        if not name.startswith("_"):
            for part in ("tensors", "blocks", "vibrations"):
                found = self.__dict__.get(part)
                if found is not None and hasattr(found, name):
                    return getattr(found, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def coupling_factors(self) -> dict[str, float]:
        """k33, k31, k15 and kt without unit, in the IEEE frame of the crystal (IEEE 176-1987, section 5).

        Raises:
            PropertyNotImplementedError: a part of the response is missing.
        """
        tensors = {
            name: getattr(self.tensors, name)
            for name in ("piezoelectric_tensor", "elastic_tensor", "static_dielectric_tensor")
        }
        missing = [name for name, tensor in tensors.items() if tensor is None]
        if missing:
            raise PropertyNotImplementedError(f"no coupling factors: the response has no {', '.join(missing)}")
        return coupling_factors(*(ieee_frame(tensor, self.primitive, name).tensor for name, tensor in tensors.items()))


@dataclass(frozen=True)
class Mechanics:
    """What the potential alone says of a crystal's response; fields as those of ``CrystalResponse``."""

    primitive: Atoms
    space_group: str
    blocks: ResponseBlocks
    stress: FloatArray
    distance: float
    status: tuple[str, ...]


def crystal_response(
    atoms: Atoms,
    predictor: Predictor,
    *,
    relax: str | None = "atoms",
    fmax: float = 1e-3,
    softness: float = SOFTNESS,
) -> CrystalResponse:
    """Compute the response of a crystal; arguments and errors as ``workflows.response.respond``, without warnings.

    Args:
        atoms: crystal; not changed.
        predictor: in float64.
        relax: see there.
        fmax: see there.
        softness: see there.
    """
    return with_charges(crystal_mechanics(atoms, predictor, relax=relax, fmax=fmax), predictor, softness=softness)


def crystal_mechanics(
    atoms: Atoms, predictor: Predictor, *, relax: str | None = "atoms", fmax: float = 1e-3
) -> Mechanics:
    """Bring a crystal to rest and differentiate its forces and stress; arguments as ``crystal_response``."""
    check_choice("none" if relax is None else relax, RELAXATIONS, "relax")
    group = analyse_space_group(atoms, predictor.symprec)
    evaluate = _evaluator(predictor)
    ((forces, stress),) = evaluate([group.primitive])
    _require_near_rest(group.primitive, forces, stress)
    status: list[str] = []
    distance = 0.0
    if relax not in (None, "none"):
        given = group.primitive
        group, ended = at_rest(group, predictor, cell=relax == "cell", fmax=fmax)
        if not ended:
            status.append(f"atoms did not come to rest below {fmax:g} eV/A")
        if group.primitive is not given:
            distance = _farthest(given, group.primitive)
            ((_, stress),) = evaluate([group.primitive])
    if np.abs(stress).max() / GPa > STRESS_WARNING:
        status.append(f"stress of {np.abs(stress).max() / GPa:.2g} GPa at rest: relax the cell (relax='cell')")
    blocks = response_blocks(group, evaluate)
    return Mechanics(group.primitive, group.international, blocks, stress / GPa, distance, tuple(status))


def _require_near_rest(primitive: Atoms, forces: FloatArray, stress: FloatArray) -> None:
    """Refuse a structure from which no relaxation leads to the crystal that was meant."""
    force, pressure = float(np.abs(forces).max()), float(np.abs(stress).max()) / GPa
    if force > LARGEST_FORCE or pressure > LARGEST_STRESS:
        raise InvalidStructureError(
            f"{primitive.get_chemical_formula()} has forces of {force:.3g} eV/A, a stress of {pressure:.3g} GPa, more "
            f"than {LARGEST_FORCE:g} and {LARGEST_STRESS:g}: too far from rest for a linear response. Check cell and "
            "positions, or relax them first."
        )


def with_charges(mechanics: Mechanics, predictor: Predictor, *, softness: float = SOFTNESS) -> CrystalResponse:
    """Add what networks know of charges, and let the atoms follow."""
    blocks, missing = _with_charges(mechanics.blocks, mechanics.primitive, predictor)
    status = [*mechanics.status, *missing]
    tensors = combine(blocks, softness=softness)
    if tensors.soft_modes:
        soft = ", ".join(f"{tensors.modes.stiffness[k]:.2g}" for k in tensors.soft_modes)
        status.append(f"soft modes that field or strain act on ({soft} eV/A^2): their response is damped")
    masses = mechanics.primitive.get_masses()
    return CrystalResponse(
        primitive=mechanics.primitive,
        space_group=mechanics.space_group,
        blocks=blocks,
        tensors=tensors,
        vibrations=vibrations(blocks.force_constants, masses, blocks.born_effective_charges),
        stress=mechanics.stress,
        distance=mechanics.distance,
        status=tuple(status) or ("ok",),
    )


def _evaluator(predictor: Predictor) -> Any:
    """Forces and stresses of lists of structures, as ``physics.force_response`` asks for them."""

    def evaluate(structures: Sequence[Atoms]) -> list[tuple[FloatArray, FloatArray]]:
        found = predictor.predict(list(structures), ("forces", "stress"), on_error="raise")
        return [(result["forces"], result["stress"]) for result in found]

    return evaluate


def _with_charges(blocks: ResponseBlocks, primitive: Atoms, predictor: Predictor) -> tuple[ResponseBlocks, list[str]]:
    """Add what networks know of charges; say what is missing and why.

    A crystal of metallic elements only gets none: it answers a strain, not a field. What else has a small predicted gap
    keeps its numbers, because the gaps of PBE are too small.
    """
    missing: list[str] = []
    if metal := why_metallic(primitive, predicted_gap(primitive, predictor)):
        if why_metallic(primitive):
            return blocks, [f"mechanics only: the crystal {metal}, whose electrons screen static fields"]
        missing.append(f"the crystal {metal}, whose electrons would screen fields: what fields do means little")
    names = [name for name in ELECTRIC if name in predictor.properties]
    found, errors = predictor.evaluate_each(primitive, names)
    for name, error in errors.items():
        if not isinstance(error, (UnknownElementError, InvalidStructureError)):
            raise error
        missing.append(f"no {name.replace('_', ' ')}: {error}")
    return replace(blocks, **{name: found[name] for name in names if name in found}), missing


def _farthest(first: Atoms, second: Atoms) -> float:
    """A, the farthest that an atom is from the nearest one of its element after the best translation.

    Idealisation may number the atoms of the relaxed cell anew, so that they are matched by place.
    """
    from ase.geometry import get_distances

    if len(first) != len(second) or sorted(first.numbers) != sorted(second.numbers):
        return float("inf")
    best = np.inf
    rare = min(set(first.numbers.tolist()), key=first.numbers.tolist().count)
    start = first.positions[first.numbers == rare][0]
    for place in second.positions[second.numbers == rare]:
        farthest = 0.0
        for number in set(first.numbers.tolist()):
            here = first.positions[first.numbers == number] - start
            there = second.positions[second.numbers == number] - place
            _, lengths = get_distances(here, there, cell=second.cell, pbc=True)
            farthest = max(farthest, float(lengths.min(axis=1).max()))
        best = min(best, farthest)
    return best
