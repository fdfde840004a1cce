"""A photoelastic tensor: how strain changes the inverse permittivity; C_ij = C_ji does not hold for it."""

from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import register

register(
    TensorProperty(
        name="photoelastic_tensor",
        symbol="p",
        formula="ijkl=jikl=ijlk",
        unit="dimensionless",
        voigt="stiffness",
        description="p_ijkl = d (1/eps)_ij / d strain_kl, engineering shear strain in the Voigt form",
        kind="clamped-ion",
        functional="PBEsol",
        undefined_for=("metals", "slabs", "molecules"),
        scale=0.3,
    )
)
