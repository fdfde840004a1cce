"""Draws iComFormer's lattice frame and a graph with its symmetry: ``python -m benchmarks.graph_pictures``, in seconds.

``docs/lattice_frame.png``: the three vectors at an atom, one edge and its three angles, in a triclinic crystal, where
the frame is unique up to inversion, and in rocksalt, where 24 lines tie and the network averages over the frames.
``docs/symmetric_graph.png``: the graph of rutile with the orbits of its edges in colour, beside the reduced graph.
Printed is how many atoms, edges, frames and orbits there are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ase.build import bulk

from ase_comformer.crystals.neighbour_search import pairs_within
from ase_comformer.graphs.joint_frames import joint_frames
from ase_comformer.graphs.lattice_frame import primitive_lattice
from ase_comformer.plotting.crystal_graphs import crystal_graph_figure, edge_orbit_numbers, lattice_frame_figure
from benchmarks.seven_systems import seven_systems
from benchmarks.surface import prepare_console
from benchmarks.tensor_maps import shrink

CUTOFF = 2.1


def main() -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    given = parser.parse_args()
    console, groups = prepare_console(), seven_systems()
    crystals = [
        ("triclinic GaN", groups["model 1"].primitive),
        ("rutile", groups["rutile"].primitive),
        ("rocksalt", bulk("MgO", "rocksalt", a=4.21)),
    ]
    frame_path, graph_path = given.folder / "lattice_frame.png", given.folder / "symmetric_graph.png"
    lattice_frame_figure(crystals, frame_path)
    for title, atoms in crystals:
        count = len(joint_frames(primitive_lattice(atoms)).weights)
        console.print(f"{title}: {count} lattice frames tie")
    rutile = groups["rutile"]
    crystal_graph_figure(rutile, CUTOFF, graph_path)
    orbits = edge_orbit_numbers(rutile, pairs := pairs_within(rutile.primitive, CUTOFF))
    console.print(
        f"rutile: {len(rutile.primitive)} atoms, {len(pairs.receiver)} directed edges within {CUTOFF} A; "
        f"{len(rutile.representatives)} orbits of atoms, {orbits.max() + 1} of edges"
    )
    for path in (frame_path, graph_path):
        shrink(path)
        console.print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
