"""Tensor conventions against independent oracles: pymatgen, e3nn, brute-force einsum, Nye's patterns."""

from __future__ import annotations

import e3nn
import numpy as np
import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from pymatgen.analysis.elasticity import ComplianceTensor, ElasticTensor
from pymatgen.analysis.piezo import PiezoTensor
from pymatgen.core.tensors import Tensor

from ase_comformer import tensors
from ase_comformer.errors import UnknownNameError
from ase_comformer.testing import (
    PROJECTION,
    assert_relative,
    random_rotation,
    rotations,
    strains,
)
from crystals import random_tensor, turn

NAMES = tuple(tensors.PROPERTIES)
TENSOR_NAMES = tuple(name for name in NAMES if tensors.PROPERTIES[name].rank)
KINDS = tuple(tensors.VOIGT_KINDS)
# e3nn computes its matrices from angles in float32.
E3NN_PRECISION = 5e-6


# ---- Voigt and Mandel


def test_stiffness_voigt_agrees_with_pymatgen():
    voigt = random_tensor("elastic_tensor")
    full = tensors.voigt_to_cartesian(voigt, "stiffness")
    np.testing.assert_array_equal(full, np.array(ElasticTensor.from_voigt(voigt)))
    np.testing.assert_array_equal(tensors.cartesian_to_voigt(full, "stiffness"), voigt)


def test_compliance_voigt_agrees_with_pymatgen_and_inverts_the_stiffness():
    stiffness = np.eye(6) * 3 + random_tensor("elastic_tensor") * 0.2
    compliance = np.linalg.inv(stiffness)
    full = tensors.voigt_to_cartesian(compliance, "compliance")
    assert_relative(full, np.array(ComplianceTensor.from_voigt(compliance)), PROJECTION)
    identity = np.einsum("ijkl,klmn->ijmn", full, tensors.voigt_to_cartesian(stiffness, "stiffness"))
    delta = np.eye(3)
    expected = (np.einsum("im,jn->ijmn", delta, delta) + np.einsum("in,jm->ijmn", delta, delta)) / 2
    assert_relative(identity, expected, PROJECTION)


def test_piezoelectric_voigt_agrees_with_pymatgen():
    voigt = random_tensor("piezoelectric_tensor")
    full = tensors.to_cartesian(voigt, "piezoelectric_tensor")
    np.testing.assert_array_equal(full, np.array(PiezoTensor.from_voigt(voigt)))


def test_strain_carries_engineering_shear_and_work_is_conserved():
    rng = np.random.default_rng(1)
    stress, strain = (rng.normal(size=(3, 3)) for _ in range(2))
    stress, strain = stress + stress.T, strain + strain.T
    work = tensors.cartesian_to_voigt(stress, "stress") @ tensors.cartesian_to_voigt(strain, "strain")
    assert work == pytest.approx(np.sum(stress * strain))
    assert tensors.cartesian_to_voigt(strain, "strain")[3] == 2 * strain[1, 2]
    assert tensors.cartesian_to_voigt(stress, "stress")[4] == stress[0, 2]


def test_piezoelectric_d_times_stiffness_is_e():
    rng = np.random.default_rng(2)
    d, stiffness = rng.normal(size=(3, 6)), random_tensor("elastic_tensor", 3)
    full = np.einsum(
        "iab,abkl->ikl",
        tensors.voigt_to_cartesian(d, "piezoelectric_strain"),
        tensors.voigt_to_cartesian(stiffness, "stiffness"),
    )
    assert_relative(tensors.cartesian_to_voigt(full, "piezoelectric_stress"), d @ stiffness, PROJECTION)


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_comes_back_and_mandel_keeps_the_norm(kind):
    vectors, axes, _ = tensors.VOIGT_KINDS[kind]
    voigt = np.random.default_rng(4).normal(size=(2, *(3,) * vectors, *(6,) * axes))
    full, mandel = tensors.voigt_to_cartesian(voigt, kind), tensors.voigt_to_mandel(voigt, kind)
    assert np.linalg.norm(mandel) == pytest.approx(np.linalg.norm(full), rel=1e-14)
    assert_relative(tensors.cartesian_to_voigt(full, kind), voigt, PROJECTION)
    assert_relative(tensors.mandel_to_voigt(mandel, kind), voigt, PROJECTION)
    assert_relative(tensors.mandel_to_cartesian(mandel, kind), full, PROJECTION)
    assert_relative(tensors.cartesian_to_mandel(full, kind), mandel, PROJECTION)


