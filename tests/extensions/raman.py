"""A Raman tensor: how the susceptibility changes when an atom moves. All that the package needs to know of it."""

from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.registry import register

register(
    TensorProperty(
        name="raman_tensor",
        symbol="R",
        formula="ijk=jik",
        unit="1/A",
        description="R[atom, i, j, k] = d chi_ij / d u_k at fixed cell",
        per_atom=True,
        kind="clamped-ion",
        functional="PBEsol",
        sum_rule=True,  # moving the whole crystal changes nothing
        undefined_for=("metals", "slabs", "molecules"),
        scale=0.5,
    )
)
