"""Labelled crystals: one record type, one split rule, one loader for the data package.

A ``Record`` is a crystal with the labels of one source in the documented units and in the Cartesian
frame of its own cell (``ase_comformer.tensors.forms`` has the conventions; property names are the public ones).
The split is by reduced formula and therefore the same for every data set. The folder comes from the
argument or from the environment variable ``ASE_COMFORMER_DATA``. Loaders of the public originals live in
``training.sources``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms

from ase_comformer.crystals.point_groups import point_group_of
from ase_comformer.errors import UnknownNameError
from ase_comformer.properties.entry import DerivedLabel
from ase_comformer.training.data.readers import DATASETS, FILES, READERS, Labels, with_labels
from ase_comformer.training.data.relaxed_cells import SOURCE, relaxed_lattice

if TYPE_CHECKING:
    from pymatgen.core import Composition

Split = Literal["train", "val", "test", "withheld"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
DATA_VARIABLE = "ASE_COMFORMER_DATA"
MP2018 = "formation_energy_mp2018"


@dataclass
class Record:
    """One labelled crystal.

    Attributes:
        id: identifier in the source (Materials Project id at the time of the source).
        formula: pymatgen reduced formula, the key of the split.
        split: 'train', 'val' or 'test'.
        atoms: periodic crystal; every tensor label is in the Cartesian frame of its cell.
        labels: public property name -> array (or float), documented shapes and units.
        flags: warnings of the data package about this record; empty when clean.
        extras: everything else: ``functional`` ('PBE' or 'PBEsol'), ``dataset``, ``spg``, ``pointgroup``, and
            the fields named in ``load_records``.
    """

    id: str
    formula: str
    split: str
    atoms: Atoms
    labels: dict[str, np.ndarray | float]
    flags: tuple[str, ...] = ()
    extras: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Name what the record is, not its arrays."""
        labels = sorted(self.labels)
        return f"Record({self.id!r}, {self.formula!r}, {self.split!r}, labels={labels}, flags={self.flags})"


def split_of(formula: str | Composition) -> Split:
    """Side of the split a formula falls on; all polymorphs and all data sets share it.

    Args:
        formula: chemical formula (any multiple and element order) or pymatgen ``Composition``.

    Returns:
        'train' (15/20), 'val' (1/20), 'test' (2/20) or 'withheld' (2/20, kept out of everything).

    Raises:
        ValueError: if the formula cannot be parsed.
    """
    from pymatgen.core import Composition as _Composition

    composition = _Composition(formula) if isinstance(formula, str) else formula
    if len(composition) == 0:
        raise ValueError(f"no split for the empty formula {formula!r}: give at least one element")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No Pauling electronegativity")  # of noble gases; it only orders the formula
        return _split_of_reduced(composition.reduced_formula)


def _split_of_reduced(reduced_formula: str) -> Split:
    bucket = int(hashlib.sha256(reduced_formula.encode()).hexdigest()[:8], 16) % 20
    if bucket >= 5:
        return "train"
    return ("withheld", "withheld", "test", "test", "val")[bucket]  # type: ignore[return-value]


def data_folder(folder: str | Path | None = None) -> Path:
    """Folder of the data package: the argument, else the environment variable ``ASE_COMFORMER_DATA``.

    Raises:
        FileNotFoundError: if neither is given or the folder does not exist.
    """
    chosen = folder if folder is not None else os.environ.get(DATA_VARIABLE)
    if not chosen:
        raise FileNotFoundError(
            f"no training data folder: pass folder=... or set {DATA_VARIABLE} to the folder that holds "
            "dielectric_born.jsonl.gz and its siblings"
        )
    path = Path(chosen).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(
            f"training data folder {str(path)!r} does not exist: check folder=... or {DATA_VARIABLE}"
        )
    return path


