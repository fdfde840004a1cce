"""The shipped potential obeys what random weights do: derivatives, zero net force, extensivity, invariance; float64.

Tolerances of issue 4: finite differences within 1e-6 eV/A and eV/A^3, everything else 1e-10 relative to max(norm, 1).
"""

from functools import cache

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given, settings

from ase_comformer import predict
from ase_comformer.inference.potential_evaluator import PotentialEvaluator
from ase_comformer.models.registry import Model, available_models, load_model
from ase_comformer.testing import (
    assert_relative,
    niggli_cell,
    permute_atoms,
    rotate_atoms,
    rotations,
    shift_origin,
    supercell,
)
from potential_structures import INVARIANCE, STRUCTURES, assert_derivatives, distorted, turned_stress
from seven_systems import ALL_CRYSTALS

CRYSTALS = {name: distorted(ALL_CRYSTALS[name]) for name in ("quartz 32", "MgB2 6/mmm", "rutile 4/mmm")}
CRYSTALS |= {name: STRUCTURES[name] for name in ("triclinic", "one atom")}
#: issue 4 asks for finite differences on that many structures
COVERED_AT_LEAST = 20


@cache
def model() -> Model | None:
    """The default model, where it is shipped and has energies."""
    if "default" not in available_models():
        return None
    loaded = load_model("default", "cpu", "float64")
    return loaded if "energy" in loaded.properties else None


def is_covered(atoms: Atoms) -> bool:
    loaded = model()
    return loaded is not None and set(map(str, atoms.symbols)) <= loaded.elements("energy")


pytestmark = [
    pytest.mark.skipif(model() is None, reason="the default bundle has no energy"),
    # of isolated atoms, wires and distorted crystals, on purpose
    pytest.mark.filterwarnings("ignore:.*far outside the training domain"),
]


def surface(**options: object) -> PotentialEvaluator:
    loaded = model()
    assert loaded is not None
    return PotentialEvaluator(loaded.entries("energy"), **options)


def evaluate(atoms: Atoms) -> dict:
    if not is_covered(atoms):
        pytest.skip(f"the default model does not cover {atoms.get_chemical_formula()}")
    return surface().evaluate(atoms)


def test_twenty_structures_are_covered() -> None:
    assert sum(map(is_covered, STRUCTURES.values())) >= COVERED_AT_LEAST


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_and_stress_are_the_derivatives_of_the_energy(name: str) -> None:
    atoms = STRUCTURES[name]
    evaluate(atoms)
    assert_derivatives(surface(), surface(use_symmetry=False, skin=0.0), atoms, moved=1)


@pytest.mark.parametrize("name", ["MgO m-3m", "rutile 4/mmm", "quartz 32"])
def test_forces_and_stress_of_symmetric_crystals_are_derivatives_too(name: str) -> None:
    from ase_comformer.crystals.space_group import analyse_space_group

    atoms = analyse_space_group(ALL_CRYSTALS[name]).primitive
    atoms = atoms.repeat((1, 1, -(-16 // len(atoms))))  # smaller ones are evaluated on plain graphs
    atoms.set_cell(atoms.cell.array * 0.98, scale_atoms=True)
    reduced = surface()
    assert_derivatives(reduced, surface(use_symmetry=False, skin=0.0), atoms)
    (graph,) = reduced.prepare(atoms).graphs.values()
    assert graph.is_reduced, "evaluated on a plain graph"


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_sum_to_zero(name: str) -> None:
    forces = evaluate(STRUCTURES[name])["forces"]
    assert np.abs(forces.sum(axis=0)).max() < INVARIANCE * max(1.0, np.abs(forces).max())


@pytest.mark.parametrize("name", CRYSTALS)
@settings(max_examples=4, deadline=None)
@given(rotation=rotations())
def test_rotation_turns_forces_and_stress(name: str, rotation: np.ndarray) -> None:
    before, after = (evaluate(atoms) for atoms in (CRYSTALS[name], rotate_atoms(CRYSTALS[name], rotation)))
    assert_relative(after["energy"], before["energy"], INVARIANCE)
    assert_relative(after["forces"], before["forces"] @ rotation.T, INVARIANCE)
    assert_relative(after["stress"], turned_stress(before["stress"], rotation), INVARIANCE)


@pytest.mark.parametrize("name", CRYSTALS)
def test_origin_and_order_do_not_matter(name: str) -> None:
    atoms = CRYSTALS[name]
    before = evaluate(atoms)
    shifted = evaluate(shift_origin(atoms, np.array([0.3, 1.7, -0.4])))
    order = np.random.default_rng(0).permutation(len(atoms))
    permuted = evaluate(permute_atoms(atoms, order))
    for after, rows in ((shifted, slice(None)), (permuted, order)):
        assert_relative(after["energy"], before["energy"], INVARIANCE)
        assert_relative(after["energies"], before["energies"][rows], INVARIANCE)
        assert_relative(after["forces"], before["forces"][rows], INVARIANCE)
        assert_relative(after["stress"], before["stress"], INVARIANCE)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("cell", ["supercell", "skew supercell", "Niggli cell"])
def test_the_choice_of_cell_does_not_matter(name: str, cell: str) -> None:
    atoms = CRYSTALS[name]
    choices = {
        "supercell": lambda: supercell(atoms, (2, 1, 2)),
        "skew supercell": lambda: supercell(atoms, np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 2]])),
        "Niggli cell": lambda: niggli_cell(atoms),
    }
    other, origin = choices[cell]()
    before, after = evaluate(atoms), evaluate(other)
    assert_relative(after["energy"] / len(other), before["energy"] / len(atoms), INVARIANCE)
    assert_relative(after["energies"], before["energies"][origin], INVARIANCE)
    assert_relative(after["forces"], before["forces"][origin], INVARIANCE)
    assert_relative(after["stress"], before["stress"], INVARIANCE)


