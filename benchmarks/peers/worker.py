"""Evaluates structures with the potential of one package; runs in the environment of that package.

``python worker.py NAME THREADS WEIGHTS`` reads a structure and the properties asked for as JSON from each line of its
input and writes what was found, and the CPU and wall seconds of the calculator, as JSON in a line. It imports nothing
of ase-comformer, which is not installed there. ``process.py`` is the other end.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

PROPERTIES = ("energy", "forces", "stress")


def calculator(name: str, weights: str) -> Any:
    """Make the ASE calculator of a potential, on the CPU."""
    if name == "CHGNet":
        from chgnet.model.dynamics import CHGNetCalculator

        return CHGNetCalculator(use_device="cpu")
    if name == "SevenNet-0":
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator("7net-0", device="cpu")
    if name == "TensorNet-MatPES":
        import matgl
        from matgl.ext.ase import PESCalculator

        return PESCalculator(_as_published(matgl.load_model(weights), weights), stress_unit="eV/A3", use_voigt=True)
    raise SystemExit(f"unknown potential {name!r}")


def _as_published(potential: Any, weights: str) -> Any:
    """TensorNet whose weights are of version 1 where matgl's class is of version 2: it names the ends of edges anew.

    The layer that reads the elements of both ends then has them in the other order: elements are not affected, and
    compounds get nonsense (MgO bound by 4.5 eV, at its best 10 % too small) until the halves of its matrix are swapped.
    """
    import torch

    saved = json.loads(Path(weights, "model.json").read_text(encoding="utf-8"))["kwargs"]["model"]["@model_version"]
    if saved < 2 <= getattr(type(potential.model), "__version__", 0):
        weight = potential.model.tensor_embedding.emb2.weight
        with torch.no_grad():
            weight.copy_(weight.roll(weight.shape[1] // 2, dims=1))
    return potential


def answer(made: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Evaluate one structure."""
    import numpy as np
    from ase import Atoms

    atoms = Atoms(request["numbers"], positions=request["positions"], cell=request["cell"], pbc=request["pbc"])
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        made.calculate(atoms, list(PROPERTIES), ["positions"])
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {
        **seconds,
        "energy": float(np.asarray(made.results["energy"])),
        "forces": np.asarray(made.results["forces"], dtype=float).tolist(),
        "stress": np.asarray(made.results["stress"], dtype=float).tolist() if atoms.pbc.any() else None,
    }


def main() -> None:
    """Answer until the input ends."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    name, threads, weights = sys.argv[1:4]
    torch.set_num_threads(int(threads))
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what packages print is no answer
    made = calculator(name, weights)
    output.write(json.dumps({"ready": True}) + "\n")
    output.flush()
    for line in sys.stdin:
        output.write(json.dumps(answer(made, json.loads(line))) + "\n")
        output.flush()


if __name__ == "__main__":
    main()