def load_records(
    dataset: str,
    folder: str | Path | None = None,
    splits: Sequence[str] = ("train",),
    *,
    drop_duplicates: bool = True,
) -> list[Record]:
    """Read one data set of the package.

    - the names of ``readers.READERS``, whose docstrings say which labels and extras their records have;
    - 'formation_energy_mp2018' (an npz file, PBE): formation_energy (eV/atom), band_gap (eV).
    - any other NAME: the file NAME.jsonl.gz, whose rows have id, formula, split, numbers, frac and lattice as in the
      data sets above, ``labels`` ({property: array}), ``functional`` and perhaps ``flags`` and ``extras``.

    Present-day cells of the Materials Project come relaxed (``relaxed_cells``); those of which no strain is known are
    left out. Every record has extras ``dataset`` and ``functional`` (of the labels) and, except in the formation energy
    files, which have no space group, ``spg`` and ``pointgroup`` (for two piezo records of flag 'spg_differs' the class
    of the tensor, not that of the source's space group).

    Args:
        dataset: one of the names above, or that of a file of one's own.
        folder: folder of the data package; default from ``ASE_COMFORMER_DATA``.
        splits: any of 'train', 'val', 'test'.
        drop_duplicates: formation_energy only: of two records with the same id keep the one whose structure
            and energy come from one calculation (source 'matminer_flla_2015').

    Raises:
        UnknownNameError: for an unknown data set or split.
        FileNotFoundError: if the folder or file is missing.
        ValueError: if the split stored in the file contradicts the split rule.
    """
    unknown = [name for name in splits if name not in SPLITS]
    if unknown or isinstance(splits, str):
        raise UnknownNameError(f"unknown split {unknown or splits!r}: give a sequence of {', '.join(SPLITS)}")
    if dataset == MP2018:
        return _mp2018(data_folder(folder) / f"{dataset}.npz", splits)
    path = data_folder(folder) / f"{FILES.get(dataset, dataset)}.jsonl.gz"
    if not path.is_file() and dataset not in READERS:
        raise UnknownNameError(
            f"unknown data set {dataset!r}: choose from {', '.join(DATASETS)}, or put {path.name} into {path.parent}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"data set {dataset!r}: file {str(path)!r} is missing from the data folder")
    rows = [row for row in _read_rows(path) if row["split"] in splits]
    if dataset == "formation_energy" and drop_duplicates:
        rows = _drop_repeated_ids(rows)
    lattices = [relaxed_lattice(row) for row in rows]
    records = [
        record_of_row(dataset, row | {"lattice": lattice})
        for row, lattice in zip(rows, lattices, strict=True)
        if lattice is not None
    ]
    return _with_distinct_ids(records)


def _with_distinct_ids(records: list[Record]) -> list[Record]:
    """Records of sources without identifiers have their formula, and a number from the second of a formula on."""
    seen: Counter[str] = Counter()
    for record in records:
        seen[record.id] += 1
        if seen[record.id] > 1:
            record.id = f"{record.id} ({seen[record.id]})"
    return records


def _mp2018(path: Path, splits: Sequence[str]) -> list[Record]:
    """Read the structures, formation energies and gaps of ``formation_energy_mp2018.npz``."""
    with np.load(path) as stored:
        columns = {name: stored[name] for name in stored.files}
    records = []
    for k in np.flatnonzero(np.isin(columns["split"], list(splits))).tolist():
        formula, split = str(columns["formula"][k]), str(columns["split"][k])
        _check_split(path, str(columns["id"][k]), formula, split)
        part = slice(columns["ptr"][k], columns["ptr"][k + 1])
        atoms = Atoms(
            numbers=columns["numbers"][part],
            scaled_positions=columns["frac"][part].astype(np.float64),
            cell=columns["cell_parameters"][k],
            pbc=True,
        )
        extras = {"dataset": MP2018, "functional": "PBE"}
        labels: Labels = {
            "formation_energy": float(columns["e_form"][k]),
            "band_gap": float(columns["gap_pbe"][k]),
        }
        flags = ("id_in_formation_energy",) if columns["in_formation_energy"][k] else ()
        records.append(Record(str(columns["id"][k]), formula, split, atoms, labels, flags, extras))
    return records


def _check_split(path: Path, identifier: str, formula: str, split: str) -> None:
    expected = _split_of_reduced(formula)
    if split != expected:
        raise ValueError(
            f"{path.name}: record {identifier} ({formula}) is marked {split!r} but its "
            f"formula belongs to {expected!r}; training on it would leak: fix or remove the record"
        )


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("split_by") != "calculation":  # of one's own, see ``own_calculations``
                _check_split(path, row.get("id") or row["formula"], row["formula"], row["split"])
            yield row


def _drop_repeated_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counts = Counter(row["id"] for row in rows)
    self_consistent = {row["id"] for row in rows if row["source"] == "matminer_flla_2015"}
    kept: list[dict[str, Any]] = []
    seen: set[str] = set()
    for row in rows:
        repeated = counts[row["id"]] > 1
        if row["id"] in seen:
            continue
        if repeated and row["id"] in self_consistent and row["source"] != "matminer_flla_2015":
            continue
        seen.add(row["id"])
        kept.append(row)
    return kept


def record_of_row(dataset: str, row: dict[str, Any]) -> Record:
    """``Record`` of one row (a JSON object of the file) of a data set."""
    labels, extras, functional = READERS.get(dataset, with_labels)(row)
    extras = {name: value for name, value in extras.items() if value is not None}
    extras["dataset"] = dataset
    extras["functional"] = functional
    source = row.get("structure_source")
    if source is not None:
        extras["structure_functional"] = "relaxed" if source == SOURCE else "PBE"
    if row.get("spg") is not None:
        extras["spg"] = int(row["spg"])
        extras["pointgroup"] = row.get("pointgroup") or point_group_of(int(row["spg"]))
    atoms = Atoms(numbers=row["numbers"], scaled_positions=row["frac"], cell=row["lattice"], pbc=True)
    identifier = row.get("id") or row["formula"]
    return Record(identifier, row["formula"], row["split"], atoms, labels, tuple(row.get("flags", ())), extras)


def has_numbers(record: Record, label: DerivedLabel) -> bool:
    """Whether a record carries the numbers of a derived label."""
    values = [record.extras.get(name) for name in label.extras]
    return all(value is not None and np.min(value) > label.above for value in values)


def without_flags(records: Iterable[Record], *prefixes: str) -> list[Record]:
    """Records none of whose flags starts with one of ``prefixes`` (for example 'eps_inf_')."""
    return [record for record in records if not any(flag.startswith(prefixes) for flag in record.flags)]


def formula_folds(records: Sequence[Record], folds: int = 5, seed: int = 0) -> list[np.ndarray]:
    """Cross-validation folds in which all records of a formula share a fold.

    Args:
        records: records to divide.
        folds: number of folds, at least 2.
        seed: another seed gives another division; deterministic, independent of record order and platform.

    Returns:
        ``folds`` integer arrays with the held-out indices of each fold, together covering every record once.
        A formula keeps its fold whatever other records there are, so folds are equal in size only on average.
    """
    if folds < 2:
        raise ValueError(f"folds={folds}: cross-validation needs at least 2")
    digests = [hashlib.sha256(f"{seed}:{record.formula}".encode()).hexdigest()[:8] for record in records]
    assigned = np.array([int(digest, 16) % folds for digest in digests], dtype=np.int64)
    return [np.flatnonzero(assigned == fold) for fold in range(folds)]


def place_in_curve(key: str) -> float:
    """A number in [0, 1) that depends on the formula or crystal only, and not as the split does: learning curves."""
    return int(hashlib.sha256(f"fraction:{key}".encode()).hexdigest()[:8], 16) / 2**32
