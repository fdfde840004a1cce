"""Records as JSON lines: one nested dictionary per line, see ``ResultRecord.as_dict``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ase_comformer.records.record import ResultRecord


def write(path: Path, records: Iterable[ResultRecord]) -> None:
    """Write one line per record."""
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record.as_dict(), ensure_ascii=False) + "\n")


def read(path: Path) -> Iterator[ResultRecord]:
    """Read line by line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield ResultRecord.from_dict(json.loads(line))
