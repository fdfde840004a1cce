"""Structures of every bad kind through every door: no hang, no internal exception, no absurd number without an error.

    python -m benchmarks.fuzz --count 5000 --seed 0

Each structure is asked for every property through one calculator that has seen all the others, through
``predict`` in one batch with its neighbours, and for its symmetry report. A query fails when it takes more than ten
CPU seconds, when it raises something that the library does not document, when a number is not finite or is absurd
(``LIMITS``), or when calculator and ``predict`` disagree. Prints a table per kind; exits with 1 on any failure.
Structures are made from the seed and their number alone: ``--only 1234`` repeats one of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule, mx2

from ase_comformer import GMTNetCalculator, predict
from ase_comformer.errors import InvalidStructureError, UnknownElementError

#: Seconds that one structure may take through all doors, and that one query may take.
LONGEST_STRUCTURE, LONGEST_QUERY = 120.0, 10.0
#: Largest absolute values that are no absurdity, in the unit of each property; energies per atom. What may be large is
#: the screened repulsion of nuclei 0.1 A apart.
LIMITS: dict[str, float] = {
    "energy": 1e6,
    "free_energy": 1e6,
    "energies": 1e6,
    "forces": 1e8,
    "stress": 1e6,
    "energy_uncertainty": 1e6,
    "forces_uncertainty": 1e8,
    "dielectric_tensor": 1e3,
    "static_dielectric_tensor": 1e5,
    "born_effective_charges": 50.0,
    "piezoelectric_tensor": 100.0,
    "elastic_tensor": 1e4,
    "formation_energy": 100.0,
}
_EXTENSIVE = frozenset({"energy", "free_energy", "energy_uncertainty"})
#: What the library documents that it raises; ``NotImplementedError`` is the base of ASE's PropertyNotImplementedError.
DOCUMENTED = (InvalidStructureError, UnknownElementError, NotImplementedError)
_DOCUMENTED_NAMES = ("InvalidStructureError", "UnknownElementError", "PropertyNotImplementedError")
#: Relative difference of calculator and ``predict`` that float32 explains.
AGREEMENT = 2e-3

Generator = np.random.Generator


def _prototype(rng: Generator) -> Atoms:
    """A small healthy crystal."""
    a = float(rng.uniform(0.97, 1.03))
    choices = [
        lambda: bulk("NaCl", "rocksalt", a=5.64 * a),
        lambda: bulk("MgO", "rocksalt", a=4.21 * a, cubic=True),
        lambda: bulk("GaAs", "zincblende", a=5.65 * a),
        lambda: bulk("ZnO", "wurtzite", a=3.25 * a, c=5.2 * a, u=0.382),
        lambda: bulk("Si", "diamond", a=5.43 * a),
        lambda: bulk("CsCl", "cesiumchloride", a=4.12 * a),
        lambda: bulk("Cu", "fcc", a=3.61 * a),
        lambda: bulk("Mg", "hcp", a=3.21 * a, c=5.21 * a),
        lambda: bulk("CaF2", "fluorite", a=5.46 * a),
    ]
    return choices[int(rng.integers(len(choices)))]()


def _random_elements(rng: Generator, count: int) -> np.ndarray:
    return rng.choice([1, 3, 6, 8, 9, 11, 12, 13, 14, 16, 17, 20, 22, 30, 31, 33, 38, 53, 55, 56, 82, 83], count)


def _random_cell(rng: Generator, length: float) -> np.ndarray:
    return length * (np.eye(3) + 0.3 * rng.normal(size=(3, 3)))


def _flat(rng: Generator) -> Atoms:
    kind = int(rng.integers(3))
    count = int(rng.integers(1, 11))
    cell = np.diag(rng.uniform(3, 8, 3))
    small = 10 ** rng.uniform(-7, -0.3)
    if kind == 0:  # a lattice vector nearly in the plane of the others
        cell[2] = rng.uniform(-1, 1, 2) @ cell[:2] + [0, 0, small]
    elif kind == 1:  # two lattice vectors a small angle apart
        cell[1] = cell[0] * rng.uniform(0.8, 1.2) + [0, small, 0]
    else:
        cell[2] = [0, 0, small]
    return Atoms(_random_elements(rng, count), cell=cell, scaled_positions=rng.random((count, 3)), pbc=True)


def _needle(rng: Generator) -> Atoms:
    count = int(rng.integers(1, 4))
    lengths = np.array([10 ** rng.uniform(-3, 0.3), *10 ** rng.uniform(0.3, 1.7, 2)])
    atoms = Atoms(_random_elements(rng, count), cell=lengths, scaled_positions=rng.random((count, 3)), pbc=True)
    atoms.pbc = [True, *(rng.random(2) < 0.7)]
    return atoms


def _sparse(rng: Generator) -> Atoms:
    count = int(rng.integers(1, 9))
    cell = np.diag(10 ** rng.uniform(0.8, 2.8, 3))
    return Atoms(
        _random_elements(rng, count), cell=cell, scaled_positions=rng.random((count, 3)), pbc=rng.random() < 0.7
    )


def _one_atom(rng: Generator) -> Atoms:
    return Atoms(_random_elements(rng, 1), cell=_random_cell(rng, rng.uniform(1, 14)), pbc=rng.random(3) < 0.8)


def _dense(rng: Generator) -> Atoms:
    count = int(rng.integers(2, 40))
    length = (count * 10 ** rng.uniform(-2, 1)) ** (1 / 3)
    points = rng.random((count, 3))
    if rng.random() < 0.5:  # evenly spaced rather than at random, so that distances alone do not tell
        side = int(np.ceil(count ** (1 / 3)))
        points = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:count] / side
    return Atoms(_random_elements(rng, count), cell=np.eye(3) * length, scaled_positions=points, pbc=True)


def _overlapping(rng: Generator) -> Atoms:
    atoms = _prototype(rng).repeat(tuple(rng.integers(1, 4, 3)))
    if len(atoms) == 1:
        atoms = atoms.repeat((2, 1, 1))
    first, second = rng.choice(len(atoms), 2, replace=False)
    direction = rng.normal(size=3)
    distance = rng.choice([0.0, 1e-6, 1e-3, 0.05, 0.2, 0.45, 0.6])
    atoms.positions[first] = atoms.positions[second] + distance * direction / np.linalg.norm(direction)
    if rng.random() < 0.5:
        atoms.positions[first] += rng.integers(-2, 3, 3) @ atoms.cell.array
    return atoms


def _far_away(rng: Generator) -> Atoms:
    atoms = _prototype(rng)
    if rng.random() < 0.5:
        atoms.positions += 10 ** rng.uniform(1, 14) * rng.normal(size=3)
    else:
        atoms.positions[0] += rng.normal(size=3) * 10 ** rng.uniform(1, 14)
    if rng.random() < 0.3:
        atoms.pbc = rng.random(3) < 0.5
    return atoms


def _mixed_periodicity(rng: Generator) -> Atoms:
    layer = mx2("MoS2", vacuum=float(rng.uniform(2, 12)))
    choices: list[Callable[[], Atoms]] = [
        lambda: fcc111("Cu", (1, 1, 3), vacuum=float(rng.uniform(1, 10))),
        lambda: layer,
        lambda: molecule("H2O"),
        lambda: molecule("CH4", cell=[8, 9, 10]),
        lambda: _prototype(rng),
    ]
    atoms = choices[int(rng.integers(len(choices)))]()
    atoms.pbc = rng.random(3) < 0.5
    if rng.random() < 0.2:
        atoms.cell[int(rng.integers(3))] = 0.0
    return atoms


def _skewed(rng: Generator) -> Atoms:
    atoms = _prototype(rng)
    matrix = np.eye(3, dtype=int)
    for _ in range(int(rng.integers(1, 5))):
        i, j = rng.choice(3, 2, replace=False)
        matrix[i] += int(rng.integers(-30, 31)) * matrix[j]
    atoms.set_cell(matrix @ atoms.cell.array, scale_atoms=False)
    return atoms


def _left_handed(rng: Generator) -> Atoms:
    atoms = _prototype(rng).repeat(tuple(rng.integers(1, 3, 3)))
    atoms.set_cell(atoms.cell.array[[1, 0, 2]] if rng.random() < 0.5 else -atoms.cell.array, scale_atoms=False)
    atoms.rattle(float(10 ** rng.uniform(-4, -1)), seed=int(rng.integers(1000)))
    return atoms


def _ghosts(rng: Generator) -> Atoms:
    atoms = _prototype(rng)
    if rng.random() < 0.5:
        atoms.numbers[int(rng.integers(len(atoms)))] = rng.choice([0, 0, 119, 200, -1, 61, 84, 118, 95])
    else:
        atoms += Atoms("X", positions=[atoms.cell.array.sum(axis=0) * 0.37])
    return atoms


def _wrong_types(rng: Generator) -> Any:
    atoms = _prototype(rng)
    where = tuple(int(rng.integers(n)) for n in atoms.positions.shape)
    choice = int(rng.integers(12))
    if choice == 0:
        return "NaCl"
    if choice == 1:
        return 3.14
    if choice == 2:
        return [atoms]
    if choice == 3:
        return atoms.cell.array
    if choice == 4:
        return Atoms()
    if choice == 5:
        return Atoms(cell=[4, 4, 4], pbc=True)
    if choice == 6:
        atoms.positions[where] = rng.choice([np.nan, np.inf, -np.inf, 1e300, 1e308])
    elif choice == 7:
        atoms.cell[int(rng.integers(3)), int(rng.integers(3))] = rng.choice([np.nan, np.inf, 1e300, 1e160])
    elif choice == 8:
        atoms.set_initial_magnetic_moments(rng.normal(size=len(atoms)))
        atoms.info["occupancy"] = {"0": {"Na": 0.5}, 1: None}
    elif choice == 9:
        atoms.arrays["positions"] = atoms.positions.astype(np.float32)
    elif choice == 10:
        atoms.arrays["numbers"] = atoms.numbers.astype(np.int16)
    else:
        atoms.arrays["positions"] = np.asfortranarray(atoms.positions)
    return atoms


def _healthy(rng: Generator) -> Atoms:
    atoms = _prototype(rng).repeat(tuple(rng.integers(1, 4, 3)))
    atoms.rattle(float(rng.choice([0.0, 1e-9, 1e-4, 2e-3, 0.05, 0.3])), seed=int(rng.integers(1000)))
    return atoms


def _vacancy_and_double(rng: Generator) -> Atoms:
    """A supercell, one atom of which sits on another of its species: the perfect crystal modulo the lattice."""
    perfect = _prototype(rng).repeat((3, 2, 2))
    same = np.flatnonzero(perfect.numbers == perfect.numbers[0])
    if rng.random() < 0.7:
        perfect.positions[same[1]] = perfect.positions[same[0]] + int(rng.integers(-1, 2)) * perfect.cell.array[0]
    return perfect


KINDS: dict[str, Callable[[Generator], Any]] = {
    "flat": _flat,
    "needle": _needle,
    "sparse": _sparse,
    "one atom": _one_atom,
    "dense": _dense,
    "overlapping": _overlapping,
    "far away": _far_away,
    "mixed pbc": _mixed_periodicity,
    "skewed": _skewed,
    "left-handed": _left_handed,
    "ghost atoms": _ghosts,
    "wrong types": _wrong_types,
    "healthy": _healthy,
    "vacancy and double": _vacancy_and_double,
}


def made(seed: int, number: int) -> tuple[str, Any]:
    """Kind and structure of this number: kinds take turns."""
    kind = list(KINDS)[number % len(KINDS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind, KINDS[kind](np.random.default_rng((seed, number)))


@dataclass
class Findings:
    """What came of some structures.

    Attributes:
        answers: (kind, "number" or name of the error) -> queries.
        failures: one line each.
        slowest: seconds, kind and query of the slowest one.
    """

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def add(self, other: Findings) -> None:
        """Join what came of other structures."""
        self.answers += other.answers
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)


class Fuzzer:
    """Puts structures through the doors of the library, with one calculator for all of them."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.calculator = GMTNetCalculator(**arguments)
        self.names: tuple[str, ...] = tuple(self.calculator.implemented_properties)

    def check(self, seed: int, numbers: Sequence[int]) -> Findings:
        """Every door for the structures of these numbers; ``predict`` takes them as one batch."""
        findings = Findings()
        structures = [(number, *made(seed, number)) for number in numbers]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batch = self._batch(findings, [structure for _, _, structure in structures], numbers)
            for (number, kind, structure), predicted in zip(structures, batch, strict=True):
                label = f"{kind} {number}"
                for name in self.names:
                    found = self._query(findings, kind, f"{label} {name}", self._get, name, structure)
                    self._judge(findings, f"{label} {name}", name, structure, found)
                    if predicted is not None:
                        self._compare(findings, f"{label} {name}", name, found, predicted)
                self._query(findings, kind, f"{label} report", self._report, structure)
        return findings

    def _get(self, name: str, structure: Any) -> Any:
        return self.calculator.get_property(name, structure)

    def _report(self, structure: Any) -> str:
        return str(self.calculator.symmetry_report(structure))

    def _query(self, findings: Findings, kind: str, label: str, function: Callable[..., Any], *given: Any) -> Any:
        """The result, or the error where it is a documented one; other errors and long times are failures."""
        # CPU time, so that a busy machine is no failure; what waits for ever is ended from outside
        start = time.process_time()
        outcome: Any
        try:
            outcome = function(*given)
            answer = "number"
        except DOCUMENTED as error:
            outcome, answer = error, type(error).__name__
        except Exception as error:  # whatever else comes out is what this program looks for
            outcome, answer = None, "internal error"
            findings.failures.append(f"{label}: {type(error).__name__}: {str(error)[:150]}")
        seconds = time.process_time() - start
        findings.answers[kind, answer] += 1
        findings.slowest = max(findings.slowest, (seconds, label))
        if seconds > LONGEST_QUERY:
            findings.failures.append(f"{label}: took {seconds:.1f} s")
        return outcome

    def _batch(
        self, findings: Findings, structures: Sequence[Any], numbers: Sequence[int]
    ) -> list[dict[str, Any] | None]:
        start = time.process_time()
        try:
            results: list[dict[str, Any]] = predict(list(structures), self.names, **self.arguments)
        except Exception as error:
            findings.failures.append(f"predict of {list(numbers)}: {type(error).__name__}: {str(error)[:150]}")
            return [None] * len(structures)
        seconds = time.process_time() - start
        if seconds > LONGEST_QUERY * len(structures):
            findings.failures.append(f"predict of {list(numbers)}: took {seconds:.1f} s")
        for number, structure, result in zip(numbers, structures, results, strict=True):
            for message in _messages(result):
                if not message.startswith(_DOCUMENTED_NAMES):
                    findings.failures.append(f"predict of {number}: {message[:150]}")
            for name, value in result.items():
                if name in LIMITS:
                    self._judge(findings, f"predict of {number} {name}", name, structure, value)
        return list(results)

    def _judge(self, findings: Findings, label: str, name: str, structure: Any, found: Any) -> None:
        if found is None or isinstance(found, Exception):
            return
        values = np.asarray(found, dtype=np.float64)
        if not np.isfinite(values).all():
            findings.failures.append(f"{label}: not finite")
            return
        largest = float(np.abs(values).max(initial=0.0)) / (len(structure) if name in _EXTENSIVE else 1)
        if largest > LIMITS.get(name, np.inf):
            findings.failures.append(f"{label}: absurd, {largest:.3g}")

    def _compare(self, findings: Findings, label: str, name: str, found: Any, predicted: dict[str, Any]) -> None:
        """The batch must say what the calculator says, errors included."""
        if found is None:
            return
        if isinstance(found, Exception) or name not in predicted:
            # one door for all properties: an error of one of them may stand for the structure
            if name in predicted and isinstance(found, Exception):
                findings.failures.append(f"{label}: {type(found).__name__} from the calculator, a number from predict")
            elif not isinstance(found, Exception) and not list(_messages(predicted)):
                findings.failures.append(f"{label}: missing from predict without a message")
            return
        one, other = np.asarray(found, dtype=np.float64), np.asarray(predicted[name], dtype=np.float64)
        # forces and stress are small differences of large ones where atoms nearly overlap
        scale = max(float(np.abs(one).max(initial=0.0)), 1.0, abs(float(predicted.get("energy", 0.0))))
        if one.shape != other.shape or float(np.abs(one - other).max(initial=0.0)) > AGREEMENT * scale:
            findings.failures.append(f"{label}: calculator and predict differ")


