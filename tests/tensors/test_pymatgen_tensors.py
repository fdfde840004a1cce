"""Tensors as pymatgen's objects: indices, units and rotations agree with a program that has its own conventions."""

import numpy as np
import pytest

from ase_comformer.errors import UnknownNameError
from ase_comformer.tensors.forms import rotate
from ase_comformer.tensors.pymatgen_tensors import to_pymatgen
from ase_comformer.testing import random_rotation

pytest.importorskip("pymatgen.analysis.elasticity")
GENERATOR = np.random.default_rng(11)


def symmetric(size: int) -> np.ndarray:
    matrix = GENERATOR.normal(size=(size, size))
    return matrix + matrix.T


TENSORS = {
    "elastic_tensor": symmetric(6) + 20 * np.eye(6),
    "piezoelectric_tensor": GENERATOR.normal(size=(3, 6)),
    "dielectric_tensor": symmetric(3) + 9 * np.eye(3),
}


@pytest.mark.parametrize("name", TENSORS)
def test_components_are_where_pymatgen_expects_them(name):
    """Triclinic: no two components are equal. pymatgen's Voigt form is xx yy zz yz xz xy too."""
    found = to_pymatgen(name, TENSORS[name])
    np.testing.assert_allclose(found if found.rank == 2 else found.voigt, TENSORS[name], atol=1e-14)
    assert type(found).__name__ == {2: "SquareTensor", 3: "PiezoTensor", 4: "ElasticTensor"}[found.rank]


@pytest.mark.parametrize("name", TENSORS)
def test_rotations_agree(name):
    rotation = random_rotation(np.random.default_rng(2))
    ours = to_pymatgen(name, rotate(TENSORS[name], rotation, name))
    np.testing.assert_allclose(ours, to_pymatgen(name, TENSORS[name]).rotate(rotation), atol=1e-12)


def test_stress_of_a_strain_is_that_of_pymatgen():
    from pymatgen.analysis.elasticity import Strain

    strain = symmetric(3) * 1e-3
    engineering = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * [1, 1, 1, 2, 2, 2]
    stress = to_pymatgen("elastic_tensor", TENSORS["elastic_tensor"]).calculate_stress(Strain(strain))
    expected = TENSORS["elastic_tensor"] @ engineering
    np.testing.assert_allclose(stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], expected, atol=1e-12)


def test_what_pymatgen_has_no_class_for_is_refused():
    with pytest.raises(UnknownNameError, match="no class for 'born_effective_charges'"):
        to_pymatgen("born_effective_charges", np.zeros((2, 3, 3)))
    with pytest.raises(UnknownNameError, match="no class for 'formation_energy'"):
        to_pymatgen("formation_energy", 1.0)
