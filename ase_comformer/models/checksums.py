"""Integrity of weights folders: SHA-256 manifest, truncated files, writes that cannot leave half a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

#: Endings of the files of a folder of weights that its checksums cover.
_COVERED = (".safetensors", ".json", ".md", ".npz")


def write_checksums(directory: Path) -> None:
    """Write ``SHA256SUMS`` (format of ``sha256sum``) over weights, JSON files, cards and calibrations."""
    files = sorted(path for path in directory.iterdir() if path.suffix in _COVERED)
    files += sorted(directory.glob("calibration/*.json"))
    lines = [
        f"{sha256(path.read_bytes())}  {path.relative_to(directory).as_posix()}\n"
        for path in files
        if path.name != "README.md"
    ]
    replace_file(directory / "SHA256SUMS", "".join(lines).encode())


def verify_folder(directory: Path) -> list[str]:
    """Names of the files in ``SHA256SUMS`` of ``directory`` that are missing or differ (empty: all right)."""
    wrong = []
    for line in (directory / "SHA256SUMS").read_text().splitlines():
        digest, file = line.split(maxsplit=1)
        path = directory / file
        if not path.is_file() or sha256(path.read_bytes()) != digest:
            wrong.append(file)
    return wrong


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def replace_file(path: Path, data: bytes) -> None:
    """Write through a temporary file, so that an interrupted run never leaves half a file."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    temporary.replace(path)


def is_truncated(data: bytes) -> bool:
    """Compare the length with what safetensors' header promises (8-byte header length, JSON header, data)."""
    if len(data) < 8:
        return True
    start = 8 + int.from_bytes(data[:8], "little")
    if start > len(data):
        return True
    try:
        header = json.loads(data[8:start])
        ends = [value["data_offsets"][1] for key, value in header.items() if key != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return start + max(ends, default=0) > len(data)
