"""The repulsion of nuclei that nearly touch, which no training data shows."""

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.reciprocal_vectors import COULOMB
from ase_comformer.nn.layers.cartesian import MAX_ATOMIC_NUMBER, EdgeGeometry
from ase_comformer.nn.layers.radial import polynomial_envelope, polynomial_envelope_slope

#: Factors and rates of the universal screening function.
_SCREENING = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016))


class ZBLRepulsion(nn.Module):
    """Universal screened nuclear repulsion (Ziegler, Biersack, Littmark 1985), zero beyond the sum of covalent radii.

    The polynomial envelope takes it to zero with two zero derivatives, so it acts on compressed bonds only.

    Attributes:
        every_pair: evaluate all pairs, as a tracer needs, instead of looking for the close ones.
    """

    radius: Tensor
    rate: Tensor
    screening: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.every_pair = False
        radii = torch.as_tensor(covalent_radii[: MAX_ATOMIC_NUMBER + 1], dtype=torch.float64)
        self.register_buffer("radius", radii.nan_to_num(1.5), persistent=False)
        # 1/A, those of both atoms add up to one over the screening length
        rate = torch.arange(len(radii), dtype=torch.float64) ** 0.23 / (0.8854 * 0.529177)
        self.register_buffer("rate", rate, persistent=False)
        self.register_buffer("screening", torch.tensor(_SCREENING, dtype=torch.float64).t(), persistent=False)

    def forward(self, graph: CrystalGraph, edge: EdgeGeometry) -> Tensor:
        """(n,) eV, half of the pair energies of every node."""
        # few pairs are that close; the others need not be evaluated
        close = None if self.every_pair else self.close_pairs(graph, edge.distance)
        nothing = edge.distance.new_zeros(len(graph.numbers))
        if close is not None and not len(close):
            return nothing
        receiver = graph.edge_receiver if close is None else graph.edge_receiver[close]
        return nothing.index_add(0, receiver, self.pairs(graph, edge.distance, close)[0])

    def close_pairs(self, graph: CrystalGraph, distance: Tensor) -> Tensor:
        """Edges closer than the sum of the covalent radii."""
        return torch.nonzero(distance < self.reach(graph)).squeeze(1)

    def reach(self, graph: CrystalGraph) -> Tensor:
        """(E,) A, the sum of the covalent radii of the atoms of every edge."""
        radius = self.radius[graph.numbers]
        return radius[graph.edge_receiver] + radius[graph.edge_sender]

    def pairs(self, graph: CrystalGraph, distance: Tensor, close: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Half of the energies (k,) eV of the edges ``close``, weights of orbits included, and their slopes (k,) eV/A.

        Slopes are derivatives in the distances. All edges where ``close`` is None.
        """
        chosen = slice(None) if close is None else close
        distance, weight = distance[chosen], graph.edge_weight[chosen]
        receiver, sender = graph.numbers[graph.edge_receiver[chosen]], graph.numbers[graph.edge_sender[chosen]]
        reach = (self.radius[receiver] + self.radius[sender]).to(distance.dtype)
        factor, rate = self.screening.to(distance.dtype)
        rates = torch.outer((self.rate[receiver] + self.rate[sender]).to(distance.dtype), -rate)
        terms = torch.exp(rates * distance.unsqueeze(1)) * factor
        screening, screening_slope = terms.sum(1), (terms * rates).sum(1)
        x = distance / reach
        envelope, envelope_slope = polynomial_envelope(x, 1.0), polynomial_envelope_slope(x, 1.0) / reach
        coulomb = (0.5 * COULOMB) * weight * (receiver * sender) / distance
        energies = coulomb * screening * envelope
        return energies, coulomb * (screening_slope * envelope + screening * envelope_slope) - energies / distance
