"""Screenings that are broken off, killed and resumed end with the table of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from ase_comformer import predict
from ase_comformer.models.registry import load_model

pytest.importorskip("pyarrow")

from ase_comformer.workflows.screen import screen
from ase_comformer.workflows.screening import chunks as chunk_module
from ase_comformer.workflows.screening.places import WorkerDiedError, place
from ase_comformer.workflows.screening.shards import read_screen

NAMES = ["elastic_tensor", "formation_energy"]


def salts(count, start=0):
    return [bulk("NaCl", "rocksalt", a=5.4 + 0.002 * (start + number)) for number in range(count)]


@pytest.fixture
def files(tmp_path):
    """23 crystals, two of which are none, in a stream, a POSCAR and an empty CIF."""
    structures = salts(20)
    structures[7].pbc = False
    structures[13] = Atoms("Cu2", [[0, 0, 0], [0, 0, 0.01]], cell=[4, 4, 4], pbc=True)
    ase.io.write(tmp_path / "many.extxyz", structures)
    for number, atoms in enumerate(salts(2, start=100)):
        ase.io.write(tmp_path / f"POSCAR{number}", atoms)
    (tmp_path / "empty.cif").write_text("")
    return [tmp_path / "many.extxyz", tmp_path / "POSCAR*", tmp_path / "empty.cif"]


def same(first, second):
    """Two tables with the same rows, in the same order, and the same numbers."""
    assert [row["source"] for row in first] == [row["source"] for row in second]
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            if isinstance(value, np.ndarray | float):
                np.testing.assert_allclose(value, other[key], atol=1e-4)
            else:
                assert value == other[key], key
    return True


def test_table_has_what_predict_returns_and_reasons_for_the_rest(files, tmp_path, tiny_model):
    result = screen(files, tmp_path / "out", NAMES, chunk_size=6, model=tiny_model)
    table = read_screen(tmp_path / "out")
    assert result.computed == len(table) == 23
    assert len({(row["source"], row["structure_hash"]) for row in table}) == 23
    assert sorted(Path(source).name for source, _ in result.failures) == [
        "empty.cif", "many.extxyz@13", "many.extxyz@7",
    ]  # fmt: skip
    assert all(row["fingerprint"] == load_model(tiny_model).fingerprint for row in table)
    assert result.incomplete == []  # only tensors and formation energies were asked for
    (expected,) = predict([salts(5)[4]], NAMES, model=tiny_model)
    (row,) = [row for row in table if row["source"].endswith("many.extxyz@4")]
    np.testing.assert_allclose(row["elastic_tensor"], expected["elastic_tensor"], atol=1e-4)
    assert row["formation_energy"] == pytest.approx(expected["formation_energy"], abs=1e-5)
    assert row["space_group"] == "Fm-3m"


def test_broken_off_and_resumed_gives_the_same_table_without_repetition(files, tmp_path, tiny_model):
    screen(files, tmp_path / "whole", NAMES, chunk_size=5, model=tiny_model)

    class StopError(Exception):
        pass

    def stop(count):
        raise StopError

    with pytest.raises(StopError):
        screen(files, tmp_path / "parts", NAMES, chunk_size=5, progress=stop, model=tiny_model)
    done = len(read_screen(tmp_path / "parts"))
    assert 0 < done < 23
    (tmp_path / "parts" / ".shard-x.parquet.unfinished").write_text("half a file")
    result = screen(files, tmp_path / "parts", NAMES, chunk_size=5, model=tiny_model)
    assert (result.known, result.computed) == (done, 23 - done)
    assert same(read_screen(tmp_path / "whole"), read_screen(tmp_path / "parts"))
    assert not list((tmp_path / "parts").glob(".shard*"))
    assert screen(files, tmp_path / "parts", NAMES, model=tiny_model).computed == 0


def test_changed_structures_and_other_models_are_computed_anew(files, tmp_path, tiny_model, model_directory):
    screen(files, tmp_path / "out", NAMES, model=tiny_model)
    ase.io.write(tmp_path / "POSCAR0", bulk("NaCl", "rocksalt", a=6.1))
    assert screen(files, tmp_path / "out", NAMES, model=tiny_model).computed == 1
    assert screen(files, tmp_path / "out", NAMES, model=model_directory / "tiny2.json").computed == 23
    assert screen(files, tmp_path / "out", NAMES[:1], model=tiny_model).computed == 23


def test_a_structure_that_kills_its_process_is_found_and_recorded(files, tmp_path, tiny_model, monkeypatch):
    """The place is replaced by one whose worker dies whenever a certain structure is in the chunk."""
    import contextlib
    from concurrent.futures import Future

    def deadly(function, chunk, *arguments):
        future = Future()
        names = [item if isinstance(item, str) else item.name for item in chunk.items]
        if any(name.endswith("@3") for name in names):
            future.set_exception(WorkerDiedError("signal 9"))
        else:
            future.set_result(function(chunk, *arguments))
        return future

    monkeypatch.setattr("ase_comformer.workflows.screen.place", lambda *_: contextlib.nullcontext(deadly))
    result = screen(files, tmp_path / "out", NAMES, chunk_size=8, model=tiny_model)
    assert result.computed == 23
    died = [message for source, message in result.failures if source.endswith("@3")]
    assert len(died) == 1
    assert "no process survives" in died[0]
    assert len(result.failures) == 4


def test_two_runs_do_not_share_a_folder(files, tmp_path, tiny_model):
    def again(count):
        screen(files, tmp_path / "out", NAMES, model=tiny_model)

    with pytest.raises(BlockingIOError, match="Another run"):
        screen(files, tmp_path / "out", NAMES, progress=again, model=tiny_model)


def test_schedulers_are_named_and_workers_counted():
    with pytest.raises(ValueError, match="'local', or the address"), place(1, "my-cluster"):
        pass
    with pytest.raises(ValueError, match="at least 1"), place(0, None):
        pass


@pytest.mark.slow
def test_a_pool_of_processes_survives_the_death_of_one():
    with place(2, None) as submit:
        with pytest.raises(WorkerDiedError):
            submit(os._exit, 1).result(timeout=300)
        assert submit(abs, -3).result(timeout=300) == 3
        assert submit(torch.get_num_threads).result(timeout=300) == 1


@pytest.mark.slow
def test_kill_in_the_middle_and_resume_gives_the_same_table(tmp_path, tiny_model):
    ase.io.write(tmp_path / "many.extxyz", salts(400))
    command = [
        sys.executable, "-c", "from ase_comformer.cli import app; app()", "screen", str(tmp_path / "many.extxyz"),
        "--folder", str(tmp_path / "killed"), "-p", "elastic_tensor", "--model", tiny_model, "--chunk-size", "10",
        "--workers", "2", "--json",
    ]  # fmt: skip
    running = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").glob("shard*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    done = len(read_screen(tmp_path / "killed"))
    assert 0 < done < 400
    finished = subprocess.run(command, capture_output=True, check=True)
    summary = json.loads(finished.stdout)
    assert (summary["known"], summary["computed"]) == (done, 400 - done)
    screen([tmp_path / "many.extxyz"], tmp_path / "whole", "elastic_tensor", model=tiny_model)
    assert same(read_screen(tmp_path / "whole"), read_screen(tmp_path / "killed"))


@pytest.mark.slow
def test_dask_gives_the_same_table_also_after_a_worker_died(tmp_path, tiny_model):
    distributed = pytest.importorskip("distributed")
    ase.io.write(tmp_path / "many.extxyz", salts(120))
    screen([tmp_path / "many.extxyz"], tmp_path / "here", NAMES, model=tiny_model)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        assert "127.0.0.1" in cluster.scheduler_address
        workers = [worker.pid for worker in cluster.workers.values()]
        assert len(workers) == 2
        killed = []

        def kill_one(count):
            if not killed:
                killed.append(workers[0])
                os.kill(workers[0], signal.SIGKILL)

        address = cluster.scheduler_address
        result = screen(
            [tmp_path / "many.extxyz"], tmp_path / "dask", NAMES,
            scheduler=address, chunk_size=5, progress=kill_one, model=tiny_model,
        )  # fmt: skip
    assert killed
    assert result.computed == 120
    assert not result.failures
    assert same(read_screen(tmp_path / "here"), read_screen(tmp_path / "dask"))


def test_files_are_hashed_by_content(tmp_path):
    ase.io.write(tmp_path / "a.cif", bulk("NaCl", "rocksalt", a=5.6))
    ase.io.write(tmp_path / "b.cif", bulk("NaCl", "rocksalt", a=5.6))
    first, second = chunk_module.iter_sources([tmp_path / "a.cif", tmp_path / "b.cif"])
    assert chunk_module.structure_hash(first) == chunk_module.structure_hash(second)


def test_what_lacks_some_properties_is_counted_apart(tmp_path):
    water = Atoms("OH2", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
    ase.io.write(tmp_path / "mixed.extxyz", [water, *salts(1)])
    result = screen([tmp_path / "mixed.extxyz"], tmp_path / "out", ["energy", "dielectric_tensor"])
    assert result.failures == []
    ((source, messages),) = result.incomplete
    assert source.endswith("@0")
    assert "dielectric_tensor" in json.loads(messages)
    first, second = read_screen(tmp_path / "out")
    assert "dielectric_tensor" not in first
    assert first["energy"] < 0
    assert second["dielectric_tensor"].shape == (3, 3)
