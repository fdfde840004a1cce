"""Atoms -> CrystalGraph: the plain graph of a structure and the symmetry-reduced graph of a crystal."""

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from ase_comformer.crystals.orbits import edge_orbits
from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.joint_frames import joint_frames
from ase_comformer.graphs.lattice_frame import lattice_frame, primitive_lattice
from ase_comformer.graphs.neighbours import GraphSettings, Neighbours, neighbours
from ase_comformer.graphs.reciprocal_vectors import reciprocal_fields
from ase_comformer.tensors.forms import rotation_l2


def plain_graph(
    numbers: NDArray[np.integer],
    atom_count: NDArray[np.integer],
    cell: NDArray[np.float64],
    edges: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    **further: Tensor,
) -> CrystalGraph:
    """Make the plain graph of one or many structures whose neighbours are known, float64 on the CPU.

    Every plain graph is made here.

    Args:
        numbers: (A,) atomic numbers, one structure after the other.
        atom_count: (B,) atoms of each structure.
        cell: (B, 3, 3) A, rows are vectors.
        edges: receiver (E,) and sender (E,), counted over all structures, and vector (E, 3) in A.
        further: optional fields of ``CrystalGraph``.
    """
    receiver, sender, vector = edges
    atoms = len(numbers)
    owner = torch.from_numpy(np.repeat(np.arange(len(atom_count)), atom_count))
    return CrystalGraph(
        numbers=torch.from_numpy(numbers.astype(np.int64)),
        node_crystal=owner,
        node_weight=torch.from_numpy(np.repeat(1.0 / np.maximum(atom_count, 1), atom_count)),
        edge_receiver=torch.from_numpy(receiver),
        edge_atom=torch.from_numpy(sender),
        edge_vector=torch.from_numpy(vector),
        edge_weight=torch.ones(len(receiver), dtype=torch.float64),
        atom_node=torch.arange(atoms),
        atom_crystal=owner,
        **crystal_parts(cell, atom_count),
        **further,
    )


def build_graph(atoms: Atoms, settings: GraphSettings, edges: Neighbours | None = None) -> CrystalGraph:
    """Make the plain graph of a structure as it is (any ``pbc``), float64 on the CPU.

    Args:
        atoms: the structure.
        settings: which atoms are neighbours, and what the graph has beside edges.
        edges: of ``neighbours``, where they are known.

    Example:
        >>> from ase.build import bulk
        >>> graph = build_graph(bulk("Cu"), GraphSettings(cutoff=3.0))
        >>> len(graph.edge_vector)
        12
    """
    receiver, sender, _, vector = neighbours(atoms, settings) if edges is None else edges
    return plain_graph(
        atoms.numbers,
        np.array([len(atoms)]),
        atoms.cell.array[None],
        (receiver, sender, vector),
        **(_frame_parts(settings, primitive_lattice(atoms)) if settings.lattice_frame else {}),
        **reciprocal_fields(atoms, settings.reciprocal_cutoff),
    )


