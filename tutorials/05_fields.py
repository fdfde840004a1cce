# %% [markdown]
# # A crystal in an electric field
#
# A calculator with a field gives energy, forces and stress of the electric enthalpy around a reference structure, whose
# Born charges, clamped-ion piezoelectric tensor and electronic dielectric tensor come from the networks. Everything ASE
# does with forces works in the field: relaxations, dynamics, phonons.

# %%
import numpy as np
from ase import units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.optimize import BFGS

from ase_comformer import GMTNetCalculator, respond
from ase_comformer.physics.field_symmetry import FixSymmetryInField
from ase_comformer.physics.response import COULOMB_PER_SQUARE_METRE, EPSILON_0

np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## The reference: aluminium nitride at rest
# `respond` relaxes the cell and gives the linear response, with which everything below is compared.

# %%
response = respond(bulk("AlN", "wurtzite", a=3.13, c=5.02), relax="cell", softness=0.0, fmax=1e-5)
reference = response.primitive
print("space group", response.space_group, " cell", reference.cell.cellpar())

# %% [markdown]
# ## The field
# In V/A: 1 MV/cm is 0.01 V/A. `field_reference` says whose charges the field acts on; the atoms must be in its order.


# %%
def in_field(field):
    """The crystal with a calculator in the field."""
    atoms = reference.copy()
    atoms.calc = GMTNetCalculator(dtype="float64", electric_field=field, field_reference=reference)
    return atoms


field = np.array([0, 0, 0.002])
atoms = in_field(field)
print("forces at the reference, eV/A:\n", atoms.get_forces())
print("charge times field, eV/A:\n", np.einsum("i,aij->aj", field, response.born_effective_charges))

# %% [markdown]
# ## Static dielectric tensor
# The ions follow the field in a fixed cell; `calc.field.polarisation` is the change of polarisation, C/m^2.


# %%
def polarisation_at_rest(field):
    """Polarisation (3,) C/m^2 after the ions have come to rest."""
    atoms = in_field(field)
    assert BFGS(atoms, logfile=None).run(fmax=1e-6, steps=200)
    return atoms.calc.field.polarisation(atoms)


change = polarisation_at_rest(field) - polarisation_at_rest(-field)
static = 1 + change[2] / (2 * field[2] * EPSILON_0 * COULOMB_PER_SQUARE_METRE)
print(f"static eps_zz: {static:.3f} in finite fields, {response.static_dielectric_tensor[2, 2]:.3f} by response")
assert abs(static / response.static_dielectric_tensor[2, 2] - 1) < 0.01

# %% [markdown]
# ## Piezoelectric strain tensor
# Now the cell follows too: the converse piezoelectric effect. Symmetry that the field leaves may be kept with
# `FixSymmetryInField`; ASE's own `FixSymmetry` would undo what the field does.


# %%
def cell_at_rest(field):
    """Cell (3, 3) after ions and cell have come to rest."""
    atoms = in_field(field)
    atoms.set_constraint(FixSymmetryInField(atoms, field))
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-6, steps=200)
    return atoms.cell.array


deformation = np.linalg.solve(cell_at_rest(-field), cell_at_rest(field)).T - np.eye(3)
strain = np.diag(deformation) / (2 * field[2]) * 100  # 1/(V/A) is 100 pm/V
print("d31, d32, d33 in finite fields, pm/V:", strain)
print("d31, d32, d33 by response, pm/V:     ", response.piezoelectric_strain_tensor[2, :3])
assert np.allclose(strain, response.piezoelectric_strain_tensor[2, :3], rtol=0.01)

# %% [markdown]
# ## Dynamics
# The enthalpy is conserved in the field, so thermostats and averages work as without. The same random forces in
# opposite fields: what is left of the difference of the mean polarisation is the response at 300 K.


# %%
def mean_polarisation(field, steps=1200):
    """Polarisation along z (C/m^2) at 300 K in ten parts of a trajectory, after two others."""
    atoms = in_field(field)
    settings = {"temperature_K": 300, "friction": 0.05, "fixcm": False, "rng": np.random.default_rng(0)}
    dynamics = Langevin(atoms, timestep=1 * units.fs, **settings)
    record = []
    dynamics.attach(lambda: record.append(atoms.calc.field.polarisation(atoms)[2]), interval=5)
    dynamics.run(steps)
    return np.array(record[1:]).reshape(12, -1).mean(axis=1)[2:]


strong = np.array([0, 0, 0.05])
change = (mean_polarisation(strong) - mean_polarisation(-strong)) / 2
static = 1 + change / (strong[2] * EPSILON_0 * COULOMB_PER_SQUARE_METRE)
print(f"static eps_zz at 300 K: {static.mean():.2f} +- {static.std(ddof=1) / len(static) ** 0.5:.2f} at fixed cell")
