"""Plain graphs whose edges follow positions and cells differentiably, for tests of gradients."""

from dataclasses import replace

import torch
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph


def moved_graph(graph: CrystalGraph, start: Tensor, positions: Tensor, cell: Tensor) -> CrystalGraph:
    """Give a plain graph that was built at ``start`` (A, 3) the positions (A, 3) and cells (B, 3, 3), in A."""
    assert not graph.is_reduced
    crystal = graph.node_crystal[graph.edge_receiver]
    between = graph.edge_vector - (start[graph.edge_atom] - start[graph.edge_receiver])
    image = torch.linalg.solve(graph.cell[crystal].transpose(1, 2), between).round()  # in units of the cell vectors
    vector = positions[graph.edge_atom] - positions[graph.edge_receiver]
    vector = vector + torch.einsum("ex,exy->ey", image, cell[crystal])
    return replace(graph, edge_vector=vector, cell=cell, volume=torch.linalg.det(cell).abs())