def test_mandel_stiffness_acts_on_mandel_vectors():
    stiffness, strain = random_tensor("elastic_tensor"), random_tensor("dielectric_tensor")
    stress = np.einsum("ijkl,kl->ij", tensors.voigt_to_cartesian(stiffness, "stiffness"), strain)
    product = tensors.voigt_to_mandel(stiffness, "stiffness") @ tensors.cartesian_to_mandel(strain, "strain")
    assert_relative(product, tensors.cartesian_to_mandel(stress, "stress"), PROJECTION)


@given(rotation=rotations(), strain=strains(1.0))
def test_mandel_rotation_is_orthogonal_and_turns_matrices(rotation, strain):
    matrix = tensors.mandel_rotation(rotation)
    assert_relative(matrix @ matrix.T, np.eye(6), PROJECTION)
    expected = tensors.cartesian_to_mandel(rotation @ strain @ rotation.T, "strain")
    assert_relative(matrix @ tensors.cartesian_to_mandel(strain, "strain"), expected, PROJECTION)


def test_mandel_basis_spans_the_mandel_vector():
    matrix = random_tensor("dielectric_tensor")
    vector = np.einsum("Iij,ij->I", tensors.mandel_basis(), matrix)
    assert_relative(vector, tensors.cartesian_to_mandel(matrix, "stress"), PROJECTION)


# ---- Orders and units


def test_vasp_order_is_xx_yy_zz_xy_yz_zx():
    labels = np.arange(6.0)
    vasp = np.tile(labels, (3, 1))  # VASP columns: xx yy zz xy yz zx
    standard = tensors.reorder_voigt(vasp, "piezoelectric_tensor", source="vasp", target="standard")
    np.testing.assert_array_equal(standard[0], [0, 1, 2, 4, 5, 3])


@pytest.mark.parametrize("name", ["piezoelectric_tensor", "elastic_tensor", "stress"])
def test_vasp_order_comes_back_and_agrees_with_pymatgen(name):
    tensor = random_tensor(name)
    vasp = tensors.reorder_voigt(tensor, name, source="standard", target="vasp")
    assert not np.allclose(vasp, tensor)
    np.testing.assert_array_equal(tensors.reorder_voigt(vasp, name, source="vasp", target="standard"), tensor)
    np.testing.assert_array_equal(tensors.reorder_voigt(tensor, name, source="vasp", target="vasp"), tensor)
    if name == "piezoelectric_tensor":
        oracle = np.array(PiezoTensor.from_vasp_voigt(vasp).voigt)
        np.testing.assert_allclose(oracle, tensor, atol=1e-14)
    if name == "elastic_tensor":
        np.testing.assert_array_equal(vasp[3, 4], tensor[5, 3])


def test_voigt_order_is_never_guessed():
    piezo = random_tensor("piezoelectric_tensor")
    with pytest.raises(TypeError):
        tensors.reorder_voigt(piezo, "piezoelectric_tensor", target="standard")
    with pytest.raises(UnknownNameError, match="standard, vasp"):
        tensors.reorder_voigt(piezo, "piezoelectric_tensor", source="VASP", target="standard")
    with pytest.raises(UnknownNameError, match="elastic_tensor"):
        tensors.reorder_voigt(np.eye(3), "dielectric_tensor", source="vasp", target="standard")


def test_units_convert_within_a_family_only():
    assert tensors.convert_units(160.21766, source="GPa", target="eV/A^3") == pytest.approx(1.0, rel=1e-6)
    assert tensors.convert_units(10.0, source="kbar", target="GPa") == pytest.approx(1.0, rel=1e-12)
    assert tensors.convert_units(16.021766, source="C/m^2", target="e/A^2") == pytest.approx(1.0, rel=1e-6)
    with pytest.raises(ValueError, match="cannot convert GPa"):
        tensors.convert_units(1.0, source="GPa", target="C/m^2")
    with pytest.raises(UnknownNameError, match="GPa"):
        tensors.convert_units(1.0, source="gpa", target="GPa")


