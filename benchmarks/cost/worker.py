"""Measures networks: requests in JSON on standard input, one answer a line on standard output, in their order.

    [{"network": name, "task": "row", "structures": [...], "batch": 64, "passes": 3},
     {"network": name, "task": "points", "structures": [...], "neighbours": [...]}]

``structures`` are crystals (numbers, cell, positions); for points, one for each of ``neighbours`` (null: the network's
own graph; a number of neighbours, or A for matgl). Runs in the environment of the networks' package. Each request is
measured in a process of its own, forked after the imports, so that its peak of memory is its own.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from ase import Atoms

from benchmarks.cost import packages
from benchmarks.cost.measuring import Measured, point, row


def made(name: str, neighbours: float | None) -> Measured:
    """Make the network with this name, ours or another package's; "reduced" behind it asks for reduced graphs."""
    torch.manual_seed(0)
    if name in packages.ENVIRONMENTS:
        return packages.made(name, neighbours)
    from benchmarks.cost.networks import OurNetwork

    plain = name.removesuffix(", reduced")
    return OurNetwork(plain, None if neighbours is None else int(neighbours), is_reduced=plain != name)


def answer(request: dict[str, Any]) -> Any:
    """Measure what is asked for."""
    name = request["network"]
    structures = [Atoms(**given, pbc=True) for given in request["structures"]]
    if request["task"] == "row":
        return row(lambda: made(name, None), structures, request["batch"], request["passes"])
    return [
        point(made(name, neighbours), atoms)
        for atoms, neighbours in zip(structures, request["neighbours"], strict=True)
    ]


def measure(request: dict[str, Any], pipe: Connection) -> None:
    """Send an answer, or what went wrong, from a process of its own."""
    try:
        pipe.send(answer(request))
    except Exception:
        pipe.send(traceback.format_exc())


def main() -> None:
    """Answer requests; the first that fails ends the worker."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    requests = json.load(sys.stdin)
    made(requests[0]["network"], None)  # imports what all of them need
    for request in requests:
        ours, theirs = Pipe(duplex=False)
        process = get_context("fork").Process(target=measure, args=(request, theirs))
        process.start()
        theirs.close()
        result = ours.recv()
        process.join()
        if isinstance(result, str):
            raise SystemExit(result)
        sys.stdout.write("RESULT " + json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
