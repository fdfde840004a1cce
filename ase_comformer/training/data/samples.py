"""Labelled records -> graph store and batched targets, the form the training loop reads.

Labels follow the crystal into its primitive cell: per-atom tensors of atoms that a lattice translation repeats are
averaged. Records whose labels are known to be unreliable are left out by flag (``TensorProperty.unfit_flags``).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.properties.entry import DerivedLabel, TensorProperty
from ase_comformer.properties.registry import PROPERTIES, label_owner, tensor_property
from ase_comformer.tensors.reynolds import primitive_average
from ase_comformer.training.data.records import Record, has_numbers, load_records, place_in_curve
from ase_comformer.training.data.store import GraphStore, build_store
from ase_comformer.training.data.targets import Targets

logger = logging.getLogger(__name__)

#: Cells of more atoms are left out: they are few and cost as much as the others together.
MAX_ATOMS = 200


@dataclass
class SampleSet:
    """Records of one split with their graphs and labels.

    Attributes:
        store: graphs, one crystal per record.
        labels: label of crystals -> (crystal indices (r,), values (r, ...)).
        atom_labels: label of atoms -> (values (A, ...) of all atoms in the store, zero where unknown, and which are
            known (A,)).
        fidelity: (records,) index of the functional.
        dataset: (records,) index into ``datasets``.
    """

    store: GraphStore
    labels: dict[str, tuple[Tensor, Tensor]]
    atom_labels: dict[str, tuple[Tensor, Tensor]]
    fidelity: Tensor
    dataset: Tensor
    datasets: tuple[str, ...]
    position: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # position[name][crystal] is the row of the crystal's label, -1 where it has none
        for name, (crystals, _) in self.labels.items():
            self.position[name] = torch.full((len(self.store),), -1)
            self.position[name][crystals] = torch.arange(len(crystals))

    def __len__(self) -> int:
        return len(self.store)

    def batch(
        self, crystals: Tensor, properties: Sequence[str], graph: CrystalGraph | None = None
    ) -> tuple[CrystalGraph, Targets, Tensor]:
        """Return graph, targets for ``properties`` and fidelity (b,) of the crystals with these indices (b,).

        ``graph`` is theirs where it is at hand.
        """
        graph = self.store.batch(crystals) if graph is None else graph
        targets = Targets()
        for name in properties:
            if name in self.position:
                position = self.position[name][crystals]
                rows = torch.nonzero(position >= 0).squeeze(1)
                if len(rows):
                    targets.rows[name] = rows
                    targets.values[name] = self.labels[name][1][position[rows]]
            elif name in self.atom_labels:
                values, known = self.atom_labels[name]
                atoms = self.store.rows("atom", crystals)
                rows = torch.nonzero(known[atoms]).squeeze(1)
                if len(rows):
                    targets.rows[name] = rows
                    targets.values[name] = values[atoms[rows]]
                    targets.crystal_of_row[name] = graph.atom_crystal[rows]
        return graph, targets, self.fidelity[crystals]


def load_samples(
    datasets: Sequence[str],
    splits: Sequence[str],
    properties: Sequence[str],
    settings: GraphSettings,
    *,
    reduced: bool,
    fidelities: Sequence[str] = ("PBEsol", "PBE"),
    folder: Path | None = None,
    cache: Path | None = None,
    max_atoms: Mapping[str, int] | None = None,
    fraction: float = 1.0,
) -> SampleSet:
    """Load, drop unfit labels, build graphs.

    Args:
        datasets: names of ``data.DATASETS``.
        splits: of "train", "val", "test".
        properties: labels to keep; records without any are dropped.
        settings: graph of the network.
        reduced: symmetry-reduced graphs.
        fidelities: functionals, in the order of the network.
        folder: of the data package; the environment variable where None.
        cache: of the graphs.
        max_atoms: data set -> size in atoms above which its cells are left out, ``MAX_ATOMS`` where missing.
        fraction: of the formulas, always the same ones, smaller parts within larger ones (learning curves).
    """
    records, owner = select_records(datasets, splits, properties, folder=folder, max_atoms=max_atoms, fraction=fraction)
    derived = _derived(properties)
    logger.info("%d records of %s, %s", len(records), ", ".join(datasets), "+".join(splits))
    store = build_store([record.atoms for record in records], settings, reduced=reduced, cache=cache)
    labels, atom_labels = {}, {}
    for name in properties:
        entry = tensor_property(label_owner(name))
        rows = [k for k, record in enumerate(records) if name in record.labels]
        if name != entry.name or not rows:
            continue
        if entry.per_atom:
            atom_labels[name] = _atom_labels(records, entry, store, reduced)
            continue
        values = _readings(records, rows, name) if entry.has_readings else [records[k].labels[name] for k in rows]
        labels[name] = (torch.tensor(rows), torch.as_tensor(np.array(values), dtype=torch.float32))
    for label in derived:
        owned = label_owner(label.name)
        if label.extras:
            rows = [k for k, record in enumerate(records) if has_numbers(record, label)]
            numbers = [np.hstack([records[k].extras[extra] for extra in label.extras]) for k in rows]
            if rows:
                labels[label.name] = (torch.tensor(rows), torch.as_tensor(np.array(numbers), dtype=torch.float32))
        elif owned in labels:
            labels[label.name] = labels[owned]
    return SampleSet(
        store=store,
        labels=labels,
        atom_labels=atom_labels,
        fidelity=torch.tensor([_functional_index(record, fidelities) for record in records]),
        dataset=torch.tensor(owner),
        datasets=tuple(datasets),
    )


def select_records(
    datasets: Sequence[str],
    splits: Sequence[str],
    properties: Sequence[str],
    *,
    folder: Path | None = None,
    max_atoms: Mapping[str, int] | None = None,
    fraction: float = 1.0,
) -> tuple[list[Record], list[int]]:
    """Records with fit labels of ``properties``, and the index of the data set of each; arguments as ``load_samples``.

    A crystal that several data sets have with labels of one functional is one record.
    """
    derived = _derived(properties)
    joined = {name for name, entry in PROPERTIES.items() if entry.extra}
    records: list[Record] = []
    owner: list[int] = []
    structures: dict[tuple[str, bytes], int] = {}
    for index, dataset in enumerate(datasets):
        largest = (max_atoms or {}).get(dataset, MAX_ATOMS)
        for record in load_records(dataset, folder, splits):
            if len(record.atoms) > largest or place_in_curve(record.formula) >= fraction:
                continue
            _join_labels(record)
            record.labels = {
                name: value for name, value in record.labels.items() if name in properties and is_fit(record, name)
            }
            of_extras = any(label.extras and has_numbers(record, label) for label in derived)
            if not record.labels and not of_extras:
                continue
            key = (record.id, record.atoms.positions.tobytes())
            earlier = records[structures[key]] if key in structures else None
            if earlier is not None and (
                record.extras["functional"] == earlier.extras["functional"]
                or (not of_extras and all(name in joined for name in record.labels))
            ):
                # one sample for a crystal that several data sets have; labels of the first count
                earlier.labels = record.labels | earlier.labels
                earlier.extras = record.extras | earlier.extras
                continue
            structures.setdefault(key, len(records))
            records.append(record)
            owner.append(index)
    return records, owner


def is_labelled(record: Record, name: str, labels: Sequence[str]) -> bool:
    """Whether a selected record teaches a property, by a label of it among ``labels`` or by a derived one."""
    derived = [label for label in tensor_property(name).derived_labels if label.extras and label.name in labels]
    return name in record.labels or any(has_numbers(record, label) for label in derived)


def _derived(properties: Sequence[str]) -> list[DerivedLabel]:
    return [label for entry in PROPERTIES.values() for label in entry.derived_labels if label.name in properties]


def is_fit(record: Record, name: str) -> bool:
    """Whether no flag of a record makes its label of a property unfit for training."""
    return not any(flag.startswith(tensor_property(name).unfit_flags) for flag in record.flags)


def _functional_index(record: Record, fidelities: Sequence[str]) -> int:
    functional = record.extras["functional"]
    if functional not in fidelities:
        raise UnknownNameError(
            f"record {record.id} of {record.extras.get('dataset')} has labels of the functional {functional!r}, the "
            f"network knows {', '.join(fidelities)}: add it to arguments.fidelities"
        )
    return tuple(fidelities).index(functional)


def _join_labels(record: Record) -> None:
    for name, entry in PROPERTIES.items():
        if entry.extra and record.extras.get(entry.extra) is not None:
            record.labels.setdefault(name, float(record.extras[entry.extra]))


def _readings(records: Sequence[Record], rows: Sequence[int], name: str) -> list[np.ndarray]:
    """The admissible tensors of each record, padded with the first to a common number."""
    readings = []
    for k in rows:
        record = records[k]
        first = np.asarray(record.labels[name])[None]
        others = record.extras["alternatives"] if record.extras.get("ambiguous") else first[:0]
        readings.append(np.concatenate([first, others]))
    longest = max(len(reading) for reading in readings)
    return [np.concatenate([r, np.repeat(r[:1], longest - len(r), axis=0)]) for r in readings]


def _atom_labels(
    records: Sequence[Record], entry: TensorProperty, store: GraphStore, reduced: bool
) -> tuple[Tensor, Tensor]:
    """(A, *shape) labels of all atoms in the store, zero where unknown, and which are known (A,)."""
    count = int(store.counts["atom"].sum())
    labels = torch.zeros(count, *entry.shape)
    known = torch.zeros(count, dtype=torch.bool)
    for k, record in enumerate(records):
        if entry.name not in record.labels:
            continue
        values = np.asarray(record.labels[entry.name])
        start, atoms = int(store.starts["atom"][k]), int(store.counts["atom"][k])
        if reduced:
            # spglib keeps the order of a cell that is primitive already; only repeated atoms need the mapping
            values = primitive_average(entry, values, analyse_space_group(record.atoms))
        labels[start : start + atoms] = torch.as_tensor(values)
        known[start : start + atoms] = True
    return labels, known
