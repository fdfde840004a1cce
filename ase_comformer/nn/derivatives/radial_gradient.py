"""The radial basis of ``nn.layers.radial.BesselBasis`` and its envelope, with their derivatives in the distance.

Sines, cosines and powers serve both: a third of the operations of evaluating one after the other.
"""

import math

import torch
from torch import Tensor

from ase_comformer.nn.layers.radial import BesselBasis


class RadialGradient:
    """Basis and envelope of edges, there and back.

    Args:
        radial: K functions.
        distance: (E, 1) A.
        scale: (E, 1) by which distances are multiplied first, None where they are not.

    Attributes:
        basis: (E, K) with the envelope in it.
        envelope: (E, 1).
    """

    def __init__(self, radial: BesselBasis, distance: Tensor, scale: Tensor | None) -> None:
        self._radial, self._scale = radial, scale
        scaled = distance if scale is None else distance * scale
        self._scaled = scaled
        self._order = torch.arange(1, radial.count + 1, dtype=distance.dtype, device=distance.device)
        phase = scaled * (self._order * (math.pi / radial.cutoff))
        self._sine, self._cosine = torch.sin(phase), torch.cos(phase)
        x, p = (scaled / radial.cutoff).clamp(max=1.0), radial.power
        self._x, self._power = x, x ** (p - 1)
        inner = x * (p * (p + 2) - x * (p * (p + 1) / 2)) - (p + 1) * (p + 2) / 2
        value = 1.0 + self._power * x * inner
        self.envelope = torch.where(scaled < radial.cutoff, value, torch.zeros_like(value))
        self._amplitude = (math.sqrt(2.0) * radial.cutoff / math.pi) * self.envelope / scaled
        self.basis = self._sine * self._amplitude

    def backward(self, d_envelope: Tensor, d_basis: Tensor | None) -> Tensor:
        """(E, 1) the derivative in the distance, from those in the envelope alone (E, 1) and in the basis (E, K)."""
        radial, p = self._radial, self._radial.power
        factor = -p * (p + 1) * (p + 2) / (2 * radial.cutoff)
        slope = self._power * (1 - self._x).square() * factor
        d_distance = d_envelope * slope
        if d_basis is not None:
            # amplitude = sqrt(2) rc / pi envelope / r
            change = (math.sqrt(2.0) * radial.cutoff / math.pi * slope - self._amplitude) / self._scaled
            along = (d_basis * self._cosine) @ (self._order * (math.pi / radial.cutoff))
            d_distance = d_distance + (d_basis * self._sine).sum(1, keepdim=True) * change
            d_distance = d_distance + along.unsqueeze(1) * self._amplitude
        return d_distance if self._scale is None else d_distance * self._scale
