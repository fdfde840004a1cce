"""``relax``: bring crystals to rest, atoms and cell, with their space group kept; lists in batches.

A crystal is relaxed in its idealised primitive cell, which is as exact as in the cell that came and cheaper, and
carried back to that cell and order of atoms. ASE's optimisers do the steps. Of a list, each crystal has an optimiser in
a thread of its own, and the forces that they ask for at the same time are evaluated together.
"""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from ase_comformer.calculator import GMTNetCalculator
from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.crystals.structures import bare, structure_key
from ase_comformer.crystals.validation import validate_structure
from ase_comformer.errors import InvalidStructureError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import message_of
from ase_comformer.inference.settings import DEFAULTS
from ase_comformer.workflows.loading import predictor_for

_NEEDED = ("energy", "forces", "stress")
#: Above this many atoms the Hessian of BFGS is too large to diagonalise at every step.
_BFGS_ATOMS = 100


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


@dataclass(frozen=True)
class _Plan:
    """How to relax; shared by the crystals of a call."""

    cell: bool
    fmax: float
    pressure: float
    steps: int
    keep_symmetry: bool
    symprec: float


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
    plan = _Plan(cell, fmax, pressure, steps, keep_symmetry, predictor.symprec)
    if not isinstance(atoms, list | tuple):
        single = as_atoms(atoms)
        found = _relaxed(single, GMTNetCalculator(**predictor.arguments), plan)
        if not found.converged:
            warnings.warn(
                f"{single.get_chemical_formula()} did not come to rest below {fmax:g} eV/A in {steps} steps.",
                UserWarning,
                stacklevel=2,
            )
        return found
    results: list[Relaxation | None] = [None] * len(atoms)
    for number, relaxed in _together(atoms, predictor, plan, batch_size):
        results[number] = relaxed
    return [result for result in results if result is not None]


def _relaxed(atoms: Atoms, calculator: Calculator, plan: _Plan) -> Relaxation:
    """Relax one crystal with any calculator."""
    from ase.constraints import FixSymmetry
    from ase.optimize import BFGS, LBFGS

    periodic = bool(atoms.pbc.all())
    if periodic:
        validate_structure(atoms)
    if plan.cell and not periodic:
        raise InvalidStructureError(
            f"{atoms.get_chemical_formula()} is not periodic in three directions (pbc={atoms.pbc.tolist()}), so its "
            "cell cannot be relaxed. Pass cell=False (--no-cell) to relax the atoms alone."
        )
    group = analyse_space_group(atoms, plan.symprec) if periodic else None
    moving = bare(atoms if group is None or not plan.keep_symmetry else group.primitive)
    start = moving.copy()
    moving.calc = calculator
    if group is not None and plan.keep_symmetry and group.number > 1:
        moving.set_constraint(FixSymmetry(moving, symprec=1e-4, adjust_cell=plan.cell))
    initial = float(moving.get_potential_energy()) / len(moving)
    target = _cell_filter(moving, plan.pressure * GPa) if plan.cell else moving
    kind: Any = BFGS if len(moving) <= _BFGS_ATOMS else LBFGS
    optimiser = kind(target, logfile=None)
    converged = bool(optimiser.run(fmax=plan.fmax, steps=plan.steps))
    final = _in_the_cell_of(atoms, group, moving) if group is not None and plan.keep_symmetry else bare(moving)
    after = ""
    if group is not None:
        after = group.international if plan.keep_symmetry else analyse_space_group(final, plan.symprec).international
    energy = float(moving.get_potential_energy()) / len(moving)
    moved_with_cell = start.copy()
    moved_with_cell.set_cell(moving.cell, scale_atoms=periodic)
    shift = moving.positions - moved_with_cell.positions
    final.calc = _results_in(final, moving, group if plan.keep_symmetry else None)
    return Relaxation(
        atoms=final,
        converged=converged,
        steps=int(optimiser.nsteps),
        initial_energy=initial,
        energy=energy,
        volume_change=float(moving.get_volume() / start.get_volume() - 1) if periodic else 0.0,
        largest_displacement=float(np.linalg.norm(shift - shift.mean(axis=0), axis=1).max()),
        space_group=after,
        initial_space_group=group.international if group is not None else "",
    )


