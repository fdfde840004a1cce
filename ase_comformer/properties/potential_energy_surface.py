"""What the potential gives: energies, forces, stress and their expected errors."""

from functools import partial

from ase_comformer.properties.entry import TensorProperty

_CALIBRATED = "expected error of the network, calibrated on validation frames: 68 % of the errors are smaller"
_of_the_potential = partial(
    TensorProperty,
    route="potential",
    functional="PBE (Hubbard U as in the Materials Project, uncorrected energies)",
    has_one_functional=True,
    kind="energy surface",
    head=None,
    metrics=(),
    baselines=(),
)

ENTRIES = (
    _of_the_potential(
        name="energy", symbol="E", formula="", unit="eV", description="energy of the cell", uncertainty=_CALIBRATED
    ),
    _of_the_potential(name="free_energy", symbol="E_free", formula="", unit="eV", description="the energy, no entropy"),
    _of_the_potential(
        name="energies",
        symbol="E_atom",
        formula="",
        per_atom=True,
        unit="eV",
        description="atomic energies, whose sum is the energy of the cell",
    ),
    _of_the_potential(
        name="energy_uncertainty",
        symbol="dE",
        formula="",
        unit="eV",
        kind="calibrated expected error",
        description="expected error of the energy of the cell; 68 % of the errors on validation frames are smaller",
    ),
    _of_the_potential(
        name="forces_uncertainty",
        symbol="dF",
        formula="",
        per_atom=True,
        unit="eV/A",
        kind="calibrated expected error",
        description="expected error of the force on each atom, per component; 68 % of the errors on validation "
        "frames are smaller",
    ),
    _of_the_potential(
        name="forces",
        symbol="F",
        formula="i",
        per_atom=True,
        sum_rule=True,
        unit="eV/A",
        description="forces on the atoms",
        uncertainty=_CALIBRATED,
    ),
    _of_the_potential(
        name="stress",
        symbol="stress",
        formula="ij=ji",
        voigt="stress",
        unit="eV/A^3",
        undefined_for=("molecules",),
        description="stress in ASE's sign (positive = tension), Voigt",
    ),
)
