"""quacc's generic recipes on our calculator; runs where quacc is installed (.ci/peers)."""

import numpy as np
import pytest
from ase.build import bulk

from ase_comformer import GMTNetCalculator, respond

quacc = pytest.importorskip("quacc")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Calculations run and leave their files in a folder of the test."""
    monkeypatch.chdir(tmp_path)
    with quacc.change_settings({"RESULTS_DIR": tmp_path, "SCRATCH_DIR": tmp_path}):
        yield


def arguments() -> dict:
    """As a quacc job passes them: JSON-able."""
    return {"dtype": "float64", "results_also": ("becs", "polarizability")}


def relax_job(atoms, **calc_kwargs):
    """Relax in the way of quacc's recipes: a runner, and a summary that its databases take."""
    from quacc.runners.ase import Runner
    from quacc.schemas.ase import Summarize

    runner = Runner(atoms, GMTNetCalculator(**calc_kwargs))
    dynamics = runner.run_opt(relax_cell=True, fmax=1e-3)
    return Summarize(additional_fields={"name": "ase-comformer relax"}).opt(dynamics)


def static_job(atoms, **calc_kwargs):
    """A single point in the way of quacc's recipes."""
    from quacc.runners.ase import Runner
    from quacc.schemas.ase import Summarize

    final = Runner(atoms, GMTNetCalculator(**calc_kwargs)).run_calc()
    return Summarize(additional_fields={"name": "ase-comformer static"}).run(final, atoms)


def test_a_relaxation_is_summarised():
    found = relax_job(bulk("MgO", "rocksalt", a=4.35), **arguments())
    assert found["converged"]
    assert found["parameters"]["dtype"] == "float64"
    expected = respond(bulk("MgO", "rocksalt", a=4.35), relax="cell", fmax=1e-4).primitive.cell.volume
    assert found["atoms"].get_volume() == pytest.approx(expected, rel=2e-3)


def test_results_of_a_single_point_hold_what_was_asked_for():
    found = static_job(bulk("MgO", "rocksalt", a=4.25), **arguments())
    assert found["results"]["becs"].shape == (2, 3, 3)
    assert np.asarray(found["results"]["polarizability"])[0, 0] > 1
    assert found["results"]["energy"] < 0


def test_phonons_by_the_generic_recipe():
    from quacc.recipes.common.phonons import phonon_subflow

    from ase_comformer.physics.phonopy_bridge import phonopy_with_forces

    crystal = respond(bulk("MgO", "rocksalt", a=4.25), relax="cell", fmax=1e-4)
    found = phonon_subflow(
        crystal.primitive,
        lambda atoms: static_job(atoms, dtype="float64"),
        min_lengths=None,
        supercell_matrix=((3, 0, 0), (0, 3, 0), (0, 0, 3)),
        t_max=300,
    )
    frequencies = np.asarray(found["results"]["mesh_properties"]["frequencies"])
    calculator = GMTNetCalculator(dtype="float64")
    phonon = phonopy_with_forces(
        crystal.primitive, (3, 3, 3), lambda cells: [calculator.get_forces(atoms) for atoms in cells]
    )
    phonon.run_mesh(100.0)
    assert frequencies.min() > -0.1
    assert frequencies.max() == pytest.approx(phonon.mesh.frequencies.max(), rel=0.01)
