"""Losses per property and the targets they read.

Every loss is the error that the property is judged by, made smooth at zero: relative Frobenius error for dielectric
and elastic tensors (EwT), mean absolute component for Born charges, error norm minimised over the admissible readings
for piezoelectric tensors. Rows are crystals that carry the label; each function returns one number per row.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ase_comformer.physics.moduli import voigt_reuss_hill


@dataclass
class Targets:
    """Labels of a batch: for each property the crystals (or atoms) that have it, and the values.

    Attributes:
        rows: property -> (r,) index of crystal (of atom for Born charges) in the batch.
        values: property -> (r, ...) documented form; piezoelectric (r, K, 3, 6) readings, the first repeated as filler.
        crystal_of_row: (r,) crystal of each Born charge.
    """

    rows: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)
    crystal_of_row: Tensor | None = None


def smooth(error: Tensor, width: float) -> Tensor:
    """|error| rounded off below ``width`` (pseudo-Huber)."""
    return torch.sqrt(error.square() + width**2) - width


def _norm(values: Tensor) -> Tensor:
    # the small constant keeps the gradient of the norm finite at zero
    return (values.square().flatten(1).sum(1) + 1e-12).sqrt()


def relative_tensor_loss(prediction: Tensor, label: Tensor, width: float = 0.03) -> Tensor:
    """(r, ...) tensors -> (r,) |error| / |label| in the Frobenius norm of the documented array."""
    return smooth(_norm(prediction - label) / _norm(label), width)


def piezoelectric_loss(prediction: Tensor, readings: Tensor, width: float = 0.02) -> Tensor:
    """(r, 3, 6) against (r, K, 3, 6) admissible readings -> (r,) smallest error norm, C/m^2."""
    error = (prediction.unsqueeze(1) - readings).flatten(2).square().sum(2) + 1e-12
    return smooth(error.sqrt().min(dim=1).values, width)


def piezoelectric_norm_loss(prediction: Tensor, readings: Tensor, floor: float = 0.05) -> Tensor:
    """(r, 3, 6) against (r, K, 3, 6) -> (r,) |log of the ratio of norms|, which no reading of the axes changes.

    ``floor`` in C/m^2 is added to both norms, so that small tensors do not dominate.
    """
    label = (readings[:, 0].square().flatten(1).sum(1) + 1e-12).sqrt()
    norm = (prediction.square().flatten(1).sum(1) + 1e-12).sqrt()
    return smooth(torch.log((norm + floor) / (label + floor)), 0.05)


def moduli_loss(stiffness: Tensor, moduli: Tensor) -> Tensor:
    """(r, 6, 6) and (r, 2) bulk, shear in GPa -> (r,) mean of absolute (per 60 and 35 GPa) and logarithmic errors."""
    averages = voigt_reuss_hill(stiffness)
    predicted = torch.stack([averages.bulk, averages.shear], dim=1)
    scale = predicted.new_tensor([60.0, 35.0])
    absolute = smooth((predicted - moduli) / scale, 0.03).mean(1)
    logarithmic = smooth(torch.log(predicted / moduli.clamp(min=1.0)), 0.03).mean(1)
    return (absolute + logarithmic) / 2


def loss_terms(predictions: dict[str, Tensor], targets: Targets) -> dict[str, Tensor]:
    """Per property, the loss of every labelled row; ``moduli`` and ``piezoelectric_norm`` read tensors."""
    terms: dict[str, Tensor] = {}
    for name, rows in targets.rows.items():
        label = targets.values[name]
        if name == "moduli":
            terms[name] = moduli_loss(predictions["elastic_tensor"][rows], label)
            continue
        if name == "piezoelectric_norm":
            terms[name] = piezoelectric_norm_loss(predictions["piezoelectric_tensor"][rows], label)
            continue
        predicted = predictions[name][rows]
        if name == "born_effective_charges":
            # mean over atoms within a crystal first, as the metric does
            error = smooth(predicted - label, 0.01).mean(dim=(1, 2))
            assert targets.crystal_of_row is not None
            crystals, slot = torch.unique(targets.crystal_of_row, return_inverse=True)
            total = error.new_zeros(len(crystals)).index_add(0, slot, error)
            terms[name] = total / torch.bincount(slot).to(error.dtype)
        elif name == "piezoelectric_tensor":
            terms[name] = piezoelectric_loss(predicted, label)
        elif name in ("formation_energy", "band_gap"):
            terms[name] = smooth(predicted - label, 0.01)
        else:
            terms[name] = relative_tensor_loss(predicted, label)
    return terms
