"""``molecular_dynamics``: many structures at once, at constant energy or in contact with a Langevin bath.

Steps are those of ASE's ``VelocityVerlet`` and ``Langevin``, trajectories the same to rounding; forces are evaluated
together, which takes a fraction of the time for small cells (``python -m benchmarks.batched``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.structures import bare
from ase_comformer.crystals.validation import TOUCHING
from ase_comformer.errors import check_choice
from ase_comformer.inference.moving_batch import Evaluated, MovingBatch, MovingStructure
from ase_comformer.inference.predictor import Predictor

Array = NDArray[np.float64]

THERMOSTATS = ("none", "langevin")
#: Atoms that are evaluated together, which bounds the memory at about a gigabyte.
_MOST_ATOMS = 2000
#: A: an atom that has gone farther is lost.
_FARTHEST = 1e4


@dataclass(frozen=True)
class Trajectory:
    """What one structure did.

    Attributes:
        frames: structures with momenta, every ``record_every`` steps, the first and the last included.
        times: (T,) fs, of the frames.
        potential_energies: (T,) eV.
        kinetic_energies: (T,) eV.
        error: empty, or why the run broke off; the frames are those before.
    """

    frames: list[Atoms]
    times: Array
    potential_energies: Array
    kinetic_energies: Array
    error: str = ""

    @property
    def temperatures(self) -> Array:
        """(T,) K, of 3 N degrees of freedom."""
        count = len(self.frames[0]) if self.frames else 1
        return np.asarray(2 * self.kinetic_energies / (3 * count * units.kB))


def molecular_dynamics(
    atoms: Atoms | Sequence[Atoms],
    *,
    steps: int,
    time_step: float = 1.0,
    temperature: float = 300.0,
    thermostat: str = "none",
    friction: float = 0.01,
    record_every: int = 10,
    seed: int = 0,
    predictor: Predictor | None = None,
    model: str | Path = "default",
    device: str = "auto",
    dtype: str = "float32",
) -> Any:
    """Run one structure, or many together, in their cells as they are.

    Args:
        atoms: structures, any ``pbc``; not changed. Their momenta are where they start; those that have none get
            random ones at ``temperature``, without a motion of the whole.
        steps: how many.
        time_step: fs.
        temperature: K.
        thermostat: ``"none"`` for constant energy (velocity Verlet) or ``"langevin"``.
        friction: 1/fs, of the Langevin bath.
        record_every: steps between frames that are kept.
        seed: of the random numbers; each structure has its own, so that the others do not matter.
        predictor: loaded model; made from the arguments below where None.
        model: as ``predict``, and so are ``device`` and ``dtype``.
        device: see there.
        dtype: see there.

    Returns:
        A ``Trajectory``, or a list of them in the order given.

    Raises:
        ValueError: a number that has to be positive is not.
        UnknownNameError: unknown thermostat.
        InvalidStructureError, UnknownElementError: a structure that cannot be evaluated.

    Example:
        >>> from ase.build import bulk
        >>> runs = molecular_dynamics([bulk("Cu", cubic=True), bulk("Al", cubic=True)], steps=2, record_every=1)
        >>> [len(run.frames) for run in runs]
        [3, 3]
    """
    numbers = {"steps": steps, "time_step": time_step, "friction": friction, "record_every": record_every}
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}.")
    if not temperature >= 0:
        raise ValueError(f"temperature must not be negative, got {temperature!r}.")
    check_choice(thermostat, THERMOSTATS, "thermostat")
    if predictor is None:
        predictor = Predictor(model=model, device=device, dtype=dtype)
    many = isinstance(atoms, list | tuple)
    structures = [as_atoms(each) for each in (atoms if many else [atoms])]
    for each in structures:
        predictor.preparer.validate_potential(each, ("energy", "forces"))
    plan = _Plan(steps, time_step * units.fs, temperature, thermostat, friction / units.fs, record_every)
    runs: list[Trajectory] = []
    for group in _groups(structures):
        runs.extend(_run(group, len(runs), plan, seed, predictor))
    return runs if many else runs[0]


@dataclass(frozen=True)
class _Plan:
    """The arguments of ``molecular_dynamics`` in ASE's units."""

    steps: int
    time_step: float
    temperature: float
    thermostat: str
    friction: float
    record_every: int


def _groups(structures: Sequence[Atoms]) -> Iterator[list[Atoms]]:
    """Successive structures that are evaluated together."""
    group: list[Atoms] = []
    for each in structures:
        if group and sum(map(len, group)) + len(each) > _MOST_ATOMS:
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _run(structures: Sequence[Atoms], first: int, plan: _Plan, seed: int, predictor: Predictor) -> list[Trajectory]:
    """Run the structures of one batch, the first of which has that number in the list."""
    assert predictor.potential is not None
    batch = MovingBatch(predictor.potential.ensemble, [MovingStructure(bare(each)) for each in structures])
    generators = [np.random.default_rng([seed, first + number]) for number in range(len(structures))]
    masses = np.concatenate([each.get_masses() for each in structures])[:, None]
    velocities = np.concatenate(
        [
            _momenta(each, plan.temperature, generator) / each.get_masses()[:, None]
            for each, generator in zip(structures, generators, strict=True)
        ]
    )
    moved, dt = np.zeros_like(velocities), plan.time_step
    recorder = _Recorder(structures, batch, masses)
    found = batch.evaluate(moved)
    recorder.record(0.0, moved, velocities, found.energies)
    bath = _Langevin(plan, masses, generators, batch) if plan.thermostat == "langevin" else None
    for step in range(1, plan.steps + 1):
        accelerations = found.forces / masses
        jump, kick = (0.0, 0.0) if bath is None else bath.random()
        drift, drag = (dt / 2, 0.0) if bath is None else (bath.drift, bath.drag)
        velocities = velocities + drift * accelerations - drag * velocities + kick
        moved = recorder.without_lost(moved + dt * velocities + jump, step * plan.time_step / units.fs)
        found = batch.evaluate(moved)
        velocities = velocities + drift * found.forces / masses - drag * velocities + kick
        recorder.check(found, step * plan.time_step / units.fs)
        if step == plan.steps or step % plan.record_every == 0:
            recorder.record(step * dt / units.fs, moved, velocities, found.energies)
    return recorder.trajectories()


