"""Records to and from every format: nothing is lost, and other programs find what they look for."""

import json

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms

from ase_comformer.errors import UnreadableFileError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.records import FORMATS, PropertyValue, ResultRecord, read_records, records_of, write_records
from tiny import tiny_bundle


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[ResultRecord]:
    """A salt, a crystal of five atoms in P1 with all sorts of information, and a molecule without tensors."""
    model = tiny_bundle(tmp_path_factory.mktemp("records"))
    odd = bulk("NaCl", "rocksalt", a=5.64).repeat((2, 1, 1))
    odd.rattle(0.1, seed=3)
    odd.info.update({"name": 'odd "one" {=}, with\nlines', "table": np.arange(6).reshape(2, 3), "nested": {"a": [1.5]}})
    odd.set_initial_magnetic_moments([1.0, 0, 0, -1.0])
    odd.set_array("labels", np.array(["a", "b", "c", "d"]))
    odd.set_constraint(FixAtoms([1]))
    predictor = Predictor(model=model, dtype="float64")
    structures = [bulk("NaCl", "rocksalt", a=5.64), odd, molecule("H2O")]
    with pytest.warns(UserWarning, match="Initial magnetic moments are ignored"):
        results = predictor.predict(structures)
    # a network with an expected error of its own, of another shape than the value
    results[0]["elastic_tensor_uncertainty"] = 3.25
    return list(records_of(predictor, structures, results))


def assert_same(one, other) -> None:
    """Equal to the last bit, types of numbers and shapes of arrays included."""
    assert type(one) is type(other), (one, other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, np.ndarray):
        assert one.dtype.kind == other.dtype.kind
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.filterwarnings("ignore:.*constraint:UserWarning")
def test_nothing_is_lost(records, suffix, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"records{suffix}"
    write_records(path, iter(records))
    found = list(read_records(path))
    assert len(found) == len(records)
    for record, other in zip(records, found, strict=True):
        assert (other.model, other.fingerprint) == (record.model, record.fingerprint)
        assert_same(record.settings, other.settings)
        assert_same(record.metadata, other.metadata)
        assert set(record.values) == set(other.values)
        for name, value in record.values.items():
            for part in ("value", "unit", "functional", "kind", "uncertainty"):
                assert_same(getattr(value, part), getattr(other.values[name], part))
        assert record.atoms == other.atoms
        for part in ("positions", "cell", "pbc"):
            np.testing.assert_array_equal(getattr(other.atoms, part), getattr(record.atoms, part))
        assert_same(dict(sorted(record.atoms.arrays.items())), dict(sorted(other.atoms.arrays.items())))
        assert_same(record.atoms.info, other.atoms.info)
        assert [str(each) for each in other.atoms.constraints] == [str(each) for each in record.atoms.constraints]


def test_a_record_says_what_its_values_are(records):
    salt = records[0]
    elastic = salt.values["elastic_tensor"]
    assert (elastic.unit, elastic.uncertainty) == ("GPa", 3.25)
    assert elastic.functional.startswith("PBE")
    assert "elastic_tensor_uncertainty" not in salt.values
    result = salt.as_result()
    assert result["elastic_tensor_uncertainty"] == 3.25
    assert result["status"] == salt.metadata["status"]
    assert len(salt.fingerprint) == 64
    assert records[2].metadata["errors"]


def test_ase_finds_energy_forces_and_stress_in_its_formats(records, tmp_path):
    for suffix in (".extxyz", ".db"):
        write_records(tmp_path / f"all{suffix}", records)
        for record, atoms in zip(records, ase.io.read(tmp_path / f"all{suffix}", ":"), strict=True):
            values = record.values
            assert atoms.get_potential_energy() == pytest.approx(values["energy"].value, abs=1e-7)
            np.testing.assert_allclose(atoms.get_forces(apply_constraint=False), values["forces"].value, atol=1e-7)
            if "stress" in values:
                np.testing.assert_allclose(atoms.get_stress(), values["stress"].value, atol=1e-7)
    frames = ase.io.read(tmp_path / "all.extxyz", ":")
    np.testing.assert_allclose(frames[0].info["elastic_tensor"], records[0].values["elastic_tensor"].value, atol=1e-6)
    charges = frames[1].arrays["born_charges"].reshape(4, 3, 3)
    np.testing.assert_allclose(charges, records[1].values["born_effective_charges"].value, atol=1e-7)
    with ase.db.connect(tmp_path / "all.db") as database:
        energy = records[0].values["formation_energy"].value
        rows = list(database.select(f"formation_energy<{energy + 1e-6},formation_energy>{energy - 1e-6}"))
        assert rows[0].model_fingerprint == f"sha256:{records[0].fingerprint}"


def test_parquet_is_a_table_that_says_its_units(records, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_records(tmp_path / "all.parquet", records)
    table = parquet.read_table(tmp_path / "all.parquet")
    assert table.schema.field("elastic_tensor").metadata[b"unit"] == b"GPa"
    assert table.schema.field("born_effective_charges").metadata[b"shape"] == b"[-1, 3, 3]"
    assert table.column("formula").to_pylist()[0] == "ClNa"
    assert table.column("elastic_tensor").to_pylist()[2] is None
    assert len(table.column("elastic_tensor").to_pylist()[0]) == 36


def test_one_column_has_one_unit(records, tmp_path):
    pytest.importorskip("pyarrow")
    other = PropertyValue(1.0, "kJ/mol", "PBE", "energy surface")
    mixed = [records[0], ResultRecord(bulk("Cu"), {"energy": other}, "m", "f")]
    with pytest.raises(ValueError, match="disagree about the unit of energy: 'eV' and 'kJ/mol'"):
        write_records(tmp_path / "mixed.parquet", mixed)


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_without_records_are_refused(suffix, tmp_path):
    path = tmp_path / f"other{suffix}"
    if suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({"a": [1]}), path)
    elif suffix == ".jsonl":
        path.write_text('{"a": 1}\n')
    else:
        ase.io.write(path, Atoms("H", cell=[3] * 3, pbc=True))
    with pytest.raises(UnreadableFileError, match="holds no records"):
        list(read_records(path))


def test_unknown_endings_missing_files_and_later_versions_are_refused(records, tmp_path):
    with pytest.raises(ValueError, match=r"none of \.jsonl, \.extxyz, \.db, \.parquet"):
        write_records(tmp_path / "table.xlsx", records)
    with pytest.raises(FileNotFoundError, match="no file"):
        list(read_records(tmp_path / "nothing.jsonl"))
    later = records[0].as_dict() | {"version": 99}
    with pytest.raises(ValueError, match="written by a later"):
        ResultRecord.from_dict(json.loads(json.dumps(later)))


def test_no_records_are_an_empty_file(tmp_path):
    pytest.importorskip("pyarrow")
    for suffix in (".jsonl", ".parquet"):
        write_records(tmp_path / f"empty{suffix}", [])
        assert list(read_records(tmp_path / f"empty{suffix}")) == []
