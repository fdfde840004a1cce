"""Structures of every bad kind through every door: no hang, no internal exception, no absurd number without an error.

    python -m benchmarks.fuzz --count 5000 --seed 0 --record fuzz.jsonl --minutes 60

Each structure is asked for every property through one calculator that has seen all the others, through
``predict`` in one batch with its neighbours, and for its symmetry report. A query fails when it takes more than ten
CPU seconds, when it raises something that the library does not document, when a number is not finite or is absurd
(``LIMITS``), or when calculator and ``predict`` disagree. Prints a table per kind; exits with 1 on any failure.
Structures are made from the seed and their number alone: ``--only 1234`` repeats one of them, ``--start 2000`` leaves
the first ones out. With ``--record`` each batch is written down when it is done, and the same command goes on where it
was stopped (by ``--minutes`` or otherwise); the table is that of all recorded structures.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ase_comformer import GMTNetCalculator, predict
from ase_comformer.errors import InvalidStructureError, UnknownElementError
from ase_comformer.inference.plausibility import LARGEST_MAGNITUDES, NOT_PRECISE_ENOUGH
from benchmarks.fuzz_structures import KINDS, made

#: CPU seconds that one structure may take through all doors, and that one query may take. Seconds of the clock after
#: which a process that computes nothing (a deadlock) is ended.
LONGEST_STRUCTURE, LONGEST_QUERY, LONGEST_SLEEP = 120.0, 10.0, 1800.0
#: Largest absolute values that are no absurdity, in the unit of each property; energies per atom. No door may let
#: through what the library itself calls implausible.
LIMITS: dict[str, float] = {**LARGEST_MAGNITUDES, "energy_uncertainty": 1e6, "forces_uncertainty": 1e8}
_EXTENSIVE = frozenset({"energy", "free_energy", "energy_uncertainty"})
#: What the library documents that it raises; ``NotImplementedError`` is the base of ASE's PropertyNotImplementedError.
DOCUMENTED = (InvalidStructureError, UnknownElementError, NotImplementedError)
_DOCUMENTED_NAMES = ("InvalidStructureError", "UnknownElementError", "PropertyNotImplementedError")
#: Relative difference of calculator and ``predict`` that float32 explains.
AGREEMENT = 2e-3


@dataclass
class Findings:
    """Collects what came of some structures.

    Attributes:
        answers: (kind, "number" or name of the error) -> queries.
        failures: one line each.
        slowest: CPU seconds, kind and query of the slowest one.
        structures: how many were checked.
    """

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    structures: int = 0

    def add(self, other: Findings) -> None:
        """Join what came of other structures."""
        self.answers += other.answers
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.structures += other.structures

    def line(self) -> dict[str, Any]:
        """Return what JSON can hold of it; ``from_line`` reads it."""
        answers = [[*key, count] for key, count in self.answers.items()]
        return {"answers": answers, "failures": self.failures, "slowest": self.slowest, "structures": self.structures}

    @classmethod
    def from_line(cls, line: dict[str, Any]) -> Findings:
        """Findings that ``line`` wrote down."""
        answers = Counter({(kind, answer): count for kind, answer, count in line["answers"]})
        return cls(answers, line["failures"], tuple(line["slowest"]), line["structures"])


class Fuzzer:
    """Puts structures through the doors of the library, with one calculator for all of them."""

    def __init__(self, route: str = "head", **arguments: Any) -> None:
        self.arguments = {"route": route, **arguments}
        self.calculator = GMTNetCalculator(**self.arguments)
        self.names: tuple[str, ...] = tuple(self.calculator.implemented_properties)

    def check(self, seed: int, numbers: Sequence[int]) -> Findings:
        """Every door for the structures of these numbers; ``predict`` takes them as one batch."""
        findings = Findings(structures=len(numbers))
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
            if NOT_PRECISE_ENOUGH in str(found):
                return  # rounding differs between the doors, and with it on which side of that limit they are
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


def _work(connection: Any, seed: int, longest: float, arguments: dict[str, Any]) -> None:
    """Body of a worker: numbers in, findings out."""
    import torch

    torch.set_num_threads(1)
    fuzzer = Fuzzer(**arguments)
    connection.send("ready")
    while (numbers := connection.recv()) is not None:
        # counts CPU time of all threads; its signal ends the process, also inside compiled code
        signal.setitimer(signal.ITIMER_PROF, longest * len(numbers))
        findings = fuzzer.check(seed, numbers)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        connection.send(findings)


class _Worker:
    """A process that ends when it computes for too long."""

    def __init__(self, seed: int, longest: float, arguments: dict[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, seed, longest, arguments), daemon=True)
        self.process.start()
        self.connection.recv()

    def findings_of(self, numbers: Sequence[int]) -> Findings | None:
        """None where the worker hangs or dies."""
        self.connection.send(list(numbers))
        try:
            if self.connection.poll(LONGEST_SLEEP):
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


def fuzz(
    seed: int, numbers: Sequence[int], *, batch: int = 14, longest: float = LONGEST_STRUCTURE, **arguments: Any
) -> Iterator[tuple[list[int], Findings]]:
    """Check the structures of these numbers in a process that is replaced when it hangs.

    Args:
        seed: of all structures.
        numbers: which of them.
        batch: structures that ``predict`` takes together.
        longest: CPU seconds that a structure may take through all doors.
        arguments: of the calculator and of ``predict``.

    Yields:
        The numbers of a batch, and what came of it.
    """
    worker: _Worker | None = None
    for start in range(0, len(numbers), batch):
        chosen = list(numbers[start : start + batch])
        worker = worker or _Worker(seed, longest, arguments)
        found = worker.findings_of(chosen)
        if found is None:
            found, worker = Findings(), None
            for number in chosen:  # which one was it
                worker = worker or _Worker(seed, longest, arguments)
                alone = worker.findings_of([number])
                if alone is None:
                    kind, worker = made(seed, number)[0], None
                    alone = Findings(
                        Counter({(kind, "hang"): 1}), [f"{kind} {number}: hangs or ends the process"], structures=1
                    )
                found.add(alone)
        yield chosen, found
    if worker is not None:
        worker.end()


class Record:
    """Findings of the batches that are done, a line each, in a file that a later run goes on with."""

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.total = Findings()
        self.done: set[int] = set()
        if path is None or not path.exists():
            return
        for text in path.read_text().splitlines():
            line = json.loads(text)
            if line["settings"] == settings:
                self.done.update(line["numbers"])
                self.total.add(Findings.from_line(line))

    def add(self, numbers: Sequence[int], findings: Findings) -> None:
        """Write down one more batch."""
        self.total.add(findings)
        if self.path is not None:
            line = {"settings": self.settings, "numbers": list(numbers), **findings.line()}
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")


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
    parser.add_argument("--start", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of single structures, checked one by one")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--route", default="head", help="of relaxed-ion tensors: head, response or combined")
    parser.add_argument("--record", type=Path, help="file for what is done, which the next run goes on with")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these, exit with 2")
    options = parser.parse_args()
    alone = options.only is not None
    start = time.perf_counter()
    settings = {"dtype": options.dtype, "route": options.route}
    record = Record(options.record, {"seed": options.seed, **settings})
    wanted = options.only if alone else range(options.start, options.start + options.count)
    left = [number for number in wanted if number not in record.done]
    checked = 0
    for numbers, found in fuzz(options.seed, left, batch=1 if alone else 14, **settings):
        record.add(numbers, found)
        checked += len(numbers)
        if time.perf_counter() - start > 60 * options.minutes:
            break
    total = record.total
    print(table(total))
    print(f"slowest query: {total.slowest[0]:.2f} CPU s, {total.slowest[1]}")
    print(f"{checked} structures in {time.perf_counter() - start:.0f} s; with recorded ones", end=" ")
    print(f"{total.structures} structures, {sum(total.answers.values())} queries, {len(total.failures)} failures")
    for line in total.failures[:200]:
        print("  ", line)
    sys.exit(1 if total.failures else 2 if checked < len(left) else 0)


if __name__ == "__main__":
    main()
