"""Records as extended XYZ: energy, forces and stress as every reader expects them, and the record as a whole.

Tensors are in ``info`` under their names, too, (3, 3) and (3, 6) and (6, 6), Born charges per atom in nine columns
``born_charges``. ``read`` takes the record alone (JSON, compressed by zlib, in base 64), since the format rounds
positions to 1e-8 A.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from ase.io import iread
from ase.io import write as write_atoms

from ase_comformer.records.exposed import exposed_atoms, scalars
from ase_comformer.records.record import ResultRecord

#: Key of ``info`` that holds the record.
KEY = "ase_comformer_record"
#: Begins the word, so that it cannot look like a number.
_MARK = "zlib:"


def write(path: Path, records: Iterable[ResultRecord]) -> None:
    """Write one frame per record."""
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            atoms = exposed_atoms(record)
            # ASE writes texts of several lines into the one line that the format has; they are in the record
            atoms.info = {key: value for key, value in atoms.info.items() if "\n" not in str(value)}
            atoms.info.update(scalars(record), model=record.model, model_fingerprint=record.fingerprint)
            for name, each in record.values.items():
                if np.ndim(each.value) == 2 and len(each.value) in (3, 6) and name not in ("forces", "energies"):
                    atoms.info[name] = np.asarray(each.value)
            if "born_effective_charges" in record.values:
                charges = np.asarray(record.values["born_effective_charges"].value)
                atoms.set_array("born_charges", charges.reshape(len(atoms), 9))
            atoms.info[KEY] = _packed(record)
            write_atoms(file, atoms, format="extxyz")


def read(path: Path) -> Iterator[ResultRecord]:
    """Read frame by frame."""
    for atoms in iread(path, index=":", format="extxyz", do_not_split_by_at_sign=True):
        yield _unpacked(atoms.info[KEY])


def _packed(record: ResultRecord) -> str:
    """One word without quotes, backslashes and equals signs, which would not survive ASE's reader."""
    packed = zlib.compress(json.dumps(record.as_dict()).encode())
    return _MARK + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _unpacked(word: str) -> ResultRecord:
    text = word.removeprefix(_MARK)
    packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return ResultRecord.from_dict(json.loads(zlib.decompress(packed)))