# ---- Rotation


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(rotation=rotations(), seed=st.integers(0, 100))
def test_rotate_agrees_with_brute_force_and_composes(name, rotation, seed):
    tensor = random_tensor(name, seed)
    turned = tensors.rotate(tensor, rotation, name)
    assert_relative(tensors.to_cartesian(turned, name), turn(tensors.to_cartesian(tensor, name), rotation), PROJECTION)
    assert_relative(tensors.rotate(turned, rotation.T, name), tensor, PROJECTION)


def test_rotate_agrees_with_pymatgen():
    rotation = random_rotation(np.random.default_rng(5))
    for name in ("elastic_tensor", "piezoelectric_tensor", "dielectric_tensor"):
        full = tensors.to_cartesian(random_tensor(name), name)
        oracle = np.array(Tensor(full).rotate(rotation, tol=1e-6))
        turned = tensors.rotate(random_tensor(name), rotation, name)
        assert_relative(tensors.to_cartesian(turned, name), oracle, PROJECTION)


@pytest.mark.parametrize("name", NAMES)
def test_inversion_gives_the_parity(name):
    tensor = random_tensor(name)
    expected = tensors.PROPERTIES[name].parity * tensor
    np.testing.assert_allclose(tensors.rotate(tensor, -np.eye(3), name), expected, atol=1e-14)


def test_rotate_broadcasts_batches_of_tensors_and_rotations():
    rng = np.random.default_rng(6)
    matrices = np.stack([random_rotation(rng), random_rotation(rng, improper=True)])
    for name in TENSOR_NAMES:
        batch = random_tensor(name, batch=(2,))
        turned = tensors.rotate(batch, matrices, name)
        single = np.stack([tensors.rotate(t, r, name) for t, r in zip(batch, matrices, strict=True)])
        assert_relative(turned, single, PROJECTION)


# ---- Irreps


@pytest.mark.parametrize("degree", range(7))
def test_wigner_matrices_agree_with_e3nn(degree):
    rng = np.random.default_rng(degree)
    matrices = torch.tensor(np.stack([random_rotation(rng), random_rotation(rng, True), np.diag([1.0, -1.0, 1.0])]))
    for parity, letter in ((1, "e"), (-1, "o")):
        oracle = o3.Irreps(f"{degree}{letter}").D_from_matrix(matrices)
        assert_relative(tensors.wigner_d(degree, matrices, parity), oracle, E3NN_PRECISION)
        np.testing.assert_array_equal(tensors.wigner_d(degree, matrices.numpy(), parity).shape, tuple(oracle.shape))


@settings(max_examples=25, deadline=None)
@given(first=rotations(), second=rotations())
def test_representation_is_an_exact_orthogonal_homomorphism(first, second):
    for irreps in ("2x0e+1o+2e+3o+4e", "0o+1e+2o+3e+4o+6e"):
        product = tensors.representation(irreps, first @ second)
        left, right = tensors.representation(irreps, first), tensors.representation(irreps, second)
        assert_relative(product, left @ right, PROJECTION)
        assert_relative(left @ left.T, np.eye(len(left)), PROJECTION)


@pytest.mark.parametrize("degree", range(1, 5))
def test_wigner_matrices_turn_spherical_harmonics(degree):
    rotation = torch.tensor(random_rotation(np.random.default_rng(7), improper=True))
    points = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    harmonics = o3.spherical_harmonics(degree, points, normalize=False)
    turned = o3.spherical_harmonics(degree, points @ rotation.T, normalize=False)
    assert_relative(turned, harmonics @ tensors.wigner_d(degree, rotation).T, PROJECTION)
    contracted = tensors.harmonic_basis(degree).expand(5, *[-1] * (degree + 1))
    for _ in range(degree):
        contracted = torch.einsum("n...i,ni->n...", contracted, points)
    ratio = contracted / harmonics
    assert ratio.min() > 0
    assert ratio.max() - ratio.min() < 1e-10


