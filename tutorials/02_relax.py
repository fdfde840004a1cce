# %% [markdown]
# # Relax a crystal, its equation of state, its elastic constants
#
# The calculator has energy, forces and stress, so everything of ASE that needs them works.

# %%
import numpy as np
from ase.build import bulk
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.spacegroup import crystal
from ase.units import GPa

from ase_comformer import GMTNetCalculator
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.physics.elasticity import elastic_tensor_from_stress

np.set_printoptions(precision=1, suppress=True)
calc = GMTNetCalculator(dtype="float64")

# %% [markdown]
# ## A distorted crystal
# Rutile, strained and rattled: the symmetry is gone. Which surface is it? The one that `describe` names.

# %%
rutile = crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90])
distorted = rutile.copy()
strain = np.array([[0.02, 0.01, 0.0], [0.01, -0.02, 0.01], [0.0, 0.01, 0.01]])
distorted.set_cell(distorted.cell.array @ (np.eye(3) + strain), scale_atoms=True)
distorted.rattle(0.05, seed=1)
distorted.calc = calc
print("energies follow", calc.describe("energy")["functional"])
print("space group of the distorted crystal:", analyse_space_group(distorted, 0.01).international)

# %% [markdown]
# Atoms and cell are relaxed together. Forces and stress belong to the structure as it is, never to an idealised one.

# %%
before = distorted.get_potential_energy()
optimiser = BFGS(FrechetCellFilter(distorted), logfile=None)
converged = optimiser.run(fmax=0.01, steps=300)
gained = (before - distorted.get_potential_energy()) / len(distorted)
print(f"relaxed: {converged}, {optimiser.nsteps} steps, {1e3 * gained:.0f} meV/atom lower")
print("space group at 0.1 A:", analyse_space_group(distorted, 0.1).international)
print(f"volume {distorted.get_volume():.1f} A^3, measured {rutile.get_volume():.1f} A^3")
assert gained > 0

# %% [markdown]
# How far are these numbers to be trusted? The potential expects errors of itself, calibrated so that 68 % of the errors
# on validation frames are smaller; far outside its training domain it warns.

# %%
uncertainty = calc.get_property("energy_uncertainty", distorted) / len(distorted)
print(f"expected error of the energy {1e3 * uncertainty:.0f} meV/atom, of force components in eV/A:")
print(calc.get_property("forces_uncertainty", distorted).round(3))

# %% [markdown]
# ## Equation of state
# Exactly symmetric crystals stay so: nothing breaks the cubic cell of MgO here.

# %%
oxide = bulk("MgO", "rocksalt", a=4.21)
oxide.calc = calc
assert BFGS(FrechetCellFilter(oxide), logfile=None).run(fmax=1e-4, steps=200)
volumes, energies = [], []
for scale in np.linspace(0.985, 1.015, 7):
    squeezed = oxide.copy()
    squeezed.set_cell(oxide.cell.array * scale, scale_atoms=True)
    squeezed.calc = calc
    volumes.append(squeezed.get_volume())
    energies.append(squeezed.get_potential_energy())
volume, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
print(f"MgO: a = {(4 * volume) ** (1 / 3):.3f} A, bulk modulus {modulus / GPa:.0f} GPa from the equation of state")

# %% [markdown]
# ## Elastic constants
# Two independent answers: stresses of strained cells, and the elastic head, which never saw a stress. Their difference
# is a warning sign. The crystal must be at rest; atoms are relaxed in every strained cell, and symmetry says which
# strains are needed.

# %%
fit = elastic_tensor_from_stress(oxide)
head = calc.get_property("elastic_tensor", oxide)
print("strains applied:", *fit.strained)
print("C from stress, GPa\n", fit.tensor)
print("C from the elastic head, GPa\n", head)
from_stress = (fit.tensor[0, 0] + 2 * fit.tensor[0, 1]) / 3
print(f"bulk modulus from stress {from_stress:.0f} GPa, from the head {(head[0, 0] + 2 * head[0, 1]) / 3:.0f} GPa")
assert abs(from_stress / (modulus / GPa) - 1) < 0.05  # energies and stresses of one surface
