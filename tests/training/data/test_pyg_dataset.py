"""A torch-geometric dataset of labelled crystals: what is in it, kept on disk, fed through its loader."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pyg import from_pyg
from ase_comformer.training.data.pyg_dataset import CrystalDataset
from ase_comformer.training.data.records import Record
from symmetric_crystals import crystals

SETTINGS = GraphSettings(cutoff=4.0, lattice_frame=True, joint_frames=True)


def records() -> list[Record]:
    labels = (
        {"dielectric_tensor": np.eye(3) * (2.0 + k), "born_effective_charges": np.full((len(atoms), 3, 3), k)}
        for k, atoms in enumerate(crystals())
    )
    made = [Record(f"r{k}", "X", "train", a, dict(v)) for k, (a, v) in enumerate(zip(crystals(), labels, strict=True))]
    made[1].labels.pop("dielectric_tensor")
    return made


def test_batches_are_the_graphs_with_labels(tmp_path: Path) -> None:
    dataset = CrystalDataset(tmp_path, records(), "dielectric_tensor", SETTINGS)
    batch = next(iter(DataLoader(dataset, batch_size=10)))
    labelled = [record.atoms for record in records() if "dielectric_tensor" in record.labels]
    expected = collate([build_graph(atoms, SETTINGS) for atoms in labelled]).to(dtype=torch.float32)
    found = from_pyg(batch)
    for name, value in vars(expected).items():
        if value is not None:
            torch.testing.assert_close(getattr(found, name), value, rtol=0, atol=0)
    assert batch.y.shape == (len(labelled), 3, 3)
    np.testing.assert_allclose(batch.y[:, 0, 0], [2.0, 4.0, 5.0, 6.0])


def test_labels_per_atom_follow_the_atoms(tmp_path: Path) -> None:
    dataset = CrystalDataset(tmp_path, records(), "born_effective_charges", SETTINGS)
    batch = next(iter(DataLoader(dataset, batch_size=10)))
    assert batch.y.shape == (len(batch.z), 3, 3)
    np.testing.assert_allclose(batch.y[:, 0, 0], batch.batch)


def test_graphs_are_kept_and_other_records_or_settings_make_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = CrystalDataset(tmp_path, records(), "dielectric_tensor", SETTINGS)
    with monkeypatch.context() as patched:
        patched.setattr(CrystalDataset, "process", lambda self: pytest.fail("built again"))
        again = CrystalDataset(tmp_path, records(), "dielectric_tensor", SETTINGS)
    assert len(again) == len(first) == 4
    changed = records()
    changed[0].labels["dielectric_tensor"] *= 2.0
    assert float(CrystalDataset(tmp_path, changed, "dielectric_tensor", SETTINGS)[0].y[0, 0, 0]) == 4.0
    assert len(CrystalDataset(tmp_path, records()[:2], "dielectric_tensor", SETTINGS)) == 1
    without = CrystalDataset(tmp_path, records(), "dielectric_tensor", GraphSettings(cutoff=3.0))
    assert "frame_slot" in first[0]
    assert "frame_slot" not in without[0]


def test_records_without_the_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="elastic_tensor"):
        CrystalDataset(tmp_path, records(), "elastic_tensor", SETTINGS)