@pytest.mark.parametrize("degrees", [(0, 2, 2), (1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 3, 4), (4, 4, 3)])
def test_coupling_tensors_agree_with_e3nn_and_are_invariant(degrees):
    coupling = tensors.wigner_3j(*degrees)
    expected = o3.wigner_3j(*degrees, dtype=torch.float64)
    if Version(e3nn.__version__) < Version("0.5"):  # one of its signs is the opposite of later versions
        expected = expected * torch.sign((expected * coupling).sum())
    assert_relative(coupling, expected, PROJECTION)
    matrices = [tensors.wigner_d(d, torch.tensor(random_rotation(np.random.default_rng(8)))) for d in degrees]
    assert_relative(torch.einsum("ai,bj,ck,ijk->abc", *matrices, coupling), coupling, PROJECTION)


@pytest.mark.parametrize("degree", range(6))
def test_spherical_harmonics_agree_with_e3nn(degree):
    points = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(degree))
    points = torch.nn.functional.normalize(points, dim=-1)
    oracle = o3.spherical_harmonics(degree, points, normalize=False, normalization="component")
    assert_relative(tensors.spherical_harmonics(degree, points), oracle, PROJECTION)


def test_impossible_couplings_and_irreps_are_refused():
    with pytest.raises(ValueError, match="triangle"):
        tensors.wigner_3j(1, 1, 3)
    with pytest.raises(ValueError, match="'2x'"):
        tensors.parse_irreps("1o+2x")
    with pytest.raises(ValueError, match="parity"):
        tensors.wigner_d(1, np.eye(3), 2)


@pytest.mark.parametrize("name", NAMES)
def test_change_of_basis_is_orthonormal_and_covers_the_index_symmetry(name):
    entry = tensors.PROPERTIES[name]
    dim = sum(m * (2 * degree + 1) for m, degree, _ in tensors.parse_irreps(entry.irreps))
    basis = tensors.change_of_basis(name)
    assert basis.shape == (dim, *entry.cartesian_shape)
    assert basis.dtype == torch.float64
    flat = basis.reshape(dim, -1)
    assert_relative(flat @ flat.T, torch.eye(dim), PROJECTION)
    full = tensors.to_cartesian(random_tensor(name), name).reshape(-1)
    assert_relative(flat.T @ (flat @ torch.tensor(full)), full, PROJECTION)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(rotation=rotations(), seed=st.integers(0, 100))
def test_irreps_are_isometric_equivariant_and_come_back(name, rotation, seed):
    entry = tensors.PROPERTIES[name]
    tensor = random_tensor(name, seed, batch=(2,))
    coefficients = tensors.to_irreps(name, tensor)
    assert np.linalg.norm(coefficients) == pytest.approx(np.linalg.norm(tensors.to_cartesian(tensor, name)), rel=1e-13)
    assert_relative(tensors.from_irreps(name, coefficients), tensor, PROJECTION)
    turned = tensors.to_irreps(name, tensors.rotate(tensor, rotation, name))
    assert_relative(turned, coefficients @ tensors.representation(entry.irreps, rotation).T, PROJECTION)


@pytest.mark.parametrize("name", [name for name in NAMES if tensors.PROPERTIES[name].rank > 1])
def test_irreps_of_a_property_match_e3nn_reduced_tensor_products(name):
    entry = tensors.PROPERTIES[name]
    oracle = o3.ReducedTensorProducts(entry.formula, **dict.fromkeys(entry.formula.split("=")[0], "1o"))
    assert oracle.irreps_out.simplify() == o3.Irreps(entry.irreps).simplify()


def test_index_symmetry_violations_are_projected_out():
    asymmetric = np.random.default_rng(9).normal(size=(6, 6))
    back = tensors.from_irreps("elastic_tensor", tensors.to_irreps("elastic_tensor", asymmetric))
    assert_relative(back, (asymmetric + asymmetric.T) / 2, PROJECTION)


