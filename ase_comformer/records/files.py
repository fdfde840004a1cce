"""Records to and from files, whose ending says the format; each format is a module beside this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from ase_comformer.errors import UnreadableFileError
from ase_comformer.records.record import ResultRecord

#: Ending -> module with ``write(path, records)`` and ``read(path)``.
FORMATS = {".jsonl": "json_lines", ".extxyz": "extended_xyz", ".db": "ase_database", ".parquet": "parquet"}


def write_records(path: str | Path, records: Iterable[ResultRecord]) -> None:
    """Write records to a new file; one that exists is replaced.

    Args:
        path: ends in one of ``FORMATS``: JSON lines, extended XYZ, ASE's database, parquet (needs pyarrow).
        records: written as they come, so there may be many.

    Raises:
        ValueError: another ending.
        ImportError: parquet without pyarrow.

    Example:
        >>> import tempfile
        >>> from ase.build import bulk
        >>> from ase_comformer.inference.predictor import Predictor
        >>> from ase_comformer.records import records_of
        >>> predictor, salts = Predictor(), [bulk("MgO", "rocksalt", a=4.21)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_records(f"{folder}/salts.jsonl", records_of(predictor, salts, predictor.predict(salts, "energy")))
        ...     (record,) = read_records(f"{folder}/salts.jsonl")
        >>> record.values["energy"].unit, record.fingerprint == predictor.model.fingerprint
        ('eV', True)
    """
    path = Path(path)
    module = _module(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    module.write(path, records)


def read_records(path: str | Path) -> Iterator[ResultRecord]:
    """Read what ``write_records`` has written, one record after the other.

    Raises:
        ValueError: an unknown ending.
        UnreadableFileError: the file holds no records.
    """
    path = Path(path)
    module = _module(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        yield from module.read(path)
    except (KeyError, TypeError) as error:
        raise UnreadableFileError(
            f"{path} holds no records of ase-comformer ({type(error).__name__}: {error}). Read structures with "
            "ase.io.read, and see records.write_records for files that read_records reads."
        ) from error


def _module(path: Path) -> Any:
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path.name!r} ends in none of {', '.join(FORMATS)}, so its format is not known.")
    return import_module(f"{__package__}.{FORMATS[path.suffix.lower()]}")
