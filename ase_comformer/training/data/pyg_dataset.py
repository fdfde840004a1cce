"""Labelled crystals as a dataset of torch-geometric, for its loaders, transforms, splitters and training loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import InMemoryDataset

from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pyg import CrystalData, to_pyg
from ase_comformer.properties.registry import tensor_property
from ase_comformer.training.data.records import Record


class CrystalDataset(InMemoryDataset):
    """One ``CrystalData`` per record, with the label of one property as ``y`` (1, ...), per atom (n, ...).

    Graphs are built once and kept in ``root/processed``, in a file whose name follows from the records and the
    settings. Everything is float32.

    Args:
        root: folder of the file.
        records: labelled crystals, as ``load_records`` gives them; those without the label are left out.
        property_name: name of the label, such as ``"dielectric_tensor"``.
        settings: which atoms are neighbours.
        transform: applied to a crystal whenever it is read, see torch-geometric.

    Example:
        >>> import tempfile
        >>> from ase.build import bulk
        >>> from torch_geometric.loader import DataLoader
        >>> cells = [bulk("Si", a=5.4 + k / 10) for k in range(3)]
        >>> records = [Record(str(k), "Si", "train", cell, {"band_gap": 0.1}) for k, cell in enumerate(cells)]
        >>> with tempfile.TemporaryDirectory() as folder:  # graphs are held in memory, too
        ...     dataset = CrystalDataset(folder, records, "band_gap", GraphSettings(cutoff=4.0))
        >>> batch = next(iter(DataLoader(dataset, batch_size=3)))
        >>> batch.y.shape, batch.num_graphs, batch.z.shape
        (torch.Size([3]), 3, torch.Size([6]))
    """

    def __init__(
        self,
        root: str | Path,
        records: Iterable[Record],
        property_name: str,
        settings: GraphSettings,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.records = [record for record in records if property_name in record.labels]
        if not self.records:
            raise ValueError(f"no record has the label {property_name!r}: load a data set that has it")
        self.entry, self.settings = tensor_property(property_name), settings
        super().__init__(str(root), transform)
        # torch unpickles the classes that it is told of only.
        with torch.serialization.safe_globals([CrystalData]):
            self.load(self.processed_paths[0], data_cls=CrystalData)

    @property
    def processed_file_names(self) -> Sequence[str]:
        """One file, named after what is in it."""
        content = sha256(repr((self.entry.name, asdict(self.settings))).encode())
        for record in self.records:
            content.update(record.id.encode())
            content.update(np.round(record.atoms.positions, 6).tobytes())
            content.update(np.asarray(record.labels[self.entry.name], dtype=np.float64).tobytes())
        return [f"{self.entry.name}-{content.hexdigest()[:16]}.pt"]

    def process(self) -> None:
        """Build the graphs."""
        self.save([self._data(record) for record in self.records], self.processed_paths[0])

    def _data(self, record: Record) -> CrystalData:
        data = to_pyg(build_graph(record.atoms, self.settings).to(dtype=torch.float32))
        label = torch.as_tensor(np.asarray(record.labels[self.entry.name]), dtype=torch.float32)
        data.y = label if self.entry.per_atom else label[None]
        return data
