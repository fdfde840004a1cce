"""A few structures of every bad kind through every door; ``benchmarks.fuzz`` has thousands."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.fuzz import Findings, Fuzzer, Record, fuzz, table
from benchmarks.fuzz_structures import KINDS, made


def test_structures_of_every_kind_give_numbers_or_documented_errors() -> None:
    numbers = range(4 * len(KINDS))
    findings = Fuzzer().check(1, numbers)
    assert findings.failures == []
    kinds = {kind for kind, _ in findings.answers}
    assert kinds == set(KINDS)
    assert all(findings.answers["healthy", answer] == 0 for _, answer in findings.answers if answer != "number")
    assert "healthy" in table(findings)


def test_structures_are_made_from_seed_and_number_alone() -> None:
    for number in range(len(KINDS)):
        (kind, first), (_, second) = made(5, number), made(5, number)
        assert kind == list(KINDS)[number]
        assert repr(first) == repr(second)


@pytest.mark.slow
def test_a_structure_that_computes_for_too_long_is_named() -> None:
    ((numbers, findings),) = fuzz(0, [12], longest=0.05)
    assert numbers == [12]
    assert findings.failures == ["healthy 12: hangs or ends the process"]
    assert findings.structures == 1


def test_a_run_goes_on_where_its_record_ends(tmp_path: Path) -> None:
    path, settings = tmp_path / "fuzz.jsonl", {"seed": 0, "dtype": "float32"}
    first = Findings(Counter({("flat", "number"): 3}), ["flat 0: absurd"], (1.5, "flat 0 energy"), 1)
    Record(path, settings).add([0], first)
    Record(path, {**settings, "seed": 1}).add([0], Findings(structures=1))
    second = Record(path, settings)
    assert second.done == {0}
    assert second.total == first
    second.add([1], Findings(Counter({("flat", "number"): 2}), [], (0.5, "needle 1 energy"), 1))
    total = Record(path, settings).total
    assert total.answers["flat", "number"] == 5
    assert total.structures == 2
    assert total.slowest == (1.5, "flat 0 energy")
