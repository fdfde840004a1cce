"""Fits the expected errors of a trained potential to its errors on labelled frames, and measures how good they are.

The network learns from frames of the training split (Laplace likelihood); one factor per quantity, from the validation
split, makes 68 % of the errors there smaller than what is expected of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.nn.uncertainty import Uncertainty
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.evaluation.frame_predictions import Predicted, predict_frames
from ase_comformer.training.evaluation.metrics import rank_correlation

#: Share of the errors that one expected error is to cover, that of a standard deviation of a normal distribution.
COVERAGE = 0.68
#: Share of the training atoms with a novelty below one.
_INSIDE = 0.999
_STEPS, _BATCH = 3000, 2048
#: eV/atom and eV/A, added to errors so that their logarithms stay finite.
_FLOOR = 1e-4


@dataclass
class AtomErrors:
    """Errors of a potential on frames.

    Attributes:
        numbers: (A,).
        features: (A, C) invariant features.
        energy: (F,) eV, absolute error of the total energy, divided by the atoms.
        force: (A,) eV/A, root mean square over the components.
        owner: (A,) frame of every atom.
    """

    numbers: Tensor
    features: Tensor
    energy: Tensor
    force: Tensor
    owner: Tensor


def atom_errors(frames: Frames, found: Predicted) -> AtomErrors:
    """Errors of predictions for ``frames``, and the features of the network that made them."""
    energy = np.abs(found.energy - frames.energy) / frames.count
    force = np.sqrt(np.square(found.forces - frames.forces).mean(axis=1))
    return AtomErrors(
        numbers=torch.from_numpy(frames.numbers),
        features=torch.from_numpy(found.features),
        energy=torch.from_numpy(energy).float(),
        force=torch.from_numpy(force).float(),
        owner=torch.from_numpy(np.repeat(np.arange(len(frames)), frames.count)),
    )


def fit_uncertainty(
    network: Potential, training: Frames, validation: Frames, further: Frames | None = None, seed: int = 0
) -> None:
    """Give ``network`` an ``Uncertainty``, fitted; its energies stay what they were.

    Args:
        network: trained, in evaluation mode.
        training: frames that the expected errors are learned from, and inside of whose domain nothing is novel.
        validation: frames that calibrate them.
        further: frames that the expected errors are learned from too, novel or not.
        seed: of the initial parameters.
    """
    parts = [
        atom_errors(frames, predict_frames([network], frames)) for frames in (training, further) if frames is not None
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Uncertainty(parts[0].features.shape[1])
        _describe(head, parts[0])
        _learn(head, _joined(parts))
    errors = atom_errors(validation, predict_frames([network], validation))
    with torch.no_grad():
        expected = expected_errors(head, errors)
        for index, actual in enumerate((errors.energy, errors.force)):
            head.scale[index] = torch.quantile(actual / expected[index], COVERAGE)
    network.attach_uncertainty(head)


def _joined(parts: Sequence[AtomErrors]) -> AtomErrors:
    """Join the errors of all frames, one set after the other."""
    before = np.cumsum([0, *(len(part.energy) for part in parts[:-1])]).tolist()
    owners = [part.owner + start for part, start in zip(parts, before, strict=True)]
    rest = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in ("numbers", "features", "energy", "force")
    }
    return AtomErrors(**rest, owner=torch.cat(owners))


def expected_errors(head: Uncertainty, errors: AtomErrors) -> tuple[Tensor, Tensor]:
    """(F,) eV/atom of frames and (A,) eV/A of atoms."""
    each, _ = head(errors.numbers, errors.features)
    return _frame_mean(each[:, 0], errors), each[:, 1]


def _frame_mean(values: Tensor, errors: AtomErrors) -> Tensor:
    total = values.new_zeros(len(errors.energy)).index_add(0, errors.owner, values)
    return total / torch.bincount(errors.owner, minlength=len(errors.energy))


def _describe(head: Uncertainty, errors: AtomErrors) -> None:
    """Mean per element and shared whitening of the features; rare elements lean on the mean of all."""
    numbers, features = errors.numbers, errors.features.double()
    everything = features.mean(0)
    count = torch.bincount(numbers, minlength=len(head.mean)).double().unsqueeze(1)
    total = features.new_zeros(head.mean.shape).index_add(0, numbers, features)
    mean = (total + everything) / (count + 1)
    centred = features - mean[numbers]
    covariance = centred.t() @ centred / len(centred)
    values, vectors = torch.linalg.eigh(covariance)
    # directions in which the features hardly vary would make rounding look like novelty
    whitening = vectors / values.clamp(min=1e-4 * float(values.max())).sqrt()
    distance = (centred @ whitening).square().mean(1).sqrt()
    head.mean.copy_(mean)
    head.whitening.copy_(whitening / np.quantile(distance.numpy(), _INSIDE))


def _learn(head: Uncertainty, errors: AtomErrors) -> None:
    with torch.no_grad():
        white = head.whitened(errors.numbers, errors.features)
        log_energy = (errors.energy + _FLOOR).log().mean()
        log_force = (errors.force + _FLOOR).log().mean()
        head.last.bias.copy_(torch.stack([log_energy, log_force]))
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    target = torch.stack([errors.energy[errors.owner], errors.force], dim=1) + _FLOOR
    for _ in range(_STEPS):
        rows = torch.randint(len(white), (_BATCH,))
        log_error = head.log_errors(errors.numbers[rows], white[rows])
        loss = (log_error + target[rows] * (-log_error).exp()).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    head.requires_grad_(False)


@dataclass(frozen=True)
class Calibration:
    """Compares expected errors with actual ones.

    Attributes:
        count: errors.
        within_one, within_two: share of errors below one and two expected ones (0.68 and 0.95 if normal).
        spearman: rank correlation of expected and actual errors.
        surest: mean actual error of the tenth with the smallest expected errors, relative to the mean of all.
        likelihood: mean of log s + error / s, s the expected error (lower is better), after the best common factor.
    """

    count: int
    within_one: float
    within_two: float
    spearman: float
    surest: float
    likelihood: float

    @classmethod
    def of(cls, expected: NDArray[np.float64], actual: NDArray[np.float64]) -> "Calibration":
        """Compare (n,) with (n,)."""
        order = np.argsort(expected)[: max(1, len(expected) // 10)]
        factor = (actual / expected).mean()  # maximises the likelihood
        return cls(
            count=len(actual),
            within_one=float((actual < expected).mean()),
            within_two=float((actual < 2 * expected).mean()),
            spearman=rank_correlation(expected, actual),
            surest=float(actual[order].mean() / actual.mean()),
            likelihood=float((np.log(factor * expected) + actual / (factor * expected)).mean()),
        )

    def cells(self) -> dict[str, str]:
        """Table headings and formatted values."""
        return {
            "n": str(self.count),
            "below 1x expected": f"{100 * self.within_one:.1f} %",
            "below 2x": f"{100 * self.within_two:.1f} %",
            "Spearman": f"{self.spearman:.3f}",
            "surest tenth / all": f"{self.surest:.2f}",
            "-log likelihood": f"{self.likelihood:.3f}",
        }
