"""Accuracy of the potential on frames: energies per atom and between variants of a crystal, forces, stresses.

Every frame is evaluated on the surface that users get (the first fidelity). Harmonic frames are also evaluated on the
PBEsol surface their forces belong to, and as the response to the displacement alone, because a potential of another
functional has forces at the undisplaced positions of a PBEsol crystal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.units import GPa
from numpy.typing import NDArray

from ase_comformer.nn.architectures.potential import FIDELITIES, Potential
from ase_comformer.training.data.frame_sources import file_of, load_frames
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.data.records import data_folder
from ase_comformer.training.evaluation.calibration import Calibration, atom_errors, expected_errors
from ase_comformer.training.evaluation.frame_predictions import Predicted, predict_frames
from ase_comformer.training.evaluation.report import Section


@dataclass(frozen=True)
class PotentialErrors:
    """Errors of predictions on frames of one kind.

    Attributes:
        count: frames.
        energy: meV/atom, mean absolute; NaN where there are no energies.
        between: meV/atom, mean absolute error of energy differences of frames of one crystal.
        force: meV/A, mean absolute component.
        relative_force: root mean square error over root mean square label.
        stress: GPa, mean absolute component.
    """

    count: int
    energy: float
    between: float
    force: float
    relative_force: float
    stress: float

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        shown = {
            "E (meV/atom)": f"{self.energy:.1f}",
            "E between variants": f"{self.between:.1f}",
            "F MAE (meV/A)": f"{self.force:.1f}",
            "F RMSE/RMS": f"{self.relative_force:.3f}",
            "stress MAE (GPa)": f"{self.stress:.2f}",
        }
        return {"n": str(self.count)} | {key: value for key, value in shown.items() if value != "nan"}


def potential_errors(frames: Frames, found: Predicted) -> PotentialErrors:
    """Errors over all frames; every force component counts the same."""
    difference = found.forces - frames.forces
    size = float(np.sqrt(np.square(frames.forces).mean()))
    per_atom = (found.energy - frames.energy) / frames.count * 1e3
    stress = np.abs(found.stress - frames.stress) / GPa
    known = np.isfinite(per_atom)
    return PotentialErrors(
        count=len(frames),
        energy=_mean(np.abs(per_atom[known])),
        between=_mean(_pair_differences(frames.group[known], per_atom[known])),
        force=float(np.abs(difference).mean() * 1e3),
        relative_force=float(np.sqrt(np.square(difference).mean())) / size if size else float("nan"),
        stress=_mean(stress[np.isfinite(stress)]),
    )


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _pair_differences(group: NDArray[np.str_], error: NDArray[np.float64]) -> NDArray[np.float64]:
    """|error_i - error_j| of all pairs of frames of one crystal."""
    order = np.argsort(group, kind="stable")
    group, error = group[order], error[order]
    pairs = []
    for shift in range(1, 8):  # no crystal has more frames than that
        same = group[shift:] == group[:-shift]
        pairs.append(np.abs(error[shift:] - error[:-shift])[same])
    return np.concatenate(pairs)


def potential_sections(
    name: str, networks: Sequence[Potential], elements: Sequence[str], split: str, folder: str | Path | None = None
) -> Iterator[Section]:
    """Tables of one model: labelled frames by variant, DFT frames by source, harmonic frames, varied frames by kind.

    Args:
        name: shown in the tables.
        networks: members of the ensemble.
        elements: symbols it covers; frames with others are left out.
        split: "val" or "test".
        folder: of the data package.
    """
    labelled = _covered(load_frames("labelled", (split,), folder), elements)
    found = predict_frames(networks, labelled)
    kinds: list[tuple[str, NDArray[np.int64]]] = [
        ("rattle_s and strain", np.flatnonzero(np.isin(labelled.kind, ["rattle_s", "strain"]))),
        ("all variants", np.arange(len(labelled))),
        *((str(kind), np.flatnonzero(labelled.kind == kind)) for kind in np.unique(labelled.kind)),
    ]
    yield from (_section("labelled_frames", kind, name, labelled, found, rows) for kind, rows in kinds)
    yield from _expected(name, networks, labelled, found)
    dft = _covered(load_frames("dft", (split,), folder), elements)
    found = predict_frames(networks, dft)
    for kind in np.unique(dft.kind):
        yield _section("energy_frames", str(kind), name, dft, found, np.flatnonzero(dft.kind == kind))
    yield _harmonic(name, networks, _covered(load_frames("harmonic", (split,), folder), elements))
    for source in ("varied", "weak"):
        if file_of(source, data_folder(folder)).exists():  # not in wheels
            frames = _covered(load_frames(source, (split,), folder), elements)
            found = predict_frames(networks, frames)
            for kind in np.unique(frames.kind):
                rows = np.flatnonzero(frames.kind == kind)
                yield _section(f"{source}_frames", str(kind), name, frames, found, rows)


def _section(
    dataset: str, subset: str, name: str, frames: Frames, found: Predicted, rows: NDArray[np.int64]
) -> Section:
    part = found.take(rows, frames.atom_rows(rows))
    return Section("forces", dataset, subset, ((name, potential_errors(frames.take(rows), part)),))


def _expected(name: str, networks: Sequence[Potential], frames: Frames, found: Predicted) -> Iterator[Section]:
    """Compare the errors that a single network expects of itself with the actual ones."""
    if len(networks) != 1 or networks[0].uncertainty is None:
        return
    errors = atom_errors(frames, found)
    expected = expected_errors(networks[0].uncertainty, errors)
    for prop, values, actual in zip(
        ("energy_uncertainty", "forces_uncertainty"), expected, (errors.energy, errors.force), strict=True
    ):
        calibration = Calibration.of(values.double().numpy(), actual.double().numpy())
        yield Section(prop, "labelled_frames", "all variants", ((name, calibration),))


def _harmonic(name: str, networks: Sequence[Potential], frames: Frames) -> Section:
    """Readings of the same frames on each surface that was trained.

    As users see them, the response alone, and that without the even orders, which harmonic forces do not have.
    """
    rows: list[tuple[str, Any]] = []
    for fidelity in (FIDELITIES[0], "PBEsol"):
        if all(fidelity in network.fidelities for network in networks):
            label = f"{name}, {fidelity} surface"
            rows += [
                (label, potential_errors(frames, predict_frames(networks, frames, fidelity))),
                (f"{label}, response", response_errors(networks, frames, fidelity)),
                (f"{label}, response to +-u", response_errors(networks, frames, fidelity, opposite=True)),
            ]
    return Section("forces", "harmonic_frames", "PBEsol forces of small displacements", tuple(rows))


def response_errors(
    networks: Sequence[Potential], frames: Frames, fidelity: str = FIDELITIES[0], *, opposite: bool = False
) -> PotentialErrors:
    """Errors of the forces less those of the same crystals at rest.

    Args:
        networks: members of the ensemble.
        frames: harmonic ones.
        fidelity: surface.
        opposite: half of the difference from the opposite displacements instead, in which even orders cancel.
    """
    compared = frames.opposite() if opposite else frames.at_rest()
    moved, other = (predict_frames(networks, part, fidelity) for part in (frames, compared))
    return potential_errors(frames, replace(moved, forces=(moved.forces - other.forces) / (2 if opposite else 1)))


def _covered(frames: Frames, elements: Sequence[str]) -> Frames:
    known = np.zeros(120, dtype=bool)
    known[[atomic_numbers[symbol] for symbol in elements]] = True
    missing = np.zeros(len(frames), dtype=np.int64)
    np.add.at(missing, np.repeat(np.arange(len(frames)), frames.count), ~known[frames.numbers])
    return frames.take(np.flatnonzero(missing == 0))
