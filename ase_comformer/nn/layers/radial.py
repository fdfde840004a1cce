"""Radial and angular bases: what turns distances and cosines into edge features.

``GaussianBasis`` is the basis of both papers (Gaussians of -0.75 / r and of cosines); ``BesselBasis`` and
``LegendreBasis`` serve the default networks. ``polynomial_envelope`` takes messages smoothly to zero at the cut-off.
Distances are in Angstrom; every function works on tensors of any shape and appends the basis index last.
"""

import math

import torch
from torch import Tensor, nn

#: exp(-40) = 4e-18: Gaussians beyond this exponent are below float64 resolution and are not evaluated.
_NEGLIGIBLE_EXPONENT = 40.0


def inverse_distance(distance: Tensor) -> Tensor:
    """Edge scalar of the papers, -0.75 / r (r in Angstrom; shape kept)."""
    return -0.75 / distance


def polynomial_envelope(distance: Tensor, cutoff: float, power: int = 6) -> Tensor:
    """Envelope 1 at r = 0 and 0 at the cut-off with two zero derivatives there (DimeNet, eq. 8).

    distance: (...) in Angstrom; returns the same shape, exactly 0 beyond ``cutoff``.
    """
    if cutoff <= 0:
        raise ValueError(f"cutoff must be positive, got {cutoff}; give the radius of the graph in Angstrom")
    x = (distance / cutoff).clamp(max=1.0)
    p = power
    value = 1.0 + x**p * (-(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * (p * (p + 1) / 2)))
    return torch.where(distance < cutoff, value, torch.zeros_like(value))


def polynomial_envelope_slope(distance: Tensor, cutoff: float, power: int = 6) -> Tensor:
    """Derivative of ``polynomial_envelope`` in the distance, 1/A; arguments and shape as there."""
    x, p = (distance / cutoff).clamp(max=1.0), power
    return x ** (p - 1) * (1 - x).square() * (-p * (p + 1) * (p + 2) / (2 * cutoff))


class GaussianBasis(nn.Module):
    """``count`` Gaussians exp(-g (s - c)^2) at c = linspace(low, high, count), g = 1 / spacing (both papers).

    The buffer ``centers`` carries the name of the published state dicts. ``linear`` fuses the basis with the Linear
    layer that follows it and leaves out the centres that no input reaches (below 4e-18), which for -0.75 / r is most
    of them.
    """

    centers: Tensor

    def __init__(self, low: float, high: float, count: int) -> None:
        """Centres from ``low`` to ``high``; ``count`` must be at least 2."""
        super().__init__()
        if count < 2:
            raise ValueError(f"a Gaussian basis needs at least 2 centres, got {count}")
        self.low, self.high, self.count = low, high, count
        self.gamma = (count - 1) / (high - low)
        self.register_buffer("centers", torch.linspace(low, high, count))

    def forward(self, values: Tensor) -> Tensor:
        """(...) -> (..., count)."""
        return torch.exp(-self.gamma * (values[..., None] - self.centers) ** 2)

    def linear(self, values: Tensor, layer: nn.Linear) -> Tensor:
        """``layer(self(values))`` on the centres within reach of ``values``: (...) -> (..., layer.out_features)."""
        first, last = self._reached(values)
        basis = torch.exp(-self.gamma * (values[..., None] - self.centers[first:last]) ** 2)
        return nn.functional.linear(basis, layer.weight[:, first:last], layer.bias)

    def _reached(self, values: Tensor) -> tuple[int, int]:
        if values.numel() == 0:
            return 0, self.count
        reach = math.sqrt(_NEGLIGIBLE_EXPONENT / self.gamma)
        low, high = (float(x) for x in torch.aminmax(values.detach()))
        first = math.floor((low - reach - self.low) * self.gamma)
        last = math.ceil((high + reach - self.low) * self.gamma) + 1
        first = min(max(first, 0), self.count - 1)
        return first, max(min(last, self.count), first + 1)


class BesselBasis(nn.Module):
    """Spherical Bessel functions sqrt(2 / rc) sin(k pi r / rc) / r, k = 1..count, times the envelope (DimeNet)."""

    def __init__(self, cutoff: float, count: int, power: int = 6) -> None:
        """Radius of the graph in Angstrom, number of functions, power of the envelope."""
        super().__init__()
        if cutoff <= 0:
            raise ValueError(f"cutoff must be positive, got {cutoff}; give the radius of the graph in Angstrom")
        self.cutoff, self.count, self.power = cutoff, count, power

    def forward(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """(E,) Angstrom -> basis (E, count) with the envelope in it, envelope (E, 1)."""
        envelope = polynomial_envelope(distance, self.cutoff, self.power)[:, None]
        order = torch.arange(1, self.count + 1, dtype=distance.dtype, device=distance.device)
        phase = distance[:, None] * order * (math.pi / self.cutoff)
        # sqrt(2) instead of sqrt(2 / rc) and r in units of rc keep the functions of order one for any cut-off
        basis = math.sqrt(2.0) * torch.sin(phase) * (self.cutoff / distance)[:, None] / math.pi
        return basis * envelope, envelope


class LegendreBasis(nn.Module):
    """Legendre polynomials P_0..P_{count-1} of a cosine."""

    def __init__(self, count: int) -> None:
        """Number of polynomials, at least 2."""
        super().__init__()
        if count < 2:
            raise ValueError(f"a Legendre basis needs at least 2 polynomials, got {count}")
        self.count = count

    def forward(self, cosine: Tensor) -> Tensor:
        """(...) -> (..., count)."""
        values = [torch.ones_like(cosine), cosine]
        for degree in range(1, self.count - 1):
            following = ((2 * degree + 1) * cosine * values[-1] - degree * values[-2]) / (degree + 1)
            values.append(following)
        return torch.stack(values, dim=-1)