def build_reduced_graph(group: SpaceGroup, settings: GraphSettings) -> CrystalGraph:
    """Make the graph of the idealised primitive cell with one edge per orbit of directed edges, float64 on the CPU.

    Features of the other atoms and edges are rotated copies (docs/architecture.md section 6).

    Args:
        group: the space group, whose primitive cell has exactly its symmetry.
        settings: which atoms are neighbours, and what the graph has beside edges.
    """
    if settings.joint_frames:
        return _graph_with_frames_by_symmetry(group, settings)
    primitive = group.primitive
    receiver, sender, image, vector = neighbours(primitive, settings)
    orbits = edge_orbits(group, receiver, sender, image)
    chosen = orbits.representative
    representatives = group.representatives
    node_of_atom = np.searchsorted(representatives, group.permutations.min(axis=0))
    in_site_group = group.site_groups[:, representatives].astype(float)  # (G, n)
    share = (in_site_group / in_site_group.sum(axis=0)).T
    order, nodes = group.order, len(representatives)
    vector_mean = share @ group.rotations.reshape(order, 9)
    tensor_mean = share @ rotation_l2(group.rotations).reshape(order, 25)
    site_parts: dict[str, Tensor] = {}
    if settings.site_operations:
        node, operation = np.nonzero(in_site_group.T)
        site_parts = {
            "site_rotation": torch.from_numpy(group.rotations[operation]),
            "site_node": torch.from_numpy(node.astype(np.int64)),
        }
    return CrystalGraph(
        numbers=torch.from_numpy(primitive.numbers[representatives].astype(np.int64)),
        node_crystal=torch.zeros(nodes, dtype=torch.int64),
        node_weight=torch.from_numpy(np.bincount(node_of_atom) / len(primitive)),
        edge_receiver=torch.from_numpy(node_of_atom[receiver[chosen]]),
        edge_atom=torch.from_numpy(sender[chosen]),
        edge_vector=torch.from_numpy(vector[chosen]),
        edge_weight=torch.from_numpy(orbits.size.astype(np.float64)),
        atom_node=torch.from_numpy(node_of_atom),
        atom_crystal=torch.zeros(len(primitive), dtype=torch.int64),
        atom_rotation=torch.from_numpy(group.rotations[group.carrier]),
        site_vector_projector=torch.from_numpy(vector_mean.reshape(nodes, 3, 3)),
        site_tensor_projector=torch.from_numpy(tensor_mean.reshape(nodes, 5, 5)),
        operation_rotation=torch.from_numpy(group.rotations),
        operation_crystal=torch.zeros(order, dtype=torch.int64),
        **site_parts,
        **crystal_parts(primitive.cell.array[None], np.array([len(primitive)])),
        **(_frame_parts(settings, primitive.cell.array) if settings.lattice_frame else {}),
        **reciprocal_fields(primitive, settings.reciprocal_cutoff),
    )


def _graph_with_frames_by_symmetry(group: SpaceGroup, settings: GraphSettings) -> CrystalGraph:
    """Make the plain graph of the idealised primitive cell, with one lattice frame of each orbit of frames.

    Features beside one frame have the symmetry of crystal and frame together, which is none: edges are not reduced.
    """
    primitive = group.primitive
    receiver, sender, _, vector = neighbours(primitive, settings)
    return plain_graph(
        primitive.numbers,
        np.array([len(primitive)]),
        primitive.cell.array[None],
        (receiver, sender, vector),
        **_frame_parts(settings, primitive.cell.array, group.rotations),
        **reciprocal_fields(primitive, settings.reciprocal_cutoff),
    )


def crystal_parts(cell: NDArray[np.float64], atom_count: NDArray[np.integer]) -> dict[str, Tensor]:
    """Return what a graph has of cells (B, 3, 3) in A with ``atom_count`` (B,) atoms; nothing shares their memory."""
    return {
        "cell": torch.from_numpy(cell.copy()),
        "volume": torch.from_numpy(np.abs(np.linalg.det(cell))),
        "atom_count": torch.from_numpy(np.array(atom_count, dtype=np.int64)),
    }


def _frame_parts(
    settings: GraphSettings, primitive_cell: NDArray[np.float64], rotations: NDArray[np.float64] | None = None
) -> dict[str, Tensor]:
    """Return the fields of the lattice frame; of joint frames, three vectors each, by slot."""
    if settings.joint_frames:
        joint = joint_frames(primitive_cell, rotations, hands=settings.frame_hands)
        vectors, weights = joint.vectors.reshape(-1, 3), np.repeat(joint.weights, 3)
        slots = np.tile(np.arange(3), len(joint.weights))
    else:
        frame = lattice_frame(primitive_cell)
        vectors, slots, weights = frame.vectors, frame.slots, frame.weights
    return {
        "frame_vector": torch.from_numpy(vectors),
        "frame_slot": torch.from_numpy(slots),
        "frame_weight": torch.from_numpy(weights),
        "frame_crystal": torch.zeros(len(slots), dtype=torch.int64),
    }
