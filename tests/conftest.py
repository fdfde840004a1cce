"""Shared fixtures: a tiny network with random weights, saved and loaded like a shipped one."""

import os

# One thread per test process: several processes with as many threads as cores each spend their time waiting. Libraries
# read these once, so they are set before the first import of numpy and torch; workers of xdist inherit them.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from hypothesis import HealthCheck, settings

from ase_comformer.models.registry import save_weights
from tiny import tiny_card, tiny_network

# A busy machine is no failure: hypothesis would count the time that other processes take.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"].split(",")[0]))  # where a plugin imported torch before this
# e3nn, the oracle of tests, reads a constant with a slice in it; versions before 0.5.2 do not say that it is safe.
torch.serialization.add_safe_globals([slice])


@pytest.fixture(autouse=True)
def unexpected_warnings_are_failures() -> Iterator[None]:
    """Fail where a warning for users comes that the test neither expects (``pytest.warns``) nor lets pass (a mark).

    The filter ``error`` would not do: the package logs its warnings where filters make errors of them.
    """
    with warnings.catch_warnings(record=True) as caught:
        yield
    unexpected = set()
    for each in caught:
        if issubclass(each.category, UserWarning):
            unexpected.add(f"{each.filename}:{each.lineno}: {each.message}")
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno, source=each.source)
    if unexpected:
        pytest.fail("Warnings that the test does not expect:\n" + "\n".join(sorted(unexpected)))


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the networks ``tiny`` and ``tiny2`` (do not write into it)."""
    directory = tmp_path_factory.mktemp("weights")
    for seed, name in enumerate(("tiny", "tiny2")):
        network = tiny_network(seed)
        save_weights(network, directory, name, tiny_card(network))
    return directory


@pytest.fixture(scope="session")
def tiny_model(model_directory: Path) -> str:
    """Path of a model with random weights and all properties."""
    return str(model_directory / "tiny.json")


@pytest.fixture
def quartz() -> Atoms:
    """Alpha quartz, P3_221, 9 atoms, no inversion."""
    return crystal(
        ["Si", "O"],
        [(0.4697, 0.0, 2 / 3), (0.4135, 0.2669, 0.7858)],
        spacegroup=154,
        cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
    )


@pytest.fixture
def rocksalt() -> Atoms:
    """MgO, 2 atoms."""
    return bulk("MgO", "rocksalt", a=4.21)


@pytest.fixture
def wurtzite() -> Atoms:
    """ZnO, 4 atoms, polar."""
    return bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382)
