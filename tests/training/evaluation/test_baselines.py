"""Baselines on made-up crystals, and the documented figures on the real test split."""

import os

import numpy as np
import pytest
from ase import Atoms

from ase_comformer.errors import UnknownNameError
from ase_comformer.physics.moduli import voigt_reuss_hill
from ase_comformer.properties.registry import tensor_property
from ase_comformer.training.data.records import Record, load_records, without_flags
from ase_comformer.training.evaluation.baselines import ConstantMedian, ZeroPredictor
from ase_comformer.training.evaluation.kernel_ridge import KernelRidge, KernelSettings, isotropic_stiffness
from ase_comformer.training.evaluation.metrics import born_metrics, tensor_metrics
from ase_comformer.training.evaluation.modulus_metrics import modulus_metrics
from ase_comformer.training.evaluation.piezo_metrics import norm_metrics

real_data = pytest.mark.skipif("ASE_COMFORMER_DATA" not in os.environ, reason="ASE_COMFORMER_DATA is not set")


def crystal(symbols="NaCl", length=4.0, space_group=225, **labels):
    count = len(Atoms(symbols))
    atoms = Atoms(
        symbols, scaled_positions=np.linspace(0, 0.5, count)[:, None] * np.ones(3), cell=[length] * 3, pbc=True
    )
    return Record(symbols + str(length), symbols, "train", atoms, labels, (), {"spg": space_group})


def registered_ridge(name, records):
    """Kernel ridge with the settings that the registry has for a property."""
    entry = tensor_property(name)
    (lazy,) = [baseline for baseline in entry.baselines if baseline.target.endswith(":kernel_ridge")]
    return lazy.load()(entry, records)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dielectric_tensor", (3, 3)),
        ("piezoelectric_tensor", (3, 6)),
        ("elastic_tensor", (6, 6)),
        ("born_effective_charges", (2, 3, 3)),
        ("formation_energy", ()),
    ],
)
def test_zero_predictor_has_the_documented_shapes(name, shape):
    (prediction,) = ZeroPredictor(name).predict([crystal()])
    assert np.shape(prediction) == shape
    assert not np.any(prediction)


def test_isotropic_stiffness_has_its_moduli():
    moduli = voigt_reuss_hill(isotropic_stiffness(np.array([100.0, 50.0]), np.array([40.0, 20.0])))
    np.testing.assert_allclose([moduli.bulk_voigt, moduli.bulk_reuss], [[100, 50]] * 2)
    np.testing.assert_allclose([moduli.shear_voigt, moduli.shear_reuss], [[40, 20]] * 2)


def test_constant_median_is_isotropic_and_resists_outliers():
    records = [crystal(dielectric_tensor=np.diag([x, x, 2 * x])) for x in (3.0, 6.0, 900.0)]
    (prediction,) = ConstantMedian.fit("dielectric_tensor", records).predict(records[:1])
    np.testing.assert_allclose(prediction, 8.0 * np.eye(3))


def test_median_born_charges_belong_to_elements_and_sum_to_zero():
    born = np.stack([np.eye(3) * 1.2, -np.eye(3) * 1.0])
    (prediction,) = ConstantMedian.fit("born_effective_charges", [crystal(born_effective_charges=born)]).predict(
        [crystal()]
    )
    np.testing.assert_allclose(prediction, [1.1 * np.eye(3), -1.1 * np.eye(3)])


def test_kernel_ridge_reproduces_what_it_was_fitted_on_and_interpolates():
    def stiffness(length):
        return isotropic_stiffness(400.0 / length, 200.0 / length)

    records = [crystal(length=x, elastic_tensor=stiffness(x)) for x in np.linspace(3, 6, 13)]
    model = KernelRidge.fit("elastic_tensor", records, KernelSettings(width=0.5, ridge=1e-10), "moduli")
    np.testing.assert_allclose(model.predict(records), [r.labels["elastic_tensor"] for r in records], rtol=1e-6)
    (between,) = model.predict([crystal(length=4.4)])
    np.testing.assert_allclose(between, stiffness(4.4), rtol=0.02, atol=1e-9)


def test_kernel_ridge_dielectrics_exceed_one_and_piezo_norms_are_not_negative():
    records = [
        crystal(s, dielectric_tensor=np.eye(3) * (1 + 0.1 * k), piezoelectric_tensor=np.zeros((3, 6)))
        for k, s in enumerate(("NaCl", "KCl", "LiF", "CsI"))
    ]
    for tensor in registered_ridge("dielectric_tensor", records).predict(records):
        assert np.linalg.eigvalsh(tensor).min() >= 1.0
    assert min(registered_ridge("piezoelectric_tensor", records).predict(records)) >= 0.0


def test_unknown_property_or_missing_labels_are_errors():
    with pytest.raises(UnknownNameError, match="moduli"):
        KernelRidge.fit("dielectric_tensor", [crystal(dielectric_tensor=np.eye(3))], answer="hardness")
    with pytest.raises(UnknownNameError, match="hardness"):
        ConstantMedian.fit("hardness", [crystal(hardness=1.0)])
    with pytest.raises(ValueError, match="dielectric_tensor"):
        ConstantMedian.fit("dielectric_tensor", [crystal()])


@real_data
def test_elastic_kernel_ridge_reaches_the_documented_figures():
    train, test = load_records("elastic_mp"), load_records("elastic_mp", splits=("test",))
    predicted = registered_ridge("elastic_tensor", train).predict(test)
    labels = [record.labels["elastic_tensor"] for record in test]
    moduli = modulus_metrics(predicted, labels)
    assert moduli.bulk_mae < 10.0
    assert moduli.shear_mae < 13.4
    assert tensor_metrics(predicted, labels).within[0] > 0.68


@real_data
def test_piezo_kernel_ridge_reaches_the_documented_ranking():
    train, test = load_records("piezo_mp"), load_records("piezo_mp", splits=("test",))
    predicted = registered_ridge("piezoelectric_tensor", train).predict(test)
    assert norm_metrics(predicted, [record.labels["piezoelectric_tensor"] for record in test]).spearman > 0.6


@real_data
def test_median_born_charges_beat_zero():
    train = without_flags(load_records("dielectric_born"), "eps_inf_")
    test = without_flags(load_records("dielectric_born", splits=("val",)), "eps_inf_")
    name = "born_effective_charges"
    labels = [record.labels[name] for record in test]
    median = born_metrics(ConstantMedian.fit(name, train).predict(test), labels).mae
    assert median < 0.5 * born_metrics(ZeroPredictor(name).predict(test), labels).mae
