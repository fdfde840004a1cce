"""Crystals rebuilt from the features that iComFormer sees: the constructive side of its completeness.

    python -m benchmarks.reconstruction --data DIR          # or ASE_COMFORMER_DATA=DIR; one minute on one core

Given are the elements, which atoms an edge joins, its length, its signed cosines with the three vectors of the lattice
frame, and the lengths of these vectors; no coordinate and no cell. The frame follows from the edges: with c the cosines
of an edge and M the inverse Gram matrix of the frame's unit vectors, c M c = 1 for every edge, which is linear in M.
The factors of M turn cosines into directions, a walk along the edges gives the atoms, and the frame is a cell of the
crystal. The result is laid over the original by the best rotation; what is printed is the largest distance of any atom
or lattice vector from where it should be. The frame is right-handed, so a crystal and its mirror image are kept apart.
Below it stands how many frames tie, and how many of them a network with frames of both hands has to evaluate.
"""

from __future__ import annotations

import argparse
from collections import deque
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.joint_frames import joint_frames
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.training.data.records import data_folder, load_records

FloatArray = NDArray[np.float64]
SETTINGS = GraphSettings(kind="shell", neighbours=25, lattice_frame=True, joint_frames=True, frame_hands="right")


@dataclass(frozen=True)
class EdgeFeatures:
    """Holds what the network sees of a crystal beside one frame: (E,) ends, lengths, (E, 3) cosines, (3,) lengths."""

    numbers: NDArray[np.int64]
    receiver: NDArray[np.int64]
    sender: NDArray[np.int64]
    length: FloatArray
    cosine: FloatArray
    frame_length: FloatArray


def features_of(graph: CrystalGraph) -> EdgeFeatures:
    """Return the features of a plain graph beside its first frame."""
    assert graph.frame_vector is not None
    frame, vector = graph.frame_vector[:3].numpy(), graph.edge_vector.numpy()
    length, frame_length = np.linalg.norm(vector, axis=1), np.linalg.norm(frame, axis=1)
    cosine = (vector / length[:, None]) @ (frame / frame_length[:, None]).T
    return EdgeFeatures(
        graph.numbers.numpy(), graph.edge_receiver.numpy(), graph.edge_sender.numpy(), length, cosine, frame_length
    )


def rebuild(seen: EdgeFeatures) -> Atoms:
    """Return the crystal that the features belong to, in an orientation of its own.

    Raises:
        ValueError: if the edges do not determine the frame, or do not reach every atom.
    """
    c = seen.cosine
    products = np.column_stack([c**2, 2 * c[:, 1] * c[:, 2], 2 * c[:, 0] * c[:, 2], 2 * c[:, 0] * c[:, 1]])
    solution, _, rank, _ = np.linalg.lstsq(products, np.ones(len(c)), rcond=1e-9)
    if rank < 6:
        raise ValueError("the edges do not determine the angles of the frame")
    x, y, z, yz, xz, xy = solution
    inverse_gram = np.array([[x, xy, xz], [xy, y, yz], [xz, yz, z]])
    # Rows of the triangular factor of the Gram matrix are the unit vectors of the frame; its determinant is positive.
    unit = np.linalg.cholesky(np.linalg.inv(inverse_gram))
    vectors = seen.length[:, None] * np.linalg.solve(unit, c.T).T
    positions = np.full((len(seen.numbers), 3), np.nan)
    positions[0] = 0.0
    edges_of: list[list[int]] = [[] for _ in seen.numbers]
    for edge, receiver in enumerate(seen.receiver):
        edges_of[receiver].append(edge)
    waiting = deque([0])
    while waiting:
        atom = waiting.popleft()
        for edge in edges_of[atom]:
            other = seen.sender[edge]
            if np.isnan(positions[other, 0]):
                positions[other] = positions[atom] + vectors[edge]
                waiting.append(int(other))
    if np.isnan(positions).any():
        raise ValueError("the edges do not reach every atom")
    return Atoms(numbers=seen.numbers, positions=positions, cell=seen.frame_length[:, None] * unit, pbc=True)


def largest_deviation(rebuilt: Atoms, original: Atoms, frame: FloatArray) -> float:
    """Distance (A) of the atom or lattice vector that is furthest from its place, after the best proper rotation."""
    left, _, right = np.linalg.svd(rebuilt.cell.array.T @ frame)
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    cell = rebuilt.cell.array @ rotation
    difference = (rebuilt.positions - rebuilt.positions[0]) @ rotation - (original.positions - original.positions[0])
    fractional = difference @ np.linalg.inv(frame)
    atoms = np.linalg.norm((fractional - np.rint(fractional)) @ frame, axis=1)
    return float(max(atoms.max(), np.linalg.norm(cell - frame, axis=1).max()))


def main() -> None:
    """Print how many crystals come back, and how well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the data (or ASE_COMFORMER_DATA)")
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    folder = data_folder(arguments.data)
    records = [r for name in ("piezo_mp", "dielectric_born", "elastic_mp") for r in load_records(name, folder=folder)]
    chosen = np.random.default_rng(0).permutation(len(records))[: arguments.count]
    deviations, reasons, frames = [], [], []
    for index in chosen:
        group = analyse_space_group(records[index].atoms)
        primitive, cell = group.primitive, group.primitive.cell.array
        frames.append((len(joint_frames(cell).weights), len(joint_frames(cell, group.rotations).weights)))
        graph = build_graph(primitive, SETTINGS)
        assert graph.frame_vector is not None
        try:
            rebuilt = rebuild(features_of(graph))
        except (ValueError, np.linalg.LinAlgError) as error:
            reasons.append(f"{primitive.get_chemical_formula()}: {error}")
            continue
        deviations.append(largest_deviation(rebuilt, primitive, graph.frame_vector[:3].numpy()))
    table = Table(title="Crystals rebuilt from edge features")
    for name in ("crystals", "rebuilt within 1e-5 A", "largest deviation (A)", "median (A)"):
        table.add_column(name, justify="right")
    values = np.array(deviations)
    table.add_row(str(len(chosen)), str(int((values < 1e-5).sum())), f"{values.max():.1e}", f"{np.median(values):.1e}")
    console = Console(width=120)
    console.print(table)
    every, evaluated = np.array(frames).T
    console.print(
        f"lattice frames that tie: {every.mean():.1f} in the mean; one of each orbit under the crystal's operations: "
        f"{evaluated.mean():.1f} in the mean, at most four for {100 * (evaluated <= 4).mean():.0f} %, one for "
        f"{100 * (evaluated == 1).mean():.0f} %"
    )
    for reason in reasons:
        console.print(f"not rebuilt: {reason}")


if __name__ == "__main__":
    main()
