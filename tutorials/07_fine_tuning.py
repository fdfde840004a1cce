# %% [markdown]
# # Fine-tuning on calculations of one's own
#
# The shipped potential follows PBE. With a few dozen frames of another functional, or of a crystal on which it is weak,
# it learns the difference. Here: six short VASP runs of aluminium nitride and two dielectric calculations, in
# `tutorials/own_calculations` (stand-ins in VASP's format, made by `tests/helpers/own_calculations.py` from a surface
# whose lengths are 1.5 % larger and whose dielectric tensors are 20 % larger than the predicted ones).

# %%
import os
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from ase_comformer import GMTNetCalculator
from ase_comformer.training.data.own_calculations import collect
from ase_comformer.training.export import run as export
from ase_comformer.training.fine_tuning import write_fine_tuning_config
from ase_comformer.training.runs import run as train

try:
    here = Path(__file__).parent
except NameError:  # a notebook
    here = Path.cwd()
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Collect
# Frames and tensors of every file that ASE or `read_tensors` understands. Whole calculations validate. Energies are
# moved onto the scale of the potential, element by element.

# %%
files = sorted((here / "own_calculations").glob("*vasprun.xml"))
found = collect(files, work / "data", "mine", validation=0.2)
print("frames:", found.frames, " crystals with tensors:", found.tensors)
print("energies moved by (eV/atom):", {symbol: round(shift, 2) for symbol, shift in found.energy_shifts.items()})
os.environ["ASE_COMFORMER_DATA"] = str(work / "data")

# %% [markdown]
# ## Train
# On a command line: `ase-comformer train mine.toml`, then `ase-comformer export runs/mine weights`. The file says where
# the run starts and is made to be edited: more epochs, further data sets to keep what the potential knows (`labelled`
# and others of the data package), `initial_share` of the old parameters in the new ones.

# %%
short = {"epochs": 6, "samples_per_epoch": 120}  # seconds; a real run takes the defaults or more
config = write_fine_tuning_config(work / "mine.toml", "mine", "energy", ["mine"], settings=short)
print(config.read_text()[:400])
train(config)
potential = export(work / "runs" / "mine", work / "weights")

# %% [markdown]
# ## Look at it
# The lattice constant that the potential relaxes to, before and after.


# %%
def lattice_constant(model):
    """Of aluminium nitride at rest, A."""
    atoms = bulk("AlN", "wurtzite", a=3.15, c=5.05)
    atoms.calc = GMTNetCalculator(model=model, dtype="float64")
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=200)
    return float(atoms.cell.lengths()[0])


before, after = lattice_constant("default"), lattice_constant(potential)
print(f"a = {before:.3f} A before, {after:.3f} A after; {1.015 * before:.3f} A on the surface of the calculations")
assert abs(after - 1.015 * before) < 0.5 * abs(0.015 * before)

# %% [markdown]
# ## Tensors
# The same for a head of the tensor networks. Here one crystal teaches (the phosphide) and the other one validates, and
# the weights know only elements that were taught: a real run has many crystals.

# %%
config = write_fine_tuning_config(work / "eps.toml", "eps", "dielectric_tensor", ["mine_tensors"])
train(config)
network = export(work / "runs" / "eps", work / "weights", properties=["dielectric_tensor"])
crystal = bulk("AlP", "zincblende", a=5.47)
old, new = (
    np.trace(GMTNetCalculator(model=model).get_property("dielectric_tensor", crystal)) / 3
    for model in ("default", network)
)
print(f"mean dielectric constant: {old:.2f} before, {new:.2f} after; {1.2 * old:.2f} in the calculation")
assert abs(new - 1.2 * old) < 0.5 * 0.2 * old
