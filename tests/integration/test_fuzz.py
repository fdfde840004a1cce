"""A few structures of every bad kind through every door; ``benchmarks.fuzz`` has thousands."""

from benchmarks.fuzz import KINDS, Fuzzer, made, table


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
