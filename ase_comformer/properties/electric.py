"""Answers to an electric field: dielectric tensors and Born effective charges."""

from ase_comformer.properties.entry import DerivedLabel, LabelledSet, TensorProperty
from ase_comformer.properties.lazy import Lazy

_BASELINES = "ase_comformer.training.evaluation.baselines"
_LOSSES = "ase_comformer.training.tasks.losses"
_MEASURES = "ase_comformer.training.evaluation.measures"
_MEAN = Lazy("ase_comformer.training.evaluation.scalar_of_tensor:mean_over_directions")
_PBE = LabelledSet("dielectric_mp", "all records, PBE labels and cells")
_CLEAN = LabelledSet("dielectric_born", "without eps_inf_* flags", without_flags=("eps_inf_",))
_RIDGE = {"distance": "cityblock", "width": 0.1, "answer": "permittivity"}

DIELECTRIC = TensorProperty(
    name="dielectric_tensor",
    symbol="eps",
    formula="ij=ji",
    unit="relative permittivity",
    description="electronic (clamped-ion, high-frequency) dielectric tensor",
    kind="clamped-ion",
    functional="PBEsol",
    functionals=("PBEsol", "PBE"),
    spans_decades=True,
    undefined_for=("metals", "slabs", "molecules"),
    # geometric mean of eps - 1: e^1.2 = 3.3, between e^-1.0 and e^3.4; no eigenvalue of eps beyond 96
    head=Lazy("ase_comformer.nn.heads.electric:ElectronicDielectricHead", {"centre": 1.2, "span": 2.2}),
    scale=18.0,
    loss=Lazy(f"{_LOSSES}:relative_tensor_loss"),
    derived_labels=(
        DerivedLabel(
            "dielectric_mean",
            Lazy(f"{_LOSSES}:mean_permittivity_loss"),
            extras=("eps_inf_mean",),
            numbers=_MEAN,
            names=("mean",),
        ),
    ),
    unfit_flags=("eps_inf_", "e_electronic_large", "n_inconsistent"),
    evaluated_on=(
        _CLEAN,
        LabelledSet("dielectric_born"),
        _PBE,
        LabelledSet("dielectric_mpdfpt", "PBE, without e_electronic_large", without_flags=("e_electronic_large",)),
        LabelledSet(
            "dielectric_scalars",
            "PBE, not in dielectric_born",
            without_flags=("id_in_dielectric_born",),
            label="dielectric_mean",
        ),
    ),
    metrics=(Lazy(f"{_MEASURES}:tensor_errors"), Lazy(f"{_MEASURES}:eigenvalues")),
    baselines=(Lazy(f"{_BASELINES}:constant_median"), Lazy(f"{_BASELINES}:kernel_ridge", {**_RIDGE, "ridge": 1e-3})),
)

STATIC_DIELECTRIC = TensorProperty(
    name="static_dielectric_tensor",
    symbol="eps0",
    formula="ij=ji",
    unit="relative permittivity",
    description="static dielectric tensor at fixed cell: electronic plus ionic part",
    kind="relaxed-ion, fixed cell",
    functional="PBEsol",
    functionals=("PBEsol", "PBE"),
    spans_decades=True,
    undefined_for=("metals", "slabs", "molecules"),
    built_on=("dielectric_tensor",),
    # ionic part: e^1.5 = 4.5, between e^-3.5 and e^6.5
    responds_to="field",
    head=Lazy("ase_comformer.nn.heads.electric:StaticDielectricHead", {"centre": 1.5, "span": 5.0, "anisotropy": 3.0}),
    scale=40.0,
    loss=Lazy(f"{_LOSSES}:relative_tensor_loss"),
    derived_labels=(
        DerivedLabel(
            "static_dielectric_mean",
            Lazy(f"{_LOSSES}:mean_permittivity_loss"),
            extras=("eps_static_mean",),
            numbers=_MEAN,
            names=("mean",),
        ),
        DerivedLabel(
            "static_dielectric_eigenvalues",
            Lazy(f"{_LOSSES}:permittivity_eigenvalues_loss"),
            extras=("eps_static_eigenvalues",),
        ),
    ),
    unfit_flags=(
        "eps_inf_",
        "eps_ion_",
        "gamma_soft",
        "ionic_",
        "e_electronic_large",
        "very_large",
        "eigenvalue_below",
    ),
    evaluated_on=(
        _CLEAN,
        LabelledSet("dielectric_born", "without eps_inf_* and eps_ion_* flags", without_flags=("eps_inf_", "eps_ion_")),
        LabelledSet("dielectric_born"),
        _PBE,
        LabelledSet(
            "dielectric_mpdfpt", "PBE, without ionic_* and e_electronic_large", without_flags=("ionic_", "e_electronic")
        ),
        LabelledSet(
            "dielectric_total_mp2020",
            "PBE, without very_large, not in dielectric_mp",
            without_flags=("very_large", "eigenvalue_below", "id_in_dielectric_mp"),
        ),
    ),
    baselines=(Lazy(f"{_BASELINES}:constant_median"), Lazy(f"{_BASELINES}:kernel_ridge", {**_RIDGE, "ridge": 1e-2})),
)

BORN_CHARGES = TensorProperty(
    name="born_effective_charges",
    symbol="Z",
    formula="ij",
    per_atom=True,
    unit="e",
    description="Z[atom, i, j] = volume * dP_i / du_j: field or polarisation i, displacement j",
    kind="dynamical charge at zero field",
    functional="PBEsol",
    functionals=("PBEsol", "PBE"),
    sum_rule=True,
    undefined_for=("metals",),
    head=Lazy("ase_comformer.nn.heads.electric:BornHead"),
    scale=4.0,
    loss=Lazy(f"{_LOSSES}:component_loss", {"width": 0.01}),
    unfit_flags=("eps_inf_suspect", "born_"),
    evaluated_on=(
        LabelledSet("dielectric_born"),
        _CLEAN,
        LabelledSet("dielectric_mpdfpt", "PBE, without born_* flags", without_flags=("born_",)),
    ),
    metrics=(Lazy(f"{_MEASURES}:born_errors"),),
    baselines=(Lazy(f"{_BASELINES}:zero"), Lazy(f"{_BASELINES}:constant_median")),
)

ENTRIES = (DIELECTRIC, STATIC_DIELECTRIC, BORN_CHARGES)
