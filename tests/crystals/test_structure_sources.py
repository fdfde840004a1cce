"""Which files names stand for, and structures one by one with their names, broken ones among them."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from ase_comformer.crystals.structure_sources import iter_sources, structure_paths
from ase_comformer.errors import UnreadableFileError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.cif", "a.cif", "deep/er/POSCAR_1", ".hidden/c.cif", "deep/.d.cif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ase.io.write(path, bulk("MgO", "rocksalt", a=4.2), format="vasp" if "POSCAR" in name else "cif")
    (tmp_path / "notes.txt").write_text("nothing")
    return tmp_path


def test_folders_are_searched_to_the_bottom_without_hidden_and_other_files(folder):
    found = [str(Path(path).relative_to(folder)) for path in structure_paths([folder])]
    assert found == ["a.cif", "b.cif", "deep/er/POSCAR_1"]


def test_patterns_are_sorted_and_every_file_comes_once(folder):
    found = structure_paths([folder / "b.cif", folder / "*.cif", folder])
    assert [Path(path).name for path in found] == ["b.cif", "a.cif", "POSCAR_1"]
    assert len(structure_paths([folder / "**" / "POSCAR*"])) == 1


def test_names_that_stand_for_nothing_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="No file fits the pattern"):
        structure_paths([folder / "*.xyz"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has no structure files"):
        structure_paths([tmp_path / "empty"])


def test_file_with_brackets_in_its_name_is_no_pattern(folder):
    ase.io.write(folder / "x[1].cif", bulk("MgO", "rocksalt", a=4.2))
    (source,) = iter_sources(structure_paths([folder / "x[1].cif"]))
    assert source.error is None


def test_a_stream_that_breaks_off_gives_its_frames_and_then_the_reason(tmp_path):
    path = tmp_path / "many.extxyz"
    ase.io.write(path, [bulk("MgO", "rocksalt", a=a) for a in (4.1, 4.2, 4.3)])
    path.write_text(path.read_text()[:-40])
    sources = list(iter_sources([path]))
    assert [source.error is None for source in sources] == [True, True, False]
    assert isinstance(sources[-1].error, UnreadableFileError)
    assert "beyond structure 2" in str(sources[-1].error)


def test_indices_with_a_step_are_names_of_their_structures(tmp_path):
    path = tmp_path / "many.extxyz"
    ase.io.write(path, [bulk("MgO", "rocksalt", a=4 + 0.1 * number) for number in range(6)])
    sources = list(iter_sources([f"{path}@1:6:2"]))
    assert [source.name for source in sources] == [f"{path}@1", f"{path}@3", f"{path}@5"]
    for source in sources:
        (again,) = iter_sources([source.name])
        np.testing.assert_allclose(again.atoms.cell.array, source.atoms.cell.array)


def test_missing_file_is_a_source_with_an_error(tmp_path):
    (source,) = iter_sources([tmp_path / "nowhere.cif"])
    assert isinstance(source.error, FileNotFoundError)
