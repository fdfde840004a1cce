"""The registry of tensor properties: names, index symmetry, irreps, documented shapes and units.

Conventions are stated in ``tensors``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ase_comformer.errors import check_choice


@dataclass(frozen=True)
class TensorProperty:
    """One physical quantity: index symmetry, irreps, documented shape and unit.

    ``formula`` lists Cartesian index permutations that leave the tensor unchanged (e3nn's notation),
    ``irreps`` the O(3) content in e3nn's notation, ``shape`` the documented (Voigt where there is one) form
    of one tensor without the leading atom axis, ``kind`` the entry of ``VOIGT_KINDS`` that relates it to the
    Cartesian form (or None). ``sign_is_open`` says that the labels fix the tensor only up to its sign.
    """

    name: str
    formula: str
    irreps: str
    shape: tuple[int, ...]
    unit: str
    description: str
    kind: str | None = None
    per_atom: bool = False
    sign_is_open: bool = False

    @property
    def rank(self) -> int:
        """Number of Cartesian indices."""
        return len(self.formula.split("=")[0])

    @property
    def cartesian_shape(self) -> tuple[int, ...]:
        """Shape of the full Cartesian tensor."""
        return (3,) * self.rank

    @property
    def parity(self) -> int:
        """Sign under inversion: all properties are polar tensors, so (-1)**rank."""
        return -1 if self.rank % 2 else 1


_ENTRIES = (
    TensorProperty(
        name="dielectric_tensor",
        formula="ij=ji",
        irreps="0e+2e",
        shape=(3, 3),
        unit="relative permittivity",
        description="electronic (clamped-ion, high-frequency) dielectric tensor",
    ),
    TensorProperty(
        name="static_dielectric_tensor",
        formula="ij=ji",
        irreps="0e+2e",
        shape=(3, 3),
        unit="relative permittivity",
        description="static dielectric tensor at fixed cell: electronic plus ionic part",
    ),
    TensorProperty(
        name="born_effective_charges",
        formula="ij",
        irreps="0e+1e+2e",
        shape=(3, 3),
        per_atom=True,
        unit="e",
        description="Z[atom, i, j] = volume * dP_i / du_j: field or polarisation i, displacement j",
    ),
    TensorProperty(
        name="piezoelectric_tensor",
        formula="ijk=ikj",
        irreps="2x1o+2o+3o",
        shape=(3, 6),
        unit="C/m^2",
        kind="piezoelectric_stress",
        sign_is_open=True,
        description="relaxed-ion piezoelectric stress tensor e_i(jk) at constant field, no factor 2 on shear",
    ),
    TensorProperty(
        name="elastic_tensor",
        formula="ijkl=jikl=klij",
        irreps="2x0e+2x2e+4e",
        shape=(6, 6),
        unit="GPa",
        kind="stiffness",
        description="relaxed-ion elastic stiffness tensor",
    ),
    TensorProperty(
        name="formation_energy",
        formula="",
        irreps="0e",
        shape=(),
        unit="eV/atom",
        description="formation energy per atom from the elements",
    ),
    TensorProperty(name="energy", formula="", irreps="0e", shape=(), unit="eV", description="energy of the cell"),
    TensorProperty(
        name="free_energy", formula="", irreps="0e", shape=(), unit="eV", description="the energy, no entropy"
    ),
    TensorProperty(
        name="energies",
        formula="",
        irreps="0e",
        shape=(),
        per_atom=True,
        unit="eV",
        description="atomic energies, whose sum is the energy of the cell",
    ),
    TensorProperty(
        name="energy_uncertainty",
        formula="",
        irreps="0e",
        shape=(),
        unit="eV",
        description="standard deviation of the energy over the ensemble",
    ),
    TensorProperty(
        name="forces_uncertainty",
        formula="",
        irreps="0e",
        shape=(),
        per_atom=True,
        unit="eV/A",
        description="standard deviation of the force on each atom over the ensemble, per component",
    ),
    TensorProperty(
        name="forces",
        formula="i",
        irreps="1o",
        shape=(3,),
        per_atom=True,
        unit="eV/A",
        description="forces on the atoms",
    ),
    TensorProperty(
        name="stress",
        formula="ij=ji",
        irreps="0e+2e",
        shape=(6,),
        unit="eV/A^3",
        kind="stress",
        description="stress in ASE's sign (positive = tension), Voigt",
    ),
)

#: Every property by its public name.
PROPERTIES: dict[str, TensorProperty] = {entry.name: entry for entry in _ENTRIES}


def tensor_property(name: str) -> TensorProperty:
    """Return the registry entry of ``name``; ``UnknownNameError`` lists the valid names."""
    return PROPERTIES[check_choice(name, PROPERTIES, "property")]
