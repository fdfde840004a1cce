"""Which uncertainty is better calibrated: expected errors, or the spread of two networks?

``python -m benchmarks.uncertainty --second MODEL``: on labelled frames, errors that the model expects of itself
(``nn.uncertainty``, calibrated on val) against the spread between it and a second potential, the spread multiplied by
the factor that makes it cover 68 % of the errors of val. Errors are those of the model, and for the spread also those
of the mean of both, which costs twice as much. Energies per atom of frames, root mean square force components of atoms.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.table import Table
from torch import Tensor

from ase_comformer.models.registry import load_model
from ase_comformer.training.data.frame_sources import load_frames
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.evaluation.calibration import COVERAGE, Calibration, atom_errors, expected_errors
from ase_comformer.training.evaluation.frame_predictions import Predicted, predict_frames
from benchmarks.surface import Clock, one_thread, parser, prepare_console

Errors = tuple[np.ndarray, np.ndarray]


def arrays(energy: Tensor, force: Tensor) -> Errors:
    """eV/atom of frames, eV/A of atoms."""
    return energy.double().numpy(), force.double().numpy()


def spread(members: Sequence[Predicted], frames: Frames) -> Errors:
    """Standard deviations over the members: eV/atom of frames, eV/A of atoms."""
    energy = np.std([found.energy for found in members], axis=0, ddof=1) / frames.count
    return energy, np.sqrt(np.var([found.forces for found in members], axis=0, ddof=1).mean(axis=1))


def main() -> None:
    """Print one row per kind of uncertainty and quantity."""
    made = parser(__doc__)
    made.add_argument("--second", required=True, help="name or path of another model with energies")
    made.add_argument("--split", default="test", choices=("test", "val"))
    given = made.parse_args()
    one_thread()
    console, clock = prepare_console(150), Clock()
    first, second = (load_model(name, "cpu", given.dtype).entries("energy")[0] for name in (given.model, given.second))
    rows: dict[str, tuple[Errors, Errors]] = {}
    factors: dict[str, list[float]] = {}
    for split in ("val", given.split):
        frames = load_frames("labelled", [split])
        members = [predict_frames([network], frames) for network in (first, second)]
        errors = atom_errors(frames, members[0])
        own = arrays(errors.energy, errors.force)
        expected = arrays(*expected_errors(first.uncertainty, errors))
        energy, forces = (np.mean([getattr(m, key) for m in members], axis=0) for key in ("energy", "forces"))
        mean = replace(members[0], energy=energy, forces=forces)
        of_mean = atom_errors(frames, mean)
        between = spread(members, frames)
        found = {
            "expected errors": (expected, own),
            "spread, error of the model": (between, own),
            "spread, error of the mean": (between, arrays(of_mean.energy, of_mean.force)),
        }
        if split == "val":
            factors = {
                name: [float(np.quantile(a / (s + 1e-9), COVERAGE)) for s, a in zip(*pair, strict=True)]
                for name, pair in found.items()
            }
        rows = {
            name: (tuple(f * s + 1e-9 for f, s in zip(factors[name], pair[0], strict=True)), pair[1])
            for name, pair in found.items()
        }
    table = Table(title=f"uncertainties on labelled frames, {given.split} split; scaled to cover 68 % on val")
    for index, quantity in enumerate(("energy (eV/atom)", "forces (eV/A)")):
        for name, (expected_values, actual) in rows.items():
            cells = Calibration.of(expected_values[index], actual[index]).cells() | {
                "mean error": f"{actual[index].mean():.4f}"
            }
            if not table.columns:
                for heading in ("quantity", "uncertainty", *cells):
                    table.add_column(heading, justify="right")
            table.add_row(quantity, name, *cells.values())
    console.print(table)
    console.print(str(clock))


if __name__ == "__main__":
    main()
