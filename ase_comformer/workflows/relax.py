"""``relax``: bring crystals to rest, atoms and cell, with their space group kept; lists in batches.

A crystal is relaxed in its idealised primitive cell, which is as exact as in the cell that came and cheaper, and
carried back to that cell and order of atoms. It moves along the displacements and strains that its space group allows,
by the quasi-Newton steps of ASE's optimisers in these few coordinates; all crystals of a batch take a step together.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.crystals.structures import bare
from ase_comformer.inference.moving_batch import Evaluated, MovingBatch
from ase_comformer.inference.plausibility import require_plausible
from ase_comformer.inference.potential_ensemble import warn_about_novelty
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import message_of
from ase_comformer.inference.settings import DEFAULTS
from ase_comformer.physics.deformation import exponential
from ase_comformer.workflows.loading import predictor_for
from ase_comformer.workflows.relaxing_crystal import Plan, RelaxingCrystal

_NEEDED = ("energy", "forces", "stress")
#: Part of a batch that has come to rest before others take its place: each time all graphs are joined again.
_RENEWED_SHARE = 0.125
#: Atoms of a batch beyond which no other crystal joins it, which bounds its memory at about a gigabyte.
_MOST_ATOMS = 2000


@dataclass(frozen=True)
class Relaxation:
    """A relaxed crystal and how it got there.

    Attributes:
        atoms: relaxed, in the cell and order of the input, with energy (eV), forces and stress as its calculator; the
            input itself where ``error`` says why nothing was done.
        converged: whether forces and stress are below the threshold.
        steps: of the optimiser.
        initial_energy: eV/atom, before.
        energy: eV/atom, after.
        volume_change: relative.
        largest_displacement: A, of an atom, without the motion of the cell.
        space_group: symbol after relaxation; the one before where it is kept.
        initial_space_group: symbol before.
        error: empty, or why the crystal could not be relaxed.
    """

    atoms: Atoms
    converged: bool = False
    steps: int = 0
    initial_energy: float = float("nan")
    energy: float = float("nan")
    volume_change: float = 0.0
    largest_displacement: float = 0.0
    space_group: str = ""
    initial_space_group: str = ""
    error: str = ""


def relax(
    atoms: Atoms | Sequence[Atoms],
    *,
    cell: bool = True,
    fmax: float = 0.01,
    pressure: float = 0.0,
    steps: int = 500,
    keep_symmetry: bool = True,
    batch_size: int = 64,
    predictor: Predictor | None = None,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    symprec: float = DEFAULTS.symprec,
) -> Any:
    """Relax a crystal, or a list of crystals in batches.

    Args:
        atoms: crystals; not changed. With ``cell=False`` slabs, wires and molecules too.
        cell: relax the cell as well as the atoms.
        fmax: eV/A, largest force at the end; the force on the cell (stress times volume per atom) obeys it too.
        pressure: GPa, hydrostatic, positive where it compresses.
        steps: most steps of one relaxation.
        keep_symmetry: stay within the space group found within ``symprec``; a crystal on a saddle point stays there.
        batch_size: crystals whose forces are evaluated together.
        predictor: loaded model, in float64 for ``fmax`` below 1e-3; made from the arguments below where None.
        model: name or path, as ``predict``.
        device: ``"auto"`` or a torch device.
        symprec: A, the largest distance by which idealisation may move an atom.

    Returns:
        A ``Relaxation``, or a list of them in the order given. In a list a crystal that cannot be relaxed has an
        ``error``.

    Raises:
        ValueError: ``fmax``, ``steps`` or ``batch_size`` is not positive.
        InvalidStructureError, UnknownElementError: a single crystal that cannot be relaxed.

    Warns:
        UserWarning: a single crystal that did not come to rest.

    Example:
        >>> from ase.build import bulk
        >>> found = relax(bulk("MgO", "rocksalt", a=4.4))
        >>> found.converged, found.space_group, bool(4.1 < found.atoms.cell.cellpar()[0] * 2**0.5 < 4.3)
        (True, 'Fm-3m', True)
    """
    for name, value in (("fmax", fmax), ("steps", steps), ("batch_size", batch_size)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}.")
    predictor = predictor_for(predictor, model=model, device=device, symprec=symprec)
    plan = Plan(cell, fmax, pressure, steps, keep_symmetry, predictor.symprec)
    if not isinstance(atoms, list | tuple):
        single = as_atoms(atoms)
        ((_, outcome),) = _together([single], predictor, plan, 1)
        if isinstance(outcome, Exception):
            raise outcome
        if not outcome.converged:
            warnings.warn(
                f"{single.get_chemical_formula()} did not come to rest below {fmax:g} eV/A in {steps} steps.",
                UserWarning,
                stacklevel=2,
            )
        return outcome
    results: list[Relaxation | None] = [None] * len(atoms)
    for number, outcome in _together(atoms, predictor, plan, batch_size):
        if isinstance(outcome, Exception):
            outcome = Relaxation(atoms[number], error=message_of(outcome))
        results[number] = outcome
    return [result for result in results if result is not None]


def _relaxation(crystal: RelaxingCrystal, found: dict[str, Any]) -> Relaxation:
    """Put together what came out, given energy, forces and stress of the cell that moved."""
    plan, group, moved = crystal.plan, crystal.group, crystal.moved()
    kept = group if plan.keep_symmetry else None
    final = _in_the_cell_of(crystal.atoms, kept, moved) if kept is not None else bare(moved)
    after = ""
    if group is not None:
        after = group.international if kept is not None else analyse_space_group(final, plan.symprec).international
    final.calc = _results_in(final, found, crystal.count, kept)
    shift = moved.positions - crystal.structure.atoms.positions @ exponential(crystal.logarithm)
    volumes = [abs(np.linalg.det(each.cell.array)) for each in (moved, crystal.structure.atoms)]
    return Relaxation(
        atoms=final,
        converged=crystal.converged,
        steps=crystal.steps,
        initial_energy=crystal.initial_energy,
        energy=found["energy"] / crystal.count,
        volume_change=float(volumes[0] / volumes[1] - 1) if crystal.is_periodic else 0.0,
        largest_displacement=float(np.linalg.norm(shift - shift.mean(axis=0), axis=1).max()),
        space_group=after,
        initial_space_group=group.international if group is not None else "",
    )


def _in_the_cell_of(atoms: Atoms, group: SpaceGroup, relaxed: Atoms) -> Atoms:
    """Carry a relaxed primitive cell back to the cell and the order of atoms that came."""
    old, new = group.primitive.cell.array, relaxed.cell.array
    offsets = (atoms.positions - group.primitive.positions[group.atom_to_primitive]) @ np.linalg.inv(old)
    lattice = np.round(offsets - offsets[0])  # atoms lie within symprec of ideal places
    origin = (offsets - lattice).mean(axis=0)  # that of the idealised cell may be elsewhere
    multiples = np.round(atoms.cell.array @ np.linalg.inv(old))
    result = bare(atoms)
    result.set_cell(multiples @ new)
    result.positions = relaxed.positions[group.atom_to_primitive] + (lattice + origin) @ new
    return result


def _results_in(final: Atoms, found: dict[str, Any], count: int, group: SpaceGroup | None) -> SinglePointCalculator:
    """Energy, forces and stress of the ``count`` atoms of the primitive cell, as those of the cell that came."""
    forces = found["forces"] if group is None else found["forces"][group.atom_to_primitive]
    values = {"energy": found["energy"] * len(final) / count, "forces": forces}
    if final.pbc.all():
        values["stress"] = full_3x3_to_voigt_6_stress(found["stress"])
    return SinglePointCalculator(final, **values)


def _together(
    structures: Sequence[Any], predictor: Predictor, plan: Plan, batch_size: int
) -> Iterator[tuple[int, Relaxation | Exception]]:
    """Relax in batches; yield as crystals come to rest, or why they could not be relaxed."""
    assert predictor.potential is not None
    waiting: list[RelaxingCrystal] = []
    for number, atoms in enumerate(structures):
        try:
            crystal = RelaxingCrystal(number, atoms, plan)
            predictor.preparer.validate_potential(crystal.atoms, _NEEDED)
            waiting.append(crystal)
        except Exception as error:
            yield number, error
    # crystals of one size together, the largest first
    waiting.sort(key=lambda moving: (moving.motion is not None, moving.edge_estimate))
    running: list[RelaxingCrystal] = []
    while waiting or running:
        while waiting and len(running) < batch_size and sum(moving.count for moving in running) < _MOST_ATOMS:
            running.append(waiting.pop())
        batches = [
            (own, MovingBatch(predictor.potential.ensemble, [moving.structure for moving in own]))
            for own in ([m for m in running if m.structure.is_symmetric is is_reduced] for is_reduced in (True, False))
            if own
        ]
        active = {moving.number for moving in running}
        while len(running) - len(active) < max(1.0, _RENEWED_SHARE * len(running)):
            for own, batch in batches:
                if active.isdisjoint(moving.number for moving in own):
                    continue
                for number, outcome in _step(own, batch, active, predictor):
                    active.discard(number)
                    yield number, outcome
        running = [moving for moving in running if moving.number in active]


def _step(
    moving: Sequence[RelaxingCrystal], batch: MovingBatch, active: set[int], predictor: Predictor
) -> Iterator[tuple[int, Relaxation | Exception]]:
    """Evaluate a batch and let those that are still on their way step on; yield those that are not."""
    for each, found in zip(moving, _evaluated(moving, batch), strict=True):
        if each.number not in active:
            continue
        try:
            if isinstance(found, Exception):
                raise found
            energy, forces, stress = float(found.energies[0]), found.forces, found.stress[0]
            if not each.observe(energy, forces, stress, float(found.shortest[0])):
                result = {"energy": energy, "forces": forces, "stress": stress}
                require_plausible(result, each.moved())
                warn_about_novelty(each.structure.atoms, found.novelty, predictor.notices.warn)
                yield each.number, _relaxation(each, result)
        except Exception as error:
            yield each.number, error


def _evaluated(moving: Sequence[RelaxingCrystal], batch: MovingBatch) -> Sequence[Evaluated | Exception]:
    """Each crystal where it is; what cannot be evaluated spares the others."""
    deformations = exponential(np.stack([each.logarithm for each in moving]))
    try:
        return batch.evaluate(np.concatenate([each.displacements for each in moving]), deformations).divided()
    except Exception as error:
        if len(moving) == 1:
            return [error]
    return [_evaluated([each], MovingBatch(batch.ensemble, [each.structure]))[0] for each in moving]
