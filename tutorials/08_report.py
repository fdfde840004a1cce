# %% [markdown]
# # A report of a crystal
#
# One HTML page with everything: structure, symmetry of every tensor, error bars, phonons, spectra, surfaces that turn,
# and what to trust. It loads nothing from elsewhere, so it can be mailed or archived.
#
# The same from the shell: `ase-comformer report quartz.cif`.

# %%
import tempfile
from pathlib import Path

from ase.build import bulk

from ase_comformer import report
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.tensors.forbidden import forbidding_operations

folder = Path(tempfile.mkdtemp())
zinc_blende = bulk("GaAs", "zincblende", a=5.65)

# %% [markdown]
# ## Write it
# Parts that cannot be computed (a metal has no dielectric tensor) become a sentence that says why.

# %%
path = report(zinc_blende, folder / "GaAs.html", name="GaAs, room-temperature lattice constant")
text = path.read_text(encoding="utf-8")
print("report:", path.name, f"{len(text) / 1e6:.2f} MB")
for part in ("Structure", "Tensors", "Elasticity", "Phonons", "Spectra", "What to trust"):
    assert f"<h2>{part}</h2>" in text

# %% [markdown]
# ## Why a component is zero
# The page names for each zero an operation of the crystal that alone forbids it. In zincblende only e14 = e25 = e36
# survives: two-fold axes forbid the rest.

# %%
group = analyse_space_group(zinc_blende, 0.01)
reasons = forbidding_operations("piezoelectric_tensor", group)
print("allowed:", reasons.count(""), "| forbidden by", sorted(set(reasons) - {""}))
assert reasons.count("") == 3
