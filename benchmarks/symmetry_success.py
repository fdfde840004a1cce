"""Success rate of symmetry-required zero and equal entries in predicted tensors, per crystal system.

    python -m benchmarks.symmetry_success --data DIR          # or ASE_COMFORMER_DATA=DIR; about three minutes

The table of GMTNet (arXiv:2406.12888) on the test split, for a MEGNet that predicts components, ETGNN, GMTNet and the
package's model: raw answers and with symmetry enforced (``symmetry_subjects``), the published figures beside. What is
expected comes from Nye's tables (``benchmarks.nye``) and the record's own point group, not from the projector under
test. Crystals are turned at random before they are shown to the networks, so that axes along which all data have zeros
help nobody. A crystal succeeds when all its entries hold within ``--tolerance`` times max(norm, 1). Cells are zero /
equal in per cent of crystals, "-" where a system asks for none.

ETGNN is equivariant, so that its success hangs on the graph: whole shells keep the symmetry of the crystal, and the
nearest dozen neighbours cut at the twelfth do not. Then piezoelectric tensors of 600 centrosymmetric crystals, which
have none: how many are not zero all the same. ``--labels`` judges the DFT labels instead, which checks the tables.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from rich.table import Table

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.tensors.forms import rotate
from ase_comformer.testing import random_rotation, rotate_atoms
from benchmarks import nye
from benchmarks.published import NOT_CONFIRMED
from benchmarks.surface import Clock, one_thread, prepare_console, spread
from benchmarks.symmetry_subjects import SYMPREC, Subject, subjects

#: property -> (file, field of the label)
SOURCES: dict[str, tuple[str, str]] = {
    "dielectric_tensor": ("dielectric_born.jsonl.gz", "eps_inf"),
    "piezoelectric_tensor": ("piezo_mp.jsonl.gz", "e"),
    "elastic_tensor": ("elastic_mp.jsonl.gz", "C"),
}
ANSWERS = ("raw", "enforced")


def read_records(path: Path, split: str) -> list[dict[str, Any]]:
    """Records of one split (``"all"`` for all of them)."""
    with gzip.open(path, "rt") as lines:
        records = [json.loads(line) for line in lines]
    return [record for record in records if split in ("all", record["split"])]


def atoms_of(record: dict[str, Any]) -> Atoms:
    """The record's crystal."""
    return Atoms(numbers=record["numbers"], scaled_positions=record["frac"], cell=record["lattice"], pbc=True)


def expected_class(record: dict[str, Any]) -> str | None:
    """Crystal class by the record's own fields; None where it says that they do not belong to this structure."""
    if "spg_differs" in record["flags"]:
        return None
    return nye.canonical_class(record.get("pointgroup") or nye.class_of_space_group(record["spg"]))


def rotation_to_nye(atoms: Atoms, point_group: str) -> np.ndarray | None:
    """Rotation (3, 3) from the frame of ``atoms`` to Nye's axes, or None if spglib finds another class.

    spglib, at the first tolerance where it finds ``point_group``, gives the integer transformation to the
    conventional standard cell. It is applied to the idealised lattice, because the lattice as stored is off the
    symmetric one by up to ``symprec`` and would turn exactly symmetric tensors out of their axes.
    """
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    for symprec in (SYMPREC, 1e-3, 1e-1, 1e-4, 1e-5):
        dataset = _dataset(cell, symprec)
        if dataset is not None and nye.canonical_class(dataset.pointgroup) == point_group:
            break
    else:
        return None
    primitive = analyse_space_group(atoms, SYMPREC).primitive.cell.array
    lattice = np.round(atoms.cell.array @ np.linalg.inv(primitive)) @ primitive
    conventional = np.linalg.inv(dataset.transformation_matrix).T @ lattice
    # The orthogonal matrix closest to the map from this lattice onto the standard one (Kabsch).
    left, _, right = np.linalg.svd(dataset.std_lattice.T @ conventional)
    return nye.rotation_to_nye_axes(dataset.number) @ left @ right


def _dataset(cell: tuple[Any, Any, Any], symprec: float) -> Any:
    try:
        return spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception:  # spglib announces exceptions in place of None
        return None


