"""What surrounds a query (autocast, threads, a fork) changes neither its numbers nor what comes after it."""

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from ase import Atoms

from ase_comformer import GMTNetCalculator
from ase_comformer.devices import shielded_device, single_thread
from ase_comformer.errors import UnknownNameError


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_autocast_around_a_query_changes_nothing(rocksalt: Atoms, dtype: str):
    names = GMTNetCalculator(dtype=dtype).implemented_properties
    assert {"energy", "forces", "dielectric_tensor", "born_effective_charges"} <= set(names)
    for name in names:
        plain, cast = (GMTNetCalculator(dtype=dtype) for _ in range(2))
        expected = plain.get_property(name, rocksalt)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            np.testing.assert_array_equal(cast.get_property(name, rocksalt), expected)
            assert torch.is_autocast_enabled("cpu")


def test_shield_restores_what_it_switches_off():
    with torch.device("meta"), torch.autocast("cpu", dtype=torch.bfloat16):
        with shielded_device("cpu"):
            product = torch.ones(2, 2) @ torch.ones(2, 2)
            assert (product.dtype, product.device.type) == (torch.float32, "cpu")
        assert torch.ones(1).device.type == "meta"
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.usefixtures("two_threads")
def test_one_thread_for_small_work_is_that_of_the_caller_alone():
    born: list[int] = []
    with single_thread():
        assert torch.get_num_threads() == 1
        other = threading.Thread(target=lambda: born.append(torch.get_num_threads()))
        other.start()
        other.join()
    assert born == [2]
    assert torch.get_num_threads() == 2


def test_one_thread_ends_with_an_error(two_threads: None):
    with pytest.raises(UnknownNameError), single_thread():
        raise UnknownNameError("anything")
    assert torch.get_num_threads() == 2


AFTER_FORK = """
import multiprocessing
import torch
from ase.build import bulk
from ase_comformer import GMTNetCalculator

torch.set_num_threads(2)
atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(3)
atoms.rattle(0.05, seed=0)
calc = GMTNetCalculator()

def energy(_):
    return calc.get_property("energy", atoms)

def energy_of_a_new_calculator(_):
    return GMTNetCalculator(dtype="float64").get_property("energy", atoms)

before = energy(None)
calc.reset()
with multiprocessing.get_context("fork").Pool(1) as pool:
    for work in (energy, energy_of_a_new_calculator):
        assert abs(pool.map_async(work, [None]).get(timeout=240)[0] - before) < 1e-3 * abs(before), "numbers"
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
def test_forked_processes_compute_after_their_parent_did():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AFTER_FORK], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
