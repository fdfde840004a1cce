"""Polarisation of displaced frames from Born charges of the same crystal."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from ase_comformer.training.data import polarisation
from ase_comformer.training.data.frames import Frames
from ase_comformer.training.data.polarisation import screened_charges, with_polarisation
from ase_comformer.training.data.records import Record

CHARGES = np.array([np.diag([2.0, 2.0, 2.0]), np.diag([-2.0, -2.0, -2.0])])
CHARGES[0, 0, 1] = 0.5  # field along x, displacement along y
EPSILON = np.array([[3.0, 0.4, 0.0], [0.4, 5.0, 0.2], [0.0, 0.2, 4.0]])


def record(flags: tuple[str, ...] = ()) -> Record:
    labels = {"dielectric_tensor": EPSILON, "born_effective_charges": CHARGES}
    return Record("mp-1", "MgO", "train", bulk("MgO", "rocksalt", a=4.2), labels, flags)


def frames(group: str = "mp-1") -> Frames:
    """Two frames of the cubic cell, whose atoms are images of the two of the primitive one."""
    atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    shift = 0.05 * np.random.default_rng(0).normal(size=(16, 3))
    unknown = np.full((2, 3), np.nan, dtype=np.float32)
    return Frames(
        numbers=np.tile(atoms.numbers, 2).astype(np.int64),
        positions=np.tile(atoms.positions + 4.2, (2, 1)) + shift,
        forces=np.zeros((16, 3), dtype=np.float32),
        cell=np.tile(atoms.cell.array, (2, 1, 1)),
        count=np.full(2, 8),
        energy=np.full(2, np.nan),
        stress=np.full((2, 3, 3), np.nan, dtype=np.float32),
        fidelity=np.zeros(2, dtype=np.int64),
        kind=np.full(2, "response"),
        group=np.array([group, "unknown"]),
        displacement=shift.astype(np.float32),
        polarisation=unknown,
    )


def test_screened_charges_act_as_the_charges_screened_by_the_electrons() -> None:
    """Z^T eps^-1 Z is what two displacements interact with."""
    screened = screened_charges(record())
    expected = np.einsum("aji,jk,bkl->abil", CHARGES, np.linalg.inv(EPSILON), CHARGES)
    np.testing.assert_allclose(np.einsum("aji,bjl->abil", screened, screened), expected, atol=1e-12)


def test_polarisation_is_the_sum_over_the_images_of_each_atom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polarisation, "load_records", lambda *_: [record()])
    monkeypatch.setattr(Path, "exists", lambda _: True)
    found = frames()
    with_polarisation(found, Path("data"), ("train",))
    screened = screened_charges(record())
    which = (found.numbers[:8] == 8).astype(int)
    expected = sum(screened[kind] @ shift for kind, shift in zip(which, found.displacement[:8], strict=True))
    np.testing.assert_allclose(found.polarisation[0], expected, atol=1e-6)
    assert np.isnan(found.polarisation[1]).all()  # a crystal without charges


@pytest.mark.parametrize("records", [[], [record(("eps_inf_suspect",))]])
def test_without_trusted_charges_nothing_is_known(monkeypatch: pytest.MonkeyPatch, records: list[Record]) -> None:
    monkeypatch.setattr(polarisation, "load_records", lambda *_: records)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    found = frames()
    with_polarisation(found, Path("data"), ("train",))
    assert np.isnan(found.polarisation).all()


def test_another_structure_under_the_same_name_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polarisation, "load_records", lambda *_: [record()])
    monkeypatch.setattr(Path, "exists", lambda _: True)
    found = frames()
    found.numbers[:8] = found.numbers[:8][::-1]
    with_polarisation(found, Path("data"), ("train",))
    assert np.isnan(found.polarisation).all()


def test_a_folder_without_charges_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with_polarisation(frames(), tmp_path, ("train",))
    assert "polarisation of displacements is not learned" in caplog.text