def _messages(result: dict[str, Any]) -> Iterator[str]:
    """Error messages of a result, for the structure or per property."""
    if "error" in result:
        yield str(result["error"])
    yield from (str(message) for message in dict(result.get("errors") or {}).values())


def _work(connection: Any, seed: int, arguments: dict[str, Any]) -> None:
    """Body of a worker: numbers in, findings out."""
    import torch

    torch.set_num_threads(1)
    fuzzer = Fuzzer(**arguments)
    connection.send("ready")
    while (numbers := connection.recv()) is not None:
        connection.send(fuzzer.check(seed, numbers))


class _Worker:
    """A process that can be ended when it hangs."""

    def __init__(self, seed: int, arguments: dict[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, seed, arguments), daemon=True)
        self.process.start()
        self.connection.recv()

    def findings_of(self, numbers: Sequence[int]) -> Findings | None:
        """None where the worker hangs or dies."""
        self.connection.send(list(numbers))
        try:
            if self.connection.poll(LONGEST_STRUCTURE * len(numbers)):
                found: Findings = self.connection.recv()
                return found
        except (EOFError, ConnectionResetError):
            pass
        self.process.kill()
        return None

    def end(self) -> None:
        """Let the process go."""
        self.connection.send(None)
        self.process.join()


def fuzz(seed: int, numbers: Sequence[int], *, batch: int = 14, **arguments: Any) -> Findings:
    """Check the structures of these numbers in a process that is replaced when it hangs.

    Args:
        seed: of all structures.
        numbers: which of them.
        batch: structures that ``predict`` takes together.
        arguments: of the calculator and of ``predict``.
    """
    findings, worker = Findings(), _Worker(seed, arguments)
    for start in range(0, len(numbers), batch):
        chosen = numbers[start : start + batch]
        found = worker.findings_of(chosen)
        if found is None:
            worker = _Worker(seed, arguments)
            for number in chosen:  # which one was it
                alone = worker.findings_of([number])
                if alone is None:
                    findings.failures.append(f"{made(seed, number)[0]} {number}: hangs or ends the process")
                    worker = _Worker(seed, arguments)
                else:
                    findings.add(alone)
        else:
            findings.add(found)
    worker.end()
    return findings


def table(findings: Findings) -> str:
    """Queries by kind and by what came of them."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for (kind, answer), count in findings.answers.items():
        rows[kind][answer] += count
    answers = sorted({answer for _, answer in findings.answers}, key=lambda answer: (answer != "number", answer))
    lines = [f"{'kind':20s}" + "".join(f"{answer:>29s}" for answer in answers)]
    lines += [f"{kind:20s}" + "".join(f"{rows[kind][a]:29d}" for a in answers) for kind in KINDS if kind in rows]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=5000, help="number of structures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of single structures, checked one by one")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    numbers = options.only if options.only is not None else list(range(options.count))
    start = time.perf_counter()
    findings = fuzz(options.seed, numbers, batch=1 if options.only is not None else 14, dtype=options.dtype)
    print(table(findings))
    print(f"slowest query: {findings.slowest[0]:.2f} s, {findings.slowest[1]}")
    print(f"{len(numbers)} structures in {time.perf_counter() - start:.0f} s, {len(findings.failures)} failures")
    for line in findings.failures[:200]:
        print("  ", line)
    sys.exit(1 if findings.failures else 0)


if __name__ == "__main__":
    main()
