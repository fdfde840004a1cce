"""D3 dispersion: derivatives of its own energies, one switch, nothing where it is off."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule

from ase_comformer import GMTNetCalculator
from ase_comformer.errors import UnknownNameError
from ase_comformer.physics.dispersion import Dispersion

pytest.importorskip("dftd3")


def graphite(height: float = 3.35) -> Atoms:
    layer = graphene(vacuum=0.0)
    layer.set_cell([*layer.cell.array[:2], [0, 0, 2 * height]])
    other = layer.copy()
    other.positions += [0, layer.cell.array[1, 1] * 2 / 3, height]
    both = layer + other
    both.pbc = True
    return both


@pytest.mark.parametrize("atoms", [graphite(), bulk("Ar", "fcc", 5.3), molecule("CH3OH")], ids=str)
def test_forces_and_stress_are_differences_of_energies(atoms: Atoms) -> None:
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=0)
    dispersion, step = Dispersion("d3bj"), 1e-3
    found = dispersion.evaluate(atoms)
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[0, 2] += sign * step
        ends.append(dispersion.evaluate(moved)["energy"])
    assert found["forces"][0, 2] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-5)
    if not atoms.pbc.all():
        assert "stress" not in found
        return
    for index, voigt in (((0, 0), 0), ((2, 2), 2), ((0, 1), 5)):
        ends = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[index] += sign * step / 2
            strain[index[::-1]] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            ends.append(dispersion.evaluate(strained)["energy"])
        expected = (ends[0] - ends[1]) / (2 * step) / atoms.get_volume()
        # pairs that cross the library's sharp cut-off of 60 Bohr make differences of energies uneven
        assert found["stress"][voigt] == pytest.approx(expected, rel=0.03, abs=1e-5)


def test_one_switch_adds_it_to_energies_forces_and_stresses() -> None:
    atoms = graphite()
    atoms.rattle(0.02, seed=1)
    plain, with_it = GMTNetCalculator(), GMTNetCalculator(dispersion="d3bj")
    extra = Dispersion("d3bj").evaluate(atoms)
    for name in ("energy", "forces", "stress"):
        expected = plain.get_property(name, atoms) + extra[name]
        np.testing.assert_allclose(with_it.get_property(name, atoms), expected, atol=1e-9)
    assert extra["energy"] < -0.1
    assert with_it.todict()["dispersion"] == "d3bj"


def test_a_name_that_is_none_lists_the_choices() -> None:
    with pytest.raises(UnknownNameError, match="d3bj"):
        GMTNetCalculator(dispersion="d9")
