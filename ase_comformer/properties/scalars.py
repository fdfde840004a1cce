"""Numbers per crystal: the formation energy and the band gap."""

from ase_comformer.properties.entry import LabelledSet, TensorProperty
from ase_comformer.properties.lazy import Lazy

FORMATION_ENERGY = TensorProperty(
    name="formation_energy",
    symbol="E_form",
    formula="",
    unit="eV/atom",
    description="formation energy per atom from the elements (of an element: from its reference structure)",
    kind="at 0 K, without zero-point energy",
    has_one_functional=True,
    head=Lazy("ase_comformer.nn.heads.scalars:EnergyHead"),
    scale=1.0,
    loss=Lazy("ase_comformer.training.tasks.losses:scalar_loss", {"width": 0.01}),
    extra="e_form",
    unfit_flags=("outlier", "sources_disagree"),
    evaluated_on=(
        LabelledSet("formation_energy"),
        LabelledSet("formation_energy", "PBE cells", cells="PBE"),
        LabelledSet("formation_energy", "PBEsol cells", cells="PBEsol"),
    ),
    metrics=(Lazy("ase_comformer.training.evaluation.measures:scalar_errors"),),
    baselines=(
        Lazy("ase_comformer.training.evaluation.baselines:constant_median"),
        Lazy(
            "ase_comformer.training.evaluation.baselines:kernel_ridge",
            {"distance": "cityblock", "width": 0.1, "ridge": 1e-2},
        ),
    ),
)

BAND_GAP = TensorProperty(
    name="band_gap",
    symbol="E_gap",
    formula="",
    unit="eV",
    description="fundamental Kohn-Sham band gap of PBE, zero for metals; 40 % and more below that of experiments",
    kind="Kohn-Sham",
    has_one_functional=True,
    undefined_for=("molecules",),
    head=Lazy("ase_comformer.nn.heads.scalars:PositiveHead"),
    scale=1.0,
    loss=Lazy("ase_comformer.training.tasks.losses:scalar_loss", {"width": 0.01}),
    extra="gap",
    evaluated_on=(LabelledSet("formation_energy"), LabelledSet("dielectric_mp")),
    metrics=(Lazy("ase_comformer.training.evaluation.measures:scalar_errors"),),
)

ENTRIES = (FORMATION_ENERGY, BAND_GAP)
