"""Labelled records -> graph store and batched targets, the form the training loop reads.

Labels follow the crystal into its primitive cell: Born charges of atoms that a lattice translation repeats are
averaged. Records whose labels are known to be unreliable are left out by flag, here and nowhere else.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.training.data.records import Record, load_records, place_in_curve
from ase_comformer.training.data.store import GraphStore, build_store
from ase_comformer.training.tasks.losses import Targets

logger = logging.getLogger(__name__)

#: Flag prefixes that make a label unfit for training (data/README.md), per property.
UNFIT_FLAGS: dict[str, tuple[str, ...]] = {
    "dielectric_tensor": ("eps_inf_", "e_electronic_large", "n_inconsistent"),
    "static_dielectric_tensor": ("eps_inf_", "eps_ion_", "gamma_soft", "ionic_", "e_electronic_large"),
    "born_effective_charges": ("eps_inf_suspect",),
    "elastic_tensor": ("not_positive_definite", "frame_unconfirmed"),
    "piezoelectric_tensor": (),
    "formation_energy": ("outlier", "sources_disagree"),
    "band_gap": ("mp_metal_label",),
}

#: Cells of more atoms are left out: they are few and cost as much as the others together.
MAX_ATOMS = 200

#: Further labels of a record, kept among its extras: property -> extra.
JOINED_LABELS = {"formation_energy": "e_form", "band_gap": "gap"}


@dataclass
class SampleSet:
    """Records of one split with their graphs and labels.

    Attributes:
        store: graphs, one crystal per record.
        labels: property -> (crystal indices (r,), values (r, ...)); Born charges are stored per atom instead.
        born_mask: (A,) which atoms have Born charges.
        fidelity: (records,) index of the functional.
        dataset: (records,) index into ``datasets``.
    """

    store: GraphStore
    labels: dict[str, tuple[Tensor, Tensor]]
    born: Tensor
    born_mask: Tensor
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

    def batch(self, crystals: Tensor, properties: Sequence[str]) -> tuple[CrystalGraph, Targets, Tensor]:
        """Graph, targets for ``properties`` and fidelity (b,) of the crystals with these indices (b,)."""
        graph = self.store.batch(crystals)
        targets = Targets()
        for name in properties:
            if name not in self.position:
                continue
            position = self.position[name][crystals]
            rows = torch.nonzero(position >= 0).squeeze(1)
            if len(rows):
                targets.rows[name] = rows
                targets.values[name] = self.labels[name][1][position[rows]]
        if "born_effective_charges" in properties:
            atoms = self.store.atom_rows(crystals)
            rows = torch.nonzero(self.born_mask[atoms]).squeeze(1)
            if len(rows):
                targets.rows["born_effective_charges"] = rows
                targets.values["born_effective_charges"] = self.born[atoms[rows]]
                targets.crystal_of_row = graph.atom_crystal[rows]
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
    records: list[Record] = []
    owner: list[int] = []
    structures: set[tuple[str, bytes]] = set()
    for index, dataset in enumerate(datasets):
        largest = (max_atoms or {}).get(dataset, MAX_ATOMS)
        for record in load_records(dataset, folder, splits):
            key = (record.id, record.atoms.positions.tobytes())
            _join_labels(record)
            if key in structures and set(record.labels) <= set(JOINED_LABELS):
                continue  # phonon database crystals of formation_energy: labelled by dielectric_born already
            record.labels = {
                name: value
                for name, value in record.labels.items()
                if name in properties and not any(flag.startswith(UNFIT_FLAGS[name]) for flag in record.flags)
            }
            if place_in_curve(record.formula) >= fraction:
                continue
            if len(record.atoms) <= largest and (record.labels or _has_moduli(record, properties)):
                records.append(record)
                owner.append(index)
                structures.add(key)
    logger.info("%d records of %s, %s", len(records), ", ".join(datasets), "+".join(splits))
    store = build_store([record.atoms for record in records], settings, reduced=reduced, cache=cache)
    born, born_mask = _born_labels(records, store, reduced)
    labels = {}
    for name in properties:
        rows = [k for k, record in enumerate(records) if name in record.labels]
        if rows and name != "born_effective_charges":
            piezoelectric = name == "piezoelectric_tensor"
            values = _readings(records, rows) if piezoelectric else [records[k].labels[name] for k in rows]
            labels[name] = (torch.tensor(rows), torch.as_tensor(np.array(values), dtype=torch.float32))
    if "piezoelectric_norm" in properties and "piezoelectric_tensor" in labels:
        labels["piezoelectric_norm"] = labels["piezoelectric_tensor"]
    with_moduli = [k for k, record in enumerate(records) if _has_moduli(record, properties)]
    if with_moduli:
        moduli = [[records[k].extras["K_vrh"], records[k].extras["G_vrh"]] for k in with_moduli]
        labels["moduli"] = (torch.tensor(with_moduli), torch.tensor(moduli, dtype=torch.float32))
    return SampleSet(
        store=store,
        labels=labels,
        born=born,
        born_mask=born_mask,
        fidelity=torch.tensor([tuple(fidelities).index(record.extras["functional"]) for record in records]),
        dataset=torch.tensor(owner),
        datasets=tuple(datasets),
    )


def _join_labels(record: Record) -> None:
    for name, extra in JOINED_LABELS.items():
        if record.extras.get(extra) is not None:
            record.labels.setdefault(name, float(record.extras[extra]))


def _has_moduli(record: Record, properties: Sequence[str]) -> bool:
    values = [record.extras.get(name) for name in ("K_vrh", "G_vrh")]
    return "moduli" in properties and all(value is not None and value > 1.0 for value in values)


def _readings(records: Sequence[Record], rows: Sequence[int]) -> list[np.ndarray]:
    """The admissible piezoelectric tensors of each record, padded with the first to a common number."""
    readings = []
    for k in rows:
        record = records[k]
        first = np.asarray(record.labels["piezoelectric_tensor"])[None]
        others = record.extras["alternatives"] if record.extras["ambiguous"] else first[:0]
        readings.append(np.concatenate([first, others]))
    longest = max(len(reading) for reading in readings)
    return [np.concatenate([r, np.repeat(r[:1], longest - len(r), axis=0)]) for r in readings]


def _born_labels(records: Sequence[Record], store: GraphStore, reduced: bool) -> tuple[Tensor, Tensor]:
    """(A, 3, 3) charges of all atoms in the store, zero where unknown, and which are known (A,)."""
    count = int(store.counts["atom"].sum())
    born = torch.zeros(count, 3, 3)
    mask = torch.zeros(count, dtype=torch.bool)
    for k, record in enumerate(records):
        if "born_effective_charges" not in record.labels:
            continue
        values = np.asarray(record.labels["born_effective_charges"])
        start, atoms = int(store.starts["atom"][k]), int(store.counts["atom"][k])
        if reduced:
            # spglib keeps the order of a cell that is primitive already; only repeated atoms need the mapping
            mapping = analyse_space_group(record.atoms).atom_to_primitive
            total = np.zeros((atoms, 3, 3))
            np.add.at(total, mapping, values)
            values = total / np.bincount(mapping)[:, None, None]
        born[start : start + atoms] = torch.as_tensor(values)
        mask[start : start + atoms] = True
    return born, mask
