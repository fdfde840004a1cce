"""IEEE frame: independent of the description, standard patterns, pymatgen as oracle."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from pymatgen.analysis.elasticity import ElasticTensor
from pymatgen.io.ase import AseAtomsAdaptor

from ase_comformer import tensors
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.testing import (
    FLOAT64_INVARIANCE,
    PROJECTION,
    assert_relative,
    random_rotation,
    relative_error,
    rotate_atoms,
    supercell,
)
from crystals import CRYSTALS, random_tensor, turn


def symmetric_tensor(name: str, atoms: Atoms) -> np.ndarray:
    """A tensor with the point symmetry of the crystal: the mean of a random one over the operations."""
    matrices = analyse_space_group(atoms).rotations
    full = tensors.to_cartesian(random_tensor(name, 13), name)
    mean = np.mean([turn(full, matrix) for matrix in matrices], axis=0)
    return tensors.from_cartesian(mean, name)


def distance_over_choices(framed: tensors.FramedTensor, other: np.ndarray, atoms: Atoms, name: str) -> float:
    choices = tensors.ieee_axes(atoms).choices
    return min(relative_error(tensors.rotate(framed.tensor, choice, name), other) for choice in choices)


@pytest.mark.parametrize("label", CRYSTALS)
def test_ieee_frame_does_not_depend_on_orientation_or_cell(label):
    atoms = CRYSTALS[label]
    rotation = random_rotation(np.random.default_rng(14))
    for name in ("elastic_tensor", "piezoelectric_tensor"):
        tensor = symmetric_tensor(name, atoms)
        framed = tensors.ieee_frame(tensor, atoms, name)
        assert_relative(framed.rotation @ framed.rotation.T, np.eye(3), PROJECTION)
        assert np.linalg.det(framed.rotation) > 0
        assert_relative(tensors.rotate(framed.tensor, framed.rotation.T, name), tensor, PROJECTION)
        described, _ = supercell(rotate_atoms(atoms, rotation), (2, 1, 1))
        other = tensors.ieee_frame(tensors.rotate(tensor, rotation, name), described, name)
        assert distance_over_choices(framed, other.tensor, atoms, name) < FLOAT64_INVARIANCE
        if not framed.note:
            assert_relative(other.tensor, framed.tensor, FLOAT64_INVARIANCE)


@pytest.mark.parametrize(
    "label",
    # pymatgen follows the lattice only (not the class) and takes Z = a in tetragonal crystals with c < a.
    [
        "cubic m-3m",
        "cubic -43m",
        "hexagonal 6mm",
        "trigonal 32",
        "trigonal -3m R",
        "orthorhombic mmm",
        "tetragonal -42m",
    ],
)
def test_ieee_frame_agrees_with_pymatgen_up_to_open_choices(label):
    atoms = CRYSTALS[label]
    tensor = symmetric_tensor("elastic_tensor", atoms)
    structure = AseAtomsAdaptor.get_structure(atoms)
    oracle = ElasticTensor.from_voigt(tensor).convert_to_ieee(structure, initial_fit=False)
    framed = tensors.ieee_frame(tensor, atoms, "elastic_tensor")
    assert distance_over_choices(framed, np.array(oracle.voigt), atoms, "elastic_tensor") < FLOAT64_INVARIANCE


# Non-zero components in IEEE axes, Nye (1985) table 8 and appendix B, one-based "ij".
PIEZO_PATTERNS = {
    "cubic -43m": {"14", "25", "36"},
    "hexagonal 6mm": {"31", "32", "33", "24", "15"},
    "trigonal 32": {"11", "12", "14", "25", "26"},
    "trigonal 32 P312": {"11", "12", "14", "25", "26"},
    "trigonal 3m P31m": {"21", "22", "16", "15", "24", "31", "32", "33"},
    "hexagonal -6m2": {"21", "22", "16"},
    "tetragonal -42m": {"14", "25", "36"},
    "tetragonal -4m2": {"14", "25", "36"},
    "orthorhombic mm2": {"31", "32", "33", "24", "15"},
    "monoclinic m": {"11", "12", "13", "15", "24", "26", "31", "32", "33", "35"},
}


@pytest.mark.parametrize("label", PIEZO_PATTERNS)
def test_ieee_frame_gives_the_standard_pattern_in_every_setting(label):
    atoms = rotate_atoms(CRYSTALS[label], random_rotation(np.random.default_rng(15)))
    framed = tensors.ieee_frame(symmetric_tensor("piezoelectric_tensor", atoms), atoms, "piezoelectric_tensor")
    present = {f"{i + 1}{j + 1}" for i, j in np.argwhere(np.abs(framed.tensor) > 1e-8)}
    assert present == PIEZO_PATTERNS[label]


def test_ieee_note_names_the_sign_that_stays_open():
    zinc_sulphide = CRYSTALS["cubic -43m"]
    piezo = symmetric_tensor("piezoelectric_tensor", zinc_sulphide)
    note = tensors.ieee_frame(piezo, zinc_sulphide, "piezoelectric_tensor").note
    assert "14" in note
    assert "open" in note
    elastic = symmetric_tensor("elastic_tensor", zinc_sulphide)
    assert tensors.ieee_frame(elastic, zinc_sulphide, "elastic_tensor").note == ""
    quartz_elastic = symmetric_tensor("elastic_tensor", CRYSTALS["trigonal 32"])
    assert "14" in tensors.ieee_frame(quartz_elastic, CRYSTALS["trigonal 32"], "elastic_tensor").note


def test_ieee_orthorhombic_axes_are_ordered_and_polar_axis_is_z():
    lengths = np.diag(CRYSTALS["orthorhombic mmm"].cell.array)
    axes = tensors.ieee_axes(CRYSTALS["orthorhombic mmm"]).rotation
    assert list(np.abs(axes) @ lengths) == pytest.approx([6, 7, 5])  # a = 6 on X, b = 7 on Y, c = 5 on Z
    polar = tensors.ieee_axes(CRYSTALS["orthorhombic mm2"]).rotation
    assert list(np.abs(polar) @ lengths) == pytest.approx([5, 6, 7])