class Tally:
    """Successes per crystal system: crystals with zero entries, with tied entries, and the worst violations."""

    def __init__(self) -> None:
        self.count: dict[str, int] = defaultdict(int)
        self.passed: dict[tuple[str, str], list[bool]] = defaultdict(list)
        self.worst: dict[str, float] = defaultdict(float)

    def add(self, name: str, point_group: str, tensor: np.ndarray, tolerance: float) -> None:
        """Judge one tensor in Nye's axes."""
        system = nye.crystal_system(point_group)
        scale = max(float(np.linalg.norm(tensor)), 1.0)
        self.count[system] += 1
        for kind, violation in zip(("zero", "equal"), nye.residuals(name, point_group, tensor), strict=True):
            if violation.size:
                self.passed[system, kind].append(bool(violation.max() <= tolerance * scale))
                self.worst[system] = max(self.worst[system], float(violation.max()) / scale)

    def cell(self, system: str) -> str:
        """Zero / equal in per cent."""
        rates = [self.passed[system, kind] for kind in ("zero", "equal")]
        return " / ".join(f"{100 * np.mean(rate):.0f}" if rate else "-" for rate in rates)

    @property
    def largest(self) -> float:
        """Worst violation over all systems, relative to max(norm, 1)."""
        return max(self.worst.values(), default=0.0)


def turned_back(
    tensors: Sequence[np.ndarray | None], turns: Sequence[np.ndarray], name: str
) -> list[np.ndarray | None]:
    """Tensors of crystals that were turned, in the frames that the crystals had before."""
    return [
        None if tensor is None else rotate(np.asarray(tensor, float), turn.T, name)
        for tensor, turn in zip(tensors, turns, strict=True)
    ]


@dataclass(frozen=True)
class Expected:
    """Crystal class that a tensor is judged by, the rotation (3, 3) to Nye's axes, and a note on what was done."""

    point_group: str | None
    rotation: np.ndarray | None
    note: str = ""


def expected_of(record: dict[str, Any], labels: bool = False) -> Expected:
    """What a tensor in the frame of the record is judged by; no rotation where it is left out.

    Records whose ``spg`` and label belong to another structure (flag ``spg_differs``) are judged by the class that
    spglib finds for the structure, except when labels are judged: these are left out.
    """
    atoms, note = atoms_of(record), ""
    point_group = expected_class(record)
    if point_group is None and labels:
        return Expected(None, None, "left out: flagged spg_differs")
    if point_group is None:
        point_group = nye.canonical_class(analyse_space_group(atoms, SYMPREC).point_group)
        note = "flagged spg_differs: judged by the class of the structure"
    rotation = rotation_to_nye(atoms, point_group)
    return Expected(point_group, rotation, note if rotation is not None else "left out: spglib finds another class")


def judge(
    name: str, expected: Sequence[Expected], tensors: Sequence[np.ndarray | None], tolerance: float
) -> tuple[Tally, dict[str, int]]:
    """Tally of the tensors (frame of the record; None = failed) and notes on the records treated otherwise."""
    tally = Tally()
    notes: dict[str, int] = defaultdict(int)
    for each, tensor in zip(expected, tensors, strict=True):
        if tensor is None:
            notes["left out: no prediction"] += 1
            continue
        if each.note:
            notes[each.note] += 1
        if each.point_group is not None and each.rotation is not None:
            tally.add(name, each.point_group, rotate(np.asarray(tensor, float), each.rotation, name), tolerance)
    return tally, notes


def table_of(name: str, rows: Sequence[tuple[tuple[str, str, str, str], Tally]]) -> Table:
    """Crystal systems across, one row per network and kind of answer."""
    first = rows[0][1]
    systems = [system for system in nye.CRYSTAL_SYSTEMS if first.count[system]]
    table = Table(title=f"{name.replace('_', ' ')}: zero / equal entries right, % of crystals", title_justify="left")
    for heading in ("network", "weights", "answer"):
        table.add_column(heading)
    for system in systems:
        table.add_column(f"{system} ({first.count[system]})", justify="right")
    table.add_column("worst", justify="right")
    table.add_column("published", justify="right")
    for (network, weights, answer, published), tally in rows:
        table.add_row(
            network, weights, answer, *(tally.cell(system) for system in systems), f"{tally.largest:.0e}", published
        )
    return table


