"""Calculations of one's own: collected, trained on from given weights, exported, used."""

import gzip
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_comformer import GMTNetCalculator
from ase_comformer.errors import UnknownNameError, UnreadableFileError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.frame_sources import load_frames
from ase_comformer.training.data.own_calculations import collect
from ase_comformer.training.data.records import load_records
from ase_comformer.training.export import run as export
from ase_comformer.training.fine_tuning import write_fine_tuning_config
from ase_comformer.training.runs import run as train
from first_principles_files import distinct_tensors, write_vasprun
from tiny import tiny_bundle

#: eV/A^2
SPRING = 3.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A bundle of random networks that are small."""
    return tiny_bundle(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def predictor(model):
    return Predictor(model=model, dtype="float64")


def run_of(seed: int, shift: float, predictor: Predictor) -> list[Atoms]:
    """Steps of a crystal on the potential's surface, moved by an energy per atom, with springs to places of rest."""
    steps = []
    for k in range(4):
        atoms = bulk("KCl", "rocksalt", a=6.3).repeat((2, 1, 1))
        atoms = atoms[np.argsort(atoms.numbers, kind="stable")]
        rest = atoms.positions.copy()
        atoms.rattle(0.1, seed=10 * seed + k)
        moved = atoms.positions - rest
        found = predictor.evaluate(atoms, ["energy", "forces", "stress"])
        energy = found["energy"] + shift * len(atoms) + SPRING / 2 * (moved**2).sum()
        forces = found["forces"] - SPRING * moved
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=found["stress"])
        steps.append(atoms)
    return steps


@pytest.fixture
def files(tmp_path, predictor):
    """Five runs, of which one is extended XYZ, and two calculations of tensors."""
    paths = []
    for seed in range(4):
        steps = run_of(seed, 0.7, predictor)
        paths.append(tmp_path / f"run{seed}.xml")
        write_vasprun(paths[-1], steps[0], {}, steps, mode=0)
    ase.io.write(tmp_path / "run4.extxyz", run_of(4, 0.7, predictor))
    crystals = {"KCl": bulk("KCl", "rocksalt", a=6.3), "CaS": bulk("CaS", "rocksalt", a=5.7)}
    for name, atoms in crystals.items():
        paths.append(tmp_path / f"dielectric-{name}.xml")
        tensors = {
            "dielectric_tensor": 2.0 * np.eye(3),
            "born_effective_charges": distinct_tensors(2)["born_effective_charges"],
        }
        write_vasprun(paths[-1], atoms, tensors)
    return [*paths, tmp_path / "run4.extxyz"]


def test_frames_and_tensors_are_collected(files, predictor, tmp_path):
    other = tmp_path / "POSCAR"
    other.write_text("nothing\n")
    found = collect([*files[:4], *files[6:], other], tmp_path / "data", "mine", predictor=predictor)
    assert found.frames == {"train": 16, "val": 4}
    assert list(found.skipped) == [str(other)]
    shift = sum(found.energy_shifts.values()) / 2
    assert shift == pytest.approx(0.7, abs=0.05)  # and the mean energy of the springs
    frames = load_frames("mine", ["train", "val"], tmp_path / "data")
    wanted = run_of(0, 0.0, predictor)
    np.testing.assert_allclose(
        frames.energy[:4], [atoms.get_potential_energy() + 4 * (0.7 - shift) for atoms in wanted], atol=1e-6
    )
    np.testing.assert_allclose(frames.forces[:4], wanted[0].get_forces(), atol=1e-5)
    np.testing.assert_allclose(frames.stress[0], wanted[0].get_stress(voigt=False), atol=1e-6)
    assert len(np.unique(load_frames("mine", ["val"], tmp_path / "data").group)) == 1


