"""Records as a database of ASE: scalars and model as keys to select by, the whole record as data of the row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ase.db import connect

from ase_comformer.records.exposed import exposed_atoms, scalars
from ase_comformer.records.record import ResultRecord

#: Key of ``row.data`` that holds the record.
KEY = "ase_comformer_record"


def write(path: Path, records: Iterable[ResultRecord]) -> None:
    """Write one row per record; ``ase db FILE formation_energy<-1`` selects."""
    path.unlink(missing_ok=True)
    with connect(path) as database:
        for record in records:
            # a fingerprint alone might look like a number, which ASE refuses as text
            keys = scalars(record) | {"model": record.model, "model_fingerprint": f"sha256:{record.fingerprint}"}
            atoms = exposed_atoms(record)
            atoms.info = {}  # is in the record; ASE would look for keys there
            database.write(atoms, key_value_pairs=keys, data={KEY: record.as_dict()})


def read(path: Path) -> Iterator[ResultRecord]:
    """Read row by row."""
    with connect(path) as database:
        for row in database.select():
            yield ResultRecord.from_dict(row.data[KEY])
