"""Predicts frames with potentials, batch by batch; metrics and expected errors both start from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ase_comformer.nn.architectures.potential import FIDELITIES, Potential
from ase_comformer.nn.derivatives.analytic import AnalyticPotential
from ase_comformer.nn.operations.sum_topology import SumTopology
from ase_comformer.training.data.frames import Frames

_ATOMS_PER_BATCH = 1000
_KEYS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class Predicted:
    """Energies (F,) eV, forces (A, 3) eV/A, stresses (F, 3, 3) eV/A^3, features (A, C) of the first network."""

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    features: NDArray[np.floating]

    def take(self, chosen: NDArray[np.int64], atoms: NDArray[np.int64]) -> "Predicted":
        """Choose those of some frames (k,), whose atoms are ``atoms``."""
        return Predicted(self.energy[chosen], self.forces[atoms], self.stress[chosen], self.features[atoms])


def predict_frames(networks: Sequence[Potential], frames: Frames, fidelity: str = FIDELITIES[0]) -> Predicted:
    """Mean of the networks on all frames, in batches of about a thousand atoms."""
    potentials = [AnalyticPotential(network) for network in networks]
    batch = np.cumsum(frames.count) // _ATOMS_PER_BATCH
    parts: list[list[NDArray[np.floating]]] = []
    for number in np.unique(batch):
        chosen = frames.take(np.flatnonzero(batch == number))
        found = []
        for network, potential in zip(networks, potentials, strict=True):
            parameter = next(network.parameters())
            graph = chosen.graph(network.graph_settings, parameter.dtype).to(device=parameter.device)
            token = torch.full((len(chosen),), network.fidelities.index(fidelity), device=parameter.device)
            found.append(potential.derivatives(graph, [SumTopology.from_graph(graph)], token))
        means = [
            np.mean([getattr(result, key).detach().double().cpu().numpy() for result in found], axis=0) for key in _KEYS
        ]
        parts.append([*means, found[0].features.detach().cpu().numpy()])
    return Predicted(*(np.concatenate(values) for values in zip(*parts, strict=True)))