@pytest.mark.parametrize("symbol", ["H", "O", "Cu"])
def test_isolated_atoms_have_no_forces_and_add_up(symbol: str) -> None:
    alone = evaluate(Atoms(symbol, cell=[20, 20, 20], pbc=True))
    pair = evaluate(Atoms([symbol, symbol], [[0, 0, 0], [10, 0, 0]], cell=[20, 20, 20], pbc=True))
    assert not alone["forces"].any()
    assert pair["energy"] == 2 * alone["energy"]


@pytest.mark.parametrize(("name", "measured"), [("H2", 4.75), ("N2", 9.9), ("O2", 5.2), ("HCl", 4.6), ("NaCl", 4.3)])
def test_atoms_that_leave_a_molecule_climb_to_isolated_ones(name: str, measured: float) -> None:
    """Dissociation energies (eV, without vibrations) near measured ones; hardly a barrier on the way (H2: 0.2 eV)."""
    atoms = molecule(name)
    atoms.pbc = False
    start = atoms.get_distance(0, 1)
    energies = []
    for distance in np.linspace(start, 6.0, 40):
        atoms.set_distance(0, 1, distance, fix=0)
        energies.append(evaluate(atoms)["energy"])
    assert energies[-1] - energies[0] == pytest.approx(measured, rel=0.3)
    assert max(energies) - energies[-1] < 0.3


@pytest.mark.parametrize(("symbol", "measured"), [("Si", 4.63), ("Cu", 3.49), ("Al", 3.39), ("W", 8.90)])
def test_crystals_hold_together_as_measured(symbol: str, measured: float) -> None:
    """Cohesive energies (eV/atom, Kittel) within the errors of PBE."""
    crystal = bulk(symbol)
    atom = Atoms(symbol, cell=[20, 20, 20], pbc=True)
    found = evaluate(atom)["energy"] - evaluate(crystal)["energy"] / len(crystal)
    assert found == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize(("name", "structure", "size"), [("NaCl", "rocksalt", 5.64), ("MgO", "rocksalt", 4.21)])
def test_long_waves_obey_lyddane_sachs_and_teller(name: str, structure: str, size: float) -> None:
    """Squares of longitudinal and transverse frequencies are as the static and the electronic dielectric constant.

    The wave is far longer than what a network knows of an atom's surroundings: the dipoles do that.
    """
    loaded = model()
    assert loaded is not None
    crystal = bulk(name, structure, a=size, cubic=True).repeat((8, 1, 1))
    wave = np.cos(2 * np.pi * crystal.get_scaled_positions()[:, 0])
    sign = np.where(crystal.numbers == crystal.numbers[0], 1.0, -1.0)
    pattern = 0.1 * wave * sign / crystal.get_masses()  # of the two sublattices against each other

    def stiffness(axis: int) -> float:
        moved = crystal.copy()
        moved.positions[:, axis] += pattern
        return -float(evaluate(moved)["forces"][:, axis] @ pattern)

    tensors = predict([bulk(name, structure, a=size)], ["dielectric_tensor", "static_dielectric_tensor"])[0]
    expected = tensors["static_dielectric_tensor"][0, 0] / tensors["dielectric_tensor"][0, 0]
    assert stiffness(0) / stiffness(1) == pytest.approx(expected, rel=0.2)
