# %% [markdown]
# # Screen many structures
#
# Thousands of structures go into a folder of parquet files, in several processes or on a Dask cluster. What is killed
# goes on where it stopped, and what cannot be computed is a row that says why. Needs the extra `screen`.
#
# The same from the shell: `ase-comformer screen structures/ --folder results --workers 8`.

# %%
import tempfile
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk

from ase_comformer import screen
from ase_comformer.workflows.screening.shards import read_screen

work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Structures
# Rock salts of many lattice constants, and one whose atoms overlap. Files, folders, patterns and `FILE@INDEX` all do.

# %%
anions, cations = ("F", "Cl", "Br"), ("Li", "Na", "K")
structures = [
    bulk(f"{cation}{anion}", "rocksalt", a=a)
    for cation in cations
    for anion in anions
    for a in np.linspace(4.6, 6.6, 5)
]
structures.append(Atoms("Cu2", [[0, 0, 0], [0, 0, 0.01]], cell=[4, 4, 4], pbc=True))
ase.io.write(work / "salts.extxyz", structures, columns=["symbols", "positions"])

# %% [markdown]
# ## Run
# `workers=8` uses eight processes, `scheduler="tcp://HOST:8786"` a Dask cluster, `scheduler="local"` one on this
# machine. Here one process is enough.

# %%
result = screen([work / "salts.extxyz"], work / "results", ["dielectric_tensor", "formation_energy"], chunk_size=20)
print(f"{result.computed} structures, {result.per_second:.0f} per second")
for source, message in result.failures:
    print("failed:", Path(source).name, "|", message.split(".")[0])
assert len(result.failures) == 1

# %% [markdown]
# ## Again
# A second call finds everything done: rows are known by the hash of the structure and the fingerprint of the model.

# %%
again = screen([work / "salts.extxyz"], work / "results", ["dielectric_tensor", "formation_energy"], chunk_size=20)
print("computed again:", again.computed, "| known:", again.known)
assert (again.computed, again.known) == (0, len(structures))

# %% [markdown]
# ## The table
# `read_screen` gives dictionaries with tensors in their shapes; `pandas.read_parquet(folder)` reads the files too.

# %%
rows = [row for row in read_screen(work / "results") if "formation_energy" in row]
best = sorted(rows, key=lambda row: row["formation_energy"])[:3]
for row in best:
    print(f"{row['formula']:5s} {row['formation_energy']:.3f} eV/atom, eps {row['dielectric_tensor'][0, 0]:.2f}")
