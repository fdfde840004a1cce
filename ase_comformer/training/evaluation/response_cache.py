"""Responses of the crystals that routes and error bars are fitted on, kept between runs.

Only what the potential says is kept (force constants, internal strain, clamped stiffness, the crystal at rest), one
line of JSON per crystal in a file that is named after the potential: networks of charges may be trained anew without
computing it again. A run that is stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ase_comformer.crystals.structures import structure_key
from ase_comformer.inference.crystal_response import Mechanics, crystal_mechanics
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.response import ResponseBlocks

logger = logging.getLogger(__name__)

#: Digits of what is kept: forces are no better than 1e-9.
_DIGITS = 9


class ResponseCache:
    """Mechanical responses on disk.

    Args:
        folder: where the file is; created if missing.
        predictor: in float64.
    """

    def __init__(self, folder: Path, predictor: Predictor) -> None:
        self.predictor = predictor
        potential = "".join(card["sha256"] for card in predictor.model.cards("forces"))
        name = hashlib.sha256(f"{potential} {predictor.symprec}".encode()).hexdigest()[:12]
        self.path = folder / f"responses-{name}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Any] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:  # the line that a stopped run was writing
                    continue
                self._known[row["key"]] = row

    def __len__(self) -> int:
        return len(self._known)

    def fill(
        self, crystals: Sequence[Atoms], *, seconds: float = np.inf, progress: Callable[[int, int], None] | None = None
    ) -> bool:
        """Compute what is missing, until ``seconds`` of CPU time are used; return whether all is there.

        Args:
            crystals: any number of them, of few atoms.
            seconds: of CPU time of this process, counted from its start.
            progress: called with (done, total).
        """
        import time

        for done, atoms in enumerate(crystals):
            if progress is not None:
                progress(done, len(crystals))
            key = _key(atoms)
            if key in self._known:
                continue
            if time.process_time() > seconds:
                return False
            row = {"key": key, **self._row(atoms)}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            self._known[key] = row
        return True

    def get(self, atoms: Atoms) -> Mechanics | None:
        """Return what is known of a crystal; None where nothing is, or where it has no response."""
        row = self._known.get(_key(atoms))
        if row is None or "error" in row:
            return None
        primitive = Atoms(numbers=row["numbers"], positions=row["positions"], cell=row["cell"], pbc=True)
        arrays = {
            name: np.array(row[name]) for name in ("force_constants", "internal_strain", "clamped_elastic_tensor")
        }
        blocks = ResponseBlocks(volume=primitive.cell.volume, **arrays)
        return Mechanics(
            primitive, row["space_group"], blocks, np.array(row["stress"]), row["distance"], tuple(row["status"])
        )

    def _row(self, atoms: Atoms) -> dict[str, Any]:
        try:
            found = crystal_mechanics(atoms, self.predictor)
        except Exception as error:  # one crystal that fails must not stop a thousand
            logger.warning("%s has no response: %s", atoms.get_chemical_formula(), error)
            return {"error": f"{type(error).__name__}: {error}"}
        arrays = {
            "positions": found.primitive.positions,
            "cell": found.primitive.cell.array,
            "force_constants": found.blocks.force_constants,
            "internal_strain": found.blocks.internal_strain,
            "clamped_elastic_tensor": found.blocks.clamped_elastic_tensor,
            "stress": found.stress,
        }
        return {
            **{name: np.round(array, _DIGITS).tolist() for name, array in arrays.items()},
            "numbers": found.primitive.numbers.tolist(),
            "space_group": found.space_group,
            "distance": found.distance,
            "status": list(found.status),
        }


def _key(atoms: Atoms) -> str:
    return hashlib.sha256(structure_key(atoms)).hexdigest()[:24]
