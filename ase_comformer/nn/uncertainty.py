"""Expected errors of a potential, and how far an atom is from all that it was trained on.

Both read the invariant features of atoms from which the potential reads its energies. The features of every element
have a mean over the training atoms, and all share one covariance: ``novelty`` is the Mahalanobis distance from the
mean in units of what nearly all training atoms stay below. A small network turns the whitened features into expected
errors, which grow with the novelty where there were no training atoms to learn them from. Everything is fitted after
the potential (``training/uncertainty.py``), which it does not change.
"""

import torch
from torch import Tensor, nn

from ase_comformer.nn.layers.cartesian import MAX_ATOMIC_NUMBER


class Uncertainty(nn.Module):
    """Expected errors per atom; see the module docstring.

    Args:
        features: channels C of the invariant features.
        hidden: width of the network.
    """

    mean: Tensor
    whitening: Tensor
    scale: Tensor

    def __init__(self, features: int, hidden: int = 32) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(MAX_ATOMIC_NUMBER + 1, features))
        self.register_buffer("whitening", torch.eye(features))
        self.register_buffer("scale", torch.ones(2))
        self.element = nn.Embedding(MAX_ATOMIC_NUMBER + 1, hidden)
        nn.init.zeros_(self.element.weight)
        self.hidden = nn.Linear(features, hidden)
        self.last = nn.Linear(hidden, 2)

    def forward(self, numbers: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Expected errors (n, 2), of the atomic energy (eV) and of a force component (eV/A), and novelty (n,).

        Args:
            numbers: (n,) atomic numbers.
            features: (n, C).
        """
        white = self.whitened(numbers, features)
        novelty = self.novelty(white)
        errors = self.log_errors(numbers, white).exp() * self.scale
        return errors * novelty.clamp(min=1.0).unsqueeze(1), novelty

    def whitened(self, numbers: Tensor, features: Tensor) -> Tensor:
        """(n, C), zero mean and a unit of length in which nearly all training atoms are within sqrt(C) of it."""
        return (features - self.mean[numbers]) @ self.whitening

    @staticmethod
    def novelty(white: Tensor) -> Tensor:
        """(n,) from whitened features: one at the edge of the training data."""
        return white.square().mean(1).sqrt()

    def log_errors(self, numbers: Tensor, white: Tensor) -> Tensor:
        """(n, 2) from whitened features, before calibration; far away the features count as those of the edge."""
        within = white / self.novelty(white).clamp(min=1.0).unsqueeze(1)
        errors: Tensor = self.last(nn.functional.silu(self.hidden(within) + self.element(numbers)))
        return errors
