"""Couplings of strain and electric field: the piezoelectric tensor, with relaxed and with clamped ions."""

from ase_comformer.properties.entry import DerivedLabel, LabelledSet, TensorProperty
from ase_comformer.properties.lazy import Lazy

PIEZOELECTRIC = TensorProperty(
    name="piezoelectric_tensor",
    symbol="e",
    formula="ijk=ikj",
    unit="C/m^2",
    voigt="piezoelectric_stress",
    description="relaxed-ion piezoelectric stress tensor e_i(jk) at constant field, no factor 2 on shear",
    kind="relaxed-ion, fixed field",
    sign_is_open=True,
    has_readings=True,
    undefined_for=("metals", "slabs", "molecules"),
    responds_to="both",
    head=Lazy("ase_comformer.nn.heads.electromechanical:PiezoelectricHead"),
    scale=1.0,
    loss=Lazy("ase_comformer.training.tasks.losses:piezoelectric_loss"),
    derived_labels=(
        DerivedLabel("piezoelectric_norm", Lazy("ase_comformer.training.tasks.losses:piezoelectric_norm_loss")),
        DerivedLabel(
            "piezoelectric_modulus",
            Lazy("ase_comformer.training.tasks.losses:piezoelectric_modulus_loss"),
            extras=("piezoelectric_modulus",),
            above=0.0,
            numbers=Lazy("ase_comformer.training.evaluation.scalar_of_tensor:largest_singular_value"),
            names=("largest singular value",),
        ),
    ),
    evaluated_on=(
        LabelledSet("piezo_mp"),
        LabelledSet(
            "piezo_modulus_mp",
            "not in piezo_mp",
            without_flags=("id_in_piezo_mp",),
            label="piezoelectric_modulus",
        ),
    ),
    metrics=(
        Lazy("ase_comformer.training.evaluation.measures:piezoelectric_errors"),
        Lazy("ase_comformer.training.evaluation.measures:piezoelectric_norms"),
    ),
    baselines=(
        Lazy("ase_comformer.training.evaluation.baselines:zero"),
        Lazy(
            "ase_comformer.training.evaluation.baselines:kernel_ridge",
            {
                "answer": "norm",
                "distance": "cityblock",
                "width": 0.3,
                "ridge": 0.1,
                "weights": (0.5, 1.0, 1.0, 0.5, 0.5),
            },
        ),
    ),
)

CLAMPED_PIEZOELECTRIC = TensorProperty(
    name="clamped_piezoelectric_tensor",
    symbol="e0",
    formula="ijk=ikj",
    unit="C/m^2",
    voigt="piezoelectric_stress",
    description="clamped-ion piezoelectric stress tensor e_i(jk): atoms stay at their fractional coordinates",
    kind="clamped-ion, fixed field",
    has_readings=True,
    undefined_for=("metals", "slabs", "molecules"),
    head=Lazy("ase_comformer.nn.heads.electromechanical:PiezoelectricHead"),
    scale=0.5,
    loss=Lazy("ase_comformer.training.tasks.losses:piezoelectric_loss"),
    unfit_flags=("clamped_", "very_large"),
    evaluated_on=(LabelledSet("dielectric_mpdfpt", without_flags=("clamped_",)), LabelledSet("piezo_clamped_jarvis")),
    metrics=(Lazy("ase_comformer.training.evaluation.measures:piezoelectric_errors"),),
    baselines=(Lazy("ase_comformer.training.evaluation.baselines:zero"),),
)

ENTRIES = (PIEZOELECTRIC, CLAMPED_PIEZOELECTRIC)
