# %% [markdown]
# # The linear response of a piezoelectric crystal
#
# How AlN answers an electric field and a strain: the whole response matrix from one call, what belongs to which
# boundary condition, and figures of it.

# %%
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk

from ase_comformer import elastic, respond
from ase_comformer.physics.response import coupling_factors
from ase_comformer.plotting.directional import dielectric_ellipsoid_figure, piezoelectric_figure, youngs_modulus_figure

np.set_printoptions(precision=3, suppress=True)
figures = Path(tempfile.mkdtemp())

# %% [markdown]
# ## One call
# The cell is relaxed first: constants at zero stress. Tensors are those of relaxed ions, so the atoms follow the field.

# %%
response = respond(bulk("AlN", "wurtzite", a=3.11, c=4.98), relax="cell")
print("status:", *response.status)
print("C, GPa\n", response.elastic_tensor)
print("e, C/m^2, columns xx yy zz yz xz xy\n", response.piezoelectric_tensor)
print("d, pC/N\n", response.piezoelectric_strain_tensor)

# %% [markdown]
# ## Boundary conditions
# A crystal that is free to change its shape polarises more than a clamped one, and one without electrodes is stiffer.
# The identities below hold to rounding, since all tensors come from one matrix.

# %%
electronic, clamped = response.dielectric_tensor, response.static_dielectric_tensor
free = response.free_dielectric_tensor
print("eps_zz: electrons", electronic[2, 2], "| ions too", clamped[2, 2], "| and free strain", free[2, 2])
stiffened = response.elastic_tensor_fixed_displacement
print("C33: short-circuited", response.elastic_tensor[2, 2], "| open", stiffened[2, 2])
compliance = np.linalg.inv(response.elastic_tensor)
assert np.allclose(response.piezoelectric_strain_tensor, 1e3 * response.piezoelectric_tensor @ compliance)
assert clamped[2, 2] < free[2, 2]
assert response.elastic_tensor[2, 2] < stiffened[2, 2]

# %% [markdown]
# ## Coupling factors
# The share of electrical energy that becomes mechanical, squared.

# %%
factors = coupling_factors(response.piezoelectric_tensor, response.elastic_tensor, clamped)
print({name: round(value, 3) for name, value in factors.items()})

# %% [markdown]
# ## Elasticity
# Moduli, stability and the Debye temperature follow from the stiffness.

# %%
mechanics = elastic(response.primitive, relax="none").summary
print(f"K {mechanics.moduli.bulk:.0f} GPa, G {mechanics.moduli.shear:.0f} GPa")
print(f"Debye temperature {mechanics.debye_temperature:.0f} K")
assert mechanics.is_stable

# %% [markdown]
# ## Figures
# Surfaces with sections across the axes; negative values red and broken.

# %%
youngs_modulus_figure(response.elastic_tensor, figures / "young.png", title="AlN, Young's modulus")
piezoelectric_figure(response.piezoelectric_strain_tensor, figures / "piezo.png", kind="d", title="AlN, longitudinal d")
dielectric_ellipsoid_figure(electronic, figures / "ellipsoid.png", title="AlN")
print("figures:", *sorted(path.name for path in figures.iterdir()))
