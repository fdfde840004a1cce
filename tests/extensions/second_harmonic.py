"""A second-harmonic tensor: the quadratic answer of the polarisation to an optical field."""

from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import register

register(
    TensorProperty(
        name="second_harmonic_tensor",
        symbol="d",
        formula="ijk=ikj",
        unit="pm/V",
        voigt="piezoelectric_stress",
        description="d_i(jk) = chi2_ijk / 2 in the static limit, no factor 2 on mixed indices",
        kind="clamped-ion",
        undefined_for=("metals", "slabs", "molecules"),
        scale=10.0,
    )
)
