# %% [markdown]
# # Phonons and spectra
#
# Forces give the force constants, the predicted Born charges and dielectric tensor give the splitting of longitudinal
# and transverse optical modes: no DFT anywhere.

# %%
import numpy as np
from ase.build import bulk

from ase_comformer import phonons, spectra

np.set_printoptions(precision=2, suppress=True)

# %% [markdown]
# ## From a crystal to its phonons
# One call brings the crystal to rest (`relax="cell"`: the cell too), chooses a supercell, evaluates the displacements
# that symmetry leaves, and adds the non-analytic term. The result says what limits it.

# %%
salt = phonons(bulk("NaCl", "rocksalt", a=5.64), relax="cell")
print(salt.space_group, len(salt.phonopy.supercell), "atoms in the supercell;", salt.status)

# %% [markdown]
# ## Longitudinal and transverse modes
# At Gamma the limit depends on the direction from which it is reached.

# %%
transverse = salt.frequencies([0, 0, 0])
longitudinal = salt.frequencies([0, 0, 0], direction=[1, 0, 0])
print("Gamma, THz:           ", transverse)
print("Gamma, THz, q along x:", longitudinal)
assert longitudinal[-1] > transverse[-1] + 1
assert np.abs(transverse[:3]).max() < 1e-4  # translations cost nothing

# %% [markdown]
# ## Band structure
# The path is seekpath's. Negative frequencies are imaginary ones: they would say that the crystal is unstable, or that
# the potential is wrong there. They are not hidden.

# %%
bands = salt.bands()
for (start, end), frequencies in zip(bands.path.labels, bands.frequencies, strict=True):
    print(f"{start} to {end}: up to {frequencies.max():.2f} THz")
print("imaginary modes:", len(salt.imaginary_modes))

# %% [markdown]
# A figure, where matplotlib is installed: bands and density of states.

# %%
try:
    from ase_comformer.plotting.phonons import phonon_figure

    figure = phonon_figure(salt)
except ImportError:
    figure = None
figure  # noqa: B018, shown by notebooks

# %% [markdown]
# ## Heat capacity
# Per mole of primitive cells, two atoms: 6 R = 49.9 J/(mol K) at high temperature.

# %%
thermal = salt.thermal_properties([100.0, 300.0, 1000.0])
print("heat capacity, J/(mol K):", thermal.heat_capacity)
assert abs(thermal.heat_capacity[-1] - 49.9) < 0.5

# %% [markdown]
# ## Files for phonopy
# `salt.phonopy` is the `Phonopy` object itself; `salt.write("folder")` writes `phonopy_params.yaml`, `FORCE_SETS` and
# `BORN`, from which `phonopy-load` gives the same frequencies. `write_born(atoms)` alone serves force constants of
# one's own.
#
# ## Infrared and Raman
# Raman scattering is experimental: it takes derivatives of a network that has seen crystals at rest only.

# %%
nitride = spectra(bulk("AlN", "wurtzite", a=3.11, c=4.98))
for wave_number, infrared, raman in zip(
    nitride.infrared.frequencies * 33.356, nitride.infrared.intensities, nitride.raman.intensities(), strict=True
):
    print(f"{wave_number:6.0f} 1/cm   infrared {infrared:7.1f} km/mol   Raman {raman:5.2f}")
static = nitride.infrared.dielectric_function([0.0])[0].real
print("static dielectric tensor:", np.diag(static))