def _momenta(atoms: Atoms, temperature: float, generator: np.random.Generator) -> Array:
    """(N, 3) those of the structure, or random ones whose sum is zero."""
    if atoms.has("momenta") and atoms.get_momenta().any():
        return np.asarray(atoms.get_momenta())
    masses = atoms.get_masses()[:, None]
    momenta = generator.normal(size=(len(atoms), 3)) * np.sqrt(masses * units.kB * temperature)
    return np.asarray(momenta - masses * momenta.sum(axis=0) / masses.sum())


class _Langevin:
    """The bath of Vanden-Eijnden and Ciccotti, Chem. Phys. Lett. 429, 310 (2006), as in ASE.

    Attributes:
        drift, drag: what accelerations and velocities are multiplied with in half a step.
    """

    def __init__(
        self, plan: _Plan, masses: Array, generators: Sequence[np.random.Generator], batch: MovingBatch
    ) -> None:
        dt, friction = plan.time_step, plan.friction
        spread = np.sqrt(2 * plan.temperature * units.kB * friction / masses)
        self.drift = dt / 2 - dt**2 * friction / 8
        self.drag = dt * friction / 2 - dt**2 * friction**2 / 8
        self._kick = np.sqrt(dt) * spread / 2 - dt**1.5 * friction * spread / 8
        self._jump = dt**1.5 * spread / (2 * np.sqrt(3))
        self._both = friction / 2 * self._jump
        self._generators, self._batch = generators, batch

    def random(self) -> tuple[Array, Array]:
        """Random changes of positions (A, 3) and of velocities (A, 3)."""
        draws = [
            generator.standard_normal(size=(2, count, 3))
            for generator, count in zip(self._generators, self._batch.counts, strict=True)
        ]
        first, second = np.concatenate(draws, axis=1)
        return self._jump * second, self._kick * first - self._both * second


class _Recorder:
    """Keeps frames; a structure whose atoms meet or fly apart is followed no more, and stands where it started."""

    def __init__(self, structures: Sequence[Atoms], batch: MovingBatch, masses: Array) -> None:
        self._structures, self._batch, self._masses = structures, batch, masses
        self._rows: list[list[tuple[Atoms, float, float, float]]] = [[] for _ in structures]
        self._errors = ["" for _ in structures]

    def without_lost(self, moved: Array, time: float) -> Array:
        """(A, 3) zero for structures that are lost, among them those whose atoms have just flown apart."""
        farthest = np.maximum.reduceat(np.abs(moved).max(axis=1), self._batch.starts[:-1])
        for number in np.flatnonzero(~(farthest < _FARTHEST)).tolist():  # NaN is lost too
            self._lose(number, time)
        lost = np.array([bool(error) for error in self._errors])
        return np.where(np.repeat(lost, self._batch.counts)[:, None], 0.0, moved) if lost.any() else moved

    def check(self, found: Evaluated, time: float) -> None:
        """Lose the structures whose atoms have met."""
        for number in np.flatnonzero(~np.isfinite(found.energies) | (found.shortest < TOUCHING)).tolist():
            self._lose(number, time)

    def _lose(self, number: int, time: float) -> None:
        formula = self._structures[number].get_chemical_formula()
        self._errors[number] = self._errors[number] or (
            f"{formula}: atoms met or flew apart at {time:g} fs; use a shorter time step or a lower temperature."
        )

    def record(self, time: float, moved: Array, velocities: Array, energies: Array) -> None:
        """Keep a frame of every structure that is not lost."""
        momenta = self._masses * velocities
        kinetic = (momenta * velocities).sum(axis=1) / 2
        parts = zip(*(self._batch.atoms_of(values) for values in (moved, momenta, kinetic)), strict=True)
        for number, (shift, own_momenta, own_kinetic) in enumerate(parts):
            if self._errors[number]:
                continue
            frame = bare(self._structures[number])
            frame.positions += shift
            frame.set_momenta(own_momenta)
            self._rows[number].append((frame, time, float(energies[number]), float(own_kinetic.sum())))

    def trajectories(self) -> list[Trajectory]:
        """Return what was kept, by structure."""
        found = []
        for rows, error in zip(self._rows, self._errors, strict=True):
            frames, times, potential, kinetic = (list(column) for column in zip(*rows, strict=True))
            found.append(Trajectory(frames, np.array(times), np.array(potential), np.array(kinetic), error))
        return found
