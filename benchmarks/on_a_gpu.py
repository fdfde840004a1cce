"""Every property on a GPU against the CPU, its speed and memory, in under four minutes.

    python -m benchmarks.on_a_gpu

Needs ase, spglib, vesin and safetensors beside torch, and no data. Prints one line per check and ends with status 1
where a number differs by more than ``--tolerance`` of the largest component (float64) or a step fails. ``--device cpu``
runs the same steps without a GPU, to see that the script itself works.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from ase_comformer import GMTNetCalculator, predict


def structures() -> dict[str, Atoms]:
    """Crystals with and without symmetry, a slab, a molecule; names say what they are."""
    quartz_like = bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382)
    rattled = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat((2, 1, 1))
    rattled.rattle(0.05, seed=0)
    return {
        "MgO": bulk("MgO", "rocksalt", a=4.21),
        "GaAs": bulk("GaAs", "zincblende", a=5.65),
        "ZnO": quartz_like,
        "NaCl rattled": rattled,
        "MgO supercell": bulk("MgO", "rocksalt", a=4.21, cubic=True).repeat(2),
        "Al slab": fcc111("Al", (1, 1, 3), vacuum=6.0),
        "H2O": molecule("H2O", vacuum=5.0),
    }


def difference(first: Any, second: Any) -> float:
    """Largest difference, relative to the largest component where that exceeds one."""
    first, second = np.asarray(first), np.asarray(second)
    return float(np.abs(first - second).max(initial=0.0) / max(1.0, np.abs(second).max(initial=0.0)))


def wait(device: str) -> None:
    """Let the GPU finish what it has been given."""
    if device != "cpu":
        torch.cuda.synchronize(device)


class Report:
    """Prints outcomes and remembers whether all were right; one failure does not end the run."""

    def __init__(self) -> None:
        self.failures = 0

    def check(self, name: str, step: Callable[[], tuple[bool, str]]) -> None:
        """Run a step that returns whether it was right and what it found."""
        start = time.perf_counter()
        try:
            right, text = step()
        except Exception as error:
            traceback.print_exc()
            right, text = False, f"{type(error).__name__}: {error}"
        self.failures += not right
        print(f"{'ok  ' if right else 'FAIL'} {name:45s} {text}  [{time.perf_counter() - start:.1f} s]", flush=True)


def agreement(device: str, name: str, atoms: Atoms, tolerance: float) -> tuple[bool, str]:
    """All properties that the structure has, float64, on both devices; float32 is printed beside them."""
    worst: dict[str, tuple[float, str]] = {}
    compared = 0
    for dtype in ("float64", "float32"):
        here, there = (GMTNetCalculator(device=each, dtype=dtype) for each in ("cpu", device))
        largest = (0.0, "")
        for value in here.implemented_properties:
            try:
                expected = here.get_property(value, atoms)
            except Exception as error:  # what the structure does not have, it has on no device
                try:
                    there.get_property(value, atoms)
                except type(error):
                    continue
                raise
            largest = max(largest, (difference(there.get_property(value, atoms), expected), value))
            compared += 1
        worst[dtype] = largest
    text = ", ".join(f"{dtype} {value:.1e} ({where or 'none'})" for dtype, (value, where) in worst.items())
    return compared > 0 and worst["float64"][0] <= tolerance, f"{compared} values, largest difference {text}"


def batches(device: str, tolerance: float) -> tuple[bool, str]:
    """``predict`` of many crystals in one batch, tensors and forces."""
    crystals = [bulk("MgO", "rocksalt", a=4.21 + 0.01 * step) for step in range(64)]
    names = ("dielectric_tensor", "elastic_tensor", "forces")
    found = [predict(crystals, properties=names, device=each, dtype="float64") for each in ("cpu", device)]
    largest = max(
        difference(there[name], here[name]) for here, there in zip(*found, strict=True) for name in names
    )  # fmt: skip
    return largest <= tolerance, f"64 crystals, largest difference {largest:.1e}"


def speed(device: str, atoms: Atoms, calls: int) -> tuple[bool, str]:
    """Milliseconds per call of energy, forces and stress while atoms move, float32, on both devices."""
    times, memory = [], 0.0
    for each in dict.fromkeys(("cpu", device)):
        moving = atoms.copy()
        moving.calc = GMTNetCalculator(device=each)
        moving.get_forces()
        moving.rattle(1e-3, seed=0)
        moving.get_forces()
        if each != "cpu":
            torch.cuda.reset_peak_memory_stats(each)
        wait(each)
        start = time.perf_counter()
        repeats = calls if each != "cpu" else max(1, calls // 4)
        for seed in range(repeats):
            moving.rattle(1e-3, seed=seed)
            moving.get_forces()
            moving.get_stress()
        wait(each)
        times.append(f"{each} {1e3 * (time.perf_counter() - start) / repeats:.1f} ms")
        if each != "cpu":
            memory = torch.cuda.max_memory_allocated(each) / 2**20
    return True, f"{len(atoms)} atoms: {', '.join(times)}; {memory:.0f} MiB on the GPU"


def tensor_speed(device: str) -> tuple[bool, str]:
    """Milliseconds per crystal of all tensors, batches of 64, float32."""
    crystals = [bulk("ZnO", "wurtzite", a=3.25 + 0.002 * step, c=5.2, u=0.382) for step in range(64)]
    names = ("dielectric_tensor", "born_effective_charges", "elastic_tensor", "piezoelectric_tensor")
    times = []
    for each in dict.fromkeys(("cpu", device)):
        predict(crystals, properties=names, device=each)
        wait(each)
        start = time.perf_counter()
        predict(crystals, properties=names, device=each)
        wait(each)
        times.append(f"{each} {1e3 * (time.perf_counter() - start) / len(crystals):.1f} ms")
    return True, "per crystal: " + ", ".join(times)


def main() -> int:
    """Run the checks and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--seconds", type=float, default=220.0, help="no further step begins after these")
    arguments = parser.parse_args()
    device: str = arguments.device
    warnings.simplefilter("ignore")
    begin, report = time.perf_counter(), Report()
    name = "CPU" if device == "cpu" else torch.cuda.get_device_name(device)
    print(f"torch {torch.__version__}, {name}, {torch.get_num_threads()} threads on the CPU", flush=True)
    steps: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
        (f"agreement, {key}", lambda key=key, atoms=atoms: agreement(device, key, atoms, arguments.tolerance))  # type: ignore[misc]
        for key, atoms in structures().items()
    ]
    steps.append(("agreement, batch", lambda: batches(device, arguments.tolerance)))
    for size, calls in ((1, 40), (3, 20), (6, 8), (11, 4)):
        crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(size)
        steps.append(("speed, energy, forces, stress", lambda c=crystal, n=calls: speed(device, c, n)))  # type: ignore[misc]
    steps.append(("speed, tensors", lambda: tensor_speed(device)))
    for key, step in steps:
        if time.perf_counter() - begin > arguments.seconds:
            print(f"left out for lack of time: {key}", flush=True)
            continue
        report.check(key, step)
    print(f"{report.failures} failures, {time.perf_counter() - begin:.0f} s")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
