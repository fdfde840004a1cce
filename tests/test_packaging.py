"""Lower bounds in pyproject.toml are the versions that .ci/lowest tests; those of constraints.txt lie within bounds."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Tools that check the code, and torch, whose builds differ by machine: their lowest versions are not tried.
NOT_TRIED = {"import-linter", "mypy", "ruff", "torch", "phono3py", "jupyter", "average-minimum-distance"}


def pinned(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {normal(package): Version(version) for package, version in pairs}


def normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for text in (*PROJECT["dependencies"], *(text for extra in extras for text in extra))]


def lower_bound(requirement: Requirement) -> Version:
    (bound,) = (Version(part.version) for part in requirement.specifier if part.operator == ">=")
    return bound


def test_lower_bounds_are_the_versions_that_are_tested():
    bounds = {normal(each.name): lower_bound(each) for each in requirements()}
    assert {name: version for name, version in bounds.items() if name not in NOT_TRIED} == pinned(
        "constraints-lowest.txt"
    )


def test_versions_of_continuous_integration_are_allowed():
    versions = pinned("constraints.txt")
    for requirement in requirements():
        if normal(requirement.name) not in {"average-minimum-distance", "jupyter", "phono3py"}:
            assert requirement.specifier.contains(versions[normal(requirement.name)]), requirement
