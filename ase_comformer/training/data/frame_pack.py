"""Writes frames for a machine that has neither the data nor a network (``training.pack`` makes such files).

A pack is a ZIP archive of what ``frame_sources.load_frames`` gives for a configuration, split by split, and of the
small files that are read beside it. ``unpack`` turns it into a folder that stands for the data package. Floats are
stored byte by byte (the first bytes of all numbers, then the second ones, ...), which compresses well.

What is lost: positions and cells become float32 (1e-6 A), and forces, stresses, displacements and polarisations keep 15
bits of their mantissa (3e-5 of each), far below what labels are good for.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_comformer.training.data.frames import Frames

#: Folder of the packed frames, within a pack and within the data folder that it is unpacked to.
PACKED = "packed_frames"
#: Mantissa bits of float32 that labels lose.
_TRIMMED_BITS = 8
_AS_FLOAT32 = frozenset({"positions", "cell"})
_TRIMMED = frozenset({"forces", "stress", "displacement", "polarisation"})


def unpack(path: Path, folder: Path) -> Path:
    """Unpack to ``folder``, which then stands for the data package, and return it.

    Raises:
        ValueError: the file is no pack.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no pack of frames: make one with `ase-comformer train CONFIG --pack FILE`")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def packed_frames(folder: Path, source: str, splits: tuple[str, ...]) -> Frames | None:
    """Frames of a source in an unpacked folder; None where it has none.

    Raises:
        FileNotFoundError: the folder is a pack, which has no such source and splits.
    """
    if not (folder / PACKED).is_dir():
        return None
    path = folder / member(source, splits)
    if not path.exists():
        raise FileNotFoundError(f"the pack in {folder} has no {source!r} of {'+'.join(splits)}: pack this run")
    return _from_file(path)


def member(source: str, splits: tuple[str, ...]) -> str:
    """Name of the file with a source of these splits."""
    return f"{PACKED}/{source}.{'+'.join(splits)}.npz"


def as_bytes(frames: Frames) -> bytes:
    """Frames as a file of numpy's; ``packed_frames`` reads it."""
    arrays: dict[str, NDArray[Any]] = {}
    for part in fields(Frames):
        values = np.ascontiguousarray(getattr(frames, part.name))
        if part.name in _AS_FLOAT32:
            values = values.astype(np.float32)
        elif part.name in _TRIMMED:
            values = _trimmed(values.astype(np.float32))
        elif part.name == "numbers":
            values = values.astype(np.uint8)
        if values.dtype.kind == "f":  # planes of bytes; the shape is kept beside them
            arrays[f"{part.name}.shape"] = np.array(values.shape)
            width = values.dtype.itemsize
            values = values.reshape(-1).view(np.uint8).reshape(-1, width).T.copy()
        arrays[part.name] = values
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _trimmed(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to fewer bits of the mantissa; NaN and infinities stay."""
    bits = values.view(np.uint32)
    half, mask = np.uint32(1 << (_TRIMMED_BITS - 1)), np.uint32(0xFFFFFFFF << _TRIMMED_BITS & 0xFFFFFFFF)
    return np.where(np.isfinite(values), ((bits + half) & mask).view(np.float32), values)


def _from_file(path: Path) -> Frames:
    wide = {"numbers": np.int64, "positions": np.float64, "cell": np.float64}
    values: dict[str, Any] = {}
    with np.load(path) as data:
        for part in fields(Frames):
            array = data[part.name]
            if f"{part.name}.shape" in data:
                kind = {4: np.float32, 8: np.float64}[len(array)]
                array = np.ascontiguousarray(array.T).reshape(-1).view(kind).reshape(data[f"{part.name}.shape"])
            values[part.name] = array.astype(wide.get(part.name, array.dtype))
    return Frames(**values)
