# %% [markdown]
# # Query the tensors of a crystal, and read the symmetry report
#
# Runs as a script (`python tutorials/01_query_tensors.py`) or as a notebook in any editor that knows `# %%` cells.

# %%
import numpy as np
from ase.build import bulk
from ase.spacegroup import crystal

from ase_comformer import GMTNetCalculator, predict

np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## One crystal
# The calculator computes what is asked and keeps it until the structure changes.

# %%
aln = bulk("AlN", "wurtzite", a=3.112, c=4.982)
calc = GMTNetCalculator()
aln.calc = calc
dielectric = calc.get_property("dielectric_tensor", aln)
piezoelectric = calc.get_property("piezoelectric_tensor", aln)
print("electronic dielectric tensor\n", dielectric)
print("piezoelectric tensor e, C/m^2, columns xx yy zz yz xz xy\n", piezoelectric)
print("Born charge of Al\n", calc.get_property("born_effective_charges", aln)[0])

# %% [markdown]
# Which quantity is that, exactly? Every property says so, with its functional and training data.

# %%
facts = calc.describe("piezoelectric_tensor")
print(facts["kind"], "|", facts["functional"], "|", facts["unit"])

# %% [markdown]
# ## The symmetry report
# What the space group allows of each component, what the network says of the structure as it is, and the projection.
# `forbidden` entries must vanish, `=` entries are tied to others.

# %%
report = calc.symmetry_report(aln, ["dielectric_tensor", "piezoelectric_tensor"])
print(report)
assert report.properties["piezoelectric_tensor"].independent == 3  # e31, e33, e15

# %% [markdown]
# ## Frames
# Tensors are in the Cartesian frame of the `Atoms`. Rotate the crystal and the tensor follows; the IEEE frame does not
# depend on the orientation.

# %%
turned = aln.copy()
turned.rotate(30, (1, 1, 0), rotate_cell=True)
in_ieee = calc.get_tensor("elastic_tensor", turned, frame="ieee")
print("C in the IEEE frame, GPa\n", in_ieee.tensor)
print("open choices:", in_ieee.note or "none")
assert np.allclose(in_ieee.tensor, calc.get_tensor("elastic_tensor", aln, frame="ieee").tensor, atol=1e-3)

# %% [markdown]
# ## A distorted crystal
# With `enforce_symmetry=False` the network sees the structure as it is. A displacement within `symprec` is idealised
# away otherwise, and the report says how far atoms were moved.

# %%
shifted = aln.copy()
shifted.positions[0, 0] += 0.004
raw = GMTNetCalculator(enforce_symmetry=False).get_property("dielectric_tensor", shifted)
enforced = calc.get_property("dielectric_tensor", shifted)
print("eps_xy of the shifted crystal: raw", raw[0, 1], "enforced", enforced[0, 1])
print("moved by", calc.symmetry_report(shifted, ["dielectric_tensor"]).idealisation_displacement, "A")

# %% [markdown]
# ## Many crystals
# `predict` batches; one bad crystal does not stop the others.

# %%
rutile = crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90])
no_cell = bulk("Si")
no_cell.pbc = False
results = predict([bulk("GaAs", "zincblende", a=5.653), rutile, no_cell], ["dielectric_tensor", "elastic_tensor"])
for name, result in zip(("GaAs", "TiO2", "Si without pbc"), results, strict=True):
    print(name, result.get("error") or np.diag(result["dielectric_tensor"]))