def _cell_filter(atoms: Atoms, pressure: float) -> Any:
    """ASE's filter of atoms and cell, which computes the derivative of a matrix logarithm once per step, not thrice."""
    from ase.filters import FrechetCellFilter

    class CellFilter(FrechetCellFilter):  # type: ignore[misc, unused-ignore]
        last: tuple[bytes, Any] = (b"", None)

        def get_forces(self, *arguments: Any, **options: Any) -> Any:
            key = structure_key(self.atoms)
            if key != self.last[0]:
                self.last = key, super().get_forces(*arguments, **options)
            return self.last[1].copy()

    return CellFilter(atoms, scalar_pressure=pressure)


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


def _results_in(final: Atoms, moving: Atoms, group: SpaceGroup | None) -> SinglePointCalculator:
    """Energy, forces and stress of the primitive cell, as those of the cell that came."""
    forces = np.asarray(moving.get_forces())
    energy = float(moving.get_potential_energy())
    values = {"energy": energy * len(final) / len(moving), "forces": forces}
    if group is not None:
        values["forces"] = forces[group.atom_to_primitive]
    if final.pbc.all():
        values["stress"] = np.asarray(moving.get_stress())
    return SinglePointCalculator(final, **values)


class _Asking(Calculator):
    """The calculator of one thread: asks the thread that evaluates batches, and waits for the answer."""

    implemented_properties = list(_NEEDED)  # noqa: RUF012, declared so by ASE

    def __init__(self, inbox: queue.SimpleQueue[Any]) -> None:
        super().__init__()
        self._inbox, self._answers = inbox, queue.SimpleQueue[Any]()

    def calculate(self, atoms: Any = None, properties: Any = _NEEDED, system_changes: Any = all_changes) -> None:
        """Ask for energy, forces and stress together."""
        super().calculate(atoms, properties, system_changes)
        self._inbox.put((self._answers, bare(atoms)))
        answer = self._answers.get()
        if isinstance(answer, Exception):
            raise answer
        self.results = answer


def _together(
    structures: Sequence[Atoms], predictor: Predictor, plan: _Plan, batch_size: int
) -> Iterator[tuple[int, Relaxation]]:
    """Relax in threads that wait for each other's forces; yield as crystals come to rest."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work(number: int) -> None:
        try:
            found = _relaxed(as_atoms(structures[number]), _Asking(inbox), plan)
        except Exception as error:
            found = Relaxation(structures[number], error=message_of(error))
        inbox.put((number, found))

    started = running = 0
    waiting: list[tuple[queue.SimpleQueue[Any], Atoms]] = []
    try:
        while True:
            while running < batch_size and started < len(structures):
                threading.Thread(target=work, args=(started,), daemon=True).start()
                started, running = started + 1, running + 1
            if not running:
                return
            message = inbox.get()
            if isinstance(message[0], int):
                running -= 1
                yield message
            else:
                waiting.append(message)
            if waiting and len(waiting) == running and (running == batch_size or started == len(structures)):
                _answer(waiting, predictor, batch_size)
                waiting = []
    finally:  # whoever still waits would wait for ever
        for answers, _ in waiting:
            answers.put(RuntimeError("the relaxation was broken off"))


def _answer(waiting: Sequence[tuple[Any, Atoms]], predictor: Predictor, batch_size: int) -> None:
    """Evaluate what all threads wait for, and let them go on."""
    structures = [atoms for _, atoms in waiting]
    names = [name for name in _NEEDED if name != "stress" or all(atoms.pbc.all() for atoms in structures)]
    try:
        found: Sequence[Any] = predictor.predict(structures, names, batch_size=batch_size)
    except Exception as error:
        found = [error] * len(waiting)
    for (answers, _), result in zip(waiting, found, strict=True):
        if isinstance(result, dict) and "errors" in result:
            result = InvalidStructureError(next(iter(result["errors"].values())))
        answers.put(result)
