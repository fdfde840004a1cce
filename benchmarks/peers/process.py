"""A potential of another package as an ASE calculator: it runs in a process of that package's environment.

Environments are looked for below ``ASE_COMFORMER_PEERS`` (default: ``peer-environments`` beside the checkout), the
weights of TensorNet below ``ASE_COMFORMER_PEER_WEIGHTS`` (default: ``shared/peers`` beside the checkout).
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

_BESIDE = Path(__file__).resolve().parents[3]
_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Peer:
    """A potential.

    Attributes:
        package: to be imported.
        environments: names of those that may have it.
        weights: folder of weights that do not come with the package, empty where they do.
        training: what it was trained on.
    """

    package: str
    environments: tuple[str, ...]
    weights: str
    training: str

    @property
    def python(self) -> Path | None:
        """The interpreter of the first environment that has the package, None where none does."""
        folder = Path(os.environ.get("ASE_COMFORMER_PEERS", _BESIDE / "peer-environments"))
        for name in self.environments:
            if any((folder / name).glob(f"lib/python*/site-packages/{self.package}")):
                return folder / name / "bin" / "python"
        return None

    @property
    def weights_path(self) -> Path | None:
        """Of weights that do not come with the package."""
        folder = Path(os.environ.get("ASE_COMFORMER_PEER_WEIGHTS", _BESIDE / "shared" / "peers"))
        return folder / self.weights if self.weights else None


PEERS = {
    "CHGNet": Peer("chgnet", ("chgnet",), "", "relaxations of the Materials Project (MPtrj)"),
    "SevenNet-0": Peer("sevenn", ("sevenn", "sevennet"), "", "relaxations of the Materials Project (MPtrj)"),
    "TensorNet-MatPES": Peer(
        "matgl", ("matgl", "matgl_papers"), "TensorNet-MatPES-PBE-v2025.1-PES", "MatPES, molecular dynamics at 300 K"
    ),
}


def installed() -> list[str]:
    """Names of the peers whose environments and weights are there."""
    return [
        name
        for name, peer in PEERS.items()
        if peer.python is not None and (peer.weights_path is None or peer.weights_path.exists())
    ]


class PeerCalculator(Calculator):
    """Energy, forces and stress of a peer.

    Args:
        name: among ``PEERS``.
        threads: of the process.

    Attributes:
        seconds: CPU and wall seconds of the last evaluation, those of the peer's calculator alone.
        total: CPU seconds of all evaluations.

    Raises:
        FileNotFoundError: the environment of the peer is not there.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012, declared so by ASE

    def __init__(self, name: str, threads: int = 1) -> None:
        super().__init__()
        peer = PEERS[name]
        python = peer.python
        if python is None:
            raise FileNotFoundError(f"no environment has {peer.package}: make one with .ci/peers")
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {f"{key}_NUM_THREADS": str(threads) for key in ("OMP", "MKL", "OPENBLAS")}
        command = [str(python), str(_WORKER), name, str(threads), str(peer.weights_path or "")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.seconds, self.total = (0.0, 0.0), 0.0
        if not self._read().get("ready"):
            raise RuntimeError(f"{name} did not start in {python}")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Ask the process for everything."""
        super().calculate(atoms, properties, system_changes)
        found = self.ask(self.atoms)
        if "error" in found:
            raise ValueError(found["error"])
        self.results = {"energy": found["energy"], "forces": np.array(found["forces"])}
        if found["stress"] is not None:
            stress = np.array(found["stress"])
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress) if stress.shape == (3, 3) else stress

    def ask(self, atoms: Atoms) -> dict[str, Any]:
        """What the process says of a structure: an error, or numbers and seconds."""
        request = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "pbc": atoms.pbc.tolist(),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        found = self._read()
        self.seconds = found.get("cpu", 0.0), found.get("wall", 0.0)
        self.total += self.seconds[0]
        return found

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of the peer has ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # some packages take long to leave
            self._process.kill()
            self._process.wait()