def test_elastic_basis_is_pinned():
    # Isotropic: 0e coefficients are 3 K and 2 sqrt(5) G, by definition of the bulk and shear basis tensors.
    bulk_modulus, shear = 100.0, 40.0
    lame = bulk_modulus - 2 * shear / 3
    isotropic = np.diag([2 * shear] * 3 + [shear] * 3)
    isotropic[:3, :3] += lame
    expected = np.zeros(21)
    expected[:2] = 3 * bulk_modulus, 2 * np.sqrt(5) * shear
    assert_relative(tensors.to_irreps("elastic_tensor", isotropic), expected, PROJECTION)
    # The y axis is e3nn's polar axis: a uniaxial tensor has only the m = 0 members.
    uniaxial = np.zeros((6, 6))
    uniaxial[1, 1] = 1.0
    coefficients = tensors.to_irreps("elastic_tensor", uniaxial)
    expected = np.zeros(21)
    expected[[0, 1, 4, 9, 16]] = 1 / 3, 2 / 3 / np.sqrt(5), 2 / 3, 2 * np.sqrt(2 / 63), np.sqrt(8 / 35)
    assert_relative(coefficients, expected, PROJECTION)


def test_piezoelectric_basis_is_pinned():
    longitudinal = np.zeros((3, 6))
    longitudinal[1, 1] = 1.0
    expected = np.zeros(18)
    expected[[1, 4, 14]] = 1 / np.sqrt(3), 2 / np.sqrt(15), np.sqrt(2 / 5)
    assert_relative(tensors.to_irreps("piezoelectric_tensor", longitudinal), expected, PROJECTION)
    # Quartz-like e14 = -e25: purely 2o, twice the unit member along diag(-1, -1, 2) / sqrt(6).
    twist = np.zeros((3, 6))
    twist[0, 3], twist[1, 4] = 1.0, -1.0
    coefficients = tensors.to_irreps("piezoelectric_tensor", twist)
    expected = np.zeros(18)
    expected[[8, 10]] = -1.0, np.sqrt(3)
    assert_relative(coefficients, expected, PROJECTION)
    # Zincblende e14 = e25 = e36: purely 3o, the xyz member.
    cubic = np.zeros((3, 6))
    cubic[[0, 1, 2], [3, 4, 5]] = 1.0
    expected = np.zeros(18)
    expected[12] = np.sqrt(6)
    assert_relative(tensors.to_irreps("piezoelectric_tensor", cubic), expected, PROJECTION)


def test_matrix_bases_are_pinned():
    expected = np.array([1 / np.sqrt(3), 0, 0, 2 / np.sqrt(6), 0, 0])
    assert_relative(tensors.to_irreps("dielectric_tensor", np.diag([0.0, 1.0, 0.0])), expected, PROJECTION)
    antisymmetric = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    born = tensors.to_irreps("born_effective_charges", antisymmetric)
    np.testing.assert_allclose(born, [0, 0, 0, np.sqrt(2), 0, 0, 0, 0, 0], atol=1e-15)


def test_spherical_basis_is_orthonormal_in_e3nn_order():
    basis = tensors.spherical_basis_l2()
    assert_relative(torch.einsum("mij,nij->mn", basis, basis), torch.eye(5), PROJECTION)
    point = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    harmonics = o3.spherical_harmonics(2, point, normalize=False)
    contracted = torch.einsum("mij,i,j->m", basis, point, point)
    assert_relative(contracted / contracted.norm(), harmonics / harmonics.norm(), PROJECTION)
    assert tensors.spherical_basis_l2(torch.float32).dtype == torch.float32


def test_rotations_of_the_spherical_basis_are_those_of_its_matrices():
    turns = np.stack([random_rotation(np.random.default_rng(seed)) for seed in range(3)])
    turns[2] *= -1  # even under inversion
    basis = tensors.spherical_basis_l2().numpy()
    coefficients = np.array([0.3, -1.0, 0.2, 0.7, -0.4])
    matrix = np.einsum("m,mij->ij", coefficients, basis)
    for rotation, found in zip(turns, tensors.rotation_l2(turns), strict=True):
        expected = np.einsum("mij,ij->m", basis, rotation @ matrix @ rotation.T)
        np.testing.assert_allclose(found @ coefficients, expected, atol=1e-12)


