# %% [markdown]
# # Phonon band structure with phonopy
#
# Forces give the force constants, the predicted Born charges and dielectric tensor give the splitting of longitudinal
# and transverse optical modes: no DFT anywhere. Needs phonopy (`pip install phonopy`).

# %%
import numpy as np
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from ase_comformer import GMTNetCalculator, predict
from ase_comformer.physics.phonopy_bridge import phonopy_with_forces, set_non_analytic_term

np.set_printoptions(precision=2, suppress=True)

# %% [markdown]
# ## The crystal at rest
# Force constants are second derivatives: the crystal must be in its minimum.

# %%
calc = GMTNetCalculator(dtype="float64")
salt = bulk("NaCl", "rocksalt", a=5.64)
salt.calc = calc
assert BFGS(FrechetCellFilter(salt), logfile=None).run(fmax=1e-4, steps=200)
print(f"a = {salt.cell.cellpar()[0] * 2**0.5:.3f} A")

# %% [markdown]
# ## Force constants
# phonopy finds the displacements that symmetry leaves; `predict` evaluates them together.


# %%
def forces(structures):
    """Forces of all displaced supercells."""
    return [result["forces"] for result in predict(structures, ["forces"], dtype="float64", on_error="raise")]


phonon = phonopy_with_forces(salt, (4, 4, 4), forces)
print(len(phonon.displacements), "displacements in a supercell of", len(phonon.supercell), "atoms")

# %% [markdown]
# ## Born charges and dielectric tensor
# Index order of Born charges is [atom, field, displacement], as phonopy's.

# %%
born = calc.get_property("born_effective_charges", salt)
set_non_analytic_term(phonon, born, calc.get_property("dielectric_tensor", salt))
phonon.run_qpoints([[0, 0, 0]])
transverse = phonon.qpoints.frequencies[0]
phonon.run_qpoints([[0, 0, 0]], nac_q_direction=[1, 0, 0])
longitudinal = phonon.qpoints.frequencies[0]
print("Gamma, THz:           ", transverse)
print("Gamma, THz, q along x:", longitudinal)
assert longitudinal[-1] > transverse[-1]
assert np.abs(transverse[:3]).max() < 0.05  # translations cost nothing

# %% [markdown]
# ## Band structure
# The path is ASE's. Negative frequencies are imaginary ones: they would say that the crystal is unstable, or that the
# potential is wrong there. They are not hidden.

# %%
path = salt.cell.bandpath("GXWKGL", npoints=120)
phonon.run_band_structure([path.kpts])
bands = phonon.band_structure.frequencies[0]
distance, ticks, labels = path.get_linear_kpoint_axis()
for tick, label in zip(ticks, labels, strict=True):
    print(f"{label:2s}", bands[np.argmin(np.abs(distance - tick))], "THz")
print("imaginary modes on the path:", int((bands < -0.05).sum()), "of", bands.size)

# %% [markdown]
# A figure, where matplotlib is installed.

# %%
try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError:
    figure = None
else:
    figure, axes = plt.subplots()
    axes.plot(distance, bands, color="C0")
    axes.set_xticks(ticks, labels)
    axes.set(ylabel="frequency (THz)", xlim=(distance[0], distance[-1]))
figure  # noqa: B018, shown by notebooks

# %% [markdown]
# ## Heat capacity

# %%
phonon.run_mesh([12, 12, 12], is_gamma_center=True)
phonon.run_thermal_properties(temperatures=[100, 300])
for kelvin, capacity in zip((100, 300), phonon.thermal_properties.heat_capacity, strict=True):
    print(f"C_V at {kelvin} K: {capacity / len(salt):.1f} J/mol/K per mole of atoms")
