"""The interaction of the dipoles of atoms, at all distances.

A network whose messages end at a cut-off cannot know the field that a displaced sublattice makes further away, which
splits longitudinal from transverse optical phonons. Here each atom carries a dipole, an equivariant function of its
surroundings like its energy. Dipoles interact as in a medium that electrons polarise, so in crystals their sum changes
by eps_inf^(-1/2) Z u with the Born charges Z. The interaction is summed over ``reciprocal_vectors``, in finite
structures over pairs
of atoms. Isolated atoms have no dipole, and dipoles are neutral whatever they are.
Index letters: A atoms, B crystals, K reciprocal vectors.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.reciprocal_vectors import COULOMB, ENVELOPE_POWER, RECIPROCAL_FIELDS
from ase_comformer.nn.layers.radial import polynomial_envelope
from ase_comformer.nn.operations.nonuniform_fourier import FourierGrid

#: Products of atoms and reciprocal vectors that are held at a time.
_LARGEST_PART = 2**21
#: Reciprocal vectors, and products of these and atoms, above which the sum of a crystal is made on a grid.
_GRID_WAVES, _GRID_PRODUCTS = 3_000, 2 * 10**7
#: A: distance up to which the interaction in finite structures is tabulated, beyond it is that of points, within
#: 1e-8 eV and 1e-6 eV/A; A^2: between the knots of the table.
_TABLE_REACH, _KNOTS = 100.0, 0.5


@dataclass
class DipoleInteraction:
    """What the dipoles of a batch do to each other.

    Attributes:
        energies: (A,) eV, half of that of each dipole in the field of all.
        d_dipoles: (A, 3) V/A, derivative of the energy in the dipoles: minus the field.
        forces: (A, 3) eV/A with the dipoles as they are; how dipoles change is another part of forces.
        stress: (B, 3, 3) eV/A^3, likewise.
    """

    energies: Tensor
    d_dipoles: Tensor
    forces: Tensor
    stress: Tensor


def limited(dipoles: Tensor, limit: float) -> Tensor:
    """Dipoles (n, 3) that saturate at ``limit`` e A; smaller ones stay, within 0.1 % up to 0.4 of it.

    What a network makes of surroundings that it has never seen knows no bounds, and the interaction grows with the
    square. No limit where it is zero.
    """
    if not limit:
        return dipoles
    return dipoles * (1 + (dipoles.square().sum(1, keepdim=True) / limit**2) ** 3) ** (-1 / 6)


def limited_backward(d_limited: Tensor, dipoles: Tensor, limit: float) -> Tensor:
    """Derivatives (n, 3) in what ``limited`` returned -> in the ``dipoles`` it was given."""
    if not limit:
        return d_limited
    square = dipoles.square().sum(1, keepdim=True) / limit**2
    grown = 1 + square**3
    along = (d_limited * dipoles).sum(1, keepdim=True) * (square.square() / (grown * limit**2))
    return (d_limited - along * dipoles) * grown ** (-1 / 6)


def on_atoms(graph: CrystalGraph, dipoles: Tensor) -> Tensor:
    """Dipoles of nodes (n, 3) -> of atoms (A, 3)."""
    found = dipoles[graph.atom_node]
    return found if graph.atom_rotation is None else torch.einsum("axy,ay->ax", graph.atom_rotation, found)


def on_nodes(graph: CrystalGraph, d_dipoles: Tensor) -> Tensor:
    """Derivatives in the dipoles of atoms (A, 3) -> in those of nodes (n, 3)."""
    if graph.atom_rotation is None:
        return d_dipoles
    turned = torch.einsum("axy,ax->ay", graph.atom_rotation, d_dipoles)
    return turned.new_zeros(len(graph.numbers), 3).index_add(0, graph.atom_node, turned)


def is_interacting(graph: CrystalGraph) -> bool:
    """Whether any of the crystals has room for the reciprocal vectors of its graph; small cells have none."""
    if graph.reciprocal_vector is None:
        return False
    return graph.reciprocal_vector.shape[1] > 0 or len(_finite(graph)) > 0


def dipole_interaction(graph: CrystalGraph, dipoles: Tensor) -> DipoleInteraction:
    """Sum the interaction of dipoles (A, 3) in e A of a batch with reciprocal vectors; differentiable in them."""
    found = _reciprocal_sum(graph, dipoles)
    for crystal, cutoff in _finite(graph):
        _add_pairs(found, graph, dipoles, torch.nonzero(graph.atom_crystal == crystal).flatten(), cutoff)
    return found


def _finite(graph: CrystalGraph) -> list[tuple[int, float]]:
    """The structures that are not periodic, with the cut-offs of their interactions; of training batches none is."""
    if graph.nonperiodic_directions is None or graph.reciprocal_cutoff is None:
        return []
    dimensions = graph.nonperiodic_directions.diagonal(dim1=1, dim2=2).sum(1).tolist()
    cutoffs = [round(cutoff, 6) for cutoff in graph.reciprocal_cutoff.tolist()]  # the same in any precision
    return [(number, cutoff) for number, cutoff in enumerate(cutoffs) if dimensions[number] > 2.5]


def _reciprocal_sum(graph: CrystalGraph, dipoles: Tensor) -> DipoleInteraction:
    crystals = graph.crystal_count
    on_atom, stress = dipoles.new_zeros(len(dipoles), 12), dipoles.new_zeros(crystals, 3, 3)
    for vector, weight, slope in _parts(graph):
        own, change = _of_part(graph, dipoles, vector, weight, slope)
        on_atom, stress = on_atom + own, stress + change
    d_dipoles, gradient = on_atom[:, :3], on_atom[:, 3:].unflatten(1, (3, 3))
    forces = -(gradient * dipoles.unsqueeze(1)).sum(2)
    stress = _in_nonperiodic_directions(graph, (stress + stress.transpose(1, 2)) / 2, dipoles, d_dipoles, forces)
    stress = stress / graph.volume[:, None, None].to(stress.dtype)
    return DipoleInteraction((dipoles * d_dipoles).sum(1) / 2, d_dipoles, forces, stress)


def _in_nonperiodic_directions(
    graph: CrystalGraph, stress: Tensor, dipoles: Tensor, d_dipoles: Tensor, forces: Tensor
) -> Tensor:
    """Correct the stress where a structure is not periodic: a strain moves its atoms there, not the box.

    The box, to which the reciprocal vectors belong, stays normal to a slab, so a shear of slab against normal turns
    the box with it: what the reciprocal vectors say of tilted boxes is replaced by the atoms' virial and, as dipoles
    are not turned, by the torque on these.
    """
    normal = graph.nonperiodic_directions
    if normal is None or graph.atom_position is None or not bool(normal.any()):
        return stress

    def summed(left: Tensor, right: Tensor) -> Tensor:
        return torch.zeros_like(stress).index_add(0, graph.atom_crystal, left.unsqueeze(2) * right.unsqueeze(1))

    virial, torque = summed(-graph.atom_position, forces), summed(d_dipoles, dipoles)
    within = torch.eye(3, dtype=normal.dtype, device=normal.device) - normal
    outside = normal @ (virial + virial.transpose(1, 2)) @ normal / 2
    across = normal @ (virial - (torque - torque.transpose(1, 2)) / 2) @ within
    return within @ stress @ within + outside + across + across.transpose(1, 2)


def _parts(graph: CrystalGraph) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Vectors (B, k, 3), weights (B, k) and slopes (B, k, 3) of some of the reciprocal vectors at a time."""
    vector, weight, slope = (getattr(graph, name) for name in RECIPROCAL_FIELDS)
    if _is_large(graph):
        yield vector, weight, slope
        return
    size = max(1, _LARGEST_PART // max(1, len(graph.atom_crystal)))
    for first in range(0, vector.shape[1], size):
        part = slice(first, first + size)
        yield vector[:, part], weight[:, part], slope[:, part]


def _is_large(graph: CrystalGraph) -> bool:
    """Whether the sum is made on a grid: of a crystal with so many waves and atoms that this is faster."""
    assert graph.reciprocal_vector is not None
    crystals, waves = graph.reciprocal_vector.shape[:2]
    if crystals > 1 or waves < _GRID_WAVES or waves * len(graph.atom_crystal) < _GRID_PRODUCTS:
        return False
    return graph.nonperiodic_directions is None or not bool(graph.nonperiodic_directions.any())


class _Waves:
    """Sums over the atoms, and over the reciprocal vectors (B, k, 3), of each crystal."""

    def __init__(self, graph: CrystalGraph, vector: Tensor) -> None:
        assert graph.atom_position is not None
        self.crystal, self.shape, self.single = graph.atom_crystal, vector.shape, len(vector) == 1
        if self.single:
            phase = graph.atom_position @ vector[0].t()
        else:
            phase = (vector[self.crystal] @ graph.atom_position.unsqueeze(2)).squeeze(2)
        self.cosine, self.sine = phase.cos(), phase.sin()

    def over_atoms(self, dipoles: Tensor) -> tuple[Tensor, Tensor]:
        """(B, k, 3) sums of dipoles (A, 3) times cosines, and times sines."""
        return self._over_atoms(self.cosine, dipoles), self._over_atoms(self.sine, dipoles)

    def over_waves(self, cosine_factors: Tensor, sine_factors: Tensor) -> Tensor:
        """(A, C) sums of cosines and sines times the factors (B, k, C) of the own crystal."""
        return self._over_waves(self.cosine, cosine_factors) + self._over_waves(self.sine, sine_factors)

    def _over_atoms(self, values: Tensor, dipoles: Tensor) -> Tensor:
        if self.single:
            return (values.t() @ dipoles).unsqueeze(0)
        products = values.unsqueeze(2) * dipoles.unsqueeze(1)
        return products.new_zeros(*self.shape).index_add(0, self.crystal, products)

    def _over_waves(self, values: Tensor, factors: Tensor) -> Tensor:
        if self.single:
            return values @ factors[0]
        return (values.unsqueeze(1) @ factors[self.crystal]).squeeze(1)


class _GridWaves:
    """The same sums of one large crystal."""

    def __init__(self, graph: CrystalGraph, vector: Tensor) -> None:
        assert graph.atom_position is not None
        self._grid = FourierGrid(graph.cell[0], graph.atom_position, vector[0])

    def over_atoms(self, dipoles: Tensor) -> tuple[Tensor, Tensor]:
        """See ``_Waves``."""
        real, imaginary = self._grid.sum_over_atoms(dipoles)
        return real.unsqueeze(0), imaginary.unsqueeze(0)

    def over_waves(self, cosine_factors: Tensor, sine_factors: Tensor) -> Tensor:
        """See ``_Waves``; the last nine columns are symmetric matrices."""
        kept, back = [0, 1, 2, 3, 4, 5, 7, 8, 11], [0, 1, 2, 3, 4, 5, 4, 6, 7, 5, 7, 8]
        return self._grid.sum_over_waves(cosine_factors[0][:, kept], sine_factors[0][:, kept])[:, back]


def _of_part(
    graph: CrystalGraph, dipoles: Tensor, vector: Tensor, weight: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor]:
    """(A, 12) and (B, 3, 3) derivatives of the energy in dipoles and positions, and in the strain.

    Those in positions, nine of the twelve columns, still lack the product with the dipole.
    """
    waves = (_GridWaves if _is_large(graph) else _Waves)(graph, vector)
    real, imaginary = waves.over_atoms(dipoles)
    along_real, along_imaginary = (real * vector).sum(2), (imaginary * vector).sum(2)
    twice_real, twice_imaginary = 2 * weight * along_real, 2 * weight * along_imaginary
    square = (vector.unsqueeze(3) * vector.unsqueeze(2)).flatten(2)
    cosine_factors = torch.cat([twice_real.unsqueeze(2) * vector, twice_imaginary.unsqueeze(2) * square], dim=2)
    sine_factors = torch.cat([twice_imaginary.unsqueeze(2) * vector, -twice_real.unsqueeze(2) * square], dim=2)
    on_atom = waves.over_waves(cosine_factors, sine_factors)
    # a strain turns and stretches wave vectors the opposite way, k.r stays, and the weight falls with the volume
    power = along_real.square() + along_imaginary.square()
    energy = (weight * power).sum(1)
    turned = slope * power.unsqueeze(2) + twice_real.unsqueeze(2) * real + twice_imaginary.unsqueeze(2) * imaginary
    one = torch.eye(3, dtype=energy.dtype, device=energy.device)
    return on_atom, -(turned.transpose(1, 2) @ vector) - energy[:, None, None] * one


def _add_pairs(found: DipoleInteraction, graph: CrystalGraph, dipoles: Tensor, atoms: Tensor, cutoff: float) -> None:
    """Adds the interaction of all pairs of the ``atoms`` of a finite structure, which has no stress."""
    assert graph.atom_position is not None
    own, position = dipoles[atoms].double(), graph.atom_position[atoms].double()
    table = [part.to(own.device) for part in _radial_table(cutoff)]
    rows = max(1, _LARGEST_PART // (8 * len(own)))
    parts = [_pairs(position, own, some, table) for some in torch.arange(len(own), device=own.device).split(rows)]
    d_dipoles, forces = (torch.cat(values) for values in zip(*parts, strict=True))
    energies = (own * d_dipoles).sum(1) / 2
    for name, values in (("energies", energies), ("d_dipoles", d_dipoles), ("forces", forces)):
        setattr(found, name, getattr(found, name).index_add(0, atoms, values.to(dipoles.dtype)))


def _pairs(position: Tensor, dipoles: Tensor, rows: Tensor, table: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(r, 3) derivatives of the energy in some of the dipoles (N, 3), themselves included, and (r, 3) forces.

    With the interaction of charges v as a function of s = r^2, that of dipoles is f1 1 - f2 r r^T, f1 = -2 dv/ds and
    f2 = 4 d2v/ds2; their derivatives need f3 = 8 d3v/ds3 too.
    """
    vector = position[rows].unsqueeze(1) - position
    square = vector.square().sum(2)
    first, second, third = _read(table, square)
    along, own_along = (vector * dipoles).sum(2), (vector * dipoles[rows].unsqueeze(1)).sum(2)
    d_dipoles = first @ dipoles - ((second * along).unsqueeze(2) * vector).sum(1)
    radial = second * (dipoles[rows] @ dipoles.t()) + third * along * own_along
    forces = (radial.unsqueeze(2) * vector).sum(1) + (second * own_along) @ dipoles
    return d_dipoles, forces + (second * along).sum(1, keepdim=True) * dipoles[rows]


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)  # it outlives the call
def _radial_table(cutoff: float) -> list[Tensor]:
    """v(s) as a spline: where its n parts begin (n,), and coefficients of f1, f2, f3 (7, n), (6, n), (5, n).

    v(r) = 2 e^2 / pi int g(k) sin(kr) / (kr) dk by Gauss-Legendre integration. f2 and f3 are exact derivatives of the
    spline, so energies and forces belong together however fine it is.
    """
    from scipy.interpolate import PPoly, make_interp_spline  # a third of a second, needed by finite structures only

    points, weights = np.polynomial.legendre.leggauss(32 + math.ceil(0.6 * cutoff * _TABLE_REACH))
    k = (points + 1) * cutoff / 2
    envelope = polynomial_envelope(torch.from_numpy(k), cutoff, ENVELOPE_POWER).numpy()
    square = np.arange(0.0, _TABLE_REACH**2 + 10 * _KNOTS, _KNOTS)
    values = np.sinc(np.sqrt(square)[:, None] * k / math.pi) @ (weights * envelope * cutoff * COULOMB / math.pi)
    spline = PPoly.from_spline(make_interp_spline(square, values, k=7))
    kept = np.diff(spline.x) > 0
    parts = [scale * spline.derivative(order).c[:, kept] for order, scale in ((1, -2.0), (2, 4.0), (3, 8.0))]
    return [torch.from_numpy(np.ascontiguousarray(values)) for values in (spline.x[:-1][kept], *parts)]


def _read(table: list[Tensor], square: Tensor) -> list[Tensor]:
    """f1, f2, f3 at s, each in the shape of ``square``."""
    begin, *parts = table
    is_near = square < _TABLE_REACH**2
    near = torch.where(is_near, square, 0.0)
    part = torch.searchsorted(begin, near, right=True) - 1
    offset = near - begin[part]
    far = torch.where(is_near, _TABLE_REACH**2, square)
    point = COULOMB * far**-1.5  # and its derivatives, where charges interact by e^2 / r
    found = []
    for coefficients, factor in zip(parts, (1.0, 3.0, 15.0), strict=True):
        value = coefficients[0][part]
        for coefficient in coefficients[1:]:
            value = torch.addcmul(coefficient[part], value, offset)
        found.append(torch.where(is_near, value, factor * point))
        point = point / far
    return found
