"""The frames of one training run in a single small file, to be trained on elsewhere (``data.frame_pack``)."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.frame_pack import as_bytes, member
from ase_comformer.training.data.frame_sources import load_frames
from ase_comformer.training.data.isolated import DIMERS, FILE
from ase_comformer.training.data.records import data_folder


def write_pack(config: TrainingConfig, path: Path, folder: Path | None = None, limit: float = math.inf) -> int:
    """Write the frames of a run to one file.

    Args:
        config: of a ``Potential``.
        path: of the pack.
        folder: of the data package; the environment variable where None.
        limit: MiB, largest size of the file.

    Returns:
        Bytes of the file.

    Raises:
        ValueError: the architecture does not learn from frames, or the file would be larger than ``limit``.
    """
    if config.architecture != "Potential":
        raise ValueError(f"packs hold frames of potentials; {config.architecture} learns from records, which are small")
    source = data_folder(folder)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression=zipfile.ZIP_LZMA) as archive:
        for name in (FILE, DIMERS):
            if (source / name).exists():
                archive.write(source / name, name)
        for name in config.datasets:
            for splits in (tuple(config.splits), ("val",)):
                frames = load_frames(name, splits, source, config.max_atoms.get(name))
                if splits != ("val",):
                    frames = frames.part(config.fraction)
                archive.writestr(member(name, splits), as_bytes(frames))
    size = len(content.getvalue())
    if size > limit * 2**20:
        raise ValueError(
            f"the frames of {config.name} take {size / 2**20:.1f} MiB, more than {limit:g}: lower fraction or "
            "max_atoms in the configuration, or name fewer data sets"
        )
    path.write_bytes(content.getvalue())
    return size
