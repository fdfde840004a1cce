"""Index formulas: groups of permutations, irreps from characters, independent counts; checked against e3nn."""

import numpy as np
import pytest
from e3nn.io import CartesianTensor
from scipy.spatial.transform import Rotation

from ase_comformer.properties.formula import index_permutations, irreps_of
from ase_comformer.tensors.cartesian_bases import cartesian_basis
from ase_comformer.tensors.coupled_basis import coupled_basis
from ase_comformer.tensors.index_symmetry import count_invariants, distinct_components_of, symmetrise
from ase_comformer.tensors.irreps import parse_irreps, representation

FORMULAS = (
    "", "i", "ij", "ij=ji", "ij=-ji", "ijk", "ijk=ikj", "ijk=jik", "ijk=jik=ikj", "ijk=-jik=-ikj", "ijkl=jikl=klij",
    "ijkl=jikl=ijlk", "ijkl=ijlk", "ijkl=jikl=ikjl=ijlk",
)  # fmt: skip


@pytest.mark.parametrize("formula", [formula for formula in FORMULAS if formula])
def test_irreps_are_those_of_e3nn(formula):
    expected = sorted((ir.l, ir.p) for mul, ir in CartesianTensor(formula) for _ in range(mul))
    found = sorted((degree, parity) for count, degree, parity in parse_irreps(irreps_of(formula)) for _ in range(count))
    assert found == expected


@pytest.mark.parametrize("formula", [formula for formula in FORMULAS if formula])
def test_basis_is_orthonormal_transforms_as_its_irreps_and_spans_what_e3nn_spans(formula):
    basis = coupled_basis(formula)
    flat = basis.reshape(len(basis), -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=1e-12)
    np.testing.assert_allclose(symmetrise(basis, formula), basis, atol=1e-12)
    rotation = -Rotation.random(random_state=0).as_matrix()
    turned = basis
    for axis in range(1, basis.ndim):
        turned = np.moveaxis(np.tensordot(turned, rotation, axes=(axis, 1)), -1, axis)
    matrix = representation(irreps_of(formula), rotation)
    np.testing.assert_allclose(np.tensordot(matrix.T, basis, axes=1), turned, atol=1e-12)
    theirs = CartesianTensor(formula).reduced_tensor_products().change_of_basis.double().flatten(1).numpy()
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    outside = theirs - theirs @ flat.T @ flat
    assert np.abs(outside).max() < 1e-6  # e3nn's are in torch's default precision


@pytest.mark.parametrize("formula", ["ij=ji", "ij", "ijk=ikj", "ijkl=jikl=klij"])
def test_a_pinned_basis_spans_the_same_tensors(formula):
    pinned, coupled = (basis.reshape(len(basis), -1) for basis in (cartesian_basis(formula), coupled_basis(formula)))
    np.testing.assert_allclose(pinned.T @ pinned, coupled.T @ coupled, atol=1e-12)


@pytest.mark.parametrize("formula", FORMULAS)
def test_distinct_components_are_as_many_as_the_characters_say_for_the_trivial_group(formula):
    assert len(distinct_components_of(formula, None)) == count_invariants(formula, np.eye(3)[None])


def test_pairs_that_may_be_exchanged_are_listed_in_voigt_order():
    indices = [component.index for component in distinct_components_of("ij=ji", None)]
    assert indices == [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    raman = [component.index for component in distinct_components_of("ijk=jik", None)]
    assert raman[:4] == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 1, 0)]


def test_signs_of_members_make_antisymmetric_tensors():
    (component,) = distinct_components_of("ijk=-jik=-ikj", None)
    assert dict(component.members)[1, 0, 2] == -1
    assert component.index == (0, 1, 2)


@pytest.mark.parametrize(("formula", "message"), [
    ("iji", "every index once"), ("ij=ik", "no permutation"), ("ij=ji=-ji", "it is zero"),
])  # fmt: skip
def test_formulas_that_make_no_sense_are_refused(formula, message):
    with pytest.raises(ValueError, match=message):
        index_permutations(formula)
