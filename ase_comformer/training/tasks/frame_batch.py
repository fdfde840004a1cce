"""A batch of frames as tensors, and the losses of a potential on it.

Frames may stand in *pairs* of one crystal. Where both are near rest (``RESPONSES``) the difference of the forces and
their mean are compared apart: the response to displacements, in which what a potential of another functional makes of
the crystal at rest cancels, and the forces at rest, which decide where atoms relax to. Where stresses are known their
difference is compared too, in relation to its size: an offset that both frames share says little, their difference is
what elastic constants are made of. Index letters: B frames, A atoms.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from ase.data import atomic_masses_iupac2016
from ase.units import GPa
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.schema import graph_field, pad, present
from ase_comformer.nn.architectures.potential import PotentialResult
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.tasks.losses import smooth

#: Kinds of frames that stand in pairs around the crystal at rest.
RESPONSES = frozenset({"response", "strained"})
#: GPa, root mean square component at which a stress counts half.
_LARGE_STRESS = 2.0
#: GPa, added to the size of a difference of stresses that its error is compared with.
_SMALL_STRESS = 0.5
#: eV/A, added to the size of a response, so that the smallest do not count most.
_SMALL_RESPONSE = 0.25
#: u, the mass at which the error of a response counts once.
_OXYGEN_MASS = 16.0
#: Small numbers by which losses are rounded off at zero: eV/A squared, eV, GPa.
_FORCE_WIDTH, _ENERGY_WIDTH, _STRESS_WIDTH = 1e-4, 0.01, 0.05
#: e A, added to the size of a polarisation that its error is compared with; squared, where the error is rounded off.
_SMALL_DIPOLE, _DIPOLE_WIDTH = 0.05, 1e-6


@dataclass
class FrameBatch:
    """Graph and labels.

    Attributes:
        graph: plain, B crystals.
        energy: (B,) eV in float64, zero where unknown.
        forces: (A, 3) eV/A.
        mass: (A,) u.
        stress: (B, 3, 3) eV/A^3, zero where unknown.
        polarisation: (B, 3) e A of the displacements of a ``RESPONSES`` frame, zero where unknown.
        fidelity: (B,) index into ``potential.FIDELITIES``.
        partner: (A,) the same atom in the other frame of a pair of ``RESPONSES``, A elsewhere.
        sibling: (B,) the other frame of any pair, B elsewhere.
        has_forces, has_energy, has_stress, has_polarisation: (B,) one where the label is known, zero elsewhere.
    """

    graph: CrystalGraph
    energy: Tensor = graph_field("crystal")
    forces: Tensor = graph_field("atom")
    mass: Tensor = graph_field("atom", padding=1)
    stress: Tensor = graph_field("crystal")
    polarisation: Tensor = graph_field("crystal")
    fidelity: Tensor = graph_field("crystal")
    partner: Tensor = graph_field("atom", "atom", padding="none")
    sibling: Tensor = graph_field("crystal", "crystal", padding="none")
    has_forces: Tensor = graph_field("crystal")
    has_energy: Tensor = graph_field("crystal")
    has_stress: Tensor = graph_field("crystal")
    has_polarisation: Tensor = graph_field("crystal")

    @classmethod
    def from_frames(cls, frames: Frames, other: NDArray[np.int64], settings: GraphSettings) -> "FrameBatch":
        """Labels in float32, energies in float64: they are large numbers with small differences.

        Args:
            frames: B of them.
            other: (B,) the other frame of a pair, -1 where a frame stands alone.
            settings: of the graph.
        """
        paired = (other >= 0) & np.isin(frames.kind, sorted(RESPONSES))
        shift = np.where(paired, frames.start[other] - frames.start, 0)
        atoms = np.arange(len(frames.numbers))
        partner = np.where(np.repeat(paired, frames.count), atoms + np.repeat(shift, frames.count), len(atoms))
        return cls(
            graph=frames.graph(settings),
            partner=torch.from_numpy(partner),
            sibling=torch.from_numpy(np.where(other >= 0, other, len(frames))),
            **{name: torch.from_numpy(values) for name, values in labels_of(frames).items()},
        )


def labels_of(frames: Frames) -> dict[str, NDArray[Any]]:
    """Collect what ``FrameBatch`` carries of each frame and atom beside the graph, zero where it is unknown."""
    known = {
        "has_forces": np.isfinite(frames.forces[frames.start, 0]),
        "has_energy": np.isfinite(frames.energy),
        "has_stress": np.isfinite(frames.stress[:, 0, 0]),
        "has_polarisation": np.isfinite(frames.polarisation[:, 0]),
    }
    return {
        "energy": np.nan_to_num(frames.energy),
        "forces": np.nan_to_num(frames.forces),
        "mass": atomic_masses_iupac2016[frames.numbers].astype(np.float32),
        "stress": np.nan_to_num(frames.stress),
        "polarisation": np.nan_to_num(frames.polarisation),
        "fidelity": frames.fidelity,
        **{name: values.astype(np.float32) for name, values in known.items()},
    }


@dataclass(frozen=True)
class Capacity:
    """Sizes of a batch of constant shape: frames, atoms, edges, pairs of receiver and sender, reciprocal vectors."""

    frames: int
    atoms: int
    edges: int
    pairs: int
    reciprocal_vectors: int = 0

    @property
    def room(self) -> NDArray[np.int64]:
        """(4,) what frames may need together: one of each is left to what fills the batch up."""
        return np.array([self.frames, self.atoms, self.edges, self.pairs]) - 1


def padded(batch: FrameBatch, capacity: Capacity) -> FrameBatch | None:
    """The batch filled up to ``capacity`` with atoms, edges and frames that count nothing; None where it is too large.

    The last frame is empty and owns what is added; the edges go from its first atom to itself and have no weight.
    """
    graph = batch.graph
    atoms = len(graph.numbers)
    pairs = len(torch.unique(graph.edge_receiver * atoms + graph.edge_atom))
    more_atoms, more_edges = capacity.atoms - atoms, capacity.edges - len(graph.edge_receiver)
    more_frames, more_pairs = capacity.frames - len(graph.atom_count), capacity.pairs - pairs
    own_count = 0 if graph.reciprocal_vector is None else graph.reciprocal_vector.shape[1]
    if min(more_atoms, more_edges, more_frames, more_pairs) < 1 or own_count > capacity.reciprocal_vectors:
        return None

    sizes = {"node": capacity.atoms, "atom": capacity.atoms, "edge": capacity.edges, "crystal": capacity.frames}
    filled = pad(graph, sizes, {"reciprocal": capacity.reciprocal_vectors})
    return replace(pad(batch, sizes), graph=filled)


def tensors_of(batch: FrameBatch) -> dict[str, Tensor]:
    """All tensors of a plain batch by name, those of the graph with the prefix ``graph.``; see ``batch_of``."""
    of_graph = {f"graph.{name}": value for name, _, value in present(batch.graph)}
    return of_graph | {name: value for name, _, value in present(batch)}


def batch_of(tensors: dict[str, Tensor]) -> FrameBatch:
    """Join what ``tensors_of`` took apart."""
    graph = {name.removeprefix("graph."): value for name, value in tensors.items() if name.startswith("graph.")}
    own = {name: value for name, value in tensors.items() if not name.startswith("graph.")}
    return FrameBatch(graph=CrystalGraph(**graph), **own)


def frame_losses(found: PotentialResult, batch: FrameBatch) -> dict[str, tuple[Tensor, Tensor]]:
    """Loss name -> (B,) values, and (B,) one where the label is known.

    Terms: forces, rest, the mean of the forces of a pair of ``RESPONSES``, energy, stress, strain, the change of the
    stress between the frames of a pair, and where atoms have dipoles polarisation, their change in a pair of
    ``RESPONSES``. Forces and stresses of a frame weigh less the larger they are, so that strong rattles, of which the
    labels are least certain, do not drown the gentle ones, on which volumes and elastic constants rest.
    """
    graph = batch.graph
    count, owner = graph.atom_count, graph.atom_crystal

    def mean(values: Tensor) -> Tensor:
        return values.new_zeros(batch.has_forces.shape[0]).index_add(0, owner, values) / count

    def of_partner(values: Tensor) -> Tensor:
        """Find those of the same atom in the other frame of a pair; zero for single frames."""
        return torch.cat([values, torch.zeros_like(values[:1])])[batch.partner]

    error = found.forces - batch.forces
    paired = mean((batch.partner < len(batch.partner)).to(error.dtype)) > 0
    response = _response_loss(error - of_partner(error), batch.forces - of_partner(batch.forces), batch.mass, mean)
    forces = torch.where(paired, response, _single_loss(error, batch.forces, mean))
    rest = _by_mass((error + of_partner(error)) / 2, batch.mass, mean)
    energy = smooth((found.energy - batch.energy) / count, _ENERGY_WIDTH).to(forces.dtype)
    actual = batch.stress / GPa
    size = actual.square().mean(dim=(1, 2)).sqrt() / _LARGE_STRESS
    error = found.stress / GPa - actual
    stress = smooth(error, _STRESS_WIDTH).mean(dim=(1, 2)) / (1 + size)
    # the frame behind the last one stands for no sibling
    error, actual, known = (
        torch.cat([values, torch.zeros_like(values[:1])]) for values in (error, actual, batch.has_stress)
    )
    change = smooth(error[:-1] - error[batch.sibling], _STRESS_WIDTH)
    size = (actual[:-1] - actual[batch.sibling]).square().mean(dim=(1, 2)).sqrt()
    strain = change.mean(dim=(1, 2)) / (_SMALL_STRESS + size)
    losses = {
        "forces": (forces, batch.has_forces),
        "rest": (rest, batch.has_forces * paired),
        "energy": (energy, batch.has_energy),
        "stress": (stress, batch.has_stress),
        "strain": (strain, batch.has_stress * known[batch.sibling]),
    }
    if found.dipoles is not None:
        dipole = torch.zeros_like(batch.polarisation).index_add(0, owner, found.dipoles)
        losses["polarisation"] = _polarisation_loss(dipole, batch), batch.has_polarisation * paired
    return losses


def _polarisation_loss(dipole: Tensor, batch: FrameBatch) -> Tensor:
    """(B,) from the dipoles (B, 3) of frames: the error of the change within a pair, compared with the change."""
    both = torch.stack([dipole, batch.polarisation])
    change, actual = both - torch.cat([both, torch.zeros_like(both[:, :1])], dim=1)[:, batch.sibling]
    size = actual.square().sum(1).sqrt()
    error = ((change - actual).square().sum(1) + _DIPOLE_WIDTH).sqrt() - _DIPOLE_WIDTH**0.5
    return error / (_SMALL_DIPOLE + size)


def _single_loss(error: Tensor, label: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    """(B,) from the errors and labels (A, 3) of forces."""
    size = mean(label.square().sum(1)).sqrt()
    return mean((error.square().sum(1) + _FORCE_WIDTH).sqrt() - _FORCE_WIDTH**0.5) / (1 + size)


def _response_loss(error: Tensor, label: Tensor, mass: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    """(B,) from the errors and labels (A, 3) of the change of forces within a pair of ``RESPONSES``.

    Responses are to give frequencies, w = sqrt(k / m): the error of w is that of k over sqrt(k m). So they weigh less
    with the root of the mass and with the root of their size.
    """
    size = mean(label.square().sum(1)).sqrt()
    return _by_mass(error, mass, mean) / (_SMALL_RESPONSE + size).sqrt()


def _by_mass(error: Tensor, mass: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    """(B,) root mean square of errors (A, 3) of forces, weighted with the inverse root of the mass."""
    return (mean(_OXYGEN_MASS / mass * error.square().sum(1)) + _FORCE_WIDTH).sqrt() - _FORCE_WIDTH**0.5
