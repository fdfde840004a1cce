"""Starts workers in the right environments and keeps their answers, so that an interrupted benchmark goes on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from benchmarks.cost.packages import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[2]


def interpreter(network: str) -> Path | None:
    """Python of the environment that has the network, ours for ours; None where there is no such environment."""
    if network not in ENVIRONMENTS:
        return Path(sys.executable)
    folder = Path(os.environ.get("ASE_COMFORMER_PEERS", ROOT.parent / "peer-environments"))
    places = [folder / name / "bin" / "python" for name in ENVIRONMENTS[network]]
    return next((place for place in places if place.exists()), None)


def machine() -> str:
    """What the processor calls itself."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def as_json(structures: Sequence[Atoms]) -> list[dict[str, Any]]:
    """Crystals as the worker takes them."""
    return [
        {"numbers": a.numbers.tolist(), "cell": a.cell.array.tolist(), "positions": a.positions.tolist()}
        for a in structures
    ]


class Answers:
    """Answers of workers in a file of JSON, by network and request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def ask(self, requests: Sequence[dict[str, Any]]) -> list[Any]:
        """Give the answers to requests, those kept or else measured now; None where a package is not installed.

        Raises:
            RuntimeError: if a worker fails, with the end of what it said.
        """
        groups: dict[Path, list[dict[str, Any]]] = {}
        for request in requests:
            python = interpreter(request["network"])
            if python is not None and _key(request) not in self.kept:
                groups.setdefault(python, []).append(request)
        for python, asked in groups.items():
            self._measure(python, asked)
        return [self.kept.get(_key(request)) for request in requests]

    def _measure(self, python: Path, requests: Sequence[dict[str, Any]]) -> None:
        """Ask one worker, and keep each answer when it comes."""
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
        environment = {**os.environ, **threads, "PYTHONPATH": str(ROOT)}
        command = [str(python), "-m", "benchmarks.cost.worker"]
        with tempfile.TemporaryFile("w+") as said:
            pipe = subprocess.PIPE
            worker = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=said, text=True, env=environment, cwd=ROOT
            )
            assert worker.stdin is not None
            assert worker.stdout is not None
            json.dump(list(requests), worker.stdin)
            worker.stdin.close()
            waiting = list(requests)
            for line in worker.stdout:
                if line.startswith("RESULT "):
                    self._keep(waiting.pop(0), json.loads(line.removeprefix("RESULT ")))
            if worker.wait() or waiting:
                said.seek(0)
                raise RuntimeError(f"measuring {waiting[0]['network']} failed: {said.read()[-1500:]}")

    def _keep(self, request: dict[str, Any], answer: Any) -> None:
        self.kept[_key(request)] = answer
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.kept))
        partial.replace(self.path)


def _key(request: dict[str, Any]) -> str:
    """Name of a request in the file."""
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:12]
    return f"{request['network']} {request['task']} {digest}"
