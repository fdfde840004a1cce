"""Answers to a strain without a field: the elastic stiffness."""

from ase_comformer.properties.entry import DerivedLabel, LabelledSet, TensorProperty
from ase_comformer.properties.lazy import Lazy

ELASTIC = TensorProperty(
    name="elastic_tensor",
    symbol="C",
    formula="ijkl=jikl=klij",
    unit="GPa",
    voigt="stiffness",
    description="relaxed-ion elastic stiffness tensor",
    kind="relaxed-ion",
    undefined_for=("slabs", "molecules"),
    head=Lazy("ase_comformer.nn.heads.mechanical:ElasticHead"),
    scale=300.0,
    loss=Lazy("ase_comformer.training.tasks.losses:relative_tensor_loss"),
    derived_labels=(
        DerivedLabel("moduli", Lazy("ase_comformer.training.tasks.losses:moduli_loss"), extras=("K_vrh", "G_vrh")),
    ),
    unfit_flags=("not_positive_definite", "frame_unconfirmed"),
    evaluated_on=(LabelledSet("elastic_mp"),),
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
