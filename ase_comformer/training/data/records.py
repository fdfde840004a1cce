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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms

from ase_comformer.crystals.point_groups import point_group_of
from ase_comformer.errors import UnknownNameError

if TYPE_CHECKING:
    from pymatgen.core import Composition

Split = Literal["train", "val", "test", "withheld"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
DATA_VARIABLE = "ASE_COMFORMER_DATA"


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

    - 'dielectric_born': labels dielectric_tensor, born_effective_charges (n,3,3) and, where the zone centre
      is stable, static_dielectric_tensor. Extras gamma_freq_thz (3n,), and when known the PBE values K_vrh,
      G_vrh (GPa), gap (eV), e_form (eV/atom).
    - 'dielectric_mp': dielectric_tensor, static_dielectric_tensor. Extras gap, potentially_ferroelectric.
    - 'piezo_mp': piezoelectric_tensor (3,6). Extras alternatives (k,3,6), ambiguous, e_norm (C/m^2),
      resolved_by, ionic_cos, published_frame.
    - 'elastic_mp': elastic_tensor (6,6). Extras K_vrh, G_vrh (GPa).
    - 'dielectric_mpdfpt' (PBE): dielectric_tensor, born_effective_charges and, where symmetry allows one,
      clamped_piezoelectric_tensor. Extras e_ionic (3,3).
    - 'piezo_clamped_jarvis' (OptB88vdW): clamped_piezoelectric_tensor. Extras ambiguous, alternatives (k,3,6).
    - 'formation_energy': formation_energy (eV/atom). Extras e_above_hull, gap, source, structure_functional.
    - any other NAME: the file NAME.jsonl.gz, whose rows have id, formula, split, numbers, frac and lattice as in the
      data sets above, ``labels`` ({property: array}), ``functional`` and perhaps ``flags`` and ``extras``.

    Every record has extras ``dataset`` and ``functional`` (of the labels: 'PBEsol' for dielectric_born, else
    'PBE') and, except formation_energy whose file has no space group, ``spg`` and ``pointgroup`` (for two
    piezo records of flag 'spg_differs' the class of the tensor, not that of the source's space group).

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
    path = data_folder(folder) / f"{dataset}.jsonl.gz"
    if not path.is_file() and dataset not in _READERS:
        raise UnknownNameError(
            f"unknown data set {dataset!r}: choose from {', '.join(DATASETS)}, or put {path.name} into {path.parent}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"data set {dataset!r}: file {str(path)!r} is missing from the data folder")
    rows = [row for row in _read_rows(path) if row["split"] in splits]
    if dataset == "formation_energy" and drop_duplicates:
        rows = _drop_repeated_ids(rows)
    return [record_of_row(dataset, row) for row in rows]


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            expected = _split_of_reduced(row["formula"])
            if row["split"] != expected:
                raise ValueError(
                    f"{path.name}: record {row['id']} ({row['formula']}) is marked {row['split']!r} but its "
                    f"formula belongs to {expected!r}; training on it would leak: fix or remove the record"
                )
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
    labels, extras, functional = _READERS.get(dataset, _with_labels)(row)
    extras = {name: value for name, value in extras.items() if value is not None}
    extras["dataset"] = dataset
    extras["functional"] = functional
    if row.get("spg") is not None:
        extras["spg"] = int(row["spg"])
        extras["pointgroup"] = row.get("pointgroup") or point_group_of(int(row["spg"]))
    atoms = Atoms(numbers=row["numbers"], scaled_positions=row["frac"], cell=row["lattice"], pbc=True)
    identifier = row.get("id") or row["formula"]
    return Record(identifier, row["formula"], row["split"], atoms, labels, tuple(row.get("flags", ())), extras)


_Parsed = tuple[dict[str, "np.ndarray | float"], dict[str, Any], str]


def _array(value: object) -> np.ndarray:
    return np.asarray(value, dtype=np.float64)


def _dielectric_born(row: dict[str, Any]) -> _Parsed:
    electronic = _array(row["eps_inf"])
    labels: dict[str, np.ndarray | float] = {
        "dielectric_tensor": electronic,
        "born_effective_charges": _array(row["born"]),
    }
    if row["eps_ion"] is not None:
        labels["static_dielectric_tensor"] = electronic + _array(row["eps_ion"])
    extras = {name: row[name] for name in ("K_vrh", "G_vrh", "gap", "e_form")}
    extras["gamma_freq_thz"] = _array(row["gamma_freq_thz"])
    return labels, extras, "PBEsol"


def _dielectric_mp(row: dict[str, Any]) -> _Parsed:
    labels: dict[str, np.ndarray | float] = {
        "dielectric_tensor": _array(row["e_electronic"]),
        "static_dielectric_tensor": _array(row["e_total"]),
    }
    return labels, {"gap": row["gap"], "potentially_ferroelectric": row["pot_ferroelectric"]}, "PBE"


def _piezo_mp(row: dict[str, Any]) -> _Parsed:
    names = ("ambiguous", "resolved_by", "e_norm", "ionic_cos", "published_frame")
    extras = {name: row[name] for name in names}
    extras["alternatives"] = _array(row["alternatives"]).reshape(-1, 3, 6)
    return {"piezoelectric_tensor": _array(row["e"])}, extras, "PBE"


def _elastic_mp(row: dict[str, Any]) -> _Parsed:
    return {"elastic_tensor": _array(row["C"])}, {"K_vrh": row["K_vrh"], "G_vrh": row["G_vrh"]}, "PBE"


def _formation_energy(row: dict[str, Any]) -> _Parsed:
    extras = {name: row[name] for name in ("e_above_hull", "gap", "source", "structure_functional")}
    return {"formation_energy": float(row["e_form"])}, extras, "PBE"


def _with_labels(row: dict[str, Any]) -> _Parsed:
    labels: dict[str, np.ndarray | float] = {name: _array(value) for name, value in row["labels"].items()}
    return labels, dict(row.get("extras", {})), row["functional"]


def _dielectric_mpdfpt(row: dict[str, Any]) -> _Parsed:
    labels: dict[str, np.ndarray | float] = {
        "dielectric_tensor": _array(row["e_electronic"]),
        "born_effective_charges": _array(row["born"]),
    }
    # zero by symmetry for most crystals, which every network gets right
    if row["clamped_norm"]:
        labels["clamped_piezoelectric_tensor"] = _array(row["e_clamped"])
    return labels, {"e_ionic": _array(row["e_ionic"])}, "PBE"


def _piezo_clamped_jarvis(row: dict[str, Any]) -> _Parsed:
    extras = {"ambiguous": row["ambiguous"], "alternatives": _array(row["alternatives"]).reshape(-1, 3, 6)}
    return {"clamped_piezoelectric_tensor": _array(row["e_clamped"])}, extras, "OptB88vdW"


_READERS: dict[str, Callable[[dict[str, Any]], _Parsed]] = {
    "dielectric_born": _dielectric_born,
    "dielectric_mp": _dielectric_mp,
    "piezo_mp": _piezo_mp,
    "elastic_mp": _elastic_mp,
    "formation_energy": _formation_energy,
    "dielectric_mpdfpt": _dielectric_mpdfpt,
    "piezo_clamped_jarvis": _piezo_clamped_jarvis,
}
DATASETS: tuple[str, ...] = tuple(_READERS)


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
