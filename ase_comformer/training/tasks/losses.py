"""Losses of predicted properties.

The registry names the loss of each property: the error that it is judged by, made smooth at zero (relative Frobenius
error for dielectric and elastic tensors, mean absolute component for Born charges, error norm minimised over the
admissible readings for piezoelectric tensors, error relative to a typical size for a tensor that says nothing). Rows
are crystals (or atoms) that carry the label; each function returns one number per row.
"""

import torch
from torch import Tensor

from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.properties.registry import label_loss, label_owner, tensor_property
from ase_comformer.training.data.targets import Targets


def smooth(error: Tensor, width: float) -> Tensor:
    """|error| rounded off below ``width`` (pseudo-Huber)."""
    return torch.sqrt(error.square() + width**2) - width


def _norm(values: Tensor) -> Tensor:
    # the small constant keeps the gradient of the norm finite at zero
    return (values.square().flatten(1).sum(1) + 1e-12).sqrt()


def relative_tensor_loss(prediction: Tensor, label: Tensor, width: float = 0.03) -> Tensor:
    """(r, ...) tensors -> (r,) |error| / |label| in the Frobenius norm of the documented array."""
    return smooth(_norm(prediction - label) / _norm(label), width)


def scaled_tensor_loss(prediction: Tensor, label: Tensor, scale: float, width: float = 0.03) -> Tensor:
    """(r, ...) tensors -> (r,) |error| / (|label| + ``scale``): relative, and finite where symmetry forbids the tensor.

    ``scale`` is the typical norm of the tensor in its unit; norms are those of the documented array.
    """
    return smooth(_norm(prediction - label) / (_norm(label) + scale), width)


def component_loss(prediction: Tensor, label: Tensor, width: float) -> Tensor:
    """(r, ...) tensors -> (r,) mean absolute error of a component, in the unit of the property."""
    return smooth(prediction - label, width).flatten(1).mean(1)


def scalar_loss(prediction: Tensor, label: Tensor, width: float) -> Tensor:
    """(r,) numbers -> (r,) absolute errors, in the unit of the property."""
    return smooth(prediction - label, width)


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
    return _moduli_errors(torch.stack([averages.bulk, averages.shear], dim=1), moduli)


def voigt_moduli_loss(stiffness: Tensor, moduli: Tensor) -> Tensor:
    """(r, 6, 6) and (r, 2) Voigt averages of bulk, shear in GPa -> (r,), as ``moduli_loss``."""
    averages = voigt_reuss_hill(stiffness)
    return _moduli_errors(torch.stack([averages.bulk_voigt, averages.shear_voigt], dim=1), moduli)


def _moduli_errors(predicted: Tensor, moduli: Tensor) -> Tensor:
    scale = predicted.new_tensor([60.0, 35.0])
    absolute = smooth((predicted - moduli) / scale, 0.03).mean(1)
    logarithmic = smooth(torch.log(predicted.clamp(min=0.1) / moduli.clamp(min=1.0)), 0.03).mean(1)
    return (absolute + logarithmic) / 2


def mean_permittivity_loss(tensor: Tensor, mean: Tensor, width: float = 0.03) -> Tensor:
    """(r, 3, 3) and (r, 1) means over directions -> (r,) relative errors of a third of the trace."""
    return smooth(tensor.diagonal(dim1=1, dim2=2).mean(1) / mean[:, 0] - 1, width)


def permittivity_eigenvalues_loss(tensor: Tensor, eigenvalues: Tensor, width: float = 0.03) -> Tensor:
    """(r, 3, 3) and (r, 3) ascending eigenvalues -> (r,) relative errors: labels whose axes are unknown."""
    # eigvalsh has a gradient at degenerate eigenvalues, as eigenvectors are not asked for
    error = torch.linalg.eigvalsh(tensor) - eigenvalues
    return smooth(_norm(error) / _norm(eigenvalues), width)


def piezoelectric_modulus_loss(tensor: Tensor, modulus: Tensor, floor: float = 0.05) -> Tensor:
    """(r, 3, 6), (r, 1) largest singular values, C/m^2 -> (r,) |log of the ratio|, as ``piezoelectric_norm_loss``."""
    largest = torch.linalg.svdvals(tensor)[:, 0]
    return smooth(torch.log((largest + floor) / (modulus[:, 0] + floor)), 0.05)


def loss_terms(predictions: dict[str, Tensor], targets: Targets) -> dict[str, Tensor]:
    """Return for each label the loss of every crystal that carries it; derived labels read another prediction."""
    terms: dict[str, Tensor] = {}
    for name, rows in targets.rows.items():
        owner = label_owner(name)
        terms[name] = label_loss(name).load()(predictions[owner][rows], targets.values[name])
        if tensor_property(owner).per_atom:  # mean over atoms within a crystal first, as the metric does
            crystals, slot = torch.unique(targets.crystal_of_row[name], return_inverse=True)
            total = terms[name].new_zeros(len(crystals)).index_add(0, slot, terms[name])
            terms[name] = total / torch.bincount(slot).to(total.dtype)
    return terms
