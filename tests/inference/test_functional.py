"""``functional=``: dielectric tensors and Born charges follow the functional that is asked for, the rest stays."""

import numpy as np
import pytest

from ase_comformer import GMTNetCalculator, UnknownNameError, predict
from ase_comformer.inference.predictor import Predictor
from ase_comformer.models.registry import save_bundle, save_weights
from tiny import tiny_card, tiny_network

ELECTRIC = ("dielectric_tensor", "static_dielectric_tensor", "born_effective_charges")


@pytest.mark.parametrize("names", [["tiny"], ["tiny", "tiny2"]])
def test_electric_tensors_follow_the_functional_and_others_do_not(model_directory, tmp_path, names, quartz):
    for seed, name in enumerate(names):
        network = tiny_network(seed)
        save_weights(network, tmp_path, name, tiny_card(network))
    # two networks are stacked, one is evaluated alone
    path = save_bundle(tmp_path, "both", dict.fromkeys((*ELECTRIC, "elastic_tensor"), names))
    (usual,), (same,), (other,) = (
        predict([quartz], model=path, dtype="float64", functional=functional) for functional in ("", "PBEsol", "PBE")
    )
    assert (usual["functional"], same["functional"], other["functional"]) == ("PBEsol", "PBEsol", "PBE")
    for name in ELECTRIC:
        np.testing.assert_array_equal(usual[name], same[name])
        assert np.abs(usual[name] - other[name]).max() > 1e-4 * np.abs(usual[name]).max(), name
    np.testing.assert_array_equal(usual["elastic_tensor"], other["elastic_tensor"])


def test_calculators_take_it_and_forget_results_of_the_other(tiny_model, quartz):
    calculator = GMTNetCalculator(model=tiny_model, functional="PBE")
    first = calculator.get_property("dielectric_tensor", quartz)
    assert calculator.provenance["functional"] == "PBE"
    assert calculator.describe("dielectric_tensor")["functional"] == "PBE"
    assert calculator.describe("dielectric_tensor")["functionals"] == ["PBEsol", "PBE"]
    calculator.set(functional="PBEsol")
    assert np.abs(calculator.get_property("dielectric_tensor", quartz) - first).max() > 1e-6


def test_unknown_functionals_are_refused_with_the_choices(tiny_model):
    with pytest.raises(UnknownNameError, match=r"'LDA'.*dielectric_tensor: PBEsol, PBE"):
        Predictor(model=tiny_model, functional="LDA")


def test_networks_without_labels_of_a_functional_do_not_offer_it(tmp_path):
    network = tiny_network()
    card = tiny_card(network)
    for fields in card["properties"].values():
        fields["functionals"] = ["PBEsol"]
    path = save_weights(network, tmp_path, "one", card)
    with pytest.raises(UnknownNameError, match="PBE"):
        Predictor(model=path, functional="PBE")