def centrosymmetric(folder: Path, count: int) -> tuple[list[Atoms], list[SpaceGroup]]:
    """Crystals with an inversion centre and their groups, from the formation-energy test records, spread over them."""
    found = []
    for record in read_records(folder / "formation_energy.jsonl.gz", "test"):
        group = analyse_space_group(atoms := atoms_of(record), SYMPREC)
        if np.abs(group.rotations + np.eye(3)).max(axis=(1, 2)).min() < 1e-6:
            found.append((atoms, group))
    chosen = spread(found, count)
    return [atoms for atoms, _ in chosen], [group for _, group in chosen]


def false_positives(
    crystals: Sequence[Atoms], groups: Sequence[SpaceGroup], judged: Sequence[Subject], tolerance: float
) -> Table:
    """Piezoelectric tensors of crystals that have none."""
    table = Table(
        title=f"piezoelectric tensors of {len(crystals)} centrosymmetric crystals that are not zero",
        title_justify="left",
    )
    for heading in ("network", "answer", "crystals", f"above {tolerance:g} C/m^2", "above 0.02 C/m^2", "largest"):
        table.add_column(heading, justify="left" if heading in ("network", "answer") else "right")
    for subject in judged:
        for answer in ANSWERS:
            tensors = subject.predict(crystals, "piezoelectric_tensor", groups if answer == "enforced" else None)
            largest = np.array([np.abs(tensor).max() for tensor in tensors if tensor is not None])
            table.add_row(
                subject.name,
                answer,
                str(len(largest)),
                str(int((largest > tolerance).sum())),
                str(int((largest > 0.02).sum())),
                f"{largest.max():.0e}",
            )
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line; ``--help`` lists the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("ASE_COMFORMER_DATA"))
    parser.add_argument("--split", default="test", choices=("train", "val", "test", "all"))
    parser.add_argument("--properties", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--model", default="default")
    parser.add_argument("--dtype", default="float64", choices=("float32", "float64"))
    parser.add_argument("--tolerance", type=float, help="default 1e-5; 2e-2 with --labels")
    parser.add_argument("--labels", action="store_true", help="judge the DFT labels: checks the tables")
    parser.add_argument("--centrosymmetric", type=int, default=600, help="crystals of the second test; 0: none")
    args = parser.parse_args(arguments)
    if args.data is None:
        parser.error("give --data DIR or set ASE_COMFORMER_DATA to the folder with the jsonl.gz files")
    tolerance = args.tolerance or (2e-2 if args.labels else 1e-5)
    one_thread()
    console, clock = prepare_console(175), Clock()
    console.print(f"{args.split} split; an entry holds if it is off by less than {tolerance:g} * max(norm, 1)")
    judged = subjects(args.model, args.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib announces exceptions to come
        for name in args.properties:
            file, field = SOURCES[name]
            records = read_records(args.data / file, args.split)
            turns = [random_rotation(np.random.default_rng(seed)) for seed in range(len(records))]
            crystals = [rotate_atoms(atoms_of(r), turn) for r, turn in zip(records, turns, strict=True)]
            groups = [analyse_space_group(atoms, SYMPREC) for atoms in crystals]
            expected = [expected_of(record, args.labels) for record in records]
            rows: list[tuple[tuple[str, str, str, str], Tally]] = []
            if args.labels:
                values = [np.array(record[field]) for record in records]
                tally, notes = judge(name, expected, values, tolerance)
                rows.append((("labels", "-", "DFT", "-"), tally))
            for subject in [] if args.labels else judged:
                for answer in ANSWERS:
                    tensors = subject.predict(crystals, name, groups if answer == "enforced" else None)
                    tally, notes = judge(name, expected, turned_back(tensors, turns, name), tolerance)
                    rows.append(((subject.name, subject.weights, answer, subject.published), tally))
            console.print(table_of(name, rows))
            for note, count in notes.items():
                console.print(f"{note}: {count}")
        if args.centrosymmetric and not args.labels:
            crystals, groups = centrosymmetric(args.data, args.centrosymmetric)
            console.print(false_positives(crystals, groups, judged, tolerance))
    console.print(
        "MEGNet predicts components one by one; ETGNN on the 12 nearest neighbours or on whole shells of them."
    )
    console.print(f"Published: Yan et al., ICML 2024, success rates of zero and equal entries. {NOT_CONFIRMED}")
    console.print(str(clock))


if __name__ == "__main__":
    main()