def test_tensors_become_records_of_whole_calculations(files, predictor, tmp_path):
    found = collect(files, tmp_path / "data", "mine", predictor=predictor)
    assert found.tensors == {"train": 1, "val": 1}
    (record,) = load_records("mine_tensors", tmp_path / "data", ["train"])
    np.testing.assert_allclose(record.labels["dielectric_tensor"], 2 * np.eye(3))
    assert record.labels["born_effective_charges"].shape == (2, 3, 3)
    assert record.extras["functional"] == "PBE"


def test_one_calculation_is_split_and_its_tensors_cause_a_warning(files, predictor, tmp_path):
    found = collect(files[:1], tmp_path / "data", "mine", validation=0.25, predictor=predictor)
    assert found.frames == {"train": 3, "val": 1}
    with pytest.warns(UserWarning, match="teach and validate"):
        collect(files[4:5], tmp_path / "data", "one", predictor=predictor)
    with gzip.open(tmp_path / "data" / "one_tensors.jsonl.gz", "rt") as lines:
        assert [json.loads(line)["split"] for line in lines] == ["train", "val"]


def test_measured_formulas_cause_a_warning_and_nothing_is_an_error(predictor, tmp_path):
    atoms = bulk("ZnO", "zincblende", a=4.6)
    write_vasprun(tmp_path / "zno.xml", atoms, {})
    with pytest.warns(UserWarning, match="ZnO: figures in model cards"):
        collect([tmp_path / "zno.xml"], tmp_path / "data", "zno", predictor=Predictor())
    (tmp_path / "INCAR").write_text("NSW = 0\n")
    with pytest.raises(UnreadableFileError, match="No frames and no tensors in 1 files"):
        collect([tmp_path / "INCAR"], tmp_path / "data", "none", predictor=predictor)


def test_runs_start_from_the_weights_of_the_model_and_end_in_weights_that_predict(
    files, predictor, model, tmp_path, monkeypatch
):
    collect(files, tmp_path / "data", "mine", predictor=predictor)
    monkeypatch.setenv("ASE_COMFORMER_DATA", str(tmp_path / "data"))
    short = {"epochs": 12, "samples_per_epoch": 32, "learning_rate": 2e-2, "initial_share": 0.0}
    path = write_fine_tuning_config(tmp_path / "mine.toml", "mine", "energy", ["mine"], model=model, settings=short)
    assert TrainingConfig.read(path).keep_references
    train(path)
    weights = export(tmp_path / "runs" / "mine", tmp_path / "weights")
    tuned = GMTNetCalculator(model=weights, dtype="float64")
    assert "energy_uncertainty" not in tuned.implemented_properties
    errors = []
    for calculator in (predictor.evaluate, lambda atoms, names: {"forces": tuned.get_property("forces", atoms)}):
        unseen = run_of(77, 0.0, predictor)
        errors.append(np.mean([np.abs(calculator(a, ["forces"])["forces"] - a.get_forces()).mean() for a in unseen]))
    assert errors[1] < 0.9 * errors[0]


def test_heads_of_tensor_networks_are_tuned_the_same_way(files, predictor, model, tmp_path, monkeypatch):
    collect(files, tmp_path / "data", "mine", predictor=predictor)
    monkeypatch.setenv("ASE_COMFORMER_DATA", str(tmp_path / "data"))
    settings = {"epochs": 30, "learning_rate": 3e-3, "initial_share": 0.0}
    path = write_fine_tuning_config(
        tmp_path / "eps.toml", "eps", "dielectric_tensor", ["mine_tensors"], model=model, settings=settings
    )
    train(path)
    weights = export(tmp_path / "runs" / "eps", tmp_path / "weights", properties=["dielectric_tensor"])
    (record,) = load_records("mine_tensors", tmp_path / "data", ["train"])
    before, after = (
        np.abs(GMTNetCalculator(model=m).get_property("dielectric_tensor", record.atoms) - 2 * np.eye(3)).max()
        for m in (model, weights)
    )
    assert after < 0.7 * before
    with pytest.raises(UnknownNameError, match="has no property 'colour'"):
        write_fine_tuning_config(tmp_path / "x.toml", "x", "colour", ["mine"], model=model)