# ---- Libraries, dtypes, gradients, errors


@pytest.mark.parametrize("name", NAMES)
def test_torch_and_numpy_agree_and_keep_the_dtype(name):
    rotation = random_rotation(np.random.default_rng(10), improper=True)
    array = random_tensor(name, batch=(4,))
    for dtype, tolerance in ((np.float64, PROJECTION), (np.float32, 1e-5)):
        given_array = array.astype(dtype)
        given_tensor = torch.from_numpy(given_array)
        pairs = [
            (tensors.rotate(given_array, rotation, name), tensors.rotate(given_tensor, torch.tensor(rotation), name)),
            (tensors.to_irreps(name, given_array), tensors.to_irreps(name, given_tensor)),
            (tensors.to_cartesian(given_array, name), tensors.to_cartesian(given_tensor, name)),
        ]
        for from_numpy, from_torch in pairs:
            assert isinstance(from_torch, torch.Tensor)
            assert from_numpy.dtype == dtype == from_torch.numpy().dtype
            assert_relative(from_torch, from_numpy, tolerance)


def test_torch_conversions_are_differentiable():
    rotation = torch.tensor(random_rotation(np.random.default_rng(11)))
    for name in ("elastic_tensor", "piezoelectric_tensor", "stress", "born_effective_charges"):
        tensor = torch.tensor(random_tensor(name), requires_grad=True)
        assert torch.autograd.gradcheck(lambda t, r, name=name: tensors.rotate(t, r, name), (tensor, rotation))
        assert torch.autograd.gradcheck(
            lambda t, name=name: tensors.from_irreps(name, tensors.to_irreps(name, t)), (tensor,)
        )
    rotation.requires_grad_()
    assert torch.autograd.gradcheck(lambda r: tensors.wigner_d(4, r), (rotation,))


def test_hostile_default_dtype_changes_nothing():
    rotation = torch.tensor(random_rotation(np.random.default_rng(12)))
    tensor = torch.tensor(random_tensor("elastic_tensor"))
    before = [tensors.wigner_d(5, rotation), tensors.to_irreps("elastic_tensor", tensor)]
    previous = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float16)
        after = [tensors.wigner_d(5, rotation), tensors.to_irreps("elastic_tensor", tensor)]
        assert tensors.spherical_basis_l2().dtype == torch.float64
    finally:
        torch.set_default_dtype(previous)
    for left, right in zip(before, after, strict=True):
        assert torch.equal(left, right)


def test_wrong_names_and_shapes_list_the_remedy():
    with pytest.raises(UnknownNameError, match="dielectric_tensor"):
        tensors.rotate(np.eye(3), np.eye(3), "dielectric")
    with pytest.raises(UnknownNameError, match="must be a string"):
        tensors.to_irreps(np.eye(3), "dielectric_tensor")
    with pytest.raises(ValueError, match=r"\(6, 6\)"):
        tensors.rotate(np.eye(3), np.eye(3), "elastic_tensor")
    with pytest.raises(UnknownNameError, match="stiffness"):
        tensors.cartesian_to_voigt(np.eye(3), "elastic")
    with pytest.raises(ValueError, match=r"\(21,\)"):
        tensors.from_irreps("elastic_tensor", np.zeros(6))


def test_integer_input_becomes_float64():
    assert tensors.rotate(np.eye(3, dtype=int), np.eye(3, dtype=int), "dielectric_tensor").dtype == np.float64


def test_registry_is_consistent():
    for name, entry in tensors.PROPERTIES.items():
        assert entry.name == name
        assert tensors.to_cartesian(np.zeros(entry.shape), name).shape == entry.cartesian_shape
        letters = "e" if entry.parity == 1 else "o"
        assert name == "born_effective_charges" or all(
            parity == entry.parity for _, _, parity in tensors.parse_irreps(entry.irreps)
        ), letters
