"""Answers to a strain without a field: the elastic stiffness."""

from ase_comformer.properties.entry import DerivedLabel, LabelledSet, TensorProperty
from ase_comformer.properties.lazy import Lazy

_UNFIT = (
    "not_positive_definite",
    "nearly_unstable",
    "frame_unconfirmed",
    "frame_residual_large",
    "KG_differ_from_matbench",
)

ELASTIC = TensorProperty(
    name="elastic_tensor",
    symbol="C",
    formula="ijkl=jikl=klij",
    unit="GPa",
    voigt="stiffness",
    description="relaxed-ion elastic stiffness tensor",
    kind="relaxed-ion",
    undefined_for=("slabs", "molecules"),
    responds_to="strain",
    head=Lazy("ase_comformer.nn.heads.mechanical:ElasticHead"),
    scale=300.0,
    loss=Lazy("ase_comformer.training.tasks.losses:relative_tensor_loss"),
    derived_labels=(
        DerivedLabel(
            "moduli",
            Lazy("ase_comformer.training.tasks.losses:moduli_loss"),
            extras=("K_vrh", "G_vrh"),
            numbers=Lazy("ase_comformer.training.evaluation.scalar_of_tensor:hill_moduli"),
            names=("K", "G"),
        ),
        DerivedLabel(
            "voigt_moduli",
            Lazy("ase_comformer.training.tasks.losses:voigt_moduli_loss"),
            extras=("K_voigt", "G_voigt"),
        ),
    ),
    unfit_flags=_UNFIT,
    evaluated_on=(
        LabelledSet("elastic_mp"),
        LabelledSet("elastic_mp2020", "clean, not in elastic_mp", without_flags=(*_UNFIT, "id_in_elastic_mp")),
        LabelledSet("moduli", "PBE cells", cells="PBE", label="moduli"),
        LabelledSet("moduli", "present-day cells, relaxed", cells="relaxed", label="moduli"),
        LabelledSet("moduli", label="moduli"),
    ),
    metrics=(
        Lazy("ase_comformer.training.evaluation.measures:tensor_errors"),
        Lazy("ase_comformer.training.evaluation.measures:moduli"),
    ),
    baselines=(
        Lazy("ase_comformer.training.evaluation.baselines:constant_median"),
        Lazy("ase_comformer.training.evaluation.baselines:kernel_ridge", {"answer": "moduli"}),
    ),
)

ENTRIES = (ELASTIC,)
